package app

import (
	"sync"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/sse"
)

// encodings are a message as sockets and as feeds get it, each made when it is first needed,
// once for all of them. It is safe for concurrent use.
type encodings struct {
	message *history.Message

	socketOnce, feedOnce sync.Once
	socket               *parley.Encoded
	feed                 []byte
}

func encodingsOf(live *history.Live) *encodings {
	return live.Encoded(func(m *history.Message) any { return &encodings{message: m} }).(*encodings)
}

// forSocket returns nil if the message cannot be encoded; a stored one can.
func (e *encodings) forSocket(n *parley.Namespace) *parley.Encoded {
	e.socketOnce.Do(func() { e.socket, _ = n.Encode("newMessage", encode(e.message)) })
	return e.socket
}

// forFeed likewise.
func (e *encodings) forFeed(epoch string) []byte {
	e.feedOnce.Do(func() {
		event := sse.Event{ID: position(epoch, e.message.Number()), Name: "newMessage", Data: encode(e.message)}
		e.feed, _ = event.Append(nil)
	})
	return e.feed
}

// feed sends a room's live messages to one socket. It is a history.Subscriber.
type feed struct {
	socket       *parley.Socket
	subscription *history.Subscription // owned by the seat

	mu      sync.Mutex // held while a message is queued for the socket
	stopped bool
}

// Deliver implements history.Subscriber.
func (f *feed) Deliver(live *history.Live) {
	encoded := encodingsOf(live).forSocket(f.socket.Namespace())
	f.mu.Lock()
	defer f.mu.Unlock()
	if encoded != nil && !f.stopped {
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
