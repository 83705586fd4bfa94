package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/sio"
)

// load sends messages and counts the arrivals that they cause. Each message has a number. It is the
// id of the acknowledgement, or follows the mark in the message. With it, the receiver can look up
// when the message was due.
type load struct {
	traffic
	trial *trial
	flows []*flow

	start    time.Time
	until    atomic.Int64 // when the closed loop ends, in nanoseconds from start
	slots    []slot
	inFlight atomic.Int64
	refused  atomic.Pointer[string] // the reason of the last refusal
}

// traffic describes what a load sends and what arrivals it expects.
type traffic struct {
	name   string                                                       // name of the event to send
	append func(dst []byte, f *flow, from *client, number int64) []byte // appends its argument
	ack    bool                                                         // whether the server acknowledges it
	answer string                                                       // what the acknowledgement must contain
	event  string                                                       // name of an event whose arrivals also count; empty for none
}

// flow keeps its own messages in flight. It is a single connection, or a room whose members send in
// turn.
type flow struct {
	room    string
	members []*client
	arrives int // arrivals per message: the acknowledgement, and one event for each member
	turn    atomic.Int64
}

// slot holds a message in flight.
type slot struct {
	number atomic.Int64 // of the message; 0 if free; taken while being filled
	due    atomic.Int64 // nanoseconds from start
	left   atomic.Int64 // arrivals still to come
	flow   *flow        // read it only after number is set
}

const taken = -1

// maxInFlight limits the messages in flight in an open loop. When it is reached, further messages wait
// until others have arrived. Their latencies still start when they were due.
const maxInFlight = 1 << 16

func (t *trial) newLoad(what traffic, flows []*flow) *load {
	l := &load{traffic: what, trial: t, flows: flows, start: time.Now()}
	n := 2 * max(t.window*len(flows), t.options.parallel) // a closed loop uses at most half of the slots
	if t.options.rate > 0 {
		n = max(n, maxInFlight)
	}
	l.slots = make([]slot, n)
	t.fleet.load.Store(l)
	return l
}

func (l *load) now() time.Duration { return time.Since(l.start) }

// send sends the next message of a flow. It fails if too many are in flight.
func (l *load) send(f *flow, due time.Duration) bool {
	number, s := l.take()
	if s == nil {
		return false
	}
	s.flow = f
	s.due.Store(int64(due))
	s.left.Store(int64(f.arrives))
	s.number.Store(number)
	l.inFlight.Add(1)
	l.trial.meter.sent.Add(1)

	from := f.members[int(f.turn.Add(1)-1)%len(f.members)]
	id := int64(-1)
	if l.ack {
		id = number
	}
	packet := packets.Get().(*[]byte)
	b := append((*packet)[:0], byte(eio.Message))
	b = sio.AppendHeader(b, sio.Event, 0, l.trial.options.namespace, id)
	b = append(append(append(b, `["`...), l.name...), `",`...)
	b = append(l.append(b, f, from, number), ']')
	from.wire.send(b)
	*packet = b
	packets.Put(packet)
	return true
}

var packets = sync.Pool{New: func() any { return new([]byte) }}

// take takes a free slot and a new number. Even different loads never use the same number, since
// answers may be late.
func (l *load) take() (number int64, s *slot) {
	for range l.slots {
		number = l.trial.numbers.Add(1)
		s = l.slot(number)
		if s.number.CompareAndSwap(0, taken) {
			return number, s
		}
	}
	return 0, nil
}

func (l *load) slot(number int64) *slot { return &l.slots[uint64(number)%uint64(len(l.slots))] }

// hear handles a packet that a client receives.
func (l *load) hear(c *client, p packet) {
	switch {
	case p.kind == sio.Ack && l.ack:
		if why, refused := p.refusal(); refused {
			l.refuse(why)
			l.drop(p.id)
			return
		}
		if !bytes.Contains(p.data, []byte(l.answer)) {
			l.refuse(fmt.Sprintf("its answer, %.60q, does not contain %s", p.data, l.answer))
			l.drop(p.id)
			return
		}
		l.arrive(c, p.id, true)
	case p.kind == sio.Event && l.event != "" && p.is(l.event):
		if n, ok := p.number(); ok {
			l.arrive(c, n, !l.ack) // if there are both, time only the acknowledgement
		}
	case p.kind == sio.Event && p.is("error"):
		l.refuse(string(bytes.TrimSuffix(p.data[len(`["error",`):], []byte("]"))))
	}
}

func (l *load) refuse(why string) {
	l.trial.meter.fail("refused: "+why, 1)
	l.refused.Store(&why)
}

// arrive counts the arrival of a message at c.
func (l *load) arrive(c *client, number int64, timed bool) {
	s := l.slot(number)
	if number <= 0 || s.number.Load() != number {
		l.trial.meter.fail("arrived twice, or after it was given up", 1)
		return
	}
	now := l.now()
	if timed {
		l.trial.meter.record(c.index, now-time.Duration(s.due.Load()))
	}
	if s.left.Add(-1) > 0 {
		return
	}
	f := s.flow
	s.number.Store(0)
	l.inFlight.Add(-1)
	if int64(now) < l.until.Load() {
		l.send(f, now)
	}
}

// drop gives up a message that the server has refused. Its flow then has one less in flight.
func (l *load) drop(number int64) {
	if number > 0 && l.slot(number).number.CompareAndSwap(number, 0) {
		l.inFlight.Add(-1)
	}
}

// errNotOffered means that the server does not offer the events that a scenario needs.
var errNotOffered = errors.New("not offered")

// probeTimeout is how long a server may take to answer a scenario's first message.
const probeTimeout = 3 * time.Second

// probe sends a single message to find out whether the server offers the events.
func (l *load) probe(ctx context.Context) error {
	defer l.trial.meter.restart()
	return l.once(ctx, l.flows[:1], min(probeTimeout, l.trial.options.timeout))
}

// once sends one message in each flow and waits until all have arrived.
func (l *load) once(ctx context.Context, flows []*flow, patience time.Duration) error {
	l.trial.stage("joining")
	for _, f := range flows {
		room := func() bool { return l.inFlight.Load() < int64(l.trial.options.parallel) }
		if !l.wait(ctx, patience, room) {
			break
		}
		l.send(f, l.now())
	}
	arrived := l.wait(ctx, patience, func() bool { return l.inFlight.Load() == 0 || l.refused.Load() != nil })
	if why := l.refused.Load(); why != nil {
		return fmt.Errorf("%w: the server refused %q: %s", errNotOffered, l.name, *why)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !arrived {
		wanted := fmt.Sprintf("an event %q", l.event)
		if l.ack {
			wanted = "an acknowledgement"
		}
		return fmt.Errorf("%w: the server does not answer %q with %s; see parley help bench for what it must offer", errNotOffered, l.name, wanted)
	}
	return nil
}

// wait waits until ok returns true. It gives up if nothing arrives for as long as patience.
func (l *load) wait(ctx context.Context, patience time.Duration, ok func() bool) bool {
	seen, since := l.trial.fleet.received.Load(), time.Now()
	for !ok() {
		if n := l.trial.fleet.received.Load(); n != seen {
			seen, since = n, time.Now()
		}
		if time.Since(since) > patience || sleep(ctx, time.Millisecond) != nil {
			return false
		}
	}
	return true
}

// run warms up and then measures. It returns the laps at the beginning of the measurement and at the
// last arrival.
func (l *load) run(ctx context.Context) (from, to lap) {
	t := l.trial
	if t.options.warmup > 0 {
		t.stage("warming up")
		l.drive(ctx, t.options.warmup)
		l.drain(ctx)
		t.meter.restart()
	}
	t.stage("measuring")
	from = t.lap()
	l.drive(ctx, t.options.duration)
	return from, l.drain(ctx)
}

// drive sends messages for the time d.
func (l *load) drive(ctx context.Context, d time.Duration) {
	begin := l.now()
	if l.trial.options.rate > 0 {
		l.pace(ctx, begin, d)
		return
	}
	l.until.Store(int64(begin + d))
	for _, f := range l.flows {
		for range l.trial.window {
			l.send(f, l.now())
		}
	}
	sleep(ctx, d)
	l.until.Store(0)
}

// pace is the open loop: it sends messages when they are due.
func (l *load) pace(ctx context.Context, begin, d time.Duration) {
	interval := float64(time.Second) / l.trial.options.rate
	for i := 0; ; i++ {
		at := time.Duration(float64(i) * interval)
		if at >= d || sleep(ctx, begin+at-l.now()) != nil {
			return
		}
		for !l.send(l.flows[i%len(l.flows)], begin+at) {
			if l.now()-begin >= d {
				due := int64(float64(d)/interval) + 1
				l.trial.meter.fail("not sent: too many messages were in flight", due-int64(i))
				return
			}
			if sleep(ctx, time.Millisecond) != nil {
				return
			}
		}
	}
}

// drain waits for the messages in flight, even if ctx has ended. It returns the lap at the last
// arrival.
func (l *load) drain(ctx context.Context) lap {
	t := l.trial
	t.stage("waiting for the last messages")
	patience := t.options.timeout
	if ctx.Err() != nil {
		patience = min(patience, 2*time.Second) // do not keep a user waiting after Ctrl-C
	}
	last, seen := t.lap(), t.fleet.received.Load()
	l.wait(context.WithoutCancel(ctx), patience, func() bool {
		if n := t.fleet.received.Load(); n != seen {
			last, seen = t.lap(), n
		}
		return l.inFlight.Load() == 0
	})
	return last
}

// lost returns how many arrivals are still missing, and gives up on them.
func (l *load) lost() (n int64) {
	l.trial.fleet.load.Store(nil)
	for i := range l.slots {
		if s := &l.slots[i]; s.number.Load() > 0 {
			n += s.left.Load()
		}
	}
	return n
}
