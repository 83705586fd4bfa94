package app

import (
	"sync"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
)

// feed sends a room's live messages to one socket. It is a history.Subscriber.
type feed struct {
	socket       *parley.Socket
	subscription *history.Subscription // owned by the seat

	mu      sync.Mutex // held while a message is queued for the socket
	stopped bool
}

// Deliver implements history.Subscriber.
func (f *feed) Deliver(live *history.Live) {
	encoded, ok := live.Encoded(func(m *history.Message) any {
		e, err := f.socket.Namespace().Encode("newMessage", encode(m))
		if err != nil {
			return nil // a stored message can be encoded
		}
		return e
	}).(*parley.Encoded)
	f.mu.Lock()
	defer f.mu.Unlock()
	if ok && !f.stopped {
		f.socket.Send(encoded) // one who is gone will be told to leave
	}
}

// stop has nothing sent any more, from its return on: closing the subscription alone does
// not wait for a message that is being delivered.
func (f *feed) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
}

// close stops the feed for good.
func (f *feed) close() {
	f.stop()
	f.subscription.Close()
}
