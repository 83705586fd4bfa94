package parley

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/rooms"
)

// Namespace is a set of sockets, with rooms and handlers of its own, that shares its
// clients' connections with other namespaces. It is safe for concurrent use.
//
// Its handlers hold for all of its sockets: those that are connected now and those to come. Several
// handlers for one thing run in the order of their registration. A parent's run before those of
// its namespaces, and a namespace's before those of its sockets. Each method that registers
// returns a Registration, with which you remove that one handler.
type Namespace struct {
	handlers
	parent atomic.Pointer[ParentNamespace] // whose handlers come first; nil: none
	srv    *Server
	name   string
	local  local
	ackIDs atomic.Int64

	// Guarded by srv.mu.
	refs    int           // sockets, those included that are connecting, and those that may come back
	pinned  bool          // the server asked for it: it stays without sockets, too
	opening chan struct{} // closed, and nil again, when OnNewNamespace has been told
	failed  bool          // that failed: nobody may join
}

func newNamespace(srv *Server, name string) *Namespace {
	n := &Namespace{handlers: handlers{srv: srv}, srv: srv, name: name}
	n.local.index = rooms.New[*Socket]()
	if o := srv.opts.Recovery; o != nil {
		n.local.recovery = newRecovery(o, func() { srv.release(n) })
	}
	return n
}

// tables returns the handlers that concern the namespace: its parent's, and its own.
func (n *Namespace) tables() [2]*table {
	t := [2]*table{&noHandlers, n.load()}
	if p := n.parent.Load(); p != nil {
		t[0] = p.load()
	}
	return t
}

// hearsRooms reports whether somebody listens to what happens to rooms.
func (n *Namespace) hearsRooms() bool {
	t := n.tables()
	return len(t[0].rooms)+len(t[1].rooms) > 0
}

// welcomes reports whether there are handlers of OnConnection.
func (n *Namespace) welcomes() bool {
	t := n.tables()
	return len(t[0].connection)+len(t[1].connection) > 0
}

// screens reports whether there is middleware that sockets pass.
func (n *Namespace) screens() bool {
	t := n.tables()
	return len(t[0].connect)+len(t[1].connect) > 0
}

// Name returns the namespace's name, slash included.
func (n *Namespace) Name() string { return n.name }

// Socket returns the connected socket with the id, or nil.
func (n *Namespace) Socket(id string) *Socket {
	s, _ := n.local.index.Get(id)
	return s
}

// Emit sends an event to all sockets of the namespace.
func (n *Namespace) Emit(event string, args ...any) error {
	return n.All().Emit(event, args...)
}

// To chooses the sockets that are in any of the rooms: nobody, if there are no rooms. Each socket
// is in the room that is named by its id.
func (n *Namespace) To(rooms ...string) *Broadcast {
	return &Broadcast{nsp: n, selection: selection{rooms: rooms}}
}

// In is To.
func (n *Namespace) In(rooms ...string) *Broadcast { return n.To(rooms...) }

// All chooses all sockets; it is where chains without To begin:
// n.All().Except("admins").Emit(…).
func (n *Namespace) All() *Broadcast { return &Broadcast{nsp: n, selection: selection{all: true}} }

// Except chooses all sockets but those in any of the rooms.
func (n *Namespace) Except(rooms ...string) *Broadcast { return n.All().Except(rooms...) }

// Volatile chooses all sockets; see Broadcast.Volatile.
func (n *Namespace) Volatile() *Broadcast { return n.All().Volatile() }

// Local chooses all sockets of this process; see Broadcast.Local.
func (n *Namespace) Local() *Broadcast { return n.All().Local() }

// Compress chooses all sockets; see Broadcast.Compress.
func (n *Namespace) Compress(compress bool) *Broadcast { return n.All().Compress(compress) }

// Timeout chooses all sockets; see Broadcast.Timeout.
func (n *Namespace) Timeout(d time.Duration) *Broadcast { return n.All().Timeout(d) }

// FetchSockets returns all sockets; see Broadcast.FetchSockets.
func (n *Namespace) FetchSockets(ctx context.Context) ([]SocketInfo, error) {
	return n.All().FetchSockets(ctx)
}

// SocketIDs returns the ids of all sockets; see Broadcast.SocketIDs.
func (n *Namespace) SocketIDs(ctx context.Context) ([]string, error) { return n.All().SocketIDs(ctx) }

// Count returns how many sockets are connected; see Broadcast.Count.
func (n *Namespace) Count(ctx context.Context) (int, error) { return n.All().Count(ctx) }

// Rooms returns all rooms and how many sockets are in each; see Broadcast.Rooms.
func (n *Namespace) Rooms(ctx context.Context) (map[string]int, error) { return n.All().Rooms(ctx) }

// SocketsJoin has all sockets join rooms; see Broadcast.SocketsJoin.
func (n *Namespace) SocketsJoin(ctx context.Context, rooms ...string) error {
	return n.All().SocketsJoin(ctx, rooms...)
}

// SocketsLeave has all sockets leave rooms; see Broadcast.SocketsLeave.
func (n *Namespace) SocketsLeave(ctx context.Context, rooms ...string) error {
	return n.All().SocketsLeave(ctx, rooms...)
}

// DisconnectSockets disconnects all sockets; see Socket.Disconnect.
func (n *Namespace) DisconnectSockets(ctx context.Context, closeConnection bool) error {
	return n.All().DisconnectSockets(ctx, closeConnection)
}
