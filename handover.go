package parley

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/sio"
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

// wanted is a comeback that a server wants to have.
type wanted struct {
	pid, offset string
	who         *auth.Identity
	heirOf      *adapter.NodeID // for its client, who will come later: from this server, which leaves
}

// fetch gets a comeback from another server, if it is not here. It then waits for its client, which may
// claim it. client ends when the client goes; the comeback then stays where it is, if it is not too late.
func (h *handover) fetch(client context.Context, w *wanted) {
	m := h.moves()
	if m == nil || adapter.TagIn(w.pid) == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(client), m.patience)
	defer cancel()
	r := h.recovery
	r.mu.Lock()
	for h.arriving[w.pid] != nil && ctx.Err() == nil && client.Err() == nil { // an earlier attempt of the client
		over := h.arriving[w.pid].over
		r.mu.Unlock()
		select {
		case <-over:
		case <-ctx.Done():
		case <-client.Done():
		}
		r.mu.Lock()
	}
	if r.comebacks[w.pid] != nil || ctx.Err() != nil || client.Err() != nil {
		r.mu.Unlock()
		return
	}
	a := &arrival{over: make(chan struct{})}
	h.arriving[w.pid] = a
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.unlock()
		delete(h.arriving, w.pid)
		close(a.over)
	}()
	if err := h.arrive(ctx, client, a, w); err != nil {
		m.srv.log.Debug("parley: a session cannot move here", "namespace", h.nsp.name, "error", err)
	}
}

// arrive is fetch, once it is clear that the comeback is not here.
func (h *handover) arrive(ctx, client context.Context, a *arrival, w *wanted) error {
	flushed := make(chan error, 1)
	h.moves().flushes.join(flushed)
	from, g, err := h.moves().find(ctx, h.nsp, w)
	if err != nil {
		return err
	}
	q := &takeQuestion{Namespace: h.nsp.name, PID: w.pid, Ticket: g.Ticket}
	select {
	case err = <-flushed:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		err = h.receive(ctx, client, a, from, q, g)
	}
	if err != nil { // the other server keeps it
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), h.moves().patience)
			defer cancel()
			q.Drop = true
			_, _ = h.moves().take(ctx, from, q)
		}()
	}
	return err
}

// receive makes a comeback of what its former server has given, and takes the rest from there.
func (h *handover) receive(ctx, client context.Context, a *arrival, from adapter.NodeID, q *takeQuestion, g *given) error {
	r := h.recovery
	if !h.nsp.srv.retain(h.nsp) {
		return errors.New("parley: the namespace is being removed")
	}
	c := &comeback{pid: q.PID, id: g.ID, identity: g.Identity, data: unpack(g.Data, g.Keys), bare: g.Bare}
	r.mu.Lock()
	c.left = time.Since(r.born) - time.Duration(g.Away)*time.Millisecond
	r.last++ // no client has been told this offset yet, not even on an earlier visit
	c.floor = r.last
	for _, room := range append([]string{g.ID}, g.Rooms...) {
		c.stays = append(c.stays, stay{room, r.last, stillThere})
	}
	h.hold(c)
	r.unlock()
	h.landed() // what is in the log before c has been sent to the other server

	taken, err := h.take(ctx, client, from, q, g)
	var events []*Encoded
	if err == nil {
		events, err = h.encode(taken)
	}
	r.mu.Lock()
	defer r.unlock()
	if err == nil && a.spoiled {
		err = errors.New("parley: messages may have been lost meanwhile")
	}
	if err != nil {
		h.unhold(c)
		r.released++
		return err
	}
	h.keep(c, taken, events)
	r.comebacks[c.pid] = c
	r.awaitLocked(c)
	return nil
}

// take listens to the rooms of a comeback, and then asks its former server for the rest. That forgets it,
// so if its client goes after that, it comes nevertheless.
func (h *handover) take(ctx, client context.Context, from adapter.NodeID, q *takeQuestion, g *given) (*taken, error) {
	active := h.nsp.local.touch(append([]string{g.ID}, g.Rooms...))
	if ready := h.nsp.local.ready(); ready != nil {
		active = append(active, ready)
	}
	for _, listening := range active {
		select {
		case <-listening:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if client.Err() != nil {
		return nil, client.Err()
	}
	return h.moves().take(ctx, from, q)
}

// encode builds the events of what was taken; nil for a step without an event.
func (h *handover) encode(t *taken) ([]*Encoded, error) {
	events := make([]*Encoded, len(t.Steps))
	for i, s := range t.Steps {
		if s.Data == nil {
			continue
		}
		m := &adapter.Message{Data: s.Data, Attachments: s.Attachments}
		if s.Uncompressed {
			m.Flags = adapter.Uncompressed
		}
		e, err := h.nsp.assemble(-1, m)
		if err != nil {
			return nil, err
		}
		slot := h.recovery.slot(e)
		if len(slot) != len(s.Offset) {
			return nil, errors.New("parley: an offset of another length")
		}
		copy(slot, s.Offset)
		events[i] = e
	}
	return events, nil
}

// keep keeps what has come with a comeback.
func (h *handover) keep(c *comeback, t *taken, events []*Encoded) {
	now := time.Now()
	m := &moved{came: now, start: c.floor}
	delete(h.gone, c.pid)
	c.moved = m
	for i, s := range t.Steps {
		id := eventID(s.ID)
		m.trail = append(m.trail, step{offset: s.Offset, event: events[i] != nil, id: id, rooms: s.Rooms})
		if id.number != 0 {
			if len(h.had[id]) == 0 {
				h.late = append(h.late, lateEvent{id, now})
			}
			h.had[id] = append(h.had[id], c)
		}
		if _, known := h.events[s.Offset]; known || events[i] == nil {
			continue
		}
		e := carriedEvent{event: events[i], at: now, size: recordOverhead + events[i].size()}
		h.events[s.Offset] = e
		h.order = append(h.order, s.Offset)
		h.bytes += e.size
	}
	for i := len(h.recovery.log) - 1; i >= 0 && h.recovery.log[i].offset > c.floor; i-- {
		rec := &h.recovery.log[i]
		if rec.id.number != 0 && slices.Contains(h.had[rec.id], c) {
			rec.skip = append(slices.Clip(rec.skip), c)
		}
	}
	h.newcomer = append(h.newcomer, c)
}

// give answers another server that wants a comeback: the first part of it, or nil.
func (h *handover) give(ctx context.Context, q *findQuestion) *given {
	r := h.recovery
	for { // until no other server is about to get it
		var over <-chan struct{}
		r.mu.Lock()
		c, coming, gone := r.comebacks[q.PID], h.arriving[q.PID], h.gone[q.PID]
		switch {
		case c != nil && c.claimant != nil && c.claimant.socket == nil:
			over = c.claimant.over
		case c == nil && coming != nil: // the client has moved on
			over = coming.over
		}
		r.mu.Unlock()
		if over == nil && c == nil && gone != (adapter.NodeID{}) {
			return &given{Gone: gone}
		}
		if over == nil {
			break
		}
		select {
		case <-over:
		case <-ctx.Done():
			return nil
		}
	}
	a := &attempt{over: make(chan struct{})}
	c := r.occupy(ctx, a, q.PID, func(c *comeback) bool {
		if q.Heir {
			return !c.live && c.claimant == nil
		}
		_, known := c.position(r, q.Offset)
		return known && c.who().Same(q.Identity)
	})
	if c == nil {
		return nil
	}
	defer r.unlock()
	if q.Heir {
		a.since = h.earliest(c)
	} else {
		a.since, _ = c.position(r, q.Offset)
	}
	if size := h.size(c, a.since); size > maxMove || !r.reachesLocked(c, a.since) {
		r.dropLocked(c)
		return nil
	}
	h.tickets++
	a.ticket = h.tickets
	time.AfterFunc(h.moves().patience/2, func() { // if the other one does not come back to it
		r.mu.Lock()
		defer r.unlock()
		r.disclaimLocked(c, a)
	})
	g := &given{Ticket: a.ticket, ID: c.id, Identity: c.identity, Away: (time.Since(r.born) - c.left).Milliseconds()}
	for room := range c.rooms() {
		if room != c.id {
			g.Rooms = append(g.Rooms, room)
		}
	}
	g.Data, g.Keys, g.Bare = pack(c.data)
	g.Bare = g.Bare || c.bare
	return g
}

// yield is the second part: what the client has missed. The comeback is then forgotten here.
func (h *handover) yield(to adapter.NodeID, q *takeQuestion) *taken {
	r := h.recovery
	r.mu.Lock()
	c := r.comebacks[q.PID]
	if c == nil || c.claimant == nil || c.claimant.socket != nil || c.claimant.ticket != q.Ticket {
		r.unlock()
		return nil
	}
	if q.Drop {
		r.disclaimLocked(c, c.claimant)
		r.unlock()
		return nil
	}
	if !r.reachesLocked(c, c.claimant.since) || h.size(c, c.claimant.since) > maxMove {
		r.dropLocked(c)
		r.unlock()
		return nil
	}
	t, events := h.rest(c, c.claimant.since)
	r.forgetLocked(c)
	h.gone[c.pid] = to
	h.leavers = append(h.leavers, leaver{c.pid, time.Now()})
	r.unlock()
	for i, e := range events {
		if e == nil {
			continue
		}
		s := &t.Steps[i]
		var err error
		if s.Data, s.Attachments, err = h.content(e); err != nil {
			h.nsp.srv.log.Error("parley: an event of a session that moves cannot be read", "namespace", h.nsp.name, "error", err)
			return nil
		}
		s.Uncompressed = e.first.IsUncompressed()
	}
	return t
}

// missed calls f with our events that concern a comeback, after a position.
func (h *handover) missed(c *comeback, at position, f func(*record)) {
	for i := range h.recovery.log {
		if rec := &h.recovery.log[i]; rec.offset > at.offset && c.concerns(rec) {
			f(rec)
		}
	}
}

// size returns how many bytes the events of a comeback have after a position.
func (h *handover) size(c *comeback, at position) (size int) {
	for _, s := range c.moved.after(at) {
		size += weight(h.event(s))
	}
	h.missed(c, at, func(rec *record) { size += weight(rec.event) })
	return size
}

// weight is about how many bytes an event has when it moves; e may be nil.
func weight(e *Encoded) (bytes int) {
	if e != nil {
		for _, m := range e.messages {
			bytes += 128 + len(m.Data())*4/3
		}
	}
	return bytes
}

// rest returns what a client has missed since a position. The events are those of the steps, or nil.
func (h *handover) rest(c *comeback, at position) (t *taken, events []*Encoded) {
	r := h.recovery
	t = &taken{}
	put := func(s step, e *Encoded) {
		t.Steps = append(t.Steps, wireStep{Offset: s.offset, ID: wireID(s.id), Rooms: s.rooms})
		events = append(events, e)
	}
	if m := c.moved; m == nil {
		if at.offset <= c.floor {
			put(step{}, nil) // the client may not have received anything yet
		}
	} else if at.steps > 0 && at.offset == m.start {
		put(step{offset: m.trail[at.steps-1].offset}, nil)
	}
	for _, s := range c.moved.after(at) {
		put(s, h.event(s))
	}
	put(step{offset: r.offset(at.offset)}, nil)
	h.missed(c, at, func(rec *record) {
		put(step{offset: r.offset(rec.offset), id: rec.id, rooms: c.through(rec)}, rec.event)
	})
	return t, events
}

// earliest returns the earliest position of which a client that the server has just lost may know.
func (h *handover) earliest(c *comeback) position {
	r, o := h.recovery, &h.nsp.srv.opts
	at := position{offset: max(r.hole, r.dropped, c.floor)}
	if m := c.moved; m != nil {
		at = position{len(m.trail), max(at.offset, m.start)}
	}
	// What was sent before the last ping has been received: its answer came later.
	heard := r.born.Add(c.left - cmp.Or(o.PingInterval, 25*time.Second) - cmp.Or(o.PingTimeout, 20*time.Second))
	size := 0
	for i := len(r.log) - 1; i >= 0 && r.log[i].offset > at.offset; i-- {
		rec := &r.log[i]
		if !c.concerns(rec) {
			continue
		}
		if size += weight(rec.event); rec.at.Before(heard) || size > maxMove/2 {
			at.offset = rec.offset
			return at
		}
	}
	if m := c.moved; m != nil && at.offset == m.start && h.has(m.trail) && h.size(c, position{offset: at.offset}) <= maxMove {
		at.steps = 0
	}
	return at
}

// content returns the array of an event and its attachments, without the offset.
func (h *handover) content(e *Encoded) (data []byte, attachments [][]byte, err error) {
	parser := h.nsp.srv.opts.Parser.parser
	d := parser.NewDecoder(&sio.Limits{MaxAttachments: -1, MaxAttachmentBytes: -1, MaxDepth: -1})
	decode := d.Text
	if parser.Binary() {
		decode = d.Binary
	}
	p, complete, err := decode(e.first.Data())
	for _, m := range e.messages[1:] {
		if err == nil {
			p, complete, err = d.Binary(m.Data())
		}
	}
	if err != nil || !complete {
		return nil, nil, errors.Join(errors.New("parley: an event is not complete"), err)
	}
	i := bytes.LastIndex(p.Data, []byte(`,"`))
	if i < 0 || len(p.Data)-i != len(h.recovery.placeholder)+4 {
		return nil, nil, errors.New("parley: an event without an offset")
	}
	return append(bytes.Clone(p.Data[:i]), ']'), p.Attachments, nil
}

// through returns the rooms through which an event concerns the comeback, if it still is in all of them.
func (c *comeback) through(rec *record) (rooms []string) {
	if rec.only != nil || rec.all {
		return nil
	}
	for _, t := range c.stays {
		if t.from < rec.offset && rec.offset <= t.to && slices.Contains(rec.rooms, t.room) {
			if t.to != stillThere || t.room == c.id {
				return nil
			}
			rooms = append(rooms, strings.Clone(t.room))
		}
	}
	return rooms
}
