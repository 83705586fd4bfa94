package chat

import (
	"cmp"
	"context"
	"sync/atomic"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
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
	// Between Enter and Exit, the connection receives the announcements of a channel.
	Enter(channel string) error
	Exit(channel string)
	// Tell sends an event to this connection alone.
	Tell(event string, payload any)
	// Deliver sends a stored message; see Event. The calls are made in the room's order.
	Deliver(m *history.Live)
	// Announce sends an event that others get too, after everything that was sent before.
	Announce(n *Notice)
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
	who         atomic.Pointer[auth.Identity] // nil: it has proved nothing
	memberships map[string]*membership        // by room
	sending     atomic.Int32                  // messages that wait for the store without a waiting caller
	joins       budget.Balance
	pages       budget.Balance
	reader      reader
	refusals    refusals
	late        lateMarks
	visit       *visit                    // nil: it has not said where it is
	page        *conversation.VisitedPage // where it is now; visitors.mu guards it
	watcher     atomic.Pointer[watcher]   // nil: does not watch the lobby
	viewing     atomic.Pointer[viewing]   // nil: is no operator's
}

// membership is a client's membership of one room. It belongs to the client's goroutine, except that
// others may evict it.
type membership struct {
	client *Client
	access atomic.Pointer[access]
	place  *place
	live   *subscriber
	notes  *subscriber // nil: without notes
	gone   atomic.Bool // evicted
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

// SetIdentity says who the client is from now on. The client leaves the rooms that its new identity
// must not read. In an open server this is what the client says; a client that says nothing has no
// identity, and names itself in each room.
func (c *Client) SetIdentity(ctx context.Context, who *auth.Identity) error {
	old := c.who.Swap(who)
	if old == nil || member(old) != member(who) {
		c.service.connected.enter(member(who), c)
		if old != nil {
			c.service.connected.leave(member(old), c)
		}
	}
	if old == nil || old.Subject != who.Subject || old.Role != who.Role {
		c.appear(old, who)
	}
	for room, m := range c.memberships {
		if m.gone.Load() {
			c.forget(room)
			continue
		}
		now := *m.access.Load()
		if err := c.service.decide(ctx, who, room, &now); err != nil {
			return err
		}
		now.who = principalOf(who)
		now.who.Name = cmp.Or(now.who.Name, m.access.Load().who.Name)
		if m.settle(&now) {
			m.place.enter(m, now.who.member(c.peer.ID()), func([]Member, int) {})
		}
	}
	return nil
}

// Claim says who a client without an identity says it is. A closed server does not listen.
func (c *Client) Claim(ctx context.Context, p Principal) error {
	if c.service.isClosed() || p.UserID == "" && p.OperatorID == "" {
		return nil
	}
	if err := p.check(c.peer.ID()); err != nil {
		return err
	}
	who := &auth.Identity{Subject: p.UserID, Role: auth.User, Name: p.Name}
	if p.OperatorID != "" {
		who.Subject, who.Role = p.OperatorID, auth.Operator
	}
	return c.SetIdentity(ctx, who)
}

// Identity returns who the client is, or nil.
func (c *Client) Identity() *auth.Identity { return c.who.Load() }

// RemoteAddress implements connection.
func (c *Client) RemoteAddress() string { return c.peer.RemoteAddress() }

// cut implements connection.
func (c *Client) cut(*Error) { c.peer.Lost() }

// Begin notes that the client is active, and charges its address for an event. If the address is over its budget, Begin waits
// first. Call it before everything that the client asks for.
func (c *Client) Begin(ctx context.Context) error {
	if who := c.who.Load(); who != nil && c.service.opts.Active != nil {
		c.service.opts.Active(who)
	}
	return c.service.affordTogether(ctx, &c.reader, budget.AddressEvents, &c.service.accounts.events, 1)
}

// Close ends all memberships. The peer itself leaves the rooms. Closing again does nothing.
func (c *Client) Close() {
	if who := c.who.Swap(nil); who != nil {
		c.service.connected.leave(member(who), c)
		c.appear(who, nil)
	}
	for room, m := range c.memberships {
		delete(c.memberships, room)
		m.end()
		c.service.accounts.memberships.leave(c.reader.payer)
	}
}

// end ends the membership. No message of the room follows.
func (m *membership) end() {
	m.client.left(m.place.room.id)
	m.live.close()
	m.notes.close()
	m.place.leave()
}

// settle gives the membership a new access. If that is not enough to stay, or the member sees the room
// in another way, it ends: the client is told, and may join again. Settle reports whether the member
// stays. Any goroutine may call it.
func (m *membership) settle(now *access) (stays bool) {
	old := m.access.Swap(now)
	switch {
	case m.gone.Load():
		return false
	case now.rights.Has(auth.Read) && now.view() == old.view():
		return true
	}
	m.evict(old.view(), string(conversation.ErrorNotice), conversation.Notice{
		Code: conversation.Forbidden, Message: "your rights in this room have changed", Event: string(conversation.JoinRoom),
		Data: conversation.RefusalData{RoomID: m.place.room.id},
	})
	return false
}

// evict ends a membership for a reason that the client is told. Any goroutine may call it.
func (m *membership) evict(from view, event string, why any) {
	if m.gone.Swap(true) {
		return
	}
	m.client.peer.Exit(from.channel(m.place.room.id))
	m.end()
	m.client.peer.Tell(event, why)
}

// forget ends a membership that was evicted, and returns the refusal of what the client wanted there.
func (c *Client) forget(room string) error {
	c.left(room)
	delete(c.memberships, room)
	c.service.accounts.memberships.leave(c.reader.payer)
	return Refuse(NotJoined, "your rights in this room have changed: join it again")
}

// member returns the client's membership of a room.
func (c *Client) member(room string) (*membership, error) {
	if err := CheckRoom(room); err != nil {
		return nil, err
	}
	switch m := c.memberships[room]; {
	case m == nil:
		return nil, Refuse(NotJoined, "join the room first")
	case m.gone.Load():
		return nil, c.forget(room)
	default:
		return m, nil
	}
}

// Leave ends the membership of a room, if there is one.
func (c *Client) Leave(room string) error {
	if err := CheckRoom(room); err != nil {
		return err
	}
	switch m := c.memberships[room]; {
	case m == nil:
	case m.gone.Load():
		c.forget(room)
	default:
		delete(c.memberships, room)
		c.exit(room, m.access.Load().view())
		m.end()
	}
	return nil
}
