package sqlite

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/parley-go/parley/history"
)

// groups are changes that wait for the connection that writes. Those that wait together are
// committed together. So however many there are, a batch of messages waits for one commit of them,
// and not for one commit each.
type groups struct {
	mu      sync.Mutex
	waiting []*request
	running bool // a goroutine commits; it ends when nothing waits
}

// request is a change that waits. Its err may be read after done is closed.
type request struct {
	change func(context.Context, *batch) error
	err    error
	done   chan struct{}
}

// maxGroup is how many changes one commit makes.
const maxGroup = 64

// together makes a change in a transaction that it shares with others. change reads and writes through
// its batch, and is called once. It must write nothing if it returns an error that is refused; any
// other error ends the transaction. Canceling ctx has an effect only until the change's turn.
func (s *Store) together(ctx context.Context, doing string, change func(context.Context, *batch) error) error {
	if err := ctx.Err(); err != nil {
		return history.ErrUnavailable.Wrap(doing, err)
	}
	r := &request{change: change, done: make(chan struct{})}
	s.groups.add(r, s.commitGroups)
	select {
	case <-r.done:
	case <-ctx.Done():
		if s.groups.withdraw(r) {
			return history.ErrUnavailable.Wrap(doing, ctx.Err())
		}
		<-r.done
	}
	return r.err
}

func (g *groups) add(r *request, commit func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, r)
	if !g.running {
		g.running = true
		go commit()
	}
}

// withdraw reports whether r was still waiting. If so, it does not any more.
func (g *groups) withdraw(r *request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := slices.Index(g.waiting, r)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	return i >= 0
}

// take returns the next group. If nothing waits, the goroutine must end.
func (g *groups) take() []*request {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(len(g.waiting), maxGroup)
	group := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	g.running = n > 0
	return group
}

// commitGroups commits group after group until nothing waits.
func (s *Store) commitGroups() {
	for {
		var group []*request
		taken := false
		err := s.write(context.Background(), "change", func(ctx context.Context, w *writer) error {
			group, taken = s.groups.take(), true // as late as possible, so that it is large
			if len(group) == 0 {
				return nil
			}
			return w.batch(ctx, s.now().UnixMilli(), func(b *batch) error { return b.change(ctx, group) })
		})
		if !taken {
			group = s.groups.take()
		}
		if len(group) == 0 {
			return
		}
		for _, r := range group {
			if r.err == nil {
				r.err = err
			}
			close(r.done)
		}
	}
}

// change makes the changes of a group.
func (b *batch) change(ctx context.Context, group []*request) error {
	for _, r := range group {
		err := r.change(ctx, b)
		var refusal refused
		if errors.As(err, &refusal) {
			r.err = refusal.error
		} else if err != nil {
			return err
		}
	}
	return nil
}
