package app

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
)

// The conversations: rooms with a history, who is in them and who is typing.
//
//	joinRoom     → a page of history in the acknowledgement, live messages from there on
//	sendMessage  → stored, then acknowledged; newMessage to all in the room
//	history      → another page
//	typing       → typing to the others; not stored
//	leaveRoom    → no more of the room
//
// docs/protocol.md describes them.

// storeTimeout bounds how long a client waits for the store. Tests shorten it.
var storeTimeout = 10 * time.Second

// maxSending bounds the messages of one socket that wait for the store. With as many, the
// handler of the next one waits, and so does the socket's next event.
const maxSending = 16

// conversations handles the events of the main namespace.
type conversations struct {
	sockets  *parley.Server
	store    history.Store
	log      *history.Log
	presence *presence
	metrics  *storeMetrics

	pageSize, maxPage int
	maxBytes          int // of a page's messages
}

func newConversations(c Config, sockets *parley.Server, store history.Store, log *history.Log, m *storeMetrics) *conversations {
	return &conversations{
		sockets: sockets, store: store, log: log, metrics: m,
		presence: &presence{nsp: sockets.Namespace, rooms: make(map[string]*room)},
		pageSize: c.PageSize, maxPage: c.MaxPage,
		maxBytes: int(c.MaxOutbox) / 2, // or the page itself would make the client a slow one
	}
}

// register has the events handled.
func (c *conversations) register() {
	h := c.sockets.Handlers
	h.On("joinRoom", c.joinRoom)
	h.On("sendMessage", c.sendMessage)
	h.On("history", c.history)
	h.On("leaveRoom", c.leaveRoom)
	h.On("typing", c.typing)
	h.OnUnhandled(func(p *parley.Packet) error {
		return refuse(codeUnknownEvent, "there is no event %.100q", p.Name())
	})
	h.OnError(func(s *parley.Socket, err error) {
		if e, ok := err.(*parley.EventError); ok && !e.Answered {
			told := e.Client()
			s.Emit("error", errorNotice{told.Code, told.Message, e.Event})
		}
	})
	h.OnDisconnect(func(s *parley.Socket, _ parley.Reason) {
		for _, seat := range visitorOf(s).seats {
			seat.leave()
		}
	})
}

// seat is a socket's membership of a room. It is owned by the goroutine that runs the
// socket's handlers.
type seat struct {
	identity identity
	place    *place
	feed     *feed
}

// leave ends the membership. No message of the room follows.
func (s *seat) leave() {
	s.feed.close()
	s.place.leave()
}

// visitor is what is kept for a socket.
type visitor struct {
	seats   map[string]*seat // by room; owned by the goroutine that runs the socket's handlers
	sending atomic.Int32     // messages that wait for the store while no handler does
}

func visitorOf(s *parley.Socket) *visitor {
	v, ok := s.Data().(*visitor)
	if !ok {
		v = &visitor{seats: make(map[string]*seat)}
		s.SetData(v)
	}
	return v
}

// seatOf returns the seat of who sent p in a room, or an error for the client.
func seatOf(p *parley.Packet, room string) (*seat, error) {
	if err := checkRoom(room); err != nil {
		return nil, err
	}
	if s := visitorOf(p.Socket()).seats[room]; s != nil {
		return s, nil
	}
	return nil, refuse(codeNotJoined, "join the room first")
}

func (c *conversations) joinRoom(p *parley.Packet) error {
	var q joinRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	from, err := c.openOptions(&q)
	if err != nil {
		return err
	}
	who := identity{UserID: q.UserID, OperatorID: q.OperatorID, Name: q.Name}
	if err := who.check(); err != nil {
		return err
	}
	socket := p.Socket()
	me := newMember(socket, who)

	seats := visitorOf(socket).seats
	old := seats[q.RoomID]
	next := &seat{identity: me.identity, feed: &feed{socket: socket}}
	if old != nil {
		next.place = old.place
	} else {
		switch err := socket.Join(channel(q.RoomID)); err {
		case nil:
		case parley.ErrTooManyRooms:
			return refuse(codeTooManyRooms, "leave a room first")
		default:
			return unlessGone(err)
		}
		next.place = c.presence.place(q.RoomID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	subscription, err := c.log.Open(ctx, q.RoomID, from, next.feed, func(opened history.Opened) {
		if old != nil {
			old.feed.stop() // what it has not delivered is in the page or follows it
		}
		// One who comes back reads on from where it was: of too much the newest is left out.
		messages, cut := c.fit(opened.Messages, q.After != nil && !opened.Reset)
		joined := joinAnswer{
			page:  page{q.RoomID, messages, opened.HasMore || cut, opened.LastSeq, opened.Epoch},
			Reset: opened.Reset, Member: me,
		}
		next.place.enter(me, func(shown []member, count int) {
			joined.Members, joined.Count = shown, count
			answer(p, joined) // can be encoded
		})
	})
	if err != nil {
		if old == nil {
			socket.Leave(channel(q.RoomID))
			next.place.leave()
		}
		return c.refuseStore("open room", err)
	}
	next.feed.subscription = subscription
	if old != nil {
		old.feed.close()
	}
	seats[q.RoomID] = next
	return nil
}

// openOptions checks what a client wants to have of a room.
func (c *conversations) openOptions(q *joinRequest) (o history.OpenOptions, err error) {
	if err := checkRoom(q.RoomID); err != nil {
		return o, err
	}
	if o.Limit, err = c.limit(q.Limit); err != nil || q.After == nil {
		return o, err
	}
	if *q.After < 0 {
		return o, refuse(codeBadPayload, "after cannot be negative")
	}
	o.Since, o.Epoch = *q.After, cmp.Or(q.Epoch, c.store.Epoch())
	return o, nil
}

// limit returns how many messages a page may have.
func (c *conversations) limit(asked int) (int, error) {
	switch {
	case asked < 0:
		return 0, refuse(codeBadPayload, "limit cannot be negative")
	case asked == 0:
		return c.pageSize, nil
	}
	return min(asked, c.maxPage), nil
}

// fit returns the first or the last messages, as many as may be sent at once.
func (c *conversations) fit(messages []history.Message, first bool) (fitting []history.Message, cut bool) {
	const envelope = 200 // bytes of a message's other members, about
	n, size := 0, 0
	for n < len(messages) {
		m := &messages[n]
		if !first {
			m = &messages[len(messages)-1-n]
		}
		size += envelope + len(m.Message) + len(m.RoomID) + len(m.UserID) + len(m.OperatorID) + len(m.ClientID)
		if n > 0 && size > c.maxBytes {
			break
		}
		n++
	}
	if first {
		return messages[:n], n < len(messages)
	}
	return messages[len(messages)-n:], n < len(messages)
}

func (c *conversations) sendMessage(p *parley.Packet) error {
	var q sendRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	seat, err := seatOf(p, q.RoomID)
	if err != nil {
		return err
	}
	if q.Message == nil {
		return refuse(codeBadPayload, "message is missing")
	}
	if depth(q.Message) > maxDepth {
		return refuse(codeBadPayload, "message is nested more than %d deep", maxDepth)
	}
	if err := checkText("clientId", q.ClientID, history.MaxClientID); err != nil {
		return err
	}
	who, err := seat.identity.complete(identity{UserID: q.UserID, OperatorID: q.OperatorID})
	if err != nil {
		return err
	}
	// Who disconnects leaves a message that is stored all the same.
	return c.append(p, history.Draft{
		RoomID: q.RoomID, UserID: who.UserID, OperatorID: who.OperatorID,
		ClientID: q.ClientID, Message: q.Message,
	})
}

// append has a message stored and acknowledged. No handler waits for that, unless the client
// sends many messages without waiting either.
func (c *conversations) append(p *parley.Packet, d history.Draft) error {
	sending := &visitorOf(p.Socket()).sending
	if sending.Load() >= maxSending {
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		defer cancel()
		stored, err := c.log.Append(ctx, d)
		return c.appended(p, stored, err)
	}
	late := time.AfterFunc(storeTimeout, func() {
		p.Fail(c.refuseStore("append message", history.ErrUnknownOutcome))
	})
	sending.Add(1)
	err := c.log.AppendFunc(d, func(stored history.Appended, err error) {
		sending.Add(-1)
		if !late.Stop() {
			return
		}
		if err := c.appended(p, stored, err); err != nil {
			p.Fail(err)
		}
	})
	if err != nil {
		sending.Add(-1)
		late.Stop()
		return c.refuseStore("append message", err)
	}
	return nil
}

// appended acknowledges a message with what the store says.
func (c *conversations) appended(p *parley.Packet, stored history.Appended, err error) error {
	if err != nil {
		return c.refuseStore("append message", err)
	}
	c.metrics.stored(stored.Dup)
	return unlessGone(p.Ack(encode(&stored.Message)))
}

func (c *conversations) history(p *parley.Packet) error {
	var q historyRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if _, err := seatOf(p, q.RoomID); err != nil {
		return err
	}
	wanted, err := c.page(&q)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	slice, err := c.log.History(ctx, q.RoomID, wanted)
	if err != nil {
		return c.refuseStore("read page", err)
	}
	more := slice.MoreBefore
	if q.After != nil {
		more = slice.MoreAfter
	}
	messages, cut := c.fit(slice.Messages, q.After != nil)
	return answer(p, page{q.RoomID, messages, more || cut, slice.Head, c.store.Epoch()})
}

func (c *conversations) page(q *historyRequest) (history.Page, error) {
	limit, err := c.limit(q.Limit)
	if err != nil {
		return history.Page{}, err
	}
	o := history.Page{Limit: limit}
	switch {
	case q.Before != nil && q.After != nil:
		return o, refuse(codeBadPayload, "before and after exclude each other")
	case q.Before != nil && *q.Before < 1:
		return o, refuse(codeBadPayload, "before must be at least 1")
	case q.After != nil && *q.After < 0:
		return o, refuse(codeBadPayload, "after cannot be negative")
	case q.Before != nil:
		o.Before = *q.Before
	case q.After != nil && *q.After == 0:
		o.After = -1 // from the very first
	case q.After != nil:
		o.After = *q.After
	}
	return o, nil
}

func (c *conversations) leaveRoom(p *parley.Packet) error {
	var q roomRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if err := checkRoom(q.RoomID); err != nil {
		return err
	}
	seats := visitorOf(p.Socket()).seats
	if s := seats[q.RoomID]; s != nil {
		delete(seats, q.RoomID)
		p.Socket().Leave(channel(q.RoomID))
		s.leave()
	}
	return unlessGone(p.Ack(q))
}

func (c *conversations) typing(p *parley.Packet) error {
	var q typingRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	seat, err := seatOf(p, q.RoomID)
	if err != nil {
		return err
	}
	notice := typingNotice{RoomID: q.RoomID, identity: seat.identity, Typing: q.Typing == nil || *q.Typing}
	to := p.Socket().To(channel(q.RoomID))
	if notice.Typing {
		to = to.Volatile() // the end must arrive, or the beginning would stay on the screen
	}
	if err := to.Emit("typing", notice); err != nil {
		return err
	}
	return unlessGone(p.Ack(roomRequest{q.RoomID}))
}

// answer acknowledges p, or sends a history event to a client that asks for no
// acknowledgement.
func answer(p *parley.Packet, v any) error {
	if p.WantsAck() {
		return unlessGone(p.Ack(v))
	}
	return unlessGone(p.Socket().Emit("history", v))
}

// unlessGone returns err, unless it is that the client has disconnected, which is no
// fault of a handler.
func unlessGone(err error) error {
	if err == parley.ErrDisconnected {
		return nil
	}
	return err
}

// refuseStore turns an error of the store into one for the client, and logs it if it is
// not the client's fault.
func (c *conversations) refuseStore(doing string, err error) error {
	refusal, alarming := storeRefusal(err)
	if alarming {
		c.metrics.failed(doing, err)
	}
	return refusal
}
