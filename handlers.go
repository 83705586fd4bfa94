package parley

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/sio"
)

// handlers is what Namespace and ParentNamespace have in common: the registration of handlers.
// Namespace documents what its methods guarantee.
type handlers struct {
	srv *Server

	mu       sync.Mutex
	building *table                // being changed, not published yet
	shared   atomic.Pointer[table] // published: immutable from then on
}

// table is a set of handlers. It is published when someone reads it; the next change then works on
// a copy. So registering ten handlers in a row costs one map, not ten.
type table struct {
	events     map[string][]registered[Handler]
	any        []registered[Handler]
	unhandled  []registered[Handler] // at most one
	middleware []registered[Handler]
	outgoing   []registered[func(event string, args []json.RawMessage)]
	disconnect []registered[func(*Socket, Reason)]
	errors     []registered[func(*Socket, error)]

	// For namespaces only.
	connect    []registered[func(context.Context, *Socket) error]
	connection []registered[func(*Socket)]
	rooms      []registered[func(RoomEvent)]
	server     map[string][]registered[func(*ServerPacket) error]
}

// registered is a handler with its registration.
type registered[F any] struct {
	call F
	as   *Registration
}

// Registration represents a registered handler. It is safe for concurrent use.
type Registration struct {
	h       *handlers
	event   string
	answers bool // it answers the event; only one such handler may exist
	drop    func(*table, *Registration)
}

// Remove removes the handler. A call that is already running continues; no other follows. Calling
// Remove again has no effect.
func (r *Registration) Remove() {
	r.h.change(func(t *table) { r.drop(t, r) })
}

var noHandlers table

// load returns the current set. h may be nil.
func (h *handlers) load() *table {
	if h == nil {
		return &noHandlers
	}
	if t := h.shared.Load(); t != nil {
		return t
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.shared.Load()
	if t == nil {
		if t = h.building; t == nil {
			t = &noHandlers
		}
		h.shared.Store(t)
		h.building = nil
	}
	return t
}

// change calls f to change the set.
func (h *handlers) change(f func(*table)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.building == nil {
		next := table{}
		if t := h.shared.Load(); t != nil {
			next = *t
			next.events = maps.Clone(t.events)
		}
		h.building = &next
		h.shared.Store(nil)
	}
	f(h.building)
}

// empty reports whether nothing is registered.
func (h *handlers) empty() bool {
	t := h.load()
	return len(t.events)+len(t.any)+len(t.unhandled)+len(t.middleware)+len(t.outgoing)+len(t.disconnect)+
		len(t.errors)+len(t.connect)+len(t.connection)+len(t.rooms)+len(t.server) == 0
}

// with returns a slice with v added that shares no memory with s.
func with[T any](s []T, v T) []T { return append(slices.Clip(s), v) }

// without returns a copy of s that lacks what was registered as r.
func without[F any](s []registered[F], r *Registration) []registered[F] {
	return slices.DeleteFunc(slices.Clone(s), func(e registered[F]) bool { return e.as == r })
}

// register appends f to the list that of selects. It panics if f is nil.
func register[F any](h *handlers, f F, of func(*table) *[]registered[F]) *Registration {
	if reflect.ValueOf(f).IsNil() {
		panic("parley: the handler is nil")
	}
	r := &Registration{h: h, drop: func(t *table, r *Registration) { l := of(t); *l = without(*l, r) }}
	h.change(func(t *table) { l := of(t); *l = with(*l, registered[F]{f, r}) })
	return r
}

// On calls handler for each event with this name. It panics if handler is nil, or if the protocol
// reserves the name, so that no event can have it.
func (h *handlers) On(event string, handler Handler) *Registration {
	return h.on(&Registration{event: event}, handler)
}

// Once is like On, but only for the first event with this name. On a namespace that is the first
// event of any of its sockets.
func (h *handlers) Once(event string, handler Handler) *Registration {
	mustHandle(event, handler)
	var done atomic.Bool
	r := &Registration{event: event}
	return h.on(r, func(p *Packet) error {
		if done.Swap(true) {
			return nil
		}
		r.Remove()
		return handler(p)
	})
}

// onCall is like On, for the single handler that answers the event. A second one panics.
func (h *handlers) onCall(event string, handler Handler) *Registration {
	return h.on(&Registration{event: event, answers: true}, handler)
}

func (h *handlers) on(r *Registration, handler Handler) *Registration {
	mustHandle(r.event, handler)
	r.h, r.drop = h, dropEvent
	twice := false
	h.change(func(t *table) {
		twice = r.answers && slices.ContainsFunc(t.events[r.event], func(e registered[Handler]) bool { return e.as.answers })
		if twice {
			return
		}
		if t.events == nil {
			t.events = make(map[string][]registered[Handler])
		}
		t.events[r.event] = with(t.events[r.event], registered[Handler]{handler, r})
	})
	if twice {
		panic(fmt.Sprintf("parley: the event %q is answered by another handler already", r.event))
	}
	return r
}

func dropEvent(t *table, r *Registration) {
	if left := without(t.events[r.event], r); len(left) > 0 {
		t.events[r.event] = left
	} else {
		delete(t.events, r.event)
	}
}

func mustNotBeNil(event string, isNil bool) {
	if isNil {
		panic(fmt.Sprintf("parley: the handler of the event %q is nil", event))
	}
}

// mustHandle panics if this registration is a programming mistake.
func mustHandle(event string, handler Handler) {
	mustNotBeNil(event, handler == nil)
	switch {
	case event == "connection" || event == "connect":
		panic(fmt.Sprintf("parley: %q never arrives as an event; use OnConnection", event))
	case event == "disconnect" || event == "disconnecting":
		panic(fmt.Sprintf("parley: %q never arrives as an event; use OnDisconnect", event))
	case sio.Reserved(event):
		panic(fmt.Sprintf("parley: %q never arrives as an event; the protocol reserves the name", event))
	}
}

// Off removes all handlers of this event that were registered here.
func (h *handlers) Off(event string) {
	h.change(func(t *table) { delete(t.events, event) })
}

// OnAny calls handler for every event that arrives, before middleware and the event's own handlers.
// That includes events that middleware refuses and events that have no handler.
func (h *handlers) OnAny(handler Handler) *Registration {
	return register(h, handler, func(t *table) *[]registered[Handler] { return &t.any })
}

// OnUnhandled calls handler for events that have no other handler. OnAny handlers do not count.
// There is only one such handler: a second call replaces the first, and nil removes it.
func (h *handlers) OnUnhandled(handler Handler) *Registration {
	r := &Registration{h: h, drop: func(t *table, r *Registration) { t.unhandled = without(t.unhandled, r) }}
	h.change(func(t *table) {
		t.unhandled = nil
		if handler != nil {
			t.unhandled = []registered[Handler]{{handler, r}}
		}
	})
	return r
}

// UseEvent adds middleware that runs for every event, before the event's handlers. If it returns an
// error, the handlers do not run, and the client receives the error as acknowledgement.
func (h *handlers) UseEvent(middleware Handler) *Registration {
	return register(h, middleware, func(t *table) *[]registered[Handler] { return &t.middleware })
}

// OnAnyOutgoing calls f for each event that is sent to a socket, except acknowledgements. f must
// not change args, in which binary data is a placeholder. f runs on the emitting goroutine and must
// not block.
func (h *handlers) OnAnyOutgoing(f func(event string, args []json.RawMessage)) *Registration {
	h.srv.listened.Store(true)
	return register(h, f, func(t *table) *[]registered[func(string, []json.RawMessage)] { return &t.outgoing })
}

// OnDisconnect calls f when a socket has disconnected, after the events that arrived before.
// Socket.Rooms still returns the rooms that the socket was in.
func (h *handlers) OnDisconnect(f func(s *Socket, reason Reason)) *Registration {
	return register(h, f, func(t *table) *[]registered[func(*Socket, Reason)] { return &t.disconnect })
}

// OnError calls f with the errors and panics of handlers. err is an *EventError.
func (h *handlers) OnError(f func(s *Socket, err error)) *Registration {
	return register(h, f, func(t *table) *[]registered[func(*Socket, error)] { return &t.errors })
}

// Use adds middleware that runs before a socket is connected. It may block. If it returns an error,
// the socket is refused: see ConnectError. ctx ends when the client disconnects or stops joining.
// The socket may already join rooms and emit: both take effect when it is connected.
func (h *handlers) Use(middleware func(ctx context.Context, s *Socket) error) *Registration {
	return register(h, middleware, func(t *table) *[]registered[func(context.Context, *Socket) error] { return &t.connect })
}

// OnConnection calls f for each socket that connects, before its first event is handled.
//
// The client learns that it is connected when all OnConnection handlers have returned. So the rooms
// they join and the handlers they register are already in effect. The client learns it earlier if
// Socket.EmitWithAck asks it something, and after one second at the latest. A handler that serves
// the socket for its whole life should start a goroutine for that.
func (h *handlers) OnConnection(f func(s *Socket)) *Registration {
	return register(h, f, func(t *table) *[]registered[func(*Socket)] { return &t.connection })
}

// OnRoom calls f when rooms are created and deleted, and when sockets join and leave them. For each
// namespace, it makes one call at a time, in the order of the events. f must not block. If another
// goroutine is just calling f, the call may come shortly after Join or Leave has returned.
func (h *handlers) OnRoom(f func(RoomEvent)) *Registration {
	return register(h, f, func(t *table) *[]registered[func(RoomEvent)] { return &t.rooms })
}

// RoomEvent is a change of a room.
type RoomEvent struct {
	Type   RoomEventType
	Room   string
	Socket string // id of the socket that joined or left; for RoomCreated the first, for RoomDeleted the last
}

// RoomEventType is the kind of a RoomEvent.
type RoomEventType string

const (
	RoomCreated RoomEventType = "create-room" // its first member joined
	RoomDeleted RoomEventType = "delete-room" // its last member left
	RoomJoined  RoomEventType = "join-room"
	RoomLeft    RoomEventType = "leave-room"
)
