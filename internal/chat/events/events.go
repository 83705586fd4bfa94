// Package events binds the conversations to Socket.IO, as events of a namespace's sockets.
//
//	joinRoom     → a page of history in the acknowledgement, then live messages
//	sendMessage  → stored, then acknowledged; then sent to everyone in the room as newMessage
//	history      → another page
//	typing       → sent to the others in the room; not stored
//	leaveRoom    → nothing more from the room
//
// docs/protocol.md describes them.
package events

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// binding contains the handlers.
type binding struct{ service *chat.Service }

// Register makes the sockets of srv's main namespace clients of the service. The service's
// announcer must be the result of Announcer.
func Register(srv *parley.Server, service *chat.Service) {
	b := &binding{service}
	srv.OnConnection(b.welcome)
	srv.UseEvent(b.begin)
	srv.On(string(conversation.JoinRoom), b.joinRoom)
	srv.On(string(conversation.SendMessage), b.sendMessage)
	srv.On(string(conversation.History), b.history)
	srv.On(string(conversation.MarkRead), b.markRead)
	srv.On(string(conversation.Refresh), b.refresh)
	srv.On(string(conversation.Identify), b.identify)
	on(srv, b, conversation.LeaveRoom, func(c *chat.Client, _ context.Context, q conversation.RoomRequest) (conversation.RoomRequest, error) {
		return q, c.Leave(q.RoomID)
	})
	on(srv, b, conversation.StartTyping, func(c *chat.Client, _ context.Context, q conversation.TypingRequest) (conversation.RoomRequest, error) {
		return conversation.RoomRequest{RoomID: q.RoomID}, c.Typing(q.RoomID, q.Typing == nil || *q.Typing, q.Text)
	})
	on(srv, b, conversation.Hello, (*chat.Client).Hello)
	on(srv, b, conversation.StartConversation, (*chat.Client).StartConversation)
	on(srv, b, conversation.EditMessage, (*chat.Client).EditMessage)
	on(srv, b, conversation.DeleteMessage, (*chat.Client).DeleteMessage)
	on(srv, b, conversation.MarkUnread, (*chat.Client).MarkUnread)
	on(srv, b, conversation.ClaimRoom, (*chat.Client).ClaimRoom)
	on(srv, b, conversation.TransferRoom, (*chat.Client).TransferRoom)
	on(srv, b, conversation.CloseRoom, (*chat.Client).CloseRoom)
	on(srv, b, conversation.ReopenRoom, (*chat.Client).ReopenRoom)
	on(srv, b, conversation.Answered, (*chat.Client).Answered)
	on(srv, b, conversation.UpdateRoom, (*chat.Client).UpdateRoom)
	on(srv, b, conversation.AddNote, (*chat.Client).AddNote)
	on(srv, b, conversation.Search, (*chat.Client).Search)
	on(srv, b, conversation.GetPerson, (*chat.Client).GetPerson)
	on(srv, b, conversation.UpdatePerson, (*chat.Client).UpdatePerson)
	srv.OnExpiring(func(s *parley.Socket, expires time.Time) {
		at := history.TimeMilli(expires.UnixMilli())
		conversation.TokenExpiring.Emit(s, conversation.Expiry{ExpiresAt: &at})
	})
	registerLobby(srv, b)
	srv.OnUnhandled(func(p *parley.Packet) error {
		return refusal(chat.Refuse(chat.UnknownEvent, "there is no event %.100q", p.Name()))
	})
	srv.OnError(func(s *parley.Socket, err error) {
		if e, ok := err.(*parley.EventError); ok && !e.Answered {
			told := e.Client()
			conversation.ErrorNotice.Emit(s, conversation.Notice{
				Code: conversation.Code(told.Code), Message: told.Message, Data: told.Data, Event: e.Event,
			})
		}
	})
	srv.OnDisconnect(func(s *parley.Socket, _ parley.Reason) {
		if c, ok := s.Data().(*chat.Client); ok {
			c.Close()
		}
	})
}

// client returns the chat.Client of p's sender. Before every other handler, begin has made it.
func (b *binding) client(p *parley.Packet) *chat.Client { return p.Socket().Data().(*chat.Client) }

// welcome makes a socket that says who it is a client of the service, so that others see that it is
// there. Sockets that only listen cost no client.
func (b *binding) welcome(s *parley.Socket) {
	if proved, claimed := identity(s); proved == nil && claimed.UserID+claimed.OperatorID == "" {
		return
	}
	if c, err := b.connect(s); err != nil { // the first event is refused with it
		c.Close()
	} else {
		s.SetData(c)
	}
}

// identity returns who a socket has proved to be or, in an open server, who it says it is.
func identity(s *parley.Socket) (proved *auth.Identity, claimed chat.Principal) {
	if who := s.Identity(); who != nil && who.Subject != "" {
		return who, claimed
	}
	var claim struct{ UserID, OperatorID, Name string }
	if s.DecodeAuth(&claim) != nil {
		return nil, claimed // what is of another form claims nothing
	}
	return nil, chat.Principal(claim)
}

// connect makes a socket a client of the service.
func (b *binding) connect(s *parley.Socket) (*chat.Client, error) {
	c := b.service.Connect((*peer)(s))
	proved, claimed := identity(s)
	if proved != nil {
		return c, c.SetIdentity(s.Context(), proved)
	}
	return c, c.Claim(s.Context(), claimed)
}

// begin runs before every event.
func (b *binding) begin(p *parley.Packet) (err error) {
	s := p.Socket()
	c, ok := s.Data().(*chat.Client)
	if !ok {
		c, err = b.connect(s)
		s.SetData(c) // only the first event is refused
	}
	if err == nil {
		err = c.Begin(p.Context())
	}
	if err == chat.ErrGone {
		return parley.ErrDisconnected // so that the event's handler does not run
	}
	return refusal(err)
}

func (b *binding) joinRoom(p *parley.Packet) error {
	var q conversation.JoinRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	who := chat.Principal{UserID: q.UserID, OperatorID: q.OperatorID, Name: q.Name}
	if !turn(p) {
		return nil
	}
	return refusal(b.client(p).Join(p.Context(), who, q, func(joined chat.Joined) {
		answer(p, joined) // joined can always be encoded
	}))
}

func (b *binding) sendMessage(p *parley.Packet) error {
	var q conversation.SendRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	return refusal(b.client(p).Send(p.Context(), q, func(stored history.Message, err error) {
		if err == nil {
			err = p.Ack(chat.EncodeMessage(&stored))
		}
		if err = refusal(err); err != nil {
			p.Fail(err)
		}
	}))
}

func (b *binding) markRead(p *parley.Packet) error {
	var q conversation.MarkRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	return refusal(b.client(p).MarkRead(p.Context(), q, func(marked conversation.Marked, err error) {
		if err == nil {
			err = p.Ack(marked)
		}
		if err = refusal(err); err != nil {
			p.Fail(err)
		}
	}))
}

// refresh gives the socket, and then its client, the identity that a new token proves.
func (b *binding) refresh(p *parley.Packet) error {
	token, err := b.token(p)
	if err != nil {
		return err
	}
	who, err := p.Socket().Renew(p.Context(), token)
	if err != nil {
		return refusal(err)
	}
	expiry, err := b.client(p).Refresh(p.Context(), who)
	if err != nil {
		return refusal(err)
	}
	return refusal(p.Ack(expiry))
}

// identify makes the socket of a visitor that of a user.
func (b *binding) identify(p *parley.Packet) error {
	token, err := b.token(p)
	if err != nil {
		return err
	}
	var identified *conversation.Identified
	_, err = p.Socket().Become(p.Context(), token, func(who *auth.Identity) error {
		answer, err := b.client(p).Identify(p.Context(), who)
		if err == nil {
			identified = &answer
		}
		return refusal(err)
	})
	switch {
	case err != nil && identified != nil: // the client is somebody whom its socket is not
		p.Socket().CloseConnection()
		return refusal(err)
	case err != nil || identified == nil:
		return refusal(err)
	}
	return refusal(p.Ack(*identified))
}

// token returns the payload with which a socket proves its identity anew.
func (b *binding) token(p *parley.Packet) (json.RawMessage, error) {
	var q conversation.TokenRequest
	if err := decode(p, &q); err != nil {
		return nil, err
	}
	switch {
	case q.Token == "":
		return nil, refusal(chat.Refuse(chat.BadPayload, "token is missing"))
	case p.Socket().Identity() == nil:
		return nil, refusal(chat.Refuse(chat.Forbidden, "nobody proves an identity to this server"))
	}
	return json.Marshal(q)
}

func (b *binding) history(p *parley.Packet) error {
	var q conversation.HistoryRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if !turn(p) {
		return nil
	}
	page, err := b.client(p).History(p.Context(), q)
	if err != nil {
		return refusal(err)
	}
	return answer(p, page)
}

// on answers an event with a method of the sender's client.
func on[Q, R any](srv *parley.Server, b *binding, e event.RPC[Q, R], method func(*chat.Client, context.Context, Q) (R, error)) {
	srv.On(string(e), func(p *parley.Packet) error {
		var q Q
		if err := decode(p, &q); err != nil {
			return err
		}
		r, err := method(b.client(p), p.Context(), q)
		if err != nil || !p.WantsAck() {
			return refusal(err)
		}
		return refusal(p.Ack(r))
	})
}

// turn waits until the client has received the pages that it asked for before. Otherwise a client
// that asks for many pages at once would be sent more than it can receive, and would be
// disconnected as slow. It reports false if the client is gone.
func turn(p *parley.Packet) bool { return p.Socket().Drain(p.Context()) == nil }

// answer acknowledges p. If the client asks for no acknowledgement, it sends a history event
// instead.
func answer(p *parley.Packet, v any) error {
	if p.WantsAck() {
		return refusal(p.Ack(v))
	}
	return refusal(p.Socket().Emit("history", v))
}

// refusal converts err to what clients see. If the client is gone, that is not a handler's failure.
func refusal(err error) error {
	var e *chat.Error
	switch {
	case errors.As(err, &e):
		refused := &parley.Error{Code: string(e.Code), Message: e.Message}
		switch {
		case e.RetryAfter > 0:
			refused.Data = conversation.RefusalData{RetryAfter: budget.Seconds(e.RetryAfter)}
		case e.Data != nil:
			refused.Data = e.Data
		}
		return refused
	case err == parley.ErrDisconnected || err == chat.ErrGone:
		return nil
	}
	return err
}

// peer is a socket as a chat.Peer.
type peer parley.Socket

func (p *peer) socket() *parley.Socket { return (*parley.Socket)(p) }

// ID is the socket's id. For clients of Socket.IO 2, whose socket id is the secret of the
// connection, it is derived from that id.
func (p *peer) ID() string {
	id := p.socket().ID()
	if id != p.socket().SessionID() {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return base64.RawURLEncoding.EncodeToString(sum[:])[:len(id)]
}

// Address implements chat.Peer.
func (p *peer) Address() string { return address.Client(p.RemoteAddress()) }

// RemoteAddress implements chat.Peer.
func (p *peer) RemoteAddress() string { return p.socket().Handshake().Address }

// Enter implements chat.Peer. The names of channels have a prefix, so they are none of those that
// Socket.IO makes of socket ids.
func (p *peer) Enter(channel string) error {
	switch err := p.socket().Join(channel); err {
	case nil:
		return nil
	case parley.ErrTooManyRooms:
		return chat.Refuse(chat.TooManyRooms, "leave a room first")
	default:
		return err
	}
}

// Exit implements chat.Peer.
func (p *peer) Exit(channel string) { p.socket().Leave(channel) }

// Tell implements chat.Peer.
func (p *peer) Tell(event string, payload any) { p.socket().Emit(event, payload) } // it can be encoded

// Deliver implements chat.Peer.
func (p *peer) Deliver(m *history.Live) {
	nsp := p.socket().Namespace()
	e := m.Encoded(nsp, func(m *history.Message) any {
		encoded, _ := nsp.Encode(chat.Event(m), chat.EncodeMessage(m)) // nil if the stored message is not JSON
		return encoded
	})
	if encoded := e.(*parley.Encoded); encoded != nil {
		p.socket().Send(encoded) // if the socket is gone, its disconnect handler makes it leave
	}
}

// Announce implements chat.Peer.
func (p *peer) Announce(n *chat.Notice) {
	nsp := p.socket().Namespace()
	e := n.Encoded(func(event string, payload any) any {
		encoded, _ := nsp.Encode(event, payload) // it can always be encoded
		return encoded
	})
	p.socket().Send(e.(*parley.Encoded))
}

// Behind implements chat.Peer.
func (p *peer) Behind() bool { return p.socket().Behind() }

// WhenDrained implements chat.Peer.
func (p *peer) WhenDrained(f func()) { p.socket().WhenDrained(f) }

// Lost implements chat.Peer. All clients reconnect after this, and join again.
func (p *peer) Lost() { p.socket().CloseConnection() }

// Announcer returns the announcer of a service whose clients are srv's sockets.
func Announcer(srv *parley.Server) chat.Announcer { return announcer{srv} }

type announcer struct{ srv *parley.Server }

// Announce implements chat.Announcer.
func (a announcer) Announce(channel, event string, payload any, except chat.Peer) {
	to := a.srv.To(channel).Local() // the service tells those of other servers
	if p, ok := except.(*peer); ok {
		to = to.Except(p.socket().ID())
	}
	if t, ok := payload.(conversation.TypingNews); ok && t.Typing {
		to = to.Volatile() // the end must arrive; otherwise the beginning would stay on the screen
	}
	to.Emit(event, payload) // it can be encoded
}
