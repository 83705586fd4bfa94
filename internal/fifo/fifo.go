// Package fifo provides a first-in, first-out queue. An empty queue holds no memory, and the first
// element needs no allocation.
package fifo

import "slices"

// Queue is a first-in, first-out queue. Its zero value is empty and ready. It is not
// safe for concurrent use.
type Queue[T any] struct {
	first T
	full  bool // first is set
	rest  []T
}

// burst is how many elements fit behind the first before the queue must grow.
const burst = 7

// Len returns the number of elements.
func (q *Queue[T]) Len() int {
	if !q.full {
		return 0
	}
	return 1 + len(q.rest)
}

// Push adds v as the newest element.
func (q *Queue[T]) Push(v T) {
	if q.full {
		if q.rest == nil {
			q.rest = make([]T, 0, burst)
		}
		q.rest = append(q.rest, v)
		return
	}
	q.first, q.full = v, true
}

// Peek returns the oldest element; the queue must not be empty.
func (q *Queue[T]) Peek() T { return q.first }

// Pop removes and returns the oldest element; the queue must not be empty.
func (q *Queue[T]) Pop() T {
	v := q.first
	if len(q.rest) == 0 {
		*q = Queue[T]{}
		return v
	}
	q.first = q.rest[0]
	var zero T
	q.rest[0] = zero
	q.rest = q.rest[1:]
	return v
}

// Some reports whether f returns true for any element.
func (q *Queue[T]) Some(f func(T) bool) bool {
	return q.full && (f(q.first) || slices.ContainsFunc(q.rest, f))
}

// Truncate drops all but the oldest element.
func (q *Queue[T]) Truncate() { q.rest = nil }
