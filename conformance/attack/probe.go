package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// patience is how long the harness waits for what must happen. Nothing that works takes so long.
	patience = 30 * time.Second

	every      = 50 * time.Millisecond // each member calls both events, and somebody joins
	enough     = 25                    // calls of both events for each member, and newcomers, in a span
	roomSize   = 3                     // members of a room
	rooms      = 4
	behindMost = time.Second // a call that is later than that does not happen

	// attackerAddress is the address of the attacker, and of every other newcomer.
	attackerAddress = "203.0.113.66"
)

// probe is what good clients do. Its members stay connected. Newcomers connect, join and leave.
type probe struct {
	target     target
	transports []string
	members    []*member
	unwell     bool // a refusal for want of the store is an answer like any other
}

func (p *probe) refused(answer string) bool {
	return refusal(answer) && !(p.unwell && withoutStore.MatchString(answer))
}

// withoutStore matches the refusals of a server whose store was taken away.
var withoutStore = regexp.MustCompile(`"code":"(unavailable|unknown_outcome)"`)

type member struct {
	*client
	name      string // its transport and number
	transport string
	room      string
}

// newProbe connects the members, each over one of the transports in turn.
func newProbe(ctx context.Context, t target, a *attack) (*probe, error) {
	transports := a.transports()
	p := &probe{target: t, transports: transports, unwell: a.unwell}
	for i := range rooms * roomSize {
		transport := transports[i%len(transports)]
		m := &member{name: fmt.Sprint(transport, " ", i), transport: transport, room: fmt.Sprint("probe-", i/roomSize)}
		request := fmt.Sprintf(`{"roomId":%q,"userId":"member-%d","limit":1}`, m.room, i)
		c, err := join(ctx, t, transport, t.as(m.name, "service", from(fmt.Sprint("198.51.100.", i))), request)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		m.client = c
		p.members = append(p.members, m)
	}
	return p, nil
}

func (p *probe) close() {
	for _, m := range p.members {
		m.close()
	}
}

// tally is what happened to the good clients in a span of time.
type tally struct {
	due, done, missed int     // calls of members; missed ones could not be sent in time
	lost              int     // calls without an answer
	gaps              int     // live messages that did not follow the one before
	uneven            float64 // how many times more answers one member had than another of its transport
	joins             int     // newcomers that joined
	starved           []string
	failed            map[string]int             // what was refused or closed, and how often
	latencies         map[string][]time.Duration // of the answers, by event
}

// counter collects a tally.
type counter struct {
	sync.Mutex
	tally
	refused func(answer string) bool
}

func (c *counter) answered(event string, due time.Time, answer string) {
	took := time.Since(due)
	c.Lock()
	defer c.Unlock()
	if c.refused(answer) {
		c.failed[answer]++
		return
	}
	if event == "joinRoom" {
		c.joins++
	} else {
		c.done++
	}
	c.latencies[event] = append(c.latencies[event], took)
}

func (c *counter) fail(format string, args ...any) {
	c.Lock()
	defer c.Unlock()
	c.failed[fmt.Sprintf(format, args...)]++
}

// run lets the good clients work. It goes on until each member has had the answers to a number of
// calls of both events, as many newcomers have joined, and ready says so.
func (p *probe) run(ctx context.Context, enough int, ready func() bool) tally {
	working, stop := context.WithTimeout(ctx, patience)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 2*patience) // for the answers
	defer cancel()
	c := &counter{refused: p.refused, tally: tally{failed: make(map[string]int), latencies: make(map[string][]time.Duration)}}
	answers := make([]atomic.Int64, len(p.members))
	var all sync.WaitGroup
	for i, m := range p.members {
		all.Go(func() { m.work(ctx, working, time.Duration(i)*every/time.Duration(len(p.members)), c, &answers[i]) })
	}
	all.Go(func() { p.newcomers(ctx, working, c) })

	satisfied := func() bool {
		for i := range answers {
			if answers[i].Load() < int64(2*enough) {
				return false
			}
		}
		c.Lock()
		defer c.Unlock()
		return c.joins >= enough && ready()
	}
	for !satisfied() && working.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	served := make(map[string][]int64)
	for i, m := range p.members {
		n := answers[i].Load()
		if n < int64(2*enough) {
			c.starved = append(c.starved, m.name)
		}
		served[m.transport] = append(served[m.transport], n)
	}
	stop()
	for _, of := range served {
		c.uneven = max(c.uneven, float64(slices.Max(of))/max(1, float64(slices.Min(of))))
	}
	all.Wait()
	c.Lock()
	defer c.Unlock()
	for _, m := range p.members {
		m.mu.Lock()
		c.gaps += m.gaps
		m.gaps = 0
		m.mu.Unlock()
	}
	if c.joins < enough {
		c.starved = append(c.starved, "newcomers")
	}
	return c.tally
}

// paced calls f with the time at which it is due, every so often, until working ends. A call that is
// too late does not happen, and it is counted.
func paced(working context.Context, offset time.Duration, c *counter, f func(due time.Time)) {
	timer := time.NewTimer(offset)
	defer timer.Stop()
	for due := time.Now().Add(offset); ; due = due.Add(every) {
		timer.Reset(time.Until(due))
		select {
		case <-working.Done():
			return
		case <-timer.C:
		}
		if time.Since(due) > behindMost {
			c.Lock()
			c.missed++
			c.Unlock()
			continue
		}
		f(due)
	}
}

// work calls events until working ends, and then waits for the answers until ctx ends.
func (m *member) work(ctx, working context.Context, offset time.Duration, c *counter, answers *atomic.Int64) {
	var open sync.WaitGroup
	typing := fmt.Sprintf(`{"roomId":%q}`, m.room)
	message := fmt.Sprintf(`{"roomId":%q,"message":{"text":"hello"}}`, m.room)
	calls := 0
	paced(working, offset, c, func(due time.Time) {
		for event, argument := range map[string]string{"typing": typing, "sendMessage": message} {
			if m.end() != nil {
				return
			}
			calls++
			open.Add(1)
			err := m.call(event, argument, func(answer string) {
				c.answered(event, due, answer)
				answers.Add(1)
				open.Done()
			})
			if err != nil {
				c.fail("%s: %s: %v", m.name, event, err)
			}
		}
	})
	answered := make(chan struct{})
	go func() {
		open.Wait()
		close(answered)
	}()
	select {
	case <-answered:
	case <-m.over:
		c.fail("%s: %v", m.name, m.end())
	case <-ctx.Done():
	}
	c.Lock()
	defer c.Unlock()
	c.due += calls
	c.lost += max(0, calls-int(answers.Load()))
}

// newcomers lets clients connect, join and leave, over each transport in turn, and every other one
// from the attacker's address.
func (p *probe) newcomers(ctx, working context.Context, c *counter) {
	const most = 100 // at the same time
	var all sync.WaitGroup
	defer all.Wait()
	places := make(chan struct{}, most)
	n := 0
	paced(working, 0, c, func(due time.Time) {
		select {
		case places <- struct{}{}:
		default:
			c.Lock()
			c.missed++
			c.Unlock()
			return
		}
		n++
		transport, address := p.transports[n/2%len(p.transports)], attackerAddress
		if n%2 == 0 {
			address = fmt.Sprint("192.0.2.", n%256)
		}
		all.Go(func() {
			defer func() { <-places }()
			client, err := connect(ctx, p.target, transport, p.target.as("newcomer", "service", from(address)))
			if err == nil {
				defer client.close()
				var answer string
				answer, err = client.ask(ctx, "joinRoom", `{"roomId":"lobby","limit":5}`)
				if err == nil {
					c.answered("joinRoom", due, answer)
				}
			}
			if err != nil && ctx.Err() == nil {
				c.fail("newcomer over %s from %s: %v", transport, address, err)
			}
		})
	})
}

// failures describes what went wrong, the most frequent first.
func (t *tally) failures() (n int, text string) {
	for _, what := range slices.SortedFunc(maps.Keys(t.failed), func(a, b string) int { return t.failed[b] - t.failed[a] }) {
		if n += t.failed[what]; len(text) < 500 {
			text += fmt.Sprintf("; %d × %s", t.failed[what], what)
		}
	}
	return n, text
}

// quantile returns the latency of an event that a share of the calls kept within.
func (t *tally) quantile(event string, share float64) time.Duration {
	all := slices.Sorted(slices.Values(t.latencies[event]))
	if len(all) == 0 {
		return -1
	}
	return all[min(len(all)-1, int(share*float64(len(all))))]
}
