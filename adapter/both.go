package adapter

import (
	"errors"
	"sync"
)

// Both returns a Cluster that sends by one cluster and receives by two, so that the servers of a running cluster
// can change from one protocol to another, one after the other:
//
//  1. Each server gets Both(old, new).
//  2. Each server gets Both(new, old), as soon as no server has old alone.
//  3. Each server gets new, as soon as no server sends by old.
//
// The two need the same name. Their sockets do not move between servers meanwhile, and requests are not passed
// on: the result is no Exchange. A Local is called by two goroutines, one for each cluster.
func Both(sends, receives Cluster) Cluster { return both{sends, receives} }

type both struct {
	Cluster
	receives Cluster
}

// UntaggedSockets implements Untagger.
func (b both) UntaggedSockets() bool {
	for _, c := range []Cluster{b.Cluster, b.receives} {
		if u, ok := c.(Untagger); ok && u.UntaggedSockets() {
			return true
		}
	}
	return false
}

// Drain implements Cluster.
func (b both) Drain() {
	b.Cluster.Drain()
	b.receives.Drain()
}

// Close implements Cluster.
func (b both) Close() error { return errors.Join(b.Cluster.Close(), b.receives.Close()) }

// Open implements Cluster.
func (b both) Open(namespace string, local Local) Link {
	l := &bothLinks{Link: b.Cluster.Open(namespace, local), receives: b.receives.Open(namespace, local), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	return l
}

type bothLinks struct {
	Link
	receives Link
	closed   chan struct{} // closed by Close
	close    func()
}

// Touch implements Link.
func (l *bothLinks) Touch(room string) <-chan struct{} {
	return l.join(l.Link.Touch(room), l.receives.Touch(room))
}

// Ready implements Link.
func (l *bothLinks) Ready() <-chan struct{} { return l.join(l.Link.Ready(), l.receives.Ready()) }

// join returns a channel that is closed when both are; nil is closed.
func (l *bothLinks) join(a, b <-chan struct{}) <-chan struct{} {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, c := range []<-chan struct{}{a, b} {
			select {
			case <-c:
			case <-l.closed:
			}
		}
	}()
	return done
}

// Close implements Link.
func (l *bothLinks) Close() {
	l.close()
	l.Link.Close()
	l.receives.Close()
}
