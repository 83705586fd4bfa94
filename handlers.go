package parley

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
)

// Handlers is where a namespace's handlers are registered, for all of its sockets: those
// that are connected now and those to come. It is safe for concurrent use; reading takes no
// lock. Several handlers for one thing are called in the order of their registration,
// the namespace's before the socket's.
type Handlers struct {
	srv   *Server
	mu    sync.Mutex
	table atomic.Pointer[table]
}

// table is an immutable set of handlers: registering copies it.
type table struct {
	events     map[string][]Handler
	any        []Handler
	unhandled  Handler
	middleware []Handler
	outgoing   []func(event string, args []json.RawMessage)
	disconnect []func(*Socket, Reason)
	errors     []func(*Socket, error)

	// Of namespaces only.
	connect    []func(context.Context, *Socket) error
	connection []func(*Socket)
	rooms      []func(RoomEvent)
}

var noHandlers table

// load returns the present set; h may be nil.
func (h *Handlers) load() *table {
	if h != nil {
		if t := h.table.Load(); t != nil {
			return t
		}
	}
	return &noHandlers
}

func (h *Handlers) change(f func(*table)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := *h.load()
	f(&next)
	h.table.Store(&next)
}

// with returns a slice with v added that shares no memory with s.
func with[T any](s []T, v T) []T { return append(slices.Clip(s), v) }

// withEvents has f change a copy of the table's events.
func (h *Handlers) withEvents(f func(map[string][]Handler)) {
	h.change(func(t *table) {
		events := make(map[string][]Handler, len(t.events)+1)
		for name, handlers := range t.events {
			events[name] = handlers
		}
		f(events)
		t.events = events
	})
}

// On has handler called for each event of that name.
func (h *Handlers) On(event string, handler Handler) {
	h.withEvents(func(m map[string][]Handler) { m[event] = with(m[event], handler) })
}

// Off removes all handlers of that event that were registered here.
func (h *Handlers) Off(event string) {
	h.withEvents(func(m map[string][]Handler) { delete(m, event) })
}

// OnAny has handler called for every event, before the event's own handlers.
func (h *Handlers) OnAny(handler Handler) {
	h.change(func(t *table) { t.any = with(t.any, handler) })
}

// OnUnhandled has handler called for events that nothing is registered for. There is one
// such handler; nil removes it.
func (h *Handlers) OnUnhandled(handler Handler) {
	h.change(func(t *table) { t.unhandled = handler })
}

// UseEvent adds middleware that every event passes before its handlers: its error refuses
// the event, and is what the client is answered with.
func (h *Handlers) UseEvent(middleware Handler) {
	h.change(func(t *table) { t.middleware = with(t.middleware, middleware) })
}

// OnAnyOutgoing has f called for each event that is sent to a socket, acknowledgements not
// included. args must not be changed; binary data in them is a placeholder. f is called by
// whoever emits and must not block.
func (h *Handlers) OnAnyOutgoing(f func(event string, args []json.RawMessage)) {
	h.srv.listened.Store(true)
	h.change(func(t *table) { t.outgoing = with(t.outgoing, f) })
}

// OnDisconnect has f called when a socket has disconnected, after the events that came
// before. Socket.Rooms then still returns the rooms it was in.
func (h *Handlers) OnDisconnect(f func(s *Socket, reason Reason)) {
	h.change(func(t *table) { t.disconnect = with(t.disconnect, f) })
}

// OnError has f called with what handlers return and panic with: err is an *EventError.
func (h *Handlers) OnError(f func(s *Socket, err error)) {
	h.change(func(t *table) { t.errors = with(t.errors, f) })
}

// Use adds middleware that sockets pass before they are connected. It may block. An error
// refuses the socket: see ConnectError. ctx ends when the client hangs up.
func (h *Handlers) Use(middleware func(ctx context.Context, s *Socket) error) {
	h.change(func(t *table) { t.connect = with(t.connect, middleware) })
}

// OnConnection has f called for each socket that has connected, before its first event is
// handled.
func (h *Handlers) OnConnection(f func(s *Socket)) {
	h.change(func(t *table) { t.connection = with(t.connection, f) })
}

// OnRoom has f called when rooms come and go and when sockets join and leave them. It must
// not block. Calls for different sockets may come in another order than things happened.
func (h *Handlers) OnRoom(f func(RoomEvent)) {
	h.change(func(t *table) { t.rooms = with(t.rooms, f) })
}

// RoomEvent is something that happened to a room.
type RoomEvent struct {
	Type   RoomEventType
	Room   string
	Socket string // id of the socket that joins or leaves, or that creates or leaves empty
}

// RoomEventType says what happened to a room.
type RoomEventType string

const (
	RoomCreated RoomEventType = "create-room" // its first member joins
	RoomDeleted RoomEventType = "delete-room" // its last member has left
	RoomJoined  RoomEventType = "join-room"
	RoomLeft    RoomEventType = "leave-room"
)
