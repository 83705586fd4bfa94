// Package events binds the conversations to Socket.IO: the events of a namespace's sockets.
//
//	joinRoom     → a page of history in the acknowledgement, live messages from there on
//	sendMessage  → stored, then acknowledged; newMessage to all in the room
//	history      → another page
//	typing       → typing to the others; not stored
//	leaveRoom    → no more of the room
//
// docs/protocol.md describes them.
package events

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// binding has the handlers.
type binding struct{ service *chat.Service }

// Register makes the sockets of srv's main namespace clients of the service, whose announcer must
// be Announcer's.
func Register(srv *parley.Server, service *chat.Service) {
	b := &binding{service}
	srv.On("joinRoom", b.joinRoom)
	srv.On("sendMessage", b.sendMessage)
	srv.On("history", b.history)
	srv.On("leaveRoom", b.leaveRoom)
	srv.On("typing", b.typing)
	srv.OnUnhandled(func(p *parley.Packet) error {
		return refusal(chat.Refuse(chat.UnknownEvent, "there is no event %.100q", p.Name()))
	})
	srv.OnError(func(s *parley.Socket, err error) {
		if e, ok := err.(*parley.EventError); ok && !e.Answered {
			told := e.Client()
			s.Emit("error", errorNotice{told.Code, told.Message, e.Event})
		}
	})
	srv.OnDisconnect(func(s *parley.Socket, _ parley.Reason) {
		if c, ok := s.Data().(*chat.Client); ok {
			c.Close()
		}
	})
}

// client returns what the service keeps for the sender of p.
func (b *binding) client(p *parley.Packet) *chat.Client {
	c, ok := p.Socket().Data().(*chat.Client)
	if !ok {
		c = b.service.Connect((*peer)(p.Socket()))
		p.Socket().SetData(c)
	}
	return c
}

func (b *binding) joinRoom(p *parley.Packet) error {
	var q joinRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	who := chat.Principal{UserID: q.UserID, OperatorID: q.OperatorID, Name: q.Name}
	if !turn(p) {
		return nil
	}
	wanted := chat.JoinRequest{RoomID: q.RoomID, After: q.After, Epoch: q.Epoch, Limit: q.Limit}
	return refusal(b.client(p).Join(p.Context(), who, wanted, func(joined chat.Joined) {
		answer(p, joined) // can be encoded
	}))
}

func (b *binding) sendMessage(p *parley.Packet) error {
	var q sendRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	return refusal(b.client(p).Send(p.Context(), chat.SendRequest(q), func(stored history.Message, err error) {
		if err == nil {
			err = p.Ack(chat.EncodeMessage(&stored))
		}
		if err = refusal(err); err != nil {
			p.Fail(err)
		}
	}))
}

func (b *binding) history(p *parley.Packet) error {
	var q historyRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if !turn(p) {
		return nil
	}
	page, err := b.client(p).History(p.Context(), chat.HistoryRequest(q))
	if err != nil {
		return refusal(err)
	}
	return answer(p, page)
}

func (b *binding) leaveRoom(p *parley.Packet) error {
	var q roomRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if err := b.client(p).Leave(q.RoomID); err != nil {
		return refusal(err)
	}
	return refusal(p.Ack(q))
}

func (b *binding) typing(p *parley.Packet) error {
	var q typingRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if err := b.client(p).Typing(q.RoomID, q.Typing == nil || *q.Typing); err != nil {
		return refusal(err)
	}
	return refusal(p.Ack(roomRequest{q.RoomID}))
}

// turn waits until the client has taken the pages that it asked for before. A client that asks
// for many at once would otherwise be sent more than it can take, and be cut off as a slow one.
// It reports false if the client is gone.
func turn(p *parley.Packet) bool { return p.Socket().Drain(p.Context()) == nil }

// answer acknowledges p, or sends a history event to a client that asks for no
// acknowledgement.
func answer(p *parley.Packet, v any) error {
	if p.WantsAck() {
		return refusal(p.Ack(v))
	}
	return refusal(p.Socket().Emit("history", v))
}

// refusal returns err as clients see it. That the client is gone is no fault of a handler.
func refusal(err error) error {
	var e *chat.Error
	switch {
	case errors.As(err, &e):
		return &parley.Error{Code: string(e.Code), Message: e.Message}
	case err == parley.ErrDisconnected || err == chat.ErrGone:
		return nil
	}
	return err
}

// channel is the name of the Socket.IO room behind a room. The prefix keeps it apart from the
// rooms that Socket.IO names by the ids of sockets.
func channel(room string) string { return "room:" + room }

// peer is a socket as the service knows it, a chat.Peer.
type peer parley.Socket

func (p *peer) socket() *parley.Socket { return (*parley.Socket)(p) }

// ID is the socket's, unless that is the secret of its connection, as with clients of
// Socket.IO 2: then it is made of that.
func (p *peer) ID() string {
	id := p.socket().ID()
	if id != p.socket().SessionID() {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:len(id)]
}

// Enter implements chat.Peer.
func (p *peer) Enter(room string) error {
	switch err := p.socket().Join(channel(room)); err {
	case nil:
		return nil
	case parley.ErrTooManyRooms:
		return chat.Refuse(chat.TooManyRooms, "leave a room first")
	default:
		return err
	}
}

// Exit implements chat.Peer.
func (p *peer) Exit(room string) { p.socket().Leave(channel(room)) }

// Deliver implements chat.Peer.
func (p *peer) Deliver(m *history.Live) {
	nsp := p.socket().Namespace()
	e := m.Encoded(nsp, func(m *history.Message) any {
		encoded, _ := nsp.Encode("newMessage", chat.EncodeMessage(m)) // nil if the store has no JSON
		return encoded
	})
	if encoded := e.(*parley.Encoded); encoded != nil {
		p.socket().Send(encoded) // one who is gone will be told to leave
	}
}

// Announcer returns the announcer of a service whose clients are srv's sockets.
func Announcer(srv *parley.Server) chat.Announcer { return announcer{srv} }

type announcer struct{ srv *parley.Server }

// to chooses the room's members but one.
func (a announcer) to(room string, except chat.Peer) *parley.Broadcast {
	to := a.srv.To(channel(room))
	if p, ok := except.(*peer); ok {
		to = to.Except(p.socket().ID())
	}
	return to
}

// Presence implements chat.Announcer.
func (a announcer) Presence(p chat.Presence, except chat.Peer) {
	a.to(p.RoomID, except).Emit("presence", p) // can be encoded
}

// Typing implements chat.Announcer.
func (a announcer) Typing(t chat.Typing, except chat.Peer) {
	to := a.to(t.RoomID, except)
	if t.Typing {
		to = to.Volatile() // the end must arrive, or the beginning would stay on the screen
	}
	to.Emit("typing", t) // can be encoded
}
