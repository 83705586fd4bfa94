package chat

import (
	"context"
	"errors"
	"sync"

	"github.com/parley-go/parley/history"
)

// subscriber passes a room's live messages to a peer. It is a history.Paced.
type subscriber struct {
	service      *Service
	peer         Peer
	subscription *history.Subscription // written by the client's goroutine, under mu

	mu      sync.Mutex // held while a message is passed on
	stopped bool
	held    bool     // it counts as behind until it is released
	resume  []func() // called then
}

// Deliver implements history.Subscriber.
func (s *subscriber) Deliver(m *history.Live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.peer.Deliver(m)
	}
}

// Behind implements history.Paced.
func (s *subscriber) Behind() bool {
	s.mu.Lock()
	held := s.held
	s.mu.Unlock()
	return held || s.peer.Behind()
}

// WhenDrained implements history.Paced.
func (s *subscriber) WhenDrained(f func()) {
	s.mu.Lock()
	held := s.held
	if held {
		s.resume = append(s.resume, f)
	}
	s.mu.Unlock()
	if !held {
		s.peer.WhenDrained(f)
	}
}

// release lets go what was held.
func (s *subscriber) release() {
	if s == nil {
		return
	}
	s.mu.Lock()
	resume := s.resume
	s.held, s.resume = false, nil
	s.mu.Unlock()
	for _, f := range resume {
		f()
	}
}

// Lost implements history.Paced.
func (s *subscriber) Lost(room string, err error) {
	if errors.Is(err, history.ErrNotFound) { // it was erased, maybe by a call that does not say so
		room, _ = history.NotesOf(room)
		s.service.erasedHere([]string{room})
		return
	}
	s.service.storeError(context.Background(), "read for a client that is behind", err)
	s.peer.Lost()
}

// stop stops the deliveries. After it returns, no message is on its way. Closing the subscription
// alone would not wait for a running delivery.
func (s *subscriber) stop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// attach gives the subscriber its subscription, which may be nil.
func (s *subscriber) attach(to *history.Subscription) {
	s.mu.Lock()
	s.subscription = to
	stopped := s.stopped
	s.mu.Unlock()
	if stopped && to != nil {
		to.Close()
	}
}

// close stops the deliveries and closes the subscription. It may be called more than once, by any
// goroutine. A nil subscriber is closed.
func (s *subscriber) close() {
	if s == nil {
		return
	}
	s.stop()
	s.release()
	s.mu.Lock()
	subscription := s.subscription
	s.mu.Unlock()
	if subscription != nil {
		subscription.Close()
	}
}
