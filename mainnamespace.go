package parley

import (
	"context"
	"encoding/json"
	"time"
)

// Methods of Server for its main namespace, "/".

// On calls handler for each event with this name in the main namespace; see Namespace.On.
func (s *Server) On(event string, handler Handler) *Registration {
	return s.made().main.On(event, handler)
}

func (s *Server) onCall(event string, handler Handler) *Registration {
	return s.made().main.onCall(event, handler)
}

// Once is like On, but only for the first event with this name; see Namespace.Once.
func (s *Server) Once(event string, handler Handler) *Registration {
	return s.made().main.Once(event, handler)
}

// Off removes all handlers of this event that were registered for the main namespace.
func (s *Server) Off(event string) { s.made().main.Off(event) }

// OnAny calls handler for every event in the main namespace; see Namespace.OnAny.
func (s *Server) OnAny(handler Handler) *Registration { return s.made().main.OnAny(handler) }

// OnUnhandled calls handler for events in the main namespace that have no other handler; see
// Namespace.OnUnhandled.
func (s *Server) OnUnhandled(handler Handler) *Registration {
	return s.made().main.OnUnhandled(handler)
}

// OnAnyOutgoing calls f for each event that is sent to a socket of the main namespace; see
// Namespace.OnAnyOutgoing.
func (s *Server) OnAnyOutgoing(f func(event string, args []json.RawMessage)) *Registration {
	return s.made().main.OnAnyOutgoing(f)
}

// OnConnection calls f for each socket that connects to the main namespace; see
// Namespace.OnConnection.
func (s *Server) OnConnection(f func(s *Socket)) *Registration { return s.made().main.OnConnection(f) }

// OnDisconnect calls f when a socket of the main namespace has disconnected; see
// Namespace.OnDisconnect.
func (s *Server) OnDisconnect(f func(s *Socket, reason Reason)) *Registration {
	return s.made().main.OnDisconnect(f)
}

// OnError calls f with the errors and panics of handlers of the main namespace; see
// Namespace.OnError.
func (s *Server) OnError(f func(s *Socket, err error)) *Registration { return s.made().main.OnError(f) }

// OnRoom calls f when rooms of the main namespace are created and deleted, and when sockets join
// and leave them; see Namespace.OnRoom.
func (s *Server) OnRoom(f func(RoomEvent)) *Registration { return s.made().main.OnRoom(f) }

// Use adds middleware that runs before a socket is connected to the main namespace; see
// Namespace.Use. Other namespaces need their own middleware.
func (s *Server) Use(middleware func(ctx context.Context, s *Socket) error) *Registration {
	return s.made().main.Use(middleware)
}

// UseEvent adds middleware that runs for every event in the main namespace; see Namespace.UseEvent.
func (s *Server) UseEvent(middleware Handler) *Registration {
	return s.made().main.UseEvent(middleware)
}

// Socket returns the connected socket of the main namespace with this id, or nil.
func (s *Server) Socket(id string) *Socket { return s.made().main.Socket(id) }

// Emit sends an event to all sockets of the main namespace; see Broadcast.Emit.
func (s *Server) Emit(event string, args ...any) error { return s.made().main.Emit(event, args...) }

// Encode encodes an event once, for sockets of the main namespace; see Namespace.Encode.
func (s *Server) Encode(event string, args ...any) (*Encoded, error) {
	return s.made().main.Encode(event, args...)
}

// To selects the sockets of the main namespace that are in any of the rooms; see Namespace.To.
func (s *Server) To(rooms ...string) *Broadcast { return s.made().main.To(rooms...) }

// In is the same as To.
func (s *Server) In(rooms ...string) *Broadcast { return s.made().main.In(rooms...) }

// All selects all sockets of the main namespace.
func (s *Server) All() *Broadcast { return s.made().main.All() }

// Except selects all sockets of the main namespace except those in any of the rooms.
func (s *Server) Except(rooms ...string) *Broadcast { return s.made().main.Except(rooms...) }

// Volatile selects all sockets of the main namespace; see Broadcast.Volatile.
func (s *Server) Volatile() *Broadcast { return s.made().main.Volatile() }

// Local selects all sockets of the main namespace in this process; see Broadcast.Local.
func (s *Server) Local() *Broadcast { return s.made().main.Local() }

// Compress selects all sockets of the main namespace; see Broadcast.Compress.
func (s *Server) Compress(compress bool) *Broadcast { return s.made().main.Compress(compress) }

// Timeout selects all sockets of the main namespace; see Broadcast.Timeout.
func (s *Server) Timeout(d time.Duration) *Broadcast { return s.made().main.Timeout(d) }

// FetchSockets returns all sockets of the main namespace; see Broadcast.FetchSockets.
func (s *Server) FetchSockets(ctx context.Context) ([]SocketInfo, error) {
	return s.made().main.FetchSockets(ctx)
}

// SocketIDs returns the ids of all sockets of the main namespace; see Broadcast.SocketIDs.
func (s *Server) SocketIDs(ctx context.Context) ([]string, error) {
	return s.made().main.SocketIDs(ctx)
}

// Count returns how many sockets are connected to the main namespace; see Broadcast.Count.
func (s *Server) Count(ctx context.Context) (int, error) { return s.made().main.Count(ctx) }

// Rooms returns all rooms of the main namespace and how many sockets are in each; see
// Broadcast.Rooms.
func (s *Server) Rooms(ctx context.Context) (map[string]int, error) { return s.made().main.Rooms(ctx) }

// SocketsJoin makes all sockets of the main namespace join rooms; see Broadcast.SocketsJoin.
func (s *Server) SocketsJoin(ctx context.Context, rooms ...string) error {
	return s.made().main.SocketsJoin(ctx, rooms...)
}

// SocketsLeave makes all sockets of the main namespace leave rooms; see Broadcast.SocketsLeave.
func (s *Server) SocketsLeave(ctx context.Context, rooms ...string) error {
	return s.made().main.SocketsLeave(ctx, rooms...)
}

// DisconnectSockets disconnects all sockets of the main namespace; see Socket.Disconnect.
func (s *Server) DisconnectSockets(ctx context.Context, closeConnection bool) error {
	return s.made().main.DisconnectSockets(ctx, closeConnection)
}
