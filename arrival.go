package parley

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
)

// maxPID is the length of a pid: 20 characters, a dot and a tag.
const maxPID = 25

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
	if m == nil || adapter.TagIn(w.pid) == "" || len(w.pid) > maxPID || len(w.offset) > len(h.recovery.placeholder) {
		return // other servers are not asked about what none of them has made
	}
	r := h.recovery
	r.mu.Lock()
	here := r.comebacks[w.pid] != nil
	r.mu.Unlock()
	if here || !m.turn(client) {
		return
	}
	defer func() { <-m.turns }()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(client), m.patience)
	defer cancel()
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

// turn waits until a session may move here. It reports whether it may: then m.turns has to be read from.
func (m *moves) turn(client context.Context) bool {
	ctx, cancel := context.WithTimeout(client, maxTurn)
	defer cancel()
	select {
	case m.turns <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
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
