package historytest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-go/parley/history"
)

// client has at most one room open, at one node. Its goroutine owns it.
type client struct {
	game *game
	open closer
	view *view
	seen map[string]*view // by room; kept when the client leaves, so that it can come back
}

// view is what a client knows of a room. Each visit is a subscriber; the next visit continues with
// the same view.
type view struct {
	game *game
	room string

	mu    sync.Mutex
	epoch string
	start int64                     // the position of the first page
	pos   int64                     // the view has everything up to this number
	held  map[int64]history.Message // by seq
	visit *visit                    // the current one
	// The page of a client that comes back may not reach the live messages. They wait until the
	// client has read up to where they begin.
	behind bool
	upTo   int64
	live   []*history.Live
}

type visit struct {
	view *view

	// view.mu guards these.
	ready    bool
	caughtUp bool
}

func (c *client) do(s step) {
	g := c.game
	room, node := g.rooms[s.Room], g.nodes[s.Node]
	switch s.Action {
	case join, readOn:
		c.leave()
		c.join(node, room, s.Action == readOn)
	case leave:
		c.leave()
	case look:
		c.look(s)
	case change, changeAgain, changeDie:
		c.change(s, room)
	default:
		g.mu.Lock()
		g.next++
		d := draft(room, g.next)
		g.mu.Unlock()
		d.ClientID = fmt.Sprint(room, "/", string(d.Message))
		c.send(s, d)
	}
}

func (c *client) send(s step, d history.Draft) {
	g, ctx := c.game, context.Background()
	switch s.Action {
	case send:
		if r, err := g.nodes[s.Node].Append(ctx, d); err != nil || r.Dup {
			g.fault("append: %+v, %v", r, err)
		}
	case sendAgain:
		// The client may give up before the commit or after it.
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		_, err := g.nodes[s.Node].Append(short, d)
		cancel()
		if err != nil && !errors.Is(err, history.ErrUnknownOutcome) {
			g.fault("append: %v", err)
		}
		if r, err := g.nodes[(s.Node+1)%planNodes].Append(ctx, d); err != nil {
			g.fault("append again: %+v, %v", r, err)
		}
	case sendDie:
		if _, err := g.store.Append(ctx, []history.Draft{d}); err != nil {
			g.fault("append: %v", err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent[d.ClientID] = s.Room
}

// change edits a message of the room, or deletes it.
func (c *client) change(s step, room string) {
	g, ctx := c.game, context.Background()
	g.mu.Lock()
	g.next++
	e := edit(room, g.store.any(room, g.random), g.next)
	if g.random.IntN(4) == 0 {
		e.Message = nil
	}
	g.mu.Unlock()
	if e.Seq == 0 {
		return // there is none
	}
	switch s.Action {
	case change:
		g.check(g.nodes[s.Node].Edit(ctx, e))
	case changeAgain:
		short, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
		g.nodes[s.Node].Edit(short, e)
		cancel()
		g.check(g.nodes[(s.Node+1)%planNodes].Edit(ctx, e))
	case changeDie:
		g.check(g.store.Edit(ctx, e))
	}
}

// check checks the outcome of an edit.
func (g *game) check(edited history.Edited, err error) {
	var conflict *history.Conflict
	if err != nil && !(errors.As(err, &conflict) && conflict.Message.Deleted) {
		g.fault("edit: %+v, %v", edited, err)
	}
}

// look reads a page around a message. What the client holds wins unless the page has a later change.
func (c *client) look(s step) {
	if c.open == nil {
		return
	}
	v, g := c.view, c.game
	g.mu.Lock()
	around := g.store.any(v.room, g.random)
	g.mu.Unlock()
	page, err := g.slow.History(context.Background(), v.room, history.Page{Around: max(around, 1), Limit: g.limit})
	if err != nil {
		g.fault("%s: look at %d: %v", v.room, around, err)
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range page.Messages {
		v.hold(&page.Messages[i])
	}
}

// hold keeps a message unless a later change of it is held.
func (v *view) hold(m *history.Message) {
	if held, ok := v.held[m.Seq]; !ok || held.Number() < m.Number() {
		v.held[m.Seq] = *m
	}
}

func (c *client) join(n node, room string, paced bool) {
	v := c.seen[room]
	if v == nil {
		v = &view{game: c.game, room: room, held: map[int64]history.Message{}}
		c.seen[room] = v
	}
	now := &visit{view: v}
	v.mu.Lock()
	v.visit = now
	o := history.OpenOptions{Epoch: v.epoch, Since: v.pos, Limit: c.game.limit}
	if paced {
		o.CaughtUp = now.onCaughtUp
	}
	v.mu.Unlock()
	open, err := n.Open(context.Background(), room, o, now, now.onReady)
	if err != nil {
		c.game.fault("open %s: %v", room, err)
		return
	}
	v.mu.Lock()
	if !now.ready {
		c.game.fault("%s: opened without being ready", room)
	}
	v.mu.Unlock()
	c.open, c.view = open, v
	for c.readOn() {
	}
}

// readOn reads a page if the client does not have all messages before the live ones. It reports
// whether there may be more to read.
func (c *client) readOn() (more bool) {
	v, g := c.view, c.game
	v.mu.Lock()
	pos, behind := v.pos, v.behind
	v.mu.Unlock()
	if !behind {
		return false
	}
	s, err := g.store.Changes(context.Background(), v.room, pos, g.limit)
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil || s.UpTo <= pos {
		g.fault("%s: read on after %d: %d messages up to %d, %v", v.room, pos, len(s.Messages), s.UpTo, err)
		return false
	}
	for i := range s.Messages {
		if m := &s.Messages[i]; m.Number() <= v.upTo {
			v.apply("later", m)
		}
	}
	v.reach(min(s.UpTo, v.upTo))
	if v.behind = v.pos < v.upTo; !v.behind {
		for _, m := range v.live {
			v.apply("live", &m.Message)
		}
		v.live = nil
	}
	return v.behind
}

func (c *client) leave() {
	if c.open == nil {
		return
	}
	c.view.mu.Lock()
	c.view.visit = nil // ignore a Deliver that is still running
	c.view.behind, c.view.live = false, nil
	c.view.mu.Unlock()
	c.open.Close()
	c.open, c.view = nil, nil
}

// finish checks, when everything has settled, that nothing is missing at the end.
func (c *client) finish() {
	if c.open == nil {
		return
	}
	room := c.view.room
	heads, err := c.game.store.Heads(context.Background(), []string{room})
	c.view.mu.Lock()
	pos := c.view.pos
	c.view.mu.Unlock()
	if err != nil || pos != heads[room] {
		c.game.fault("%s: a client is at %d of %d, %v", room, pos, heads[room], err)
	}
	c.view.check()
	c.leave()
}

// check compares what the view holds with what was committed, when everything has settled.
func (v *view) check() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, m := range v.game.store.since(v.room, v.start) {
		if _, ok := v.held[m.Seq]; !ok {
			v.game.fault("%s: message %d, last changed by %d, is missing", v.room, m.Seq, m.Number())
		}
	}
	for seq, held := range v.held {
		if m := v.game.store.latest(v.room, seq); !same(held, m) {
			v.game.fault("%s: message %d is held as of %d, not %d", v.room, seq, held.Number(), m.Number())
		}
	}
}

func (v *visit) onReady(o history.Opened) {
	view := v.view
	view.mu.Lock()
	defer view.mu.Unlock()
	if v.ready {
		view.game.fault("%s: ready twice", view.room)
	}
	v.ready = true
	if o.Reset {
		view.game.fault("%s: reset at %d", view.room, view.pos)
	}
	first := view.epoch == ""
	if first {
		view.pos, view.start = o.LastSeq, o.LastSeq
		begin := o.LastSeq + 1
		for i := range o.Messages {
			m := &o.Messages[i]
			if m.Number() > o.LastSeq || i > 0 && m.Seq <= o.Messages[i-1].Seq {
				view.game.fault("%s: the newest page up to %d has %d, changed by %d", view.room, o.LastSeq, m.Seq, m.Number())
			}
			view.hold(m)
			begin = min(begin, m.Seq)
		}
		if o.HasMore == view.game.store.firstIs(view.room, begin) {
			view.game.fault("%s: has more %v before %d", view.room, o.HasMore, begin)
		}
		view.epoch = o.Epoch
		return
	}
	for i := range o.Messages {
		view.apply("page", &o.Messages[i])
	}
	view.behind, view.upTo = o.HasMore, o.LastSeq
	if !view.behind {
		view.reach(o.LastSeq)
	} else if view.pos > o.LastSeq || len(o.Messages) == 0 {
		view.game.fault("%s: page ends at %d, not %d", view.room, view.pos, o.LastSeq)
	}
}

func (v *visit) onCaughtUp(upTo int64) {
	view := v.view
	view.mu.Lock()
	defer view.mu.Unlock()
	if view.visit == v && (!v.ready || v.caughtUp || upTo < view.pos) {
		view.game.fault("%s: caught up to %d, at %d, ready %v, again %v", view.room, upTo, view.pos, v.ready, v.caughtUp)
	}
	if view.visit == v {
		view.reach(upTo)
	}
	v.caughtUp = true
}

// Behind implements [history.Paced].
func (v *visit) Behind() bool {
	g := v.view.game
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.random.Float64() < g.plan.behind
}

// WhenDrained implements [history.Paced].
func (v *visit) WhenDrained(f func()) {
	g := v.view.game
	g.mu.Lock()
	defer g.mu.Unlock()
	time.AfterFunc(time.Duration(g.random.Int64N(int64(g.plan.drainTime)+1)), f)
}

// Lost implements [history.Paced].
func (v *visit) Lost(room string, err error) { v.view.game.fault("%s: lost: %v", room, err) }

// Deliver implements [history.Subscriber].
func (v *visit) Deliver(m *history.Live) {
	view := v.view
	view.mu.Lock()
	defer view.mu.Unlock()
	if view.visit != v {
		return
	}
	if !v.ready {
		view.game.fault("%s: a live message before the page", view.room)
	}
	if view.behind {
		view.live = append(view.live, m)
		return
	}
	view.apply("live", &m.Message)
}

// apply takes the next change.
func (v *view) apply(how string, m *history.Message) {
	n := m.Number()
	err := v.game.store.superseded(v.room, v.pos, n)
	if m.RoomID != v.room || n <= v.pos || err != nil {
		v.game.fault("%s: %s change %d of %s after %d: %v", v.room, how, n, m.RoomID, v.pos, err)
	}
	v.pos = max(v.pos, n)
	v.hold(m)
}

// reach moves the position to where a page ends: what is between was superseded.
func (v *view) reach(upTo int64) {
	if err := v.game.store.superseded(v.room, v.pos, upTo+1); err != nil || upTo < v.pos {
		v.game.fault("%s: up to %d after %d: %v", v.room, upTo, v.pos, err)
	}
	v.pos = max(v.pos, upTo)
}
