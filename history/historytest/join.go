package historytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/history"
)

// node is what the join suite needs of a process: a [history.Log], or a broken implementation that
// the suite must catch.
type node interface {
	Append(context.Context, history.Draft) (history.Appended, error)
	Edit(context.Context, history.Edit) (history.Edited, error)
	Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (closer, error)
	Close()
}

type closer interface{ Close() }

type newNode func(history.Store, history.Bus) node

type logNode struct{ *history.Log }

func (n logNode) Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (closer, error) {
	s, err := n.Log.Open(ctx, room, o, sub, ready)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// RunJoin checks [history.Log] over the stores that open returns. Three nodes share a store and a
// faulty bus. Clients open rooms, fall behind, move between the nodes and continue from their last
// position. Senders lose acknowledgements and send again to another node. If the store is a
// [history.Editor], they also edit and delete messages. Nodes die between a commit and its
// publication. No client may miss a message or its last change, receive a change twice or receive it
// out of order.
//
// Time is that of a synctest bubble. Calls to the store take random times.
func RunJoin(t *testing.T, open func(testing.TB) history.Store) {
	store := open(t)
	_, edits := store.(history.Editor)
	trial := 0
	rapid.Check(t, func(rt *rapid.T) {
		trial++
		if err := runPlan(t, drawPlan(rt, edits), trial, store, newLogNode(nil)); err != nil {
			rt.Fatal(err)
		}
	})
}

func newLogNode(opt *history.LogOptions) newNode {
	return func(store history.Store, bus history.Bus) node {
		var o history.LogOptions
		if opt != nil {
			o = *opt
		}
		o.Bus = bus
		return logNode{history.NewLog(store, &o)}
	}
}

const (
	planNodes   = 3
	planRooms   = 2
	planClients = 5
)

// plan is one trial.
type plan struct {
	faults    Faults
	storeTime time.Duration // the longest time a call to the store takes
	pageBytes int           // limit of a page; a message has about 240
	behind    float64       // probability that a client is behind when it is to get a message
	drainTime time.Duration // the longest time until it has taken what it had
	steps     []step
}

type action int

const (
	send        action = iota // append and receive the acknowledgement
	sendAgain                 // lose the acknowledgement, append again at the next node
	sendDie                   // the node dies after the commit, before it publishes
	change                    // edit or delete a message
	changeAgain               // lose the acknowledgement, do it again at the next node
	changeDie                 // the node dies after the commit, before it publishes
	join                      // open the room at this node and close the one that was open elsewhere
	readOn                    // the same, and read at the client's own pace what it missed
	look                      // read a page around a message; changes may overtake it
	leave
)

// step is an action of a client after a pause.
type step struct {
	Pause  time.Duration
	Action action
	Client int
	Node   int
	Room   int
}

func drawPlan(t *rapid.T, edits bool) plan {
	milliseconds := func(limit int) *rapid.Generator[time.Duration] {
		return rapid.Map(rapid.IntRange(0, limit), func(n int) time.Duration { return time.Duration(n) * time.Millisecond })
	}
	actions := []action{send, send, send, send, send, send, send, send, sendAgain, sendDie, join, join, readOn, look, leave}
	if edits {
		actions = append(actions, change, change, change, change, changeAgain, changeDie)
	}
	return plan{
		faults: Faults{
			Drop:      float64(rapid.IntRange(0, 50).Draw(t, "drop %")) / 100,
			Duplicate: float64(rapid.IntRange(0, 50).Draw(t, "duplicate %")) / 100,
			Delay:     milliseconds(60).Draw(t, "delay"),
			Seed:      rapid.Uint64().Draw(t, "seed"),
		},
		pageBytes: rapid.SampledFrom([]int{0, 1, 800, 2500}).Draw(t, "page bytes"),
		storeTime: rapid.SampledFrom([]time.Duration{0, time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond}).Draw(t, "store time"),
		behind:    rapid.SampledFrom([]float64{0, 0.2, 0.5}).Draw(t, "behind"),
		drainTime: milliseconds(30).Draw(t, "drain time"),
		steps: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				Pause:  milliseconds(12).Draw(t, "pause"),
				Action: rapid.SampledFrom(actions).Draw(t, "action"),
				Client: rapid.IntRange(0, planClients-1).Draw(t, "client"),
				Node:   rapid.IntRange(0, planNodes-1).Draw(t, "node"),
				Room:   rapid.IntRange(0, planRooms-1).Draw(t, "room"),
			}
		}), 60, 200).Draw(t, "steps"),
	}
}

// runPlan plays p in rooms of its own and returns what went wrong.
func runPlan(t *testing.T, p plan, trial int, store history.Store, construct newNode) (err error) {
	synctest.Test(t, func(*testing.T) { err = play(p, trial, store, construct) })
	return err
}

func play(p plan, trial int, stored history.Store, construct newNode) error {
	network := NewNetwork(p.faults)
	store := newLedger(stored)
	slow := &slowStore{ledger: store, limit: p.storeTime, random: rand.New(rand.NewPCG(p.faults.Seed, 1))}
	g := &game{
		store: store, slow: slow, plan: p, limit: history.Limit{Messages: 5, Bytes: p.pageBytes},
		random: rand.New(rand.NewPCG(p.faults.Seed, 2)), sent: map[string]int{},
	}
	for n := range planRooms {
		g.rooms = append(g.rooms, fmt.Sprintf("join-%d-%d", trial, n))
	}
	for range planNodes {
		g.nodes = append(g.nodes, construct(slow, network))
	}
	var clients sync.WaitGroup
	inboxes := [planClients]chan step{}
	players := [planClients]*client{}
	for i := range players {
		players[i] = &client{game: g, seen: map[string]*view{}}
		inboxes[i] = make(chan step, len(p.steps))
		clients.Go(func() {
			for s := range inboxes[i] {
				players[i].do(s)
			}
		})
	}
	// Each client does one thing after the other; the clients run concurrently.
	for _, s := range p.steps {
		time.Sleep(s.Pause)
		inboxes[s.Client] <- s
	}
	for _, inbox := range inboxes {
		close(inbox)
	}
	clients.Wait()
	time.Sleep(time.Minute) // several audits; longer than anything may take
	for _, c := range players {
		c.finish()
	}
	for _, n := range g.nodes {
		n.Close()
	}
	time.Sleep(time.Minute) // messages that are still on the network
	g.checkStore()
	return errors.Join(g.faults...)
}

// game is the shared state of a trial's clients.
type game struct {
	store *ledger
	slow  *slowStore
	limit history.Limit // of pages
	plan  plan
	nodes []node
	rooms []string

	mu     sync.Mutex
	random *rand.Rand
	sent   map[string]int // acknowledged client ids, with the index in rooms
	next   int
	faults []error
}

func (g *game) fault(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.faults) < 10 {
		g.faults = append(g.faults, fmt.Errorf(format, args...))
	}
}

// checkStore checks that every message was stored once, in an unbroken order.
func (g *game) checkStore() {
	for i, room := range g.rooms {
		stored := map[string]bool{}
		var pos int64
		for {
			s, err := g.store.Changes(context.Background(), room, pos, history.Limit{Messages: history.MaxLimit})
			if err != nil {
				g.fault("read %s: %w", room, err)
				return
			}
			for _, m := range s.Messages {
				if err := g.store.superseded(room, pos, m.Number()); err != nil || m.Number() <= pos || stored[m.ClientID] {
					g.fault("%s: %d follows %d, client id %s: %v", room, m.Number(), pos, m.ClientID, err)
				}
				if !same(m, g.store.latest(room, m.Seq)) {
					g.fault("%s: stored is %+v", room, m)
				}
				pos, stored[m.ClientID] = m.Number(), true
			}
			if s.UpTo == s.Head {
				break
			}
		}
		for id, at := range g.sent {
			if at == i && !stored[id] {
				g.fault("%s: acknowledged but not stored: %s", room, id)
			}
		}
	}
}

// same compares messages as clients see them.
func same(a, b history.Message) bool { return bytes.Equal(a.AppendJSON(nil), b.AppendJSON(nil)) }

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

// slowStore waits before and after each call, so that other calls get in between.
type slowStore struct {
	*ledger
	limit time.Duration

	mu     sync.Mutex
	random *rand.Rand
}

func (s *slowStore) pause() {
	s.mu.Lock()
	d := time.Duration(s.random.Int64N(int64(s.limit) + 1))
	s.mu.Unlock()
	time.Sleep(d)
}

func (s *slowStore) Append(ctx context.Context, drafts []history.Draft) ([]history.Appended, error) {
	s.pause()
	defer s.pause()
	return s.ledger.Append(ctx, drafts)
}

func (s *slowStore) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	s.pause()
	defer s.pause()
	return s.ledger.History(ctx, room, p)
}

func (s *slowStore) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	s.pause()
	defer s.pause()
	return s.ledger.Changes(ctx, room, since, l)
}

func (s *slowStore) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	s.pause()
	defer s.pause()
	return s.ledger.Heads(ctx, rooms)
}

func (s *slowStore) Edit(ctx context.Context, e history.Edit) (history.Edited, error) {
	s.pause()
	defer s.pause()
	return s.ledger.Edit(ctx, e)
}
