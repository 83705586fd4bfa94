package adapter

import (
	"context"
	"errors"
	"strings"
)

// Cluster connects one server to the others. It is safe for concurrent use.
type Cluster interface {
	// Open connects a namespace. The Link calls l from now on.
	Open(namespace string, l Local) Link

	// Self describes this server. Its ID, Name and Tag do not change.
	Self() Node

	// Nodes describes all servers that are known to be alive, this one first.
	Nodes() []Node

	// Drain tells the others that this server is about to leave.
	Drain()

	// Close tells the others that this server leaves, and releases everything.
	Close() error
}

// Untagger is a Cluster that may want the ids of sockets without a tag, because its wire needs them to have 20
// characters. The ids of sessions have one all the same.
type Untagger interface{ UntaggedSockets() bool }

// Link is a namespace's connection to the other servers. It is safe for concurrent use. Its methods
// concern only the other servers: the namespace itself does what concerns its own sockets, before.
type Link interface {
	// Publish sends a Broadcast, Join, Leave, Disconnect or ServerEvent. It does not wait: the error
	// says that the message will not arrive, because the bus is down and its queue is full, or because
	// the message is too large. Publish sets m.Node and m.Number (see Numberer), and keeps nothing of m.
	Publish(m *Message) error

	// Call sends a message that the others answer. It calls each for each answer, one after the other,
	// and returns when all have answered. If some have not, because they died or because ctx ended, the
	// error is a *Partial. m.Request is set by Call.
	Call(ctx context.Context, m *Message, each func(*Answer)) error

	// Touch must be called after a room got its first socket or lost its last one, without any lock.
	// The result is closed when the socket will receive what others send to the room from then on. Nil
	// means at once, or that waiting is useless because the bus is down.
	Touch(room string) <-chan struct{}

	// Ready is what the first sockets of the namespace have to wait for: it is closed when they will
	// receive what others send to all sockets. Nil means as with Touch.
	Ready() <-chan struct{}

	// Close disconnects the namespace. What arrives later is dropped.
	Close()
}

// Numberer is a Cluster whose messages can be told apart before they are published, so that a server
// recognizes its own ones when another server has passed them on.
type Numberer interface {
	// Number sets m.Node and m.Number. Link.Publish then leaves them as they are.
	Number(m *Message)
}

// Local is a namespace, as its Link sees it. The Link calls it from one goroutine, which receives
// for all namespaces. So none of the methods may block, or call the Link except for Touch.
type Local interface {
	// Has reports whether a socket is in the room.
	Has(room string) bool

	// Deliver sends an event to the selected sockets.
	Deliver(m *Message)

	// DeliverAck does that too, and asks for acknowledgements: it calls counted with the number of
	// sockets, and then answered for each of them. data is nil if a socket has gone. It gives up
	// after m.Timeout.
	DeliverAck(m *Message, counted func(n int), answered func(data []byte, attachments [][]byte))

	// Fetch, Count and RoomSizes describe the selected sockets.
	Fetch(s Selection) []SocketInfo
	Count(s Selection) int
	RoomSizes(s Selection) map[string]int

	// Change makes the selected sockets join, leave or disconnect. It returns how many of them could
	// not join because they are in too many rooms.
	Change(m *Message) (refused int)

	// Event passes an event of another server to a handler, which may call answer. It returns false if
	// there is none.
	Event(m *Message, answer func(data []byte, attachments [][]byte)) bool

	// Gap tells that messages of other servers may have been lost.
	Gap()
}

// Partial is the error of a Call that not all servers answered.
type Partial struct {
	Missing []string // the names of the servers without an answer
	Cause   error    // the context's error; nil if the servers have died, or could not say it
}

func (e *Partial) Error() string {
	text := "no answer from " + strings.Join(e.Missing, ", ")
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return "adapter: " + text
}

func (e *Partial) Unwrap() error { return e.Cause }

var (
	// ErrFull is the error of a message that was dropped because too much is queued for the bus.
	ErrFull = errors.New("adapter: the queue to the other servers is full")

	// ErrTooLarge is the error of a message that is larger than the bus allows.
	ErrTooLarge = errors.New("adapter: the message is too large for the bus")

	// ErrNoNode is the error of a question to a server that is not in the cluster, or that does not
	// serve the subject.
	ErrNoNode = errors.New("adapter: no such server")

	// ErrClosed is the error of everything after Close.
	ErrClosed = errors.New("adapter: closed")
)
