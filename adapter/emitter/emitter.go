// Package emitter sends events to the sockets of a cluster from a program that is not one of its servers: a
// job, a worker, a command.
//
//	bus, err := redis.New(rueidis.MustParseURL("redis://127.0.0.1:6379"), nil)
//	// …
//	e := emitter.New(bus)
//	defer e.Close()
//	err = e.To("news").Emit("newMessage", "hello")
//
// New is for a cluster of Parley's own protocol, over any bus. ClassicEmitter and ShardedEmitter of package
// nodewire are for the wires of Socket.IO's servers on Node.js. An Emitter is an event.Emitter, so descriptors
// of events can be sent to it.
package emitter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/sio"
)

// Outlet is a way into a cluster.
type Outlet interface {
	// Publish sends a message to m.Namespace, as adapter.Link does.
	Publish(m *adapter.Message) error

	// Close sends what is queued, waiting a second at most.
	Close() error
}

// Emitter selects sockets of all servers of a cluster. It is immutable and safe for concurrent use: To, Except
// and the like return another one.
//
// Its methods do not wait. An error says that a message will not arrive: adapter.ErrFull, adapter.ErrTooLarge,
// adapter.ErrClosed, or that the arguments cannot be encoded. That there is no error does not say that it
// arrived.
type Emitter struct {
	out       Outlet
	namespace string
	to        adapter.Selection
	nobody    bool // To without rooms
	flags     adapter.Flags
}

// New returns an emitter to the main namespace of the servers that are connected by adapter.New over this bus.
// Close also closes the bus.
func New(bus adapter.Bus) *Emitter { return Over(adapter.NewOutlet(bus)) }

// Over returns an emitter to the main namespace of the servers behind an outlet.
func Over(out Outlet) *Emitter { return &Emitter{out: out, namespace: "/"} }

// with returns a copy that f has changed.
func (e *Emitter) with(f func(*Emitter)) *Emitter {
	c := *e
	f(&c)
	return &c
}

// Of returns an emitter to a namespace.
func (e *Emitter) Of(namespace string) *Emitter {
	return e.with(func(e *Emitter) { e.namespace = "/" + strings.TrimPrefix(namespace, "/") })
}

// To selects the sockets in any of these rooms, beside those that are selected. Without rooms, and without an
// earlier To, it selects nobody. A socket's id is the name of a room.
func (e *Emitter) To(rooms ...string) *Emitter {
	return e.with(func(e *Emitter) {
		e.to.Rooms = union(e.to.Rooms, rooms)
		e.nobody = len(e.to.Rooms) == 0
	})
}

// Except leaves out the sockets in any of these rooms.
func (e *Emitter) Except(rooms ...string) *Emitter {
	return e.with(func(e *Emitter) { e.to.Except = union(e.to.Except, rooms) })
}

// union returns the names in a or b.
func union(a, b []string) []string {
	a = slices.Clip(a)
	for _, name := range b {
		if !slices.Contains(a, name) {
			a = append(a, name)
		}
	}
	return a
}

// Volatile drops events for each client that cannot receive them at once.
func (e *Emitter) Volatile() *Emitter {
	return e.with(func(e *Emitter) { e.flags |= adapter.Volatile })
}

// Compress sets whether events may be compressed. The default is true.
func (e *Emitter) Compress(compress bool) *Emitter {
	return e.with(func(e *Emitter) {
		if e.flags |= adapter.Uncompressed; compress {
			e.flags &^= adapter.Uncompressed
		}
	})
}

// Emit sends an event to the selected sockets. It encodes arguments as Emit of package parley does.
func (e *Emitter) Emit(event string, args ...any) error {
	if sio.Reserved(event) {
		return reserved(event)
	}
	return e.event(adapter.Broadcast, e.flags, event, args)
}

// ServerEmit sends an event to the servers, to their OnServer handlers or, on Node.js, to listeners of the
// namespace. The selection has no influence.
func (e *Emitter) ServerEmit(event string, args ...any) error {
	if adapter.Reserved(event) {
		return reserved(event)
	}
	return e.with(func(e *Emitter) { e.to, e.nobody = adapter.Selection{}, false }).event(adapter.ServerEvent, 0, event, args)
}

func reserved(event string) error { return fmt.Errorf("emitter: event name %q is reserved", event) }

func (e *Emitter) event(k adapter.Kind, flags adapter.Flags, event string, args []any) error {
	data, attachments, err := sio.AppendEventArgs(nil, event, args)
	if err != nil {
		return fmt.Errorf("emitter: encode arguments: %w", err)
	}
	return e.publish(&adapter.Message{Kind: k, Flags: flags, Data: data, Attachments: attachments})
}

// SocketsJoin makes the selected sockets join rooms.
func (e *Emitter) SocketsJoin(rooms ...string) error {
	return e.publish(&adapter.Message{Kind: adapter.Join, Targets: rooms})
}

// SocketsLeave makes the selected sockets leave rooms.
func (e *Emitter) SocketsLeave(rooms ...string) error {
	return e.publish(&adapter.Message{Kind: adapter.Leave, Targets: rooms})
}

// DisconnectSockets disconnects the selected sockets: from the namespace, or, if closeConnection is true, closes
// their connections.
func (e *Emitter) DisconnectSockets(closeConnection bool) error {
	m := &adapter.Message{Kind: adapter.Disconnect}
	if closeConnection {
		m.Flags = adapter.CloseAll
	}
	return e.publish(m)
}

func (e *Emitter) publish(m *adapter.Message) error {
	if e.nobody {
		return nil
	}
	m.Namespace, m.Selection = e.namespace, e.to
	return e.out.Publish(m)
}

// Close sends what is queued, waiting a second at most. It ends all emitters that were made from the same one.
func (e *Emitter) Close() error { return e.out.Close() }
