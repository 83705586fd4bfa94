package chat

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/history"
)

// A Peer is a connection as its binding knows it. The methods must not block.
type Peer interface {
	// ID is what others know the connection by. It has at least 8 bytes.
	ID() string
	// From Enter to Exit the announcements of a room reach the connection.
	Enter(room string) error
	Exit(room string)
	// Deliver sends a live message. It is called in the room's order.
	Deliver(m *history.Live)
}

// A Client is a connection and its memberships of rooms. Its methods are for one goroutine at
// a time, as a socket's handlers run.
type Client struct {
	service     *Service
	peer        Peer
	memberships map[string]*membership // by room
	sending     atomic.Int32           // messages that wait for the store while no caller does
}

// membership is what a client is in one room.
type membership struct {
	who   Principal
	place *place
	live  *subscriber
}

// Connect returns a client that is in no room. It must be closed.
func (s *Service) Connect(p Peer) *Client {
	return &Client{service: s, peer: p, memberships: make(map[string]*membership)}
}

// Close ends all memberships. The peer has left the rooms by itself.
func (c *Client) Close() {
	for _, m := range c.memberships {
		m.end()
	}
}

// end ends the membership. No message of the room follows.
func (m *membership) end() {
	m.live.close()
	m.place.leave()
}

// member returns the client's membership of a room.
func (c *Client) member(room string) (*membership, error) {
	if err := CheckRoom(room); err != nil {
		return nil, err
	}
	if m := c.memberships[room]; m != nil {
		return m, nil
	}
	return nil, Refuse(NotJoined, "join the room first")
}

// A JoinRequest says which room to join. A client that comes back also says what it has: all
// messages up to the number After of the numbering Epoch, which if empty is the store's own. Limit
// bounds the page of a client that has nothing.
type JoinRequest struct {
	RoomID string
	After  *int64
	Epoch  string
	Limit  int
}

// Joined is what a client gets before the live messages of a room.
type Joined struct {
	Page
	Reset   bool     `json:"reset,omitempty"` // the client's After could not be continued from
	Member  Member   `json:"member"`          // the client itself
	Members []Member `json:"members"`         // those that are shown, in order of joining
	Count   int      `json:"count"`           // of all members
}

// Join makes the client a member of a room, as who. answer is called before any live message
// and before the room hears of it, and must not block; it is not called if Join fails. Joining
// again is harmless: a fresh page, from which live messages go on.
func (c *Client) Join(ctx context.Context, who Principal, q JoinRequest, answer func(Joined)) error {
	from, err := c.service.openOptions(&q)
	if err != nil {
		return err
	}
	if err := who.check(); err != nil {
		return err
	}
	me := Member{c.peer.ID(), who.orGuest(c.peer.ID())}
	old := c.memberships[q.RoomID]
	next := &membership{who: me.Principal, live: &subscriber{peer: c.peer}}
	if old != nil {
		next.place = old.place
	} else {
		if err := c.peer.Enter(q.RoomID); err != nil {
			return err
		}
		next.place = c.service.presence.place(q.RoomID, c.peer)
	}
	bounded, cancel := c.service.bounded(ctx)
	defer cancel()
	subscription, err := c.service.log.Open(bounded, q.RoomID, from, next.live, func(opened history.Opened) {
		if old != nil {
			old.live.stop() // what it has not delivered is in the page or follows it
		}
		// One who comes back reads on from where it was: of too much the newest is left out.
		messages, cut := c.service.fit(opened.Messages, q.After != nil && !opened.Reset)
		joined := Joined{
			Page:  Page{q.RoomID, messages, opened.HasMore || cut, opened.LastSeq, opened.Epoch},
			Reset: opened.Reset, Member: me,
		}
		next.place.enter(me, func(shown []Member, count int) {
			joined.Members, joined.Count = shown, count
			answer(joined)
		})
	})
	if err != nil {
		if old == nil {
			c.peer.Exit(q.RoomID)
			next.place.leave()
		}
		return c.service.storeError(ctx, "open room", err)
	}
	next.live.subscription = subscription
	if old != nil {
		old.live.close()
	}
	c.memberships[q.RoomID] = next
	return nil
}

// openOptions checks what a client wants to have of a room.
func (s *Service) openOptions(q *JoinRequest) (o history.OpenOptions, err error) {
	if err := CheckRoom(q.RoomID); err != nil {
		return o, err
	}
	if o.Limit, err = s.limit(q.Limit); err != nil || q.After == nil {
		return o, err
	}
	if *q.After < 0 {
		return o, Refuse(BadPayload, "after cannot be negative")
	}
	o.Since, o.Epoch = *q.After, cmp.Or(q.Epoch, s.store.Epoch())
	return o, nil
}

// Leave ends the membership of a room, if there is one.
func (c *Client) Leave(room string) error {
	if err := CheckRoom(room); err != nil {
		return err
	}
	if m := c.memberships[room]; m != nil {
		delete(c.memberships, room)
		c.peer.Exit(room)
		m.end()
	}
	return nil
}

// Typing says of a member that it types, or has stopped.
type Typing struct {
	RoomID string `json:"roomId"`
	Principal
	Typing bool `json:"typing"`
}

// Typing tells the others in the room whether the client types.
func (c *Client) Typing(room string, typing bool) error {
	m, err := c.member(room)
	if err != nil {
		return err
	}
	c.service.opts.Announcer.Typing(Typing{room, m.who, typing}, c.peer)
	return nil
}

// subscriber hands a room's live messages to a peer. It is a history.Subscriber.
type subscriber struct {
	peer         Peer
	subscription *history.Subscription // owned by the membership

	mu      sync.Mutex // held while the peer takes a message
	stopped bool
}

// Deliver implements history.Subscriber.
func (s *subscriber) Deliver(m *history.Live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.peer.Deliver(m)
	}
}

// stop stops the deliveries. When it returns no message is on its way any more; closing the
// subscription alone would not wait for one that is being delivered.
func (s *subscriber) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// close stops the subscriber for good.
func (s *subscriber) close() {
	s.stop()
	s.subscription.Close()
}
