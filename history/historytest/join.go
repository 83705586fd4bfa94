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
func RunJoin(t *testing.T, open func(testing.TB) history.Store) { RunJoinOver(t, open, oneNetwork) }

// A Connect connects nodes by buses that have faults, in the bubble in which it is called. Close ends
// them, when the nodes are gone.
type Connect func(nodes int, f Faults) (buses []history.Bus, close func())

// RunJoinOver is RunJoin with buses of yours.
func RunJoinOver(t *testing.T, open func(testing.TB) history.Store, connect Connect) {
	store := open(t)
	_, edits := store.(history.Editor)
	trial := 0
	rapid.Check(t, func(rt *rapid.T) {
		trial++
		if err := runPlan(t, drawPlan(rt, edits), trial, store, connect, newLogNode(nil)); err != nil {
			rt.Fatal(err)
		}
	})
}

// oneNetwork connects all nodes by a Network.
func oneNetwork(nodes int, f Faults) (buses []history.Bus, close func()) {
	network := NewNetwork(f)
	for range nodes {
		buses = append(buses, network)
	}
	return buses, func() {}
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
func runPlan(t *testing.T, p plan, trial int, store history.Store, connect Connect, construct newNode) (err error) {
	synctest.Test(t, func(*testing.T) { err = play(p, trial, store, connect, construct) })
	return err
}

func play(p plan, trial int, stored history.Store, connect Connect, construct newNode) error {
	buses, disconnect := connect(planNodes, p.faults)
	store := newLedger(stored)
	slow := &slowStore{ledger: store, limit: p.storeTime, random: rand.New(rand.NewPCG(p.faults.Seed, 1))}
	g := &game{
		store: store, slow: slow, plan: p, limit: history.Limit{Messages: 5, Bytes: p.pageBytes},
		random: rand.New(rand.NewPCG(p.faults.Seed, 2)), sent: map[string]int{},
	}
	for n := range planRooms {
		g.rooms = append(g.rooms, fmt.Sprintf("join-%d-%d", trial, n))
	}
	for _, bus := range buses {
		g.nodes = append(g.nodes, construct(slow, bus))
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
	disconnect()
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
