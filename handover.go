package parley

import (
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
)

// handover moves comebacks between the servers of a cluster. It belongs to a recovery, whose mu guards
// it. A client that comes to another server than before names its pid, whose tag says which server
// made the socket:
//
//	client                     its new server, B                      its old server, A
//	40{"pid":…,"offset":…}  →
//	                           asks all: "flush"
//	                           find {pid, offset, identity}        →  ends the old connection
//	                                                               ←  the socket's id, rooms and data
//	                           listens to the rooms until it
//	                           hears them; its log keeps what arrives
//	                           take {pid}                          →  asks all: "flush", and awaits their answers
//	                                                               ←  what the client has missed; forgets it
//	                        ←  what it has missed
//	                        ←  40{"sid":…,"pid":…}
//
// A server answers "flush" after everything that it has sent. So when A has the answers, it has what was
// sent before B listened. When B has them, what the client may have received from A does not come any
// more. What reaches both later is recognized by its eventID.
//
// An event keeps the offset that it got from A, because a client that is cut off in the middle names it.
// So a comeback has a trail of offsets of its former servers.
//
// A session is on one server at a time: A forgets it with its answer to take. If A does not get that
// far, it keeps it, and if the answer is lost, so is the session. Its client then gets a new one.
type handover struct {
	recovery *recovery
	nsp      *Namespace

	rooms    map[string]int // how many comebacks whose clients are away were in them: this server goes on listening
	free     []string       // rooms for which that has ended, to be told to the cluster when mu is unlocked
	arriving map[string]*arrival
	gone     map[string]adapter.NodeID // which server has taken the comeback with this pid, for a while
	leavers  []leaver                  // the keys of gone, in order
	tickets  uint64
	flight   *flight // events of this server that are in the log, but not yet published

	events map[string]carriedEvent // of other servers, by their offsets
	order  []string                // of events, in the order in which they came
	bytes  int                     // of events

	had      map[eventID][]*comeback // who has had an event from another server
	late     []lateEvent             // the keys of had, in order
	newcomer []*comeback             // those with a moved, in the order in which they came
}

// eventID identifies an event in the cluster. It is zero for one that does not cross servers.
type eventID struct {
	node   adapter.NodeID
	number uint64
}

// carriedEvent is an event that came with a comeback.
type carriedEvent struct {
	event *Encoded
	at    time.Time
	size  int
}

type lateEvent struct {
	id eventID
	at time.Time
}

type leaver struct {
	pid string
	at  time.Time
}

// arrival is a comeback on its way to this server.
type arrival struct {
	over    chan struct{} // closed when it has come, or will not
	spoiled bool          // messages of other servers may have been lost meanwhile
}

const (
	// maxMove is how many bytes of events may move with a session.
	maxMove = 1<<20 - 1<<16

	// lateTime is how long an event may take longer on the direct way from its server than through the
	// former server of a session.
	lateTime = 30 * time.Second
)

func newHandover(n *Namespace) *handover {
	return &handover{
		recovery: n.local.recovery, nsp: n, rooms: map[string]int{}, arriving: map[string]*arrival{}, gone: map[string]adapter.NodeID{}, flight: &flight{},
		events: map[string]carriedEvent{}, had: map[eventID][]*comeback{},
	}
}

// moves returns how sessions move, or nil if they cannot. h may be nil.
func (h *handover) moves() *moves {
	if h == nil {
		return nil
	}
	return h.nsp.srv.moves
}

// hold makes the server listen to the rooms of a comeback whose client is away.
func (h *handover) hold(c *comeback) {
	if h != nil {
		for room := range c.rooms() {
			h.rooms[room]++
		}
	}
}

// unhold undoes hold.
func (h *handover) unhold(c *comeback) {
	if h == nil {
		return
	}
	for room := range c.rooms() {
		if h.rooms[room]--; h.rooms[room] == 0 {
			delete(h.rooms, room)
			h.free = append(h.free, room)
		}
	}
}

func (h *handover) takeFree() (free []string) {
	if h != nil {
		free, h.free = h.free, nil
	}
	return free
}

// expects reports whether somebody is in the room, or may come back to it.
func (r *recovery) expects(room string) bool {
	if r.handover == nil {
		return false
	}
	r.mu.Lock() // rooms change under it
	defer r.mu.Unlock()
	return r.handover.rooms[room] > 0 || r.handover.nsp.local.index.Size(room) > 0
}

// spoil notes that messages of other servers may have been lost.
func (h *handover) spoil() {
	if h != nil {
		for _, a := range h.arriving {
			a.spoiled = true
		}
	}
}

// hadBy returns the comebacks whose clients have had an event from another server.
func (h *handover) hadBy(id eventID) []*comeback {
	if h == nil || len(h.had) == 0 || id.number == 0 {
		return nil
	}
	return h.had[id]
}

// board returns what has to be told when an event of this server is published; nil if that does not
// matter.
func (h *handover) board(id eventID) *flight {
	if h == nil || id.number == 0 || id.node != h.moves().id() {
		return nil
	}
	h.flight.Add(1)
	return h.flight
}

// flight is some events of this server that are about to be published.
type flight struct {
	sync.WaitGroup
	before *flight // that has perhaps not landed yet
}

// landed waits until all events of this server that are in the log have been published.
func (h *handover) landed() {
	h.recovery.mu.Lock()
	last := h.flight
	h.flight = &flight{before: last}
	h.recovery.mu.Unlock()
	for f := last; f != nil; {
		f.Wait()
		h.recovery.mu.Lock()
		f = f.before
		h.recovery.mu.Unlock()
	}
	h.recovery.mu.Lock()
	last.before = nil
	h.recovery.mu.Unlock()
}

// trim forgets what is too old: events from before limit, and who has had which.
func (h *handover) trim(now, limit time.Time) (kept bool) {
	if h == nil {
		return false
	}
	for len(h.order) > 0 && (h.bytes > h.recovery.opts.MaxBytes || h.events[h.order[0]].at.Before(limit)) {
		h.bytes -= h.events[h.order[0]].size
		delete(h.events, h.order[0])
		h.order = h.order[1:]
	}
	for len(h.late) > 0 && now.Sub(h.late[0].at) > lateTime {
		delete(h.had, h.late[0].id)
		h.late = h.late[1:]
	}
	for len(h.newcomer) > 0 && h.newcomer[0].moved.came.Before(limit) {
		m := h.newcomer[0].moved // its client has got the events long ago, or they are gone
		m.trail = slices.Clone(m.trail[max(0, len(m.trail)-1):])
		h.newcomer = h.newcomer[1:]
	}
	for len(h.leavers) > 0 && (h.leavers[0].at.Before(limit) || len(h.leavers) > h.recovery.opts.MaxSessions) {
		delete(h.gone, h.leavers[0].pid)
		h.leavers = h.leavers[1:]
	}
	return len(h.order)+len(h.late)+len(h.newcomer)+len(h.leavers) > 0
}

// has reports whether the events of these steps are there.
func (h *handover) has(steps []step) bool {
	return !slices.ContainsFunc(steps, func(s step) bool { return s.event && h.event(s) == nil })
}

// event returns the event of a step, or nil.
func (h *handover) event(s step) *Encoded {
	if !s.event {
		return nil
	}
	return h.events[s.offset].event
}

// carried returns the events of these steps, but for those of rooms that the socket has left.
func (h *handover) carried(steps []step, left []string) (events []*Encoded) {
	for _, s := range steps {
		gone := len(s.rooms) > 0 && !slices.ContainsFunc(s.rooms, func(room string) bool { return !slices.Contains(left, room) })
		if e := h.event(s); e != nil && !gone {
			events = append(events, e)
		}
	}
	return events
}
