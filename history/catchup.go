package history

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/fifo"
)

// A subscriber is behind when its client takes messages more slowly than they are sent. It gets no
// live messages then, and nothing is kept for it except its position. When the client has taken
// what it had, the log reads on from the store:
//
//	behind:  drop live messages; wait until the client has taken what it had
//	ready:   wait for one of the log's readers; they take the rooms in turn
//	reading: read a page after the position; keep the room's live messages meanwhile
//	         deliver the page while the client takes it; what it does not take is read again
//	         page is complete → deliver what was kept; from here on, deliver live
//
// A page serves all subscribers of a room that are ready and lack some of it. So it is read and
// encoded once, even if the whole room has fallen behind together.

const (
	catchUpReaders = 2                // pages that a log reads at the same time
	catchUpBytes   = 256 << 10        // of a page at most; one message always fits
	leastCatchUp   = 32 << 10         // the same, for clients that take little at a time
	catchUpTimeout = 10 * time.Second // for one read, until its turn has come too
)

// A Paced is a Subscriber whose client may be slow. It does not get messages faster than its client
// takes them: a subscriber that is behind gets no live messages, and costs no memory for them. It
// gets them later, read from the store. It still gets each message exactly once and in order.
//
// The calls must not block.
type Paced interface {
	Subscriber
	// Behind is asked before each Deliver. It reports whether the client has yet to take so much
	// that it should get nothing more now.
	Behind() bool
	// WhenDrained calls f once, when the client has taken what it had when Behind returned true. Any
	// goroutine may call f. If the client is gone, f need not be called.
	WhenDrained(f func())
	// Lost is called at most once, after the last Deliver, if the subscription has ended because
	// messages that the subscriber lacks cannot be read: the store has failed for
	// LogOptions.LostAfter, or they were pruned ([ErrPruned]). Tell the client, because it misses
	// messages until it opens the room again.
	Lost(room string, err error)
}

// catchUps are the rooms with subscribers that are ready to read on, in the order of their turns.
type catchUps struct {
	mu      sync.Mutex
	tails   fifo.Queue[*tail]
	readers int
}

// catchUp gives t a turn.
func (l *Log) catchUp(t *tail) {
	c := &l.catchUps
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tails.Push(t)
	if c.readers < catchUpReaders && l.workers.start(l.readOn) {
		c.readers++
	}
}

// readOn reads for the rooms whose turn it is, until there are none.
func (l *Log) readOn() {
	c := &l.catchUps
	for {
		c.mu.Lock()
		if c.tails.Len() == 0 {
			c.readers--
			c.mu.Unlock()
			return
		}
		t := c.tails.Pop()
		c.mu.Unlock()
		t.catchUp()
	}
}

// Behind returns the number of subscriptions that are behind; see [Paced].
func (l *Log) Behind() int { return int(l.behind.Load()) }

// lag is what a tail needs for subscribers that are behind. tail.mu guards it.
type lag struct {
	ready   []*Subscription // their clients have taken what they had
	turn    bool            // the tail waits for its turn or has it, or for a retry
	reading bool            // a page is being read
	recent  []*Live         // the live messages since the read began
	bytes   int             // of recent
	lost    bool            // recent became too large; it is empty now
	failing time.Time       // since when reads fail; zero: they do not
}

// keep adds live messages to recent.
func (g *lag) keep(messages []*Live) {
	for _, m := range messages {
		if g.bytes += m.Message.Size(); g.bytes > catchUpBytes || g.lost {
			g.recent, g.lost = nil, true
			return
		}
		g.recent = append(g.recent, m)
	}
}

// ready notes that subscribers can take messages again.
func (t *tail) ready(subs ...*Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lag == nil {
		t.lag = new(lag)
	}
	t.lag.ready = append(t.lag.ready, subs...)
	t.turnLocked()
}

// turnLocked asks for a turn if one is needed.
func (t *tail) turnLocked() {
	if g := t.lag; g != nil && len(g.ready) > 0 && !g.turn && !t.closed {
		g.turn = true
		t.log.catchUp(t)
	}
}

// catchUp reads one page and passes it to the subscribers that are ready for it. It is the tail's
// turn.
func (t *tail) catchUp() {
	if first := t.firstReady(); first != nil {
		since := first.position()
		at := t.startReading()
		ctx, cancel := context.WithTimeout(withRoom(t.log.ctx, t.room), catchUpTimeout)
		s, err := t.log.store.Changes(ctx, t.room, since, Limit{Messages: MaxLimit, Bytes: max(t.pageBytes, leastCatchUp)})
		cancel()
		switch {
		case t.log.ctx.Err() != nil:
			return
		case errors.Is(err, ErrPruned):
			t.lose(err, s.Floor)
		case err != nil:
			if t.failed(since, err) {
				return
			}
		case s.UpTo <= since && s.Head < at: // the room has gone on, but the store does not show it
			if t.failed(since, ErrUnavailable.because("the store is behind its own room")) {
				return
			}
		default:
			p := newPage(since, s, at)
			t.handOut(p)
			t.pageBytes = min(2*p.size(first.position()), catchUpBytes)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if g := t.lag; len(g.ready) > 0 {
		g.turn = false
		t.turnLocked() // behind the other rooms
	} else {
		t.lag = nil
	}
}

// firstReady returns the subscriber that has waited longest, and leaves it where it is.
func (t *tail) firstReady() *Subscription {
	for {
		t.mu.Lock()
		if t.closed || len(t.lag.ready) == 0 {
			t.mu.Unlock()
			return nil
		}
		first := t.lag.ready[0]
		t.mu.Unlock()
		if first.isReady() {
			return first
		}
		t.mu.Lock()
		t.lag.ready = t.lag.ready[1:] // others only append
		t.mu.Unlock()
	}
}

// startReading keeps live messages from now on. It returns the number up to which a page that is
// read now must be complete.
func (t *tail) startReading() (at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.lag
	g.reading, g.recent, g.bytes, g.lost = true, nil, 0, false
	return t.pos
}

// takeReady returns the subscribers that are ready. They are not any more, until resume.
func (t *tail) takeReady() (ready []*Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.lag
	ready, g.ready = g.ready, nil
	return ready
}

// recent returns the live messages since the read began; ok reports whether these are all.
func (t *tail) recent() (recent []*Live, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lag.recent, !t.lag.lost
}

// failed repeats the turn later, after a read has failed, and reports true. If reads have failed for
// too long, it gives up.
func (t *tail) failed(since int64, err error) (again bool) {
	t.mu.Lock()
	g, now := t.lag, time.Now()
	if g.failing.IsZero() {
		g.failing = now
		t.log.logger.Error("read for subscribers that are behind", "room", t.room, "after", since, "error", err)
	}
	again = now.Sub(g.failing) < t.log.lostAfter
	g.reading, g.recent = false, nil
	t.mu.Unlock()
	if again {
		time.AfterFunc(t.log.lostAfter/10, func() { t.log.catchUp(t) })
		return true
	}
	t.lose(err, 1<<63-1)
	return false
}

// lose ends the subscriptions of those that are ready and have not got everything up to below.
func (t *tail) lose(err error, below int64) {
	var kept []*Subscription
	for _, s := range t.takeReady() {
		if s.position() >= below {
			kept = append(kept, s)
		} else if s.end() {
			s.to.(Paced).Lost(t.room, err)
		}
	}
	t.resume(kept, nil)
}

// catchUpPage is a part of a room for its subscribers that are behind.
type catchUpPage struct {
	since, upTo int64 // it has what is after since, up to upTo
	messages    []*Live
	last        bool // what follows is in tail.recent
}

func newPage(since int64, s Slice, at int64) *catchUpPage {
	p := &catchUpPage{since: since, upTo: max(since, s.UpTo), last: s.UpTo == s.Head && s.UpTo >= at}
	for i := range s.Messages {
		p.messages = append(p.messages, &Live{Message: s.Messages[i]})
	}
	return p
}

// size returns the bytes of the messages up to a number.
func (p *catchUpPage) size(upTo int64) (bytes int) {
	for _, m := range p.messages {
		if m.Message.Number() <= upTo {
			bytes += m.Message.Size()
		}
	}
	return bytes
}

// handOut passes p to the subscribers that lack a part of it.
func (t *tail) handOut(p *catchUpPage) {
	var waiting, served []*Subscription
	for _, s := range t.takeReady() {
		switch pos := s.position(); {
		case pos < p.since || pos > p.upTo:
			waiting = append(waiting, s)
		case s.take(p):
			served = append(served, s)
		}
	}
	t.resume(waiting, served)
}

// resume ends a read. Those in waiting are the first to be ready, those in served the last.
func (t *tail) resume(waiting, served []*Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.lag
	g.reading, g.recent, g.failing = false, nil, time.Time{}
	g.ready = slices.Concat(waiting, g.ready, served)
}
