package parley

import (
	"slices"
	"sync"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/fifo"
	"github.com/parley-go/parley/internal/rooms"
)

// local holds the sockets of a namespace that are connected to this process, and delivers to them.
// It is the seam below Namespace and Broadcast: what they do to sockets arrives here as plain data,
// a selection and an encoded event. In a cluster, the other servers receive the same data through
// link, and member does there what local does here.
//
// Locks are taken in the order recovery → news → Socket → rooms.Index. No handler is called while
// one of them is held.
type local struct {
	index    *rooms.Index[*Socket]
	recovery *recovery    // nil: off
	link     adapter.Link // to the other servers of a cluster; nil: none
	news     news
}

// selection says which sockets are selected.
type selection struct {
	all    bool     // all sockets; otherwise those in any of rooms
	rooms  []string // without rooms, nobody is selected
	except []string // excludes the sockets in any of these rooms
	self   *Socket  // if not nil, only this socket
	local  bool     // excludes the other processes of a cluster
}

// choose appends the selected sockets to dst.
func (l *local) choose(dst []*Socket, sel *selection) []*Socket {
	switch {
	case sel.self != nil:
		if sel.self.Connected() {
			dst = append(dst, sel.self)
		}
		return dst
	case sel.all:
		return l.index.All(dst, sel.except)
	}
	return l.index.Select(dst, sel.rooms, sel.except)
}

// count returns the number of selected sockets.
func (l *local) count(sel *selection) int {
	if sel.self == nil && len(sel.except) == 0 {
		switch {
		case sel.all:
			return l.index.Len()
		case len(sel.rooms) == 1:
			return l.index.Size(sel.rooms[0])
		}
	}
	return len(l.choose(nil, sel))
}

// sizes returns the rooms of the selected sockets, with the number of selected sockets in each. It
// omits a socket's own room if no other socket is in it.
func (l *local) sizes(sel *selection) map[string]int {
	if sel.all && len(sel.except) == 0 {
		return l.index.Sizes()
	}
	sizes := map[string]int{}
	for _, s := range l.choose(nil, sel) {
		for _, room := range s.member.Rooms() {
			if room != s.ID() || l.index.Size(room) > 1 {
				sizes[room]++
			}
		}
	}
	return sizes
}

// targets holds slices that broadcasts reuse.
var targets = sync.Pool{New: func() any { return new([]*Socket) }}

// deliver sends e to the selected sockets and calls the OnAnyOutgoing handlers. id is zero for an event
// that does not cross servers.
func (l *local) deliver(sel *selection, e *Encoded, volatile bool, id eventID) {
	heard, _ := l.dispatch(sel, e, volatile, id)
	for _, s := range heard {
		s.sent(e)
	}
}

// dispatch is deliver without calling handlers. It returns the sockets for which the caller must call
// Socket.sent. If flight is not nil, the event is one of this server's, and the caller must call
// flight.Done when it is published.
func (l *local) dispatch(sel *selection, e *Encoded, volatile bool, id eventID) (heard []*Socket, flight *flight) {
	if l.recovery != nil {
		return l.recovery.dispatch(l, sel, e, volatile, id)
	}
	return l.transmit(sel, e, volatile, nil), nil
}

// transmit is dispatch without recovery. The sockets of the comebacks in skip get nothing.
func (l *local) transmit(sel *selection, e *Encoded, volatile bool, skip []*comeback) (heard []*Socket) {
	buf := targets.Get().(*[]*Socket)
	chosen := l.choose((*buf)[:0], sel)
	if skip != nil {
		chosen = slices.DeleteFunc(chosen, func(s *Socket) bool { return slices.Contains(skip, s.comeback) })
	}
	for _, s := range chosen {
		if s.transmit(e, volatile) && e.args != nil {
			heard = append(heard, s)
		}
	}
	clear(chosen)
	*buf = chosen
	targets.Put(buf)
	return heard
}

// change calls f to change the rooms of s. Where the order matters (if clients can be recovered, or
// if OnRoom has handlers), no other change and, for recovery, no delivery happens meanwhile. The
// result is what a new member has to await in a cluster.
func (l *local) change(s *Socket, f func(c *change)) (pending []<-chan struct{}) {
	c := change{local: l, socket: s, heard: s.nsp.hearsRooms()}
	r := s.recovery()
	if r != nil {
		r.mu.Lock()
	}
	if c.heard {
		l.news.mu.Lock()
	}
	f(&c)
	if c.heard {
		l.news.mu.Unlock()
	}
	if r != nil {
		r.unlock()
	}
	if len(c.touched) > 0 {
		pending = l.touch(c.touched)
	}
	if c.heard {
		l.news.tell(s.nsp)
	}
	return pending
}

// change is a running change of a socket's rooms.
type change struct {
	local  *local
	socket *Socket
	heard  bool
	// touched are the rooms with new members, or without any, if there is a cluster.
	touched []string
}

func (c *change) touch(rooms ...string) {
	if c.local.link != nil {
		c.touched = append(c.touched, rooms...)
	}
}

func (c *change) add(t RoomEventType, room string) {
	if c.heard {
		c.local.news.queue.Push(roomNews{c.socket, RoomEvent{Type: t, Room: room, Socket: c.socket.ID()}})
	}
}

// enter adds the socket to the namespace, to its own room and to these rooms.
func (c *change) enter(rooms []string) {
	s := c.socket
	created := c.local.index.Add(&s.member, rooms...)
	c.touch(s.ID())
	c.touch(rooms...)
	if c.heard && c.local.index.Size(s.ID()) == 1 { // others may be in it already
		c.add(RoomCreated, s.ID())
	}
	c.add(RoomJoined, s.ID())
	for _, room := range rooms {
		if slices.Contains(created, room) {
			c.add(RoomCreated, room)
		}
		c.add(RoomJoined, room)
	}
}

// remove removes the socket. It returns the rooms that the socket was in.
func (c *change) remove() (left []string) {
	left, emptied := c.local.index.Remove(&c.socket.member)
	c.touch(emptied...)
	for _, room := range left {
		c.add(RoomLeft, room)
	}
	for _, room := range emptied {
		c.add(RoomDeleted, room)
	}
	return left
}

// join puts the socket into a room. ok is false if the socket is in too many rooms already.
func (c *change) join(room string, limit int) (joined, ok bool) {
	joined, created, ok := c.local.index.Join(&c.socket.member, room, limit)
	if created {
		c.add(RoomCreated, room)
	}
	if joined {
		c.touch(room)
		c.add(RoomJoined, room)
		c.socket.comeback.joined(c.local.recovery, room)
	}
	return joined, ok
}

// leave takes the socket out of a room.
func (c *change) leave(room string) {
	left, emptied := c.local.index.Leave(&c.socket.member, room)
	if left {
		c.add(RoomLeft, room)
		c.socket.comeback.parted(c.local.recovery, room)
	}
	if emptied {
		c.touch(room)
		c.add(RoomDeleted, room)
	}
}

// news holds the events that OnRoom handlers have not received yet, in order.
type news struct {
	mu      sync.Mutex
	queue   fifo.Queue[roomNews]
	telling bool // a goroutine is calling handlers
}

type roomNews struct {
	socket *Socket
	event  RoomEvent
}

// tell calls the handlers, unless another goroutine, or a caller of this one, is already doing so.
func (w *news) tell(n *Namespace) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.telling {
		return
	}
	w.telling = true
	for w.queue.Len() > 0 {
		next := w.queue.Pop()
		w.mu.Unlock()
		for _, t := range n.tables() {
			for _, f := range t.rooms {
				next.socket.tell(string(next.event.Type), func() { f.call(next.event) })
			}
		}
		w.mu.Lock()
	}
	w.telling = false
}
