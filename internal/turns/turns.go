// Package turns lends few things, such as database connections, to many clients in turn.
//
// Clients belong to groups, such as the addresses that they connect from. When a thing is free, it
// goes to the group that has waited longest for its turn, and there to the client that has waited
// longest for its own. So a client waits for one thing of each other client at most, however many
// the others want, and a group of many clients gets no more than a group of one.
package turns

import (
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
)

// Errors of Take.
var (
	ErrFull   = errors.New("turns: the client waits for too many things already")
	ErrClosed = errors.New("turns: closed")
)

// A Queue lends things of type T. It is safe for concurrent use.
type Queue[T any] struct {
	limit int // on what one client may wait for

	mu     sync.Mutex
	free   []T
	lent   int
	first  []*waiter[T]         // those without a client, who go first
	groups map[string]*group[T] // those that wait
	round  list.List            // of *group[T]; the first one is next
	closed bool
	home   sync.Cond // on mu; signalled when nothing is lent any more
}

// group is a group with clients that wait.
type group[T any] struct {
	name    string
	place   *list.Element // in Queue.round
	clients map[string]*client[T]
	round   list.List // of *client[T]
}

// client is a client that waits.
type client[T any] struct {
	id      string
	place   *list.Element // in group.round
	waiting []*waiter[T]  // in order
}

type waiter[T any] struct{ lent chan T }

// New returns a queue of things. A client may wait for as many as limit at the same time.
func New[T any](limit int, things ...T) *Queue[T] {
	q := &Queue[T]{limit: limit, free: things, groups: make(map[string]*group[T])}
	q.home.L = &q.mu
	return q
}

// Take waits for the turn of a client of a group and returns a thing, which you must give back. If
// both names are empty, it is the turn at once: that is meant for work that is not done for a
// client. The error is ErrFull, ErrClosed, or that of ctx.
func (q *Queue[T]) Take(ctx context.Context, in, id string) (thing T, err error) {
	if err := ctx.Err(); err != nil {
		return thing, err
	}
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return thing, ErrClosed
	}
	if n := len(q.free) - 1; n >= 0 {
		thing = q.free[n]
		q.free = q.free[:n]
		q.lent++
		q.mu.Unlock()
		return thing, nil
	}
	w := &waiter[T]{make(chan T, 1)}
	ok := q.enterLocked(in, id, w)
	q.mu.Unlock()
	if !ok {
		return thing, ErrFull
	}
	select {
	case thing, ok = <-w.lent:
		if !ok {
			return thing, ErrClosed
		}
		return thing, nil
	case <-ctx.Done():
		q.mu.Lock()
		q.leaveLocked(in, id, w)
		q.mu.Unlock()
		select {
		case thing, ok = <-w.lent: // the turn came at the same moment
			if ok {
				q.Give(thing)
			}
		default:
		}
		var none T
		return none, ctx.Err()
	}
}

// enterLocked puts w at the end of its client's line. It reports false if the line is full.
func (q *Queue[T]) enterLocked(in, id string, w *waiter[T]) bool {
	if in == "" && id == "" {
		q.first = append(q.first, w)
		return true
	}
	g := q.groups[in]
	if g == nil {
		g = &group[T]{name: in, clients: make(map[string]*client[T])}
		g.place = q.round.PushBack(g)
		q.groups[in] = g
	}
	c := g.clients[id]
	if c == nil {
		c = &client[T]{id: id}
		c.place = g.round.PushBack(c)
		g.clients[id] = c
	}
	if len(c.waiting) >= q.limit {
		return false
	}
	c.waiting = append(c.waiting, w)
	return true
}

// leaveLocked takes w out of its client's line, if it is still there.
func (q *Queue[T]) leaveLocked(in, id string, w *waiter[T]) {
	is := func(other *waiter[T]) bool { return other == w }
	if in == "" && id == "" {
		q.first = slices.DeleteFunc(q.first, is)
		return
	}
	if g := q.groups[in]; g != nil && g.clients[id] != nil {
		c := g.clients[id]
		c.waiting = slices.DeleteFunc(c.waiting, is)
		q.settleLocked(g, c)
	}
}

// settleLocked forgets a client that no longer waits, and its group if nobody in it does.
func (q *Queue[T]) settleLocked(g *group[T], c *client[T]) {
	if len(c.waiting) == 0 {
		g.round.Remove(c.place)
		delete(g.clients, c.id)
	}
	if len(g.clients) == 0 {
		q.round.Remove(g.place)
		delete(q.groups, g.name)
	}
}

// Give gives back a thing, or another one in its place.
func (q *Queue[T]) Give(thing T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w := q.nextLocked(); w != nil {
		w.lent <- thing
		return
	}
	q.free = append(q.free, thing)
	if q.lent--; q.lent == 0 {
		q.home.Broadcast()
	}
}

// nextLocked takes the waiter whose turn it is out of its line, or returns nil.
func (q *Queue[T]) nextLocked() (w *waiter[T]) {
	if len(q.first) > 0 {
		w, q.first = q.first[0], q.first[1:]
		return w
	}
	if q.round.Len() == 0 {
		return nil
	}
	g := q.round.Front().Value.(*group[T])
	c := g.round.Front().Value.(*client[T])
	w, c.waiting = c.waiting[0], c.waiting[1:]
	q.round.MoveToBack(g.place)
	g.round.MoveToBack(c.place)
	q.settleLocked(g, c)
	return w
}

// Waiting returns the number of calls that wait.
func (q *Queue[T]) Waiting() (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = len(q.first)
	for _, g := range q.groups {
		for _, c := range g.clients {
			n += len(c.waiting)
		}
	}
	return n
}

// Close fails the calls that wait and all later ones, waits until nothing is lent, and returns all
// things.
func (q *Queue[T]) Close() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for w := q.nextLocked(); w != nil; w = q.nextLocked() {
		close(w.lent)
	}
	for q.lent > 0 {
		q.home.Wait()
	}
	things := q.free
	q.free = nil
	return things
}
