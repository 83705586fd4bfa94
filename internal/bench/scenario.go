package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// scenario is one thing to measure.
type scenario struct {
	name        string
	about       string
	connections int // the default number; 0 if it does not apply
	window      int // the default; 0 if it does not apply
	run         func(context.Context, *trial) error
}

var scenarios = []scenario{
	{"idle", "opens connections and holds them", 1000, 0, idle},
	{"churn", "connects, joins the namespace and disconnects, again and again", 0, 0, churn},
	{"echo", "each connection sends messages that the server echoes", 100, 4, echo},
	{"ack", "each connection sends messages that the server acknowledges", 100, 1, acknowledge},
	{"broadcast", "all connections are in one room and send to it in turn", 1000, 16, broadcast},
	{"rooms", "the same with many rooms of a few members", 1000, 1, rooms},
	{"history", "sends messages that the server stores and acknowledges; then joins rooms with a page of them", 100, 1, history},
}

// trial is one run of a scenario.
type trial struct {
	scenario
	options  *options
	fleet    *fleet
	meter    *meter
	server   *process // nil if unknown
	progress *progress
	id       string // makes rooms and messages unique to this run
	numbers  atomic.Int64
	via      string // the events in place of those of the scenario, see Result.Via
	results  []Result
	budgets  map[string]int64 // what the server last said
}

func newTrial(s scenario, o *options, server *process, p *progress) *trial {
	if o.connections > 0 && s.connections > 0 {
		s.connections = o.connections
	}
	if o.window > 0 && s.window > 0 {
		s.window = o.window
	}
	m := newMeter()
	t := &trial{scenario: s, options: o, fleet: newFleet(o, m), meter: m, server: server, progress: p, id: rand.Text()[:8]}
	t.held()
	return t
}

func (t *trial) stage(s string) { t.progress.stage(t.name, s, t.meter) }

// connect makes the connections for scenarios that do not measure connecting.
func (t *trial) connect(ctx context.Context) error {
	t.stage("connecting")
	defer t.meter.restart()
	return t.fleet.connectAll(ctx, t.connections)
}

// measure runs a prepared load and adds the result.
func (t *trial) measure(ctx context.Context, l *load, name, unit string) error {
	from, to := l.run(ctx)
	t.results = append(t.results, t.result(name, unit, from, to, l.lost()))
	return ctx.Err()
}

// appendBody appends a message with a number and the padding.
func (t *trial) appendBody(dst []byte, number int64) []byte {
	dst = append(append(dst, '{'), mark...)
	dst = strconv.AppendInt(dst, number, 10)
	dst = append(append(dst, `,"pad":"`...), t.options.pad...)
	return append(dst, `"}`...)
}

// lap is a moment and the resources used up to then.
type lap struct {
	at     time.Time
	server usage
	own    time.Duration // CPU
}

func (t *trial) lap() lap {
	return lap{time.Now(), t.server.usage(), ownCPU()}
}

func idle(ctx context.Context, t *trial) error {
	t.stage("connecting")
	before := t.lap()
	err := t.fleet.connectAll(ctx, t.connections)
	if len(t.fleet.clients) == 0 {
		return err
	}
	connected := t.lap()
	r := t.result("idle", "connects", before, connected, 0)
	t.stage("holding")
	sleep(ctx, t.options.duration)
	held := t.lap()
	r.Failures = append(r.Failures, t.meter.takeFailures()...)
	if r.Server != nil {
		r.Server.CPUPercent = percent(held.server.cpu-connected.server.cpu, held.at.Sub(connected.at))
		r.Server.RSS = held.server.rss
		r.Server.BytesPerConnection = (held.server.rss - before.server.rss) / int64(len(t.fleet.clients))
	}
	t.results = append(t.results, r)
	return ctx.Err()
}

func churn(ctx context.Context, t *trial) error {
	t.stage("warming up")
	t.comeAndGo(ctx, t.options.warmup)
	t.meter.restart()
	t.stage("measuring")
	from := t.lap()
	t.comeAndGo(ctx, t.options.duration)
	r := t.result("churn", "cycles", from, t.lap(), 0)
	r.Connections = t.options.parallel
	t.results = append(t.results, r)
	return ctx.Err()
}

// comeAndGo makes connections and closes them, for the time d.
func (t *trial) comeAndGo(ctx context.Context, d time.Duration) {
	t.fleet.spread(ctx, math.MaxInt, d, func(i int, due time.Time) {
		c, err := t.fleet.connect(ctx, i)
		if err == nil {
			patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.options.timeout)
			defer cancel()
			err = c.leave(patience)
		}
		switch {
		case err == nil:
			t.meter.record(i, time.Since(due))
		case ctx.Err() == nil:
			t.meter.fail(reason(err), 1)
			sleep(ctx, 10*time.Millisecond) // failures come fast: do not spin
		}
	})
}

// In echo and acknowledge, each connection is a flow.

func echo(ctx context.Context, t *trial) error {
	return t.exchange(ctx, traffic{name: "echo", event: "echo", append: t.plain}, "echoes", func() error {
		t.via = "sendMessage in rooms of one member, which a parley server stores"
		return t.send(ctx, 1, traffic{name: "sendMessage", event: "newMessage"}, "echoes")
	})
}

func acknowledge(ctx context.Context, t *trial) error {
	return t.exchange(ctx, traffic{name: "ackme", ack: true, append: t.plain}, "acks", func() error {
		t.via = "leaveRoom, for a room that nobody is in"
		l := t.newLoad(t.leaves(), t.flows())
		if err := l.probe(ctx); err != nil {
			return err
		}
		return t.measure(ctx, l, t.name, "acks")
	})
}

// plain appends a message without anything around it.
func (t *trial) plain(dst []byte, _ *flow, _ *client, number int64) []byte {
	return t.appendBody(dst, number)
}

// exchange measures what each connection sends and gets back. If the server does not offer the event, it
// calls substitute, which does the same with the events of the parley binary.
func (t *trial) exchange(ctx context.Context, what traffic, unit string, substitute func() error) error {
	if err := t.connect(ctx); err != nil {
		return err
	}
	before := t.meter.takeFailures()
	l := t.newLoad(what, t.flows())
	err := l.probe(ctx)
	missing := errors.Is(err, errNotOffered)
	if missing {
		t.meter.takeFailures() // that it was refused is no failure
	}
	for _, f := range before {
		t.meter.fail(f.Reason, f.Count)
	}
	if missing {
		if other := substitute(); errors.Is(other, errNotOffered) {
			return fmt.Errorf("%w; and %s", err, strings.TrimPrefix(other.Error(), errNotOffered.Error()+": "))
		} else {
			return other
		}
	}
	if err != nil {
		return err
	}
	return t.measure(ctx, l, t.name, unit)
}

// flows returns a flow for each connection.
func (t *trial) flows() []*flow {
	flows := make([]*flow, len(t.fleet.clients))
	for i, c := range t.fleet.clients {
		flows[i] = &flow{members: []*client{c}, arrives: 1}
	}
	return flows
}

// selectScenarios returns the scenarios in a list of names, or all.
func selectScenarios(names string) ([]scenario, error) {
	if names == "all" {
		return scenarios, nil
	}
	var selected []scenario
next:
	for name := range strings.SplitSeq(names, ",") {
		for _, s := range scenarios {
			if s.name == strings.TrimSpace(name) {
				selected = append(selected, s)
				continue next
			}
		}
		return nil, errors.New("there is no scenario " + strconv.Quote(name))
	}
	return selected, nil
}
