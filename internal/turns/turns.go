// Package turns lends a few things, such as database connections, to many clients in turn.
//
// Clients belong to groups, such as the addresses that they connect from. A free thing goes to the
// group whose last turn was longest ago, and there to the client that has waited longest. A client
// with a debt counts as having come later by that time. Debts aside, each other client comes before
// you at most once, however many things it wants. A group of many clients gets no more than a group
// of one, and clients that have had much let the others go first.
package turns

import (
	"cmp"
	"container/heap"
	"container/list"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// Errors of Take.
var (
	ErrFull   = errors.New("turns: the client waits for too many things already")
	ErrClosed = errors.New("turns: closed")
)

// A Client says for whom a thing is taken. The zero Client goes first: it is meant for work that is
// not done for a client.
type Client struct {
	Group string
	ID    string        // within the group
	Debt  time.Duration // by how much its turn may come later than that of others in the group
}

// A Queue lends things of type T. It is safe for concurrent use.
type Queue[T any] struct {
	limit int // on what one client may wait for

	mu     sync.Mutex
	free   []T
	lent   int
	first  []*waiter[T] // of the zero Client
	groups map[string]*group[T]
	round  list.List // of *group[T]; the first one is next
	came   uint64    // counts the places that were given
	waits  int       // calls that wait
	closed bool
	home   sync.Cond // on mu; signalled when nothing is lent any more
}

// group is a group with clients that wait.
type group[T any] struct {
	name    string
	round   *list.Element // its place in Queue.round
	clients map[string]*client[T]
	line    line[T]
}

// client is a client that waits.
type client[T any] struct {
	id      string
	waiting []*waiter[T] // in order

	due   time.Time // its place in the line
	came  uint64    // decides if due is the same
	index int
}

// line is a heap of clients.
type line[T any] []*client[T]

type waiter[T any] struct {
	debt time.Duration
	lent chan T
}

// New returns a queue of things. A client may wait for as many as limit at the same time.
func New[T any](limit int, things ...T) *Queue[T] {
	q := &Queue[T]{limit: limit, free: things, groups: make(map[string]*group[T])}
	q.home.L = &q.mu
	return q
}

// Take waits for the turn of c and returns a thing, which you must give back. The error is ErrFull,
// ErrClosed, or that of ctx.
func (q *Queue[T]) Take(ctx context.Context, c Client) (thing T, err error) {
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
	w := &waiter[T]{c.Debt, make(chan T, 1)}
	ok := q.enterLocked(c, w)
	if ok {
		q.waits++
	}
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
		q.leaveLocked(c, w)
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

// enterLocked puts w at the end of what c waits for. It reports false if that is too much.
func (q *Queue[T]) enterLocked(who Client, w *waiter[T]) bool {
	if who == (Client{}) {
		q.first = append(q.first, w)
		return true
	}
	g := q.groups[who.Group]
	if g == nil {
		g = &group[T]{name: who.Group, clients: make(map[string]*client[T])}
		g.round = q.round.PushBack(g)
		q.groups[who.Group] = g
	}
	c := g.clients[who.ID]
	if c == nil {
		c = &client[T]{id: who.ID, waiting: []*waiter[T]{w}}
		g.clients[who.ID] = c
		q.placeLocked(c)
		heap.Push(&g.line, c)
		return true
	}
	if len(c.waiting) >= q.limit {
		return false
	}
	c.waiting = append(c.waiting, w)
	return true
}

// placeLocked gives c the last place in its group's line, behind all who owe no more.
func (q *Queue[T]) placeLocked(c *client[T]) {
	q.came++
	c.due, c.came = time.Now().Add(c.waiting[0].debt), q.came
}

// leaveLocked takes w out of what c waits for, if it is still there.
func (q *Queue[T]) leaveLocked(who Client, w *waiter[T]) {
	if who == (Client{}) {
		q.dropLocked(&q.first, w)
		return
	}
	if g := q.groups[who.Group]; g != nil && g.clients[who.ID] != nil {
		c := g.clients[who.ID]
		q.dropLocked(&c.waiting, w)
		if len(c.waiting) == 0 {
			q.forgetLocked(g, c)
		}
	}
}

func (q *Queue[T]) dropLocked(from *[]*waiter[T], w *waiter[T]) {
	if i := slices.Index(*from, w); i >= 0 {
		*from = slices.Delete(*from, i, i+1)
		q.waits--
	}
}

// forgetLocked forgets a client that no longer waits, and its group if nobody in it does.
func (q *Queue[T]) forgetLocked(g *group[T], c *client[T]) {
	heap.Remove(&g.line, c.index)
	delete(g.clients, c.id)
	if len(g.clients) == 0 {
		q.round.Remove(g.round)
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

// nextLocked takes out the waiter whose turn it is. If nobody waits, it returns nil.
func (q *Queue[T]) nextLocked() (w *waiter[T]) {
	if q.waits == 0 {
		return nil
	}
	q.waits--
	if len(q.first) > 0 {
		w, q.first = q.first[0], q.first[1:]
		return w
	}
	g := q.round.Front().Value.(*group[T])
	q.round.MoveToBack(g.round)
	c := g.line[0]
	w, c.waiting = c.waiting[0], c.waiting[1:]
	if len(c.waiting) == 0 {
		q.forgetLocked(g, c)
	} else {
		q.placeLocked(c)
		heap.Fix(&g.line, c.index)
	}
	return w
}

// Waiting returns the number of calls that wait.
func (q *Queue[T]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.waits
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

// These implement heap.Interface.

func (l line[T]) Len() int { return len(l) }

func (l line[T]) Less(i, j int) bool {
	return cmp.Or(l[i].due.Compare(l[j].due), cmp.Compare(l[i].came, l[j].came)) < 0
}

func (l line[T]) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].index, l[j].index = i, j
}

func (l *line[T]) Push(c any) {
	c.(*client[T]).index = len(*l)
	*l = append(*l, c.(*client[T]))
}

func (l *line[T]) Pop() any {
	last := len(*l) - 1
	c := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return c
}
