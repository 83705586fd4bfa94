package history

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// A Batcher commits the appends of many callers together. While one commit is running, the next
// batch fills; it is committed as soon as the store is free. No batch waits to become larger. A
// Batcher is safe for concurrent use.
type Batcher struct {
	store    Store
	limits   BatchLimits
	observer Observer
	// committed, if not nil, receives what was stored, before the waiting callers are notified.
	// uncertain receives the drafts of a commit with unknown outcome.
	committed func([]Appended)
	uncertain func([]Draft)

	mu      sync.Mutex
	waiting []*batch // in order; the last one is being filled
	running bool     // a goroutine is committing; it ends when nothing waits
	closed  bool
	idle    sync.Cond // on mu; signalled when running becomes false
}

// BatchLimits limit the size of one commit.
type BatchLimits struct {
	Messages int // If zero, 1024.
	Bytes    int // of all messages together. If zero, 1 MiB; one message always fits.
}

// An Observer receives reports of what a log does, for metrics. Its methods are called from several
// goroutines and must not block.
type Observer interface {
	// Committed reports an attempt to commit messages: how long it took, and the error of the whole
	// batch, if any.
	Committed(messages int, took time.Duration, err error)
	// Repaired reports messages that reached a room's subscribers from the store because the bus
	// had not delivered them.
	Repaired(messages int)
}

// batch is filled under the batcher's lock. Then the committing goroutine owns it. Its outcome may
// be read after done is closed.
type batch struct {
	drafts  []Draft
	then    []func(Appended, error) // one for each draft; nil if its caller waits for done
	bytes   int
	done    chan struct{}
	results []Appended
	err     error
}

// NewBatcher returns a batcher for store. observer may be nil.
func NewBatcher(store Store, limits BatchLimits, observer Observer) *Batcher {
	if limits.Messages <= 0 {
		limits.Messages = 1024
	}
	if limits.Bytes <= 0 {
		limits.Bytes = 1 << 20
	}
	b := &Batcher{store: store, limits: limits, observer: observer}
	b.idle.L = &b.mu
	return b
}

// Append stores d and returns after its commit. If ctx ends first, the error is
// [ErrUnknownOutcome]: the commit continues, and to find out how it ended you must append again
// with the same client id.
func (b *Batcher) Append(ctx context.Context, d Draft) (Appended, error) {
	if err := ctx.Err(); err != nil {
		return Appended{}, ErrUnavailable.Wrap("append", err)
	}
	p, err := b.enqueue(d, nil)
	if err != nil {
		return Appended{}, err
	}
	select {
	case <-p.batch.done:
		return p.batch.outcome(p.index)
	case <-ctx.Done():
		return Appended{}, ErrUnknownOutcome.Wrap("append", ctx.Err())
	}
}

// AppendFunc stores d and calls then after the commit. The calls are made one after the other, in
// the order of the drafts, while the next batch is committed. then must not block. If AppendFunc
// returns an error, it does not call then.
func (b *Batcher) AppendFunc(d Draft, then func(Appended, error)) error {
	_, err := b.enqueue(d, then)
	return err
}

// pending is the position of a draft in a batch.
type pending struct {
	batch *batch
	index int
}

// enqueue adds d to the batch that is being filled. then may be nil.
func (b *Batcher) enqueue(d Draft, then func(Appended, error)) (pending, error) {
	d, err := d.Prepare() // here and not in the commit, so that callers do it concurrently
	if err != nil {
		return pending{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return pending{}, ErrClosed
	}
	last := len(b.waiting) - 1
	if last < 0 || b.waiting[last].full(b.limits, len(d.Message)) {
		b.waiting = append(b.waiting, &batch{done: make(chan struct{})})
		last++
	}
	to := b.waiting[last]
	to.drafts = append(to.drafts, d)
	to.then = append(to.then, then)
	to.bytes += len(d.Message)
	if !b.running {
		b.running = true
		go b.run()
	}
	return pending{to, len(to.drafts) - 1}, nil
}

func (t *batch) full(limits BatchLimits, next int) bool {
	return len(t.drafts) >= limits.Messages || t.bytes+next > limits.Bytes
}

func (t *batch) outcome(index int) (Appended, error) {
	if t.err != nil {
		return Appended{}, t.err
	}
	r := t.results[index]
	return r, r.Err
}

// run commits batch after batch until none is left. It notifies the callers of one batch while the
// next is committed.
func (b *Batcher) run() {
	var telling sync.WaitGroup
	for {
		t := b.next()
		if t == nil {
			telling.Wait()
			if b.stop() {
				return
			}
			continue
		}
		b.commit(t)
		telling.Wait()
		telling.Go(func() { b.tell(t) })
		// Callers that append again at once get into the next batch.
		runtime.Gosched()
	}
}

// next returns the next batch to commit, or nil.
func (b *Batcher) next() *batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) == 0 {
		return nil
	}
	t := b.waiting[0]
	b.waiting[0] = nil
	b.waiting = b.waiting[1:]
	return t
}

// stop reports whether nothing is left. If so, the goroutine must end.
func (b *Batcher) stop() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 {
		return false
	}
	b.running = false
	b.idle.Broadcast()
	return true
}

func (b *Batcher) commit(t *batch) {
	start := time.Now()
	// Not the context of one caller: others wait for the same commit.
	t.results, t.err = b.store.Append(context.Background(), t.drafts)
	if b.observer != nil {
		b.observer.Committed(len(t.drafts), time.Since(start), t.err)
	}
}

// tell passes on what was committed and notifies the callers that wait for it.
func (b *Batcher) tell(t *batch) {
	switch {
	case t.err == nil && b.committed != nil:
		b.committed(t.results)
	case errors.Is(t.err, ErrUnknownOutcome) && b.uncertain != nil:
		b.uncertain(t.drafts)
	}
	for i, then := range t.then {
		if then != nil {
			then(t.outcome(i))
		}
	}
	close(t.done)
}

// Close rejects further appends, and returns after the waiting ones have been committed.
func (b *Batcher) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for b.running {
		b.idle.Wait()
	}
}
