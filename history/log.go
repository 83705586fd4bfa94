package history

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	startTimeout = 5 * time.Second // for finding out where a room ends
	busTimeout   = time.Second     // for subscribing to it; without the bus it opens all the same
	openAttempts = 8               // reads of a page while more arrives than the buffer holds
	auditChunk   = 500             // rooms that the store is asked for at once
)

// LogOptions configure a [Log].
type LogOptions struct {
	// Bus connects the nodes of a cluster. Nil: this is the only one.
	Bus Bus
	// MaxMessage bounds a message, in bytes of compact JSON. If zero, 64 KiB; never
	// more than the constant of this name.
	MaxMessage int
	// Batch bounds one commit.
	Batch BatchLimits
	// RepairAfter is how long a later message waits for a missing one before that is
	// read from the store. If zero, 15 ms.
	RepairAfter time.Duration
	// AuditEvery is how often the log asks the store whether the bus has lost the last
	// message of an open room. It asks only for rooms from which nothing came since it
	// asked before, and never without a bus. A read that failed is repeated after the
	// same time. If zero, 5 s.
	AuditEvery time.Duration
	// Observer is told of commits and repairs. May be nil.
	Observer Observer
	// Logger gets what nobody is returned. If nil, slog.Default().
	Logger *slog.Logger
}

// A Log appends to rooms and follows them: a process has one for each store. It is
// safe for concurrent use. Rooms that nobody has open cost nothing.
type Log struct {
	store       Store
	bus         Bus
	batcher     *Batcher
	maxMessage  int
	repairAfter time.Duration
	auditEvery  time.Duration
	observer    Observer
	logger      *slog.Logger

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	workers workers

	mu     sync.RWMutex
	tails  map[string]*tail
	audits *time.Timer // with a bus, set while tails is not empty
	closed bool
}

// NewLog returns a log over store. The caller closes the store, after the log. A nil
// opt means the defaults.
func NewLog(store Store, opt *LogOptions) *Log {
	var o LogOptions
	if opt != nil {
		o = *opt
	}
	if o.MaxMessage <= 0 {
		o.MaxMessage = 64 << 10
	}
	if o.RepairAfter <= 0 {
		o.RepairAfter = 15 * time.Millisecond
	}
	if o.AuditEvery <= 0 {
		o.AuditEvery = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	l := &Log{
		store:       store,
		bus:         o.Bus,
		batcher:     NewBatcher(store, o.Batch, o.Observer),
		maxMessage:  o.MaxMessage,
		repairAfter: o.RepairAfter,
		auditEvery:  o.AuditEvery,
		observer:    o.Observer,
		logger:      o.Logger,
		tails:       make(map[string]*tail),
	}
	l.batcher.committed = l.publish
	l.batcher.uncertain = l.doubt
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Append stores d and returns after its commit, when it is on its way to all who have
// the room open. A draft whose client id is known is passed on again, since the node
// that stored it may have died before it could.
//
// If ctx ends first the error is [ErrUnknownOutcome]; if the commit succeeds, the
// message is passed on nevertheless.
func (l *Log) Append(ctx context.Context, d Draft) (Appended, error) {
	if err := ctx.Err(); err != nil {
		return Appended{}, ErrUnavailable.Wrap("append", err)
	}
	d, err := l.prepare(d)
	if err != nil {
		return Appended{}, err
	}
	return l.batcher.Append(ctx, d)
}

// AppendFunc is Append for those who do not wait: see [Batcher.AppendFunc].
func (l *Log) AppendFunc(d Draft, then func(Appended, error)) error {
	d, err := l.prepare(d)
	if err != nil {
		return err
	}
	return l.batcher.AppendFunc(d, then)
}

func (l *Log) prepare(d Draft) (Draft, error) {
	d, err := d.Prepare()
	if err == nil && len(d.Message) > l.maxMessage {
		err = ErrTooLarge
	}
	return d, err
}

// publish passes on what a commit has stored, and so in order. It is called by the batcher
// before those who wait for the commit are told, so that many messages for one room are
// delivered together.
func (l *Log) publish(stored []Appended) {
	for i := range stored {
		if stored[i].Err != nil {
			continue
		}
		m := &stored[i].Message
		l.mu.RLock()
		t := l.tails[m.RoomID]
		l.mu.RUnlock()
		if t != nil {
			t.offer(*m)
		}
		if l.bus != nil {
			kept := *m // or it would keep the whole commit
			l.bus.Publish(&kept)
		}
	}
}

// doubt is called when a commit may have stored drafts or not. The sender may never come
// back to find out, so those who have the room open would miss the message.
func (l *Log) doubt(drafts []Draft) {
	for i := range drafts {
		l.mu.RLock()
		t := l.tails[drafts[i].RoomID]
		l.mu.RUnlock()
		if t != nil {
			t.doubt()
		}
	}
}

// OpenOptions say what a subscriber has already.
type OpenOptions struct {
	// Epoch and Since are those of the last Opened, for one that comes back; Since is
	// the number of the last live message if any came after it. With an empty Epoch
	// the newest page is read.
	Epoch string
	Since int64
	// Limit bounds the newest page. If zero, DefaultLimit; at most MaxLimit.
	Limit int
}

// Opened is what a subscriber gets before live messages.
type Opened struct {
	// Messages ascend. For one that comes back they are those it missed.
	Messages []Message `json:"messages"`
	// HasMore says that there are messages before those of a newest page.
	HasMore bool `json:"hasMore"`
	// LastSeq is the room's number up to which Messages are complete. Live messages
	// follow from the next one on.
	LastSeq int64 `json:"lastSeq"`
	// Epoch qualifies LastSeq.
	Epoch string `json:"epoch"`
	// Reset says that Since could not be continued from: it is of another epoch, not
	// in this store, pruned, or more than MaxLimit changes ago. Messages is the newest
	// page, and what the subscriber had before it may be incomplete.
	Reset bool `json:"reset,omitempty"`
}

// Open hands the room's history to ready and every later message to sub. ready is
// called once, before Open returns and before the first Deliver, and no Deliver runs
// meanwhile; so an acknowledgement that ready sends is ahead of all live messages.
// Like Deliver it must not block. If Open fails, neither is called.
func (l *Log) Open(ctx context.Context, room string, o OpenOptions, sub Subscriber, ready func(Opened)) (*Subscription, error) {
	if err := CheckRoom(room); err != nil {
		return nil, err
	}
	t, err := l.acquire(room)
	if err != nil {
		return nil, err
	}
	s := &Subscription{tail: t, to: sub}
	if err := l.open(ctx, s, o, ready); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (l *Log) open(ctx context.Context, s *Subscription, o OpenOptions, ready func(Opened)) error {
	t := s.tail
	select {
	case <-t.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.err != nil {
		return t.err
	}
	s.restart()
	t.join(s)
	for range openAttempts {
		s.restart()
		at := t.position() // what came before the buffer was emptied
		opened, err := l.read(ctx, t.room, o)
		if err != nil {
			return err
		}
		if opened.LastSeq >= at && s.goLive(opened, ready) {
			t.expect(opened.LastSeq) // the read may have been ahead of the tail
			return nil
		}
	}
	return ErrUnavailable.because("messages arrive faster than the room can be read")
}

// read returns what a subscriber with o lacks.
func (l *Log) read(ctx context.Context, room string, o OpenOptions) (Opened, error) {
	epoch := l.store.Epoch()
	if o.Epoch == epoch && o.Since >= 0 {
		s, err := l.store.Changes(ctx, room, o.Since, MaxLimit)
		switch {
		case err != nil && Code(err) != ErrPruned.Code:
			return Opened{}, err
		case err == nil && o.Since <= s.Head && s.UpTo == s.Head:
			return Opened{Messages: s.Messages, LastSeq: s.UpTo, Epoch: epoch}, nil
		}
	}
	s, err := l.store.History(ctx, room, Page{Limit: o.Limit})
	if err != nil {
		return Opened{}, err
	}
	return Opened{
		Messages: s.Messages,
		HasMore:  s.MoreBefore,
		LastSeq:  s.Head,
		Epoch:    epoch,
		Reset:    o.Epoch != "",
	}, nil
}

// History returns a page of a room's messages.
func (l *Log) History(ctx context.Context, room string, p Page) (Slice, error) {
	return l.store.History(ctx, room, p)
}

// acquire returns the room's tail and counts one user of it.
func (l *Log) acquire(room string) (*tail, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	t := l.tails[room]
	if t == nil {
		t = &tail{log: l, room: room, started: make(chan struct{}), pos: -1, repairFrom: -1}
		if !l.workers.start(t.start) {
			return nil, ErrClosed
		}
		if len(l.tails) == 0 && l.bus != nil {
			l.scheduleAuditLocked()
		}
		l.tails[room] = t
	}
	t.refs++
	return t, nil
}

// release gives back what acquire counted.
func (l *Log) release(t *tail) {
	l.mu.Lock()
	t.refs--
	last := t.refs == 0
	if last {
		l.forgetLocked(t)
	}
	l.mu.Unlock()
	if last {
		t.close()
	}
}

// forget makes the next acquire start anew: t could not be started.
func (l *Log) forget(t *tail) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked(t)
}

func (l *Log) forgetLocked(t *tail) {
	if l.tails[t.room] != t {
		return // forgotten already
	}
	delete(l.tails, t.room)
	if len(l.tails) == 0 && l.audits != nil {
		l.audits.Stop()
	}
}

func (l *Log) scheduleAuditLocked() {
	if l.audits == nil {
		l.audits = time.AfterFunc(l.auditEvery, func() { l.workers.run(l.audit) })
	} else {
		l.audits.Reset(l.auditEvery)
	}
}

// audit compares quiet rooms with the store: nothing follows a room's last message to show
// that the bus has lost it.
func (l *Log) audit() {
	l.mu.RLock()
	tails := make([]*tail, 0, len(l.tails))
	for _, t := range l.tails {
		tails = append(tails, t)
	}
	l.mu.RUnlock()
	tails = slices.DeleteFunc(tails, func(t *tail) bool { return !t.needsAudit() })
	l.subscribe(tails)
	for chunk := range slices.Chunk(tails, auditChunk) {
		l.compare(chunk)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed && len(l.tails) > 0 {
		l.scheduleAuditLocked()
	}
}

// subscribe asks the bus for the messages of the rooms that it does not bring yet.
func (l *Log) subscribe(tails []*tail) {
	for _, t := range tails {
		if err := t.subscribe(); err != nil {
			if l.ctx.Err() == nil {
				l.logger.Warn("bus is down, messages of other nodes come late", "error", err)
			}
			return // one failure is enough to wait for
		}
	}
}

// compare looks for messages in the store that the tails have not heard of.
func (l *Log) compare(tails []*tail) {
	rooms := make([]string, len(tails))
	for i, t := range tails {
		rooms[i] = t.room
	}
	heads, err := l.store.Heads(l.ctx, rooms)
	if err != nil && l.ctx.Err() == nil {
		l.logger.Error("audit of open rooms", "rooms", len(rooms), "error", err)
	}
	for i, t := range tails {
		t.expect(heads[rooms[i]])
	}
}

// Close commits what waits, ends all subscriptions and returns when nothing of the
// log is running any more. The store stays open.
func (l *Log) Close() {
	l.batcher.Close()
	l.mu.Lock()
	l.closed = true
	tails := l.tails
	l.tails = nil
	if l.audits != nil {
		l.audits.Stop()
	}
	l.mu.Unlock()
	l.cancel()
	for _, t := range tails {
		t.close()
	}
	l.workers.close()
}

// workers counts what must end before the log is closed.
type workers struct {
	mu     sync.RWMutex
	closed bool
	wg     sync.WaitGroup
}

// begin reports false once closed. Otherwise end must follow.
func (w *workers) begin() bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if !w.closed {
		w.wg.Add(1)
	}
	return !w.closed
}

func (w *workers) end() { w.wg.Done() }

// run calls f unless closed.
func (w *workers) run(f func()) {
	if w.begin() {
		defer w.end()
		f()
	}
}

// start calls f on a goroutine and reports true, unless closed.
func (w *workers) start(f func()) bool {
	if !w.begin() {
		return false
	}
	go func() {
		defer w.end()
		f()
	}()
	return true
}

func (w *workers) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wg.Wait()
}
