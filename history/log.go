package history

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	startTimeout = 5 * time.Second // to find out where a room ends
	busTimeout   = time.Second     // to subscribe to a room; the room opens even without the bus
	openAttempts = 8               // attempts to read a page while more messages arrive than the buffer holds
	auditChunk   = 500             // rooms per query to the store
)

// LogOptions configure a [Log].
type LogOptions struct {
	// Bus connects the nodes of a cluster. Nil means that this is the only node.
	Bus Bus
	// MaxMessage limits the size of a message, in bytes of compact JSON. If zero, 64 KiB. It cannot
	// exceed the constant MaxMessage.
	MaxMessage int
	// Batch limits the size of one commit.
	Batch BatchLimits
	// RepairAfter is how long a later message waits for a missing one before the missing one is
	// read from the store. If zero, 15 ms.
	RepairAfter time.Duration
	// AuditEvery is how often the log asks the store whether the bus has lost the last message of
	// an open room. It asks only for rooms that received nothing since the previous audit, and
	// never without a bus. A failed read is repeated after the same time. If zero, 5 s.
	AuditEvery time.Duration
	// LostAfter is how long reads for a subscriber that is behind may fail, until its subscription
	// ends; see [Paced]. They are repeated, up to ten times. If zero, 10 s.
	LostAfter time.Duration
	// Observer receives reports of commits and repairs. May be nil.
	Observer Observer
	// Logger logs errors that no caller receives. If nil, slog.Default().
	Logger *slog.Logger
}

// A Log appends to rooms and follows them. Use one Log per store in a process. It is safe for
// concurrent use. Rooms that nobody has open cost nothing.
type Log struct {
	store       Store
	bus         Bus
	batcher     *Batcher
	maxMessage  int
	repairAfter time.Duration
	auditEvery  time.Duration
	lostAfter   time.Duration
	observer    Observer
	logger      *slog.Logger

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	workers workers

	catchUps catchUps
	onChange atomic.Pointer[func()]
	behind   atomic.Int64 // subscriptions

	mu     sync.RWMutex
	tails  map[string]*tail
	audits *time.Timer // with a bus, running while tails is not empty
	unbus  func()      // ends what OnGap began; nil: nothing
	closed bool
}

// NewLog returns a log over store. Close the log before you close the store. A nil opt means the
// defaults.
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
	if o.LostAfter <= 0 {
		o.LostAfter = 10 * time.Second
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
		lostAfter:   o.LostAfter,
		observer:    o.Observer,
		logger:      o.Logger,
		tails:       make(map[string]*tail),
	}
	l.batcher.committed = l.publish
	l.batcher.uncertain = l.uncertain
	l.ctx, l.cancel = context.WithCancel(context.Background())
	if bus, ok := l.bus.(GapBus); ok {
		l.unbus = bus.OnGap(l.gap)
	}
	return l
}

// Append stores d and returns after its commit, when the message is on its way to everyone who has
// the room open. If the client id is already known, Append passes on the message again, because the
// node that stored it may have died before it could do so.
//
// If ctx ends first, the error is [ErrUnknownOutcome]. If the commit then succeeds, the message is
// passed on all the same.
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

// AppendFunc is Append for callers that do not wait: see [Batcher.AppendFunc].
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

// OpenOptions say what a subscriber already has.
type OpenOptions struct {
	// Epoch and Since come from the last Opened, for a subscriber that comes back. If live messages
	// followed, Since is the number of the last one. With an empty Epoch, Open reads the newest
	// page.
	Epoch string
	Since int64
	// Limit is the size of the newest page. A subscriber that comes back gets up to MaxLimit
	// messages, but not more than Limit.Bytes.
	Limit Limit
	// CaughtUp, if not nil, lets the subscriber read on as fast as its client takes messages, however
	// many it missed. The subscriber must be [Paced]. Opened then has no messages, and all that
	// follows LastSeq comes by Deliver. LastSeq is Since or, if Open cannot continue from there, the
	// position before the newest Limit.Messages changes. If Limit.Messages is negative, that is the
	// position after the newest. A negative Since is the position before the earliest message that
	// exists. Open calls CaughtUp once, before the first live message, with the number up to which
	// the subscriber has everything. CaughtUp must not block.
	CaughtUp func(upTo int64)
}

// Opened is what a subscriber receives before live messages.
type Opened struct {
	// Messages are in ascending order. For a subscriber that comes back, they are the missed ones.
	Messages []Message `json:"messages"`
	// HasMore says that there are messages before a newest page. If a subscriber comes back, it says
	// that not all that it missed fits into Limit.Bytes: read on after the last of Messages, up to
	// LastSeq.
	HasMore bool `json:"hasMore"`
	// LastSeq is the room's newest number. Live messages continue from the next number.
	LastSeq int64 `json:"lastSeq"`
	// Epoch qualifies LastSeq.
	Epoch string `json:"epoch"`
	// Reset says that Open could not continue from Since, because Since is from another epoch, not
	// in this store, pruned, or more than MaxLimit changes ago. Messages is then the newest page,
	// and there may be a gap between it and what the subscriber had before.
	Reset bool `json:"reset,omitempty"`
}

// Open passes the room's history to ready and every later message to sub. It calls ready once,
// before it returns and before the first Deliver. No Deliver runs during that call. So an
// acknowledgement that ready sends arrives before all live messages. ready must not block, and
// neither must Deliver. If Open fails, it calls neither.
func (l *Log) Open(ctx context.Context, room string, o OpenOptions, sub Subscriber, ready func(Opened)) (*Subscription, error) {
	if err := CheckRoom(room); err != nil {
		return nil, err
	}
	if _, ok := sub.(Paced); o.CaughtUp != nil && !ok {
		panic("history: OpenOptions.CaughtUp is for subscribers that are Paced")
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
	s.restart(o)
	if !t.join(s) {
		return l.ended()
	}
	if o.CaughtUp != nil {
		return l.goOn(ctx, s, o, ready)
	}
	for range openAttempts {
		s.restart(o)
		at := t.position() // includes everything that arrived before the buffer was emptied
		opened, err := l.read(ctx, t.room, o)
		if err != nil {
			return err
		}
		if opened.LastSeq >= at && s.goLive(opened, ready) {
			t.expect(opened.LastSeq) // the read may have been ahead of the tail
			return nil
		}
		if s.closed.Load() {
			return l.ended()
		}
	}
	return ErrUnavailable.because("messages arrive faster than the room can be read")
}

// ended returns why a room that is being opened has ended.
func (l *Log) ended() error {
	if l.ctx.Err() != nil {
		return ErrClosed
	}
	return ErrUnavailable.because("the room has just been erased")
}

// goOn opens a room for a subscriber that reads on at its own pace.
func (l *Log) goOn(ctx context.Context, s *Subscription, o OpenOptions, ready func(Opened)) error {
	opened := Opened{Messages: []Message{}, LastSeq: max(o.Since, 0), Epoch: l.store.Epoch()}
	next, err := l.store.Changes(ctx, s.tail.room, opened.LastSeq, Limit{Messages: 1, Bytes: 1})
	pruned := errors.Is(err, ErrPruned)
	switch {
	case err != nil && !pruned:
		return err
	case o.Epoch != opened.Epoch || pruned && o.Since >= 0 || opened.LastSeq > next.Head:
		opened.Reset = o.Epoch != ""
		opened.LastSeq = max(next.Head, next.Floor)
		if o.Limit.Messages >= 0 {
			opened.LastSeq = max(next.Head-int64(o.Limit.Prepare().Messages), next.Floor)
		}
		opened.HasMore = opened.LastSeq > next.Floor
	case pruned:
		opened.LastSeq = next.Floor
	}
	if !s.goOn(opened, ready) {
		return l.ended()
	}
	s.tail.expect(next.Head)
	return nil
}

// read returns what a subscriber with o is missing.
func (l *Log) read(ctx context.Context, room string, o OpenOptions) (Opened, error) {
	epoch := l.store.Epoch()
	if o.Epoch == epoch && o.Since >= 0 {
		s, err := l.store.Changes(ctx, room, o.Since, Limit{Messages: MaxLimit, Bytes: o.Limit.Bytes})
		if err != nil && Code(err) != ErrPruned.Code {
			return Opened{}, err
		}
		complete, few := s.UpTo == s.Head, s.Head-o.Since <= MaxLimit
		if err == nil && o.Since <= s.Head && (complete || few) {
			return Opened{Messages: s.Messages, HasMore: !complete, LastSeq: s.Head, Epoch: epoch}, nil
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

// Changes returns the first messages that have changed since a number; see [Store].
func (l *Log) Changes(ctx context.Context, room string, since int64, limit Limit) (Slice, error) {
	return l.store.Changes(ctx, room, since, limit)
}

// acquire returns the room's tail and counts one more user of it.
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

// release undoes acquire.
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

// forget drops a tail that could not be started, so that the next acquire makes a new one.
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

// gap makes the next audit one of all rooms, and brings it forward, because any message may have been
// lost.
func (l *Log) gap() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tails {
		t.mu.Lock()
		t.heard = false
		t.mu.Unlock()
	}
	if !l.closed && l.audits != nil && len(l.tails) > 0 {
		l.audits.Reset(0)
	}
}

// audit compares quiet rooms with the store, because nothing follows a room's last message to show
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

// subscribe subscribes on the bus to the rooms that have no subscription yet.
func (l *Log) subscribe(tails []*tail) {
	for _, t := range tails {
		if err := t.subscribe(); err != nil {
			if l.ctx.Err() == nil {
				l.logger.Warn("bus is down, messages of other nodes come late", "error", err)
			}
			return // do not wait for more than one failure
		}
	}
}

// compare looks for messages in the store that the tails do not know of, and for rooms that are gone.
func (l *Log) compare(tails []*tail) {
	rooms, before := make([]string, len(tails)), make([]int64, len(tails))
	for i, t := range tails {
		rooms[i], before[i] = t.room, t.position()
	}
	heads, err := l.store.Heads(l.ctx, rooms)
	if err != nil && l.ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
		l.logger.Error("audit of open rooms", "rooms", len(rooms), "error", err)
	}
	if err != nil {
		return
	}
	for i, t := range tails {
		if head := heads[rooms[i]]; head < before[i] { // numbers only grow: another node has erased the room
			l.end(t)
		} else {
			t.expect(head)
		}
	}
}

// Close commits what is waiting, ends all subscriptions, and returns when nothing of the log is
// running any more. It does not close the store.
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
	if l.unbus != nil {
		l.unbus()
	}
	l.cancel()
	for _, t := range tails {
		t.close()
	}
	l.workers.close()
}

// workers tracks the goroutines that must end before the log is closed.
type workers struct {
	mu     sync.RWMutex
	closed bool
	wg     sync.WaitGroup
}

// begin reports false after close. If it reports true, you must call end.
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
