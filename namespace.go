package parley

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/rooms"
)

// Namespace is a set of sockets with its own rooms and handlers. It shares its clients' connections
// with other namespaces. It is safe for concurrent use.
//
// Its handlers apply to all of its sockets, current and future. Several handlers of the same kind
// run in the order of registration. The handlers of a ParentNamespace run before those of its
// namespaces, and the handlers of a namespace before those of its sockets. Each method that
// registers a handler returns a Registration, with which you can remove that handler.
type Namespace struct {
	handlers
	parent atomic.Pointer[ParentNamespace] // its handlers run first; nil: none
	srv    *Server
	name   string
	local  local
	ackIDs atomic.Int64

	serverEvents queue // of other servers

	// Guarded by srv.mu.
	refs    int           // sockets, including those that are connecting and those that may come back
	pinned  bool          // Of was called: the namespace stays even without sockets
	opening chan struct{} // closed and set to nil after the OnNewNamespace handlers have run
	failed  bool          // such a handler panicked: nobody may join
}

func newNamespace(srv *Server, name string) *Namespace {
	n := &Namespace{handlers: handlers{srv: srv}, srv: srv, name: name}
	n.local.index = rooms.New[*Socket]()
	if o := srv.opts.Recovery; o != nil {
		n.local.recovery = newRecovery(o, func() { srv.release(n) })
		n.local.recovery.suffix = srv.idSuffix
		if srv.opts.Cluster != nil {
			n.local.recovery.handover = newHandover(n)
		}
	}
	if c := srv.opts.Cluster; c != nil {
		n.local.link = c.Open(name, member{n})
	}
	return n
}

// tables returns the handlers that apply to the namespace: its parent's, then its own.
func (n *Namespace) tables() [2]*table {
	t := [2]*table{&noHandlers, n.load()}
	if p := n.parent.Load(); p != nil {
		t[0] = p.load()
	}
	return t
}

// hearsRooms reports whether there are OnRoom handlers.
func (n *Namespace) hearsRooms() bool {
	t := n.tables()
	return len(t[0].rooms)+len(t[1].rooms) > 0
}

// welcomes reports whether there are OnConnection handlers.
func (n *Namespace) welcomes() bool {
	t := n.tables()
	return len(t[0].connection)+len(t[1].connection) > 0
}

// screens reports whether there is middleware for sockets.
func (n *Namespace) screens() bool {
	t := n.tables()
	return len(t[0].connect)+len(t[1].connect) > 0
}

// Name returns the namespace's name, including the slash.
func (n *Namespace) Name() string { return n.name }

// Socket returns the connected socket with this id, or nil.
func (n *Namespace) Socket(id string) *Socket {
	s, _ := n.local.index.Get(id)
	return s
}

// Emit sends an event to all sockets of the namespace.
func (n *Namespace) Emit(event string, args ...any) error {
	return n.All().Emit(event, args...)
}

// To selects the sockets that are in any of the rooms. Without rooms it selects nobody. Each socket
// is in a room that has its id as name.
func (n *Namespace) To(rooms ...string) *Broadcast {
	return &Broadcast{nsp: n, selection: selection{rooms: rooms}}
}

// In is the same as To.
func (n *Namespace) In(rooms ...string) *Broadcast { return n.To(rooms...) }

// All selects all sockets. Start with it if your chain has no To: n.All().Except("admins").Emit(…).
func (n *Namespace) All() *Broadcast { return &Broadcast{nsp: n, selection: selection{all: true}} }

// Except selects all sockets except those in any of the rooms.
func (n *Namespace) Except(rooms ...string) *Broadcast { return n.All().Except(rooms...) }

// Volatile selects all sockets; see Broadcast.Volatile.
func (n *Namespace) Volatile() *Broadcast { return n.All().Volatile() }

// Local selects all sockets of this process; see Broadcast.Local.
func (n *Namespace) Local() *Broadcast { return n.All().Local() }

// Compress selects all sockets; see Broadcast.Compress.
func (n *Namespace) Compress(compress bool) *Broadcast { return n.All().Compress(compress) }

// Timeout selects all sockets; see Broadcast.Timeout.
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

// SocketsJoin makes all sockets join rooms; see Broadcast.SocketsJoin.
func (n *Namespace) SocketsJoin(ctx context.Context, rooms ...string) error {
	return n.All().SocketsJoin(ctx, rooms...)
}

// SocketsLeave makes all sockets leave rooms; see Broadcast.SocketsLeave.
func (n *Namespace) SocketsLeave(ctx context.Context, rooms ...string) error {
	return n.All().SocketsLeave(ctx, rooms...)
}

// DisconnectSockets disconnects all sockets; see Socket.Disconnect.
func (n *Namespace) DisconnectSockets(ctx context.Context, closeConnection bool) error {
	return n.All().DisconnectSockets(ctx, closeConnection)
}
