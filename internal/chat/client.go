package chat

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// A Peer is a connection, as its binding sees it. The methods must not block.
type Peer interface {
	// ID is the id by which others know the connection. It has at least 8 bytes.
	ID() string
	// Address is what the connection has in common with others of the same client: an IPv4 address,
	// or a network of IPv6.
	Address() string
	// RemoteAddress is the client's network address itself, with or without a port.
	RemoteAddress() string
	// Between Enter and Exit, the connection receives the announcements of a room.
	Enter(room string) error
	Exit(room string)
	// Deliver sends a message of a room. The calls are made in the room's order.
	Deliver(m *history.Live)
	// Behind and WhenDrained are those of history.Paced. While the peer is behind, it gets no live
	// messages; it gets them from the store later.
	Behind() bool
	WhenDrained(f func())
	// Lost says that messages of a room cannot be delivered. The connection must end, so that its
	// client comes back and learns what it missed.
	Lost()
}

// A Client is a connection with its memberships of rooms. Only one goroutine at a time may call its
// methods, as a socket's handlers do.
type Client struct {
	service     *Service
	peer        Peer
	memberships map[string]*membership // by room
	sending     atomic.Int32           // messages that wait for the store without a waiting caller
	joins       budget.Balance
	pages       budget.Balance
	reader      reader
}

// membership is a client's membership of one room.
type membership struct {
	who   Principal
	place *place
	live  *subscriber
}

// Connect returns a client that is in no room. You must close it.
func (s *Service) Connect(p Peer) *Client {
	c := &Client{
		service: s, peer: p, memberships: make(map[string]*membership),
		reader: reader{address: p.Address(), id: p.ID(), payer: s.payer(p.RemoteAddress())},
	}
	if c.reader.payer != "" {
		s.accounts.openings.Charge(c.reader.payer, s.opts.Budgets[budget.Openings], 1)
	}
	return c
}

// Begin charges the client's address for an event. If the address is over its budget, Begin waits
// first. Call it before everything that the client asks for.
func (c *Client) Begin(ctx context.Context) error {
	return c.service.affordTogether(ctx, &c.reader, budget.AddressEvents, &c.service.accounts.events, 1)
}

// Close ends all memberships. The peer itself leaves the rooms.
func (c *Client) Close() {
	for room, m := range c.memberships {
		delete(c.memberships, room)
		m.end()
		c.service.accounts.memberships.leave(c.reader.payer)
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
// messages up to the number After in the numbering Epoch. An empty Epoch means the store's current
// one. For a client that has nothing, Limit is the size of the page.
type JoinRequest struct {
	RoomID string
	After  *int64
	Epoch  string
	Limit  int
}

// Joined is what a client receives before the live messages of a room.
type Joined struct {
	Page
	Reset   bool     `json:"reset,omitempty"` // the server could not continue from the client's After
	Member  Member   `json:"member"`          // the client itself
	Members []Member `json:"members"`         // the members that are shown, in order of joining
	Count   int      `json:"count"`           // number of all members
}

// Join makes the client a member of a room, under the identity who. It calls answer before any live
// message and before the others in the room learn of it. answer must not block. If Join fails, it
// does not call answer. Joining again is harmless: the client receives a new page, and live
// messages continue after it.
func (c *Client) Join(ctx context.Context, who Principal, q JoinRequest, answer func(Joined)) error {
	from, err := c.service.openOptions(&q)
	if err != nil {
		return err
	}
	if err := who.check(c.peer.ID()); err != nil {
		return err
	}
	if err := c.service.afford(ctx, budget.Joins, &c.joins, 1); err != nil {
		return err
	}
	reading, cancel, err := c.service.reading(ctx, &c.reader)
	if err != nil {
		return err
	}
	defer cancel()
	me := Member{c.peer.ID(), who.orGuest(c.peer.ID())}
	old := c.memberships[q.RoomID]
	next := &membership{who: me.Principal, live: &subscriber{service: c.service, peer: c.peer}}
	if old != nil {
		next.place = old.place
	} else {
		if err := c.enter(q.RoomID); err != nil {
			return err
		}
		next.place = c.service.presence.place(q.RoomID, c.peer)
	}
	subscription, err := c.service.log.Open(reading, q.RoomID, from, next.live, func(opened history.Opened) {
		if old != nil {
			old.live.stop() // what it has not delivered is in the page or follows it
		}
		c.service.charge(&c.reader, opened.Messages)
		joined := Joined{
			Page:  Page{q.RoomID, opened.Messages, opened.HasMore, opened.LastSeq, opened.Epoch},
			Reset: opened.Reset, Member: me,
		}
		next.place.enter(me, func(shown []Member, count int) {
			joined.Members, joined.Count = shown, count
			answer(joined)
		})
	})
	if err != nil {
		if old == nil {
			c.exit(q.RoomID)
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

// openOptions checks which part of a room a client asks for.
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
		c.exit(room)
		m.end()
	}
	return nil
}

// subscriber passes a room's live messages to a peer. It is a history.Paced.
type subscriber struct {
	service      *Service
	peer         Peer
	subscription *history.Subscription // owned by the membership

	mu      sync.Mutex // held while a message is passed on
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

// Behind implements history.Paced.
func (s *subscriber) Behind() bool { return s.peer.Behind() }

// WhenDrained implements history.Paced.
func (s *subscriber) WhenDrained(f func()) { s.peer.WhenDrained(f) }

// Lost implements history.Paced.
func (s *subscriber) Lost(_ string, err error) {
	s.service.storeError(context.Background(), "read for a client that is behind", err)
	s.peer.Lost()
}

// stop stops the deliveries. After it returns, no message is on its way. Closing the subscription
// alone would not wait for a running delivery.
func (s *subscriber) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// close stops the deliveries and closes the subscription.
func (s *subscriber) close() {
	s.stop()
	s.subscription.Close()
}
