package parley

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/sio"
)

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
