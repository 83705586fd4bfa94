package nodewire

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
)

// maxAckTime is how long clients may take to acknowledge an event of another server, if that server does not
// say how long it waits.
const maxAckTime = 5 * time.Minute

// maxAckMillis is the longest time that another server may let clients take, in milliseconds: a day.
const maxAckMillis = 24 * 60 * 60 * 1000

// recount is how often a call looks whether the servers that it waits for are still there.
const recount = 500 * time.Millisecond

// Call implements adapter.Link.
func (l *link) Call(ctx context.Context, m *adapter.Message, each func(*adapter.Answer)) error {
	switch m.Kind {
	case adapter.Join, adapter.Leave, adapter.Disconnect:
		return l.Publish(m) // nobody confirms
	}
	for _, s := range l.subscriptions { // or this server would not be counted, and answers would be lost
		select {
		case <-s.Active():
		case <-l.closed:
			return adapter.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	others, err := l.others(ctx)
	if err != nil || others <= 0 {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && m.Timeout == 0 {
		m.Timeout = max(time.Millisecond, time.Until(deadline))
	}
	id := requestID()
	w := &call{kind: m.Kind, all: others, alive: others, debts: map[string]*debt{}, news: make(chan struct{}, 1)}
	l.mu.Lock()
	l.calls[id] = w
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, id)
	}()
	if err := l.send(m, id); err != nil {
		return err
	}
	again := time.NewTicker(recount)
	defer again.Stop()
	for {
		finished, err := w.take(each)
		if finished {
			return err
		}
		select {
		case <-w.news:
		case <-again.C:
			l.recount(ctx, w)
		case <-l.closed:
			return adapter.ErrClosed
		case <-ctx.Done():
			if finished, err := w.take(each); finished {
				return err
			}
			return &adapter.Partial{Missing: w.missing(), Cause: ctx.Err()}
		}
	}
}

func requestID() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// others returns how many other servers there are.
func (l *link) others(ctx context.Context) (int, error) {
	n, err := l.cluster.conn.Subscribers(ctx, l.counted)
	if err != nil {
		return 0, fmt.Errorf("nodewire: count the servers: %w", err)
	}
	return int(n[l.counted]) - 1, nil
}

// recount tells a call which servers are still there.
func (l *link) recount(ctx context.Context, w *call) {
	uids := w.known()
	channels := []string{l.counted}
	for _, uid := range uids {
		channels = append(channels, l.own(uid))
	}
	n, err := l.cluster.conn.Subscribers(ctx, channels...)
	if err != nil {
		return // the next time
	}
	w.expect(int(n[l.counted])-1, func(uid string) bool { return n[l.own(uid)] > 0 }, uids)
}

func (l *link) calling(id string) *call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls[id]
}

// call waits for answers.
//
// Nobody knows which servers there are, only how many. On the sharded wire answers say who gives them, on the
// classic one only those of Parley do. The others are counted together.
type call struct {
	kind adapter.Kind

	mu      sync.Mutex
	all     int              // the other servers when it began
	alive   int              // those that are left
	debts   map[string]*debt // by uid; "": of the servers that do not say who they are
	gone    int              // servers that have answered completely, and died
	lost    int              // servers that have died and owed something
	answers []*adapter.Answer
	news    chan struct{} // holds one element if there is something new
}

// debt is what one server has answered, or those that do not say who they are.
type debt struct {
	said   int // how often it has answered; a Broadcast, with a count
	acks   int // that it owes; may be negative until they are counted
	misses int // how often in a row it was not found
}

// add records an answer of a server. counts says that it stands for the server; acks changes how many are owed.
func (w *call) add(uid string, a *adapter.Answer, counts bool, acks int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := w.debts[uid]
	if d == nil {
		d = &debt{}
		w.debts[uid] = d
	}
	if counts {
		d.said++
	}
	d.acks += acks
	if a != nil {
		w.answers = append(w.answers, a)
	}
	w.tell()
}

func (w *call) tell() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// known returns the servers that have answered, as far as they say who they are.
func (w *call) known() (uids []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for uid := range w.debts {
		if uid != "" {
			uids = append(uids, uid)
		}
	}
	return uids
}

// expect adjusts the call to the number of servers that are still there, and to which of some are.
func (w *call) expect(others int, is func(uid string) bool, some []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.alive = min(w.alive, max(0, others))
	named := 0
	for _, uid := range some {
		d := w.debts[uid]
		switch {
		case d == nil:
			continue
		case is(uid):
			d.misses = 0
		default:
			d.misses++ // it may have lost its connection for a moment
		}
		if d.misses < 2 {
			named++
			continue
		}
		w.writeOffLocked(uid, d)
	}
	if d := w.debts[""]; d != nil && w.alive <= named { // all that are left have names
		w.writeOffLocked("", d)
	}
	w.tell()
}

// writeOffLocked forgets a server that is not there any more, or all without a name.
func (w *call) writeOffLocked(uid string, d *debt) {
	if d.acks > 0 {
		w.lost++
		d.said--
	}
	w.gone += max(0, d.said)
	delete(w.debts, uid)
}

// take passes on the answers that have arrived, and reports whether others will.
func (w *call) take(each func(*adapter.Answer)) (finished bool, err error) {
	w.mu.Lock()
	answers := w.answers
	w.answers = nil
	said, owing := 0, false
	for _, d := range w.debts {
		said += d.said
		owing = owing || d.acks > 0
	}
	if said >= w.alive && !owing {
		finished = true
		if missing := w.all - said - w.gone; missing > 0 {
			err = &adapter.Partial{Missing: unnamed(missing)}
		}
	}
	w.mu.Unlock()
	for _, a := range answers {
		each(a)
	}
	return finished, err
}

// missing describes the servers that have not answered.
func (w *call) missing() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	complete := w.gone
	for _, d := range w.debts {
		if complete += d.said; d.acks > 0 {
			complete--
		}
	}
	return unnamed(max(1, w.all-complete))
}

// unnamed stands for servers whose names nobody knows.
func unnamed(n int) []string { return slices.Repeat([]string{"a server without a name"}, n) }
