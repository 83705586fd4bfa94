package historyio

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
)

// ErrReset says that a room cannot continue from the last message that a recovered client received,
// because what followed was pruned, or because the store was replaced.
var ErrReset = errors.New("parley: historyio: what was missed is gone")

// Options configure [Rooms].
type Options struct {
	// Event is the name of the event for live messages. If empty, "newMessage".
	Event string
	// Argument returns the argument of that event. It is called once for each message. If nil, the
	// argument is the message itself.
	Argument func(*history.Message) any
	// EncodeOnce encodes a message once for all sockets instead of once for each. Do not use it
	// with parley.Options.Recovery: a recovered client would miss the messages that were in transit
	// when it lost its connection.
	EncodeOnce bool
	// Lost is called when a client cannot continue in a room: after a recovery, or because what a
	// slow client has yet to get cannot be read. The client is then no longer a member. err is
	// ErrReset or the log's error. If Lost is nil, the client receives the event "rejoin" with the
	// name of the room, and should join again. Any goroutine may call Lost.
	Lost func(s *parley.Socket, room string, err error)
	// ReopenTimeout limits the time to reopen all rooms of a recovered client. If zero, 10 s.
	ReopenTimeout time.Duration
}

// Sockets are those whose clients may join rooms: of a *parley.Server, which stands for its main
// namespace, of a *parley.Namespace, or of all namespaces of a *parley.ParentNamespace.
type Sockets interface {
	OnConnection(func(*parley.Socket)) *parley.Registration
	OnDisconnect(func(*parley.Socket, parley.Reason)) *parley.Registration
}

// Rooms connects the rooms of a log to sockets. Several Rooms may share a log: sockets of different
// namespaces that join the same room get the same messages. It is safe for concurrent use, but calls
// for the same socket must not overlap. Calls from the socket's handlers never do.
type Rooms struct {
	log  *history.Log
	opts Options
	of   *parley.Key[*memberships]
}

// New connects the rooms of log to sockets. A nil opt means the defaults. Call it before clients
// connect.
func New(sockets Sockets, log *history.Log, opt *Options) *Rooms {
	r := &Rooms{log: log, of: parley.NewKey[*memberships]()}
	if opt != nil {
		r.opts = *opt
	}
	if r.opts.Event == "" {
		r.opts.Event = "newMessage"
	}
	if r.opts.Argument == nil {
		r.opts.Argument = func(m *history.Message) any { return json.RawMessage(m.AppendJSON(nil)) }
	}
	if r.opts.Lost == nil {
		r.opts.Lost = func(s *parley.Socket, room string, _ error) { s.Emit("rejoin", room) }
	}
	if r.opts.ReopenTimeout <= 0 {
		r.opts.ReopenTimeout = 10 * time.Second
	}
	sockets.OnConnection(r.reopen)
	sockets.OnDisconnect(func(s *parley.Socket, _ parley.Reason) { r.of.Get(s).pause() })
	return r
}

// Join makes s a member of a room. o says what the client already has. Join passes a page to ready
// before any live message; ready must not block. If Join fails, ready is not called. A socket that
// joins again receives a new page, and live messages continue after it. The error comes from the
// log, or is parley.ErrDisconnected.
func (r *Rooms) Join(ctx context.Context, s *parley.Socket, room string, o history.OpenOptions, ready func(history.Opened)) error {
	ms := r.of.Get(s)
	if ms == nil {
		ms = &memberships{owner: s, rooms: make(map[string]*membership)}
		r.of.Set(s, ms)
	}
	old := ms.get(room)
	next := &membership{rooms: r, socket: s}
	err := next.open(ctx, room, o, func(opened history.Opened) {
		old.stop() // what it has not sent is in the page or follows it
		ready(opened)
	})
	if err != nil {
		return err
	}
	old.end()
	if !ms.put(s, room, next) {
		next.end()
		return parley.ErrDisconnected
	}
	return nil
}

// Leave ends the membership of a room, if there is one. No message of the room follows.
func (r *Rooms) Leave(s *parley.Socket, room string) { r.of.Get(s).remove(room).end() }

// Joined reports whether s is a member of the room.
func (r *Rooms) Joined(s *parley.Socket, room string) bool { return r.of.Get(s).get(room) != nil }

// reopen restores the memberships of a recovered socket.
func (r *Rooms) reopen(s *parley.Socket) {
	ms := r.of.Get(s)
	if ms == nil || !s.Recovered() {
		return
	}
	ctx, cancel := context.WithTimeout(s.Context(), r.opts.ReopenTimeout)
	defer cancel()
	for room, old := range ms.resume(s) {
		if err := r.goOn(ctx, s, room, old); err != nil && s.Connected() { // if it is gone, it may come back again
			ms.remove(room)
			r.opts.Lost(s, room, err)
		}
	}
}

// goOn makes s a member that reads on after its client's last message.
func (r *Rooms) goOn(ctx context.Context, s *parley.Socket, room string, old *membership) error {
	// Until its client has been answered, nothing that is sent to a socket shows how fast it is.
	if err := s.Drain(ctx); err != nil {
		return err
	}
	next := &membership{rooms: r, socket: s}
	reset := false
	from := history.OpenOptions{Epoch: old.epoch, Since: old.sent, CaughtUp: func(int64) {}}
	err := next.open(ctx, room, from, func(opened history.Opened) {
		if reset = opened.Reset; reset {
			next.stop()
		}
	})
	switch {
	case err != nil:
		return err
	case reset:
		next.end()
		return ErrReset
	}
	r.of.Get(s).put(s, room, next)
	return nil
}
