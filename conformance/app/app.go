// Package app is the application that the tests of clients use. A comment at each handler says
// what its event does.
package app

import (
	"context"
	"encoding/json"
	"regexp"
	"sync"
	"time"

	"github.com/parley-go/parley"
)

// New returns a server with the application on these namespaces:
//
//	/, /custom, /dynamic-<digits>  greet clients with "auth"
//	/quiet                         does not greet
//	/refused                       refuses everybody
//	/token                         requires the auth object {token: "secret"}
func New(o *parley.Options) (*parley.Server, error) {
	srv, err := parley.New(o)
	if err != nil {
		return nil, err
	}
	for _, h := range []application{
		srv, srv.Of("/custom"), srv.Of("/refused"), srv.Of("/token"),
		srv.OfPattern(regexp.MustCompile(`/dynamic-\d+`)),
	} {
		h.OnConnection(greet)
		register(h)
	}
	register(srv.Of("/quiet"))
	srv.Of("/refused").Use(func(context.Context, *parley.Socket) error {
		return &parley.ConnectError{Message: "Not authorized", Data: map[string]any{"code": "E1", "label": "no token"}}
	})
	srv.Of("/token").Use(func(_ context.Context, s *parley.Socket) error {
		var auth struct{ Token string }
		if s.DecodeAuth(&auth) != nil || auth.Token != "secret" {
			return &parley.ConnectError{Message: "Not authorized"}
		}
		return nil
	})
	return srv, nil
}

// greet emits "auth" with the client's auth object to a socket that connects.
func greet(s *parley.Socket) {
	auth := s.Handshake().Auth
	if auth == nil {
		auth = json.RawMessage("{}")
	}
	s.Emit("auth", auth)
}

// application is a namespace, or the parent of several namespaces.
type application interface {
	parley.Listener
	OnConnection(func(*parley.Socket)) *parley.Registration
	OnDisconnect(func(*parley.Socket, parley.Reason)) *parley.Registration
}

// register adds the application's handlers to a namespace or a parent.
func register(h application) {
	// message (any…): emits the arguments back as message-back.
	h.On("message", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Socket().Emit("message-back", v...)
	})
	// message-with-ack (any…, ack): acknowledges with the arguments.
	h.On("message-with-ack", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Ack(v...)
	})
	// join, leave (room, ack): acknowledges with the socket's rooms.
	h.On("join", func(p *parley.Packet) error {
		var room string
		if err := p.Decode(&room); err != nil {
			return err
		}
		if err := p.Socket().Join(room); err != nil {
			return err
		}
		return p.Ack(p.Socket().Rooms())
	})
	h.On("leave", func(p *parley.Packet) error {
		var room string
		if err := p.Decode(&room); err != nil {
			return err
		}
		p.Socket().Leave(room)
		return p.Ack(p.Socket().Rooms())
	})
	// broadcast ({to, except, volatile, self}, event, any…, ack): emits the event to these rooms, or
	// to the namespace if there are none. The sender gets it only with self.
	h.On("broadcast", func(p *parley.Packet) error {
		var how struct {
			To, Except     []string
			Volatile, Self bool
		}
		var event string
		if err := p.Decode(&how, &event); err != nil {
			return err
		}
		v, err := p.Values()
		if err != nil {
			return err
		}
		b := p.Socket().Namespace().All()
		if !how.Self {
			b = p.Socket().Broadcast()
		}
		if len(how.To) > 0 {
			b = b.To(how.To...)
		}
		b = b.Except(how.Except...)
		if how.Volatile {
			b = b.Volatile()
		}
		if err := b.Emit(event, v[2:]...); err != nil {
			return err
		}
		return p.Ack()
	})
	// stream ({count, every, volatile}, ack): emits count "tick" events with 0, 1, … to the same client,
	// one every `every` microseconds. Then it acknowledges.
	h.On("stream", func(p *parley.Packet) error {
		var how struct {
			Count, Every int
			Volatile     bool
		}
		if err := p.Decode(&how); err != nil {
			return err
		}
		var to parley.Emitter = p.Socket()
		if how.Volatile {
			to = p.Socket().Volatile()
		}
		go func() {
			for i := range how.Count {
				to.Emit("tick", i)
				time.Sleep(time.Duration(how.Every) * time.Microsecond)
			}
			p.Ack()
		}()
		return nil
	})
	// nth (n, key, ack): counts how often the key has come. From the n-th time on, it acknowledges
	// with the count.
	var mu sync.Mutex
	seen := map[string]int{}
	h.On("nth", func(p *parley.Packet) error {
		var n int
		var key string
		if err := p.Decode(&n, &key); err != nil {
			return err
		}
		mu.Lock()
		seen[key]++
		times := seen[key]
		mu.Unlock()
		if times < n {
			return nil
		}
		return p.Ack(times)
	})
	// ask (timeout in ms, any…, ack): emits "question" to the same client and waits in the handler.
	// Then it acknowledges with the client's answer.
	h.On("ask", func(p *parley.Packet) error {
		var ms int
		if err := p.Decode(&ms); err != nil {
			return err
		}
		v, err := p.Values()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(p.Context(), time.Duration(ms)*time.Millisecond)
		defer cancel()
		reply, err := p.Socket().EmitWithAck(ctx, "question", v[1:]...)
		if err != nil {
			return &parley.Error{Code: "no_answer", Message: err.Error()}
		}
		answer, err := reply.Values()
		if err != nil {
			return err
		}
		return p.Ack(answer...)
	})
	// ask-all (timeout in ms, any, ack): asks all sockets. It acknowledges with the list of answers
	// and whether all sockets have answered.
	h.On("ask-all", func(p *parley.Packet) error {
		var ms int
		var q any
		if err := p.Decode(&ms, &q); err != nil {
			return err
		}
		replies, err := p.Socket().Namespace().All().
			Timeout(time.Duration(ms)*time.Millisecond).EmitWithAck(p.Context(), "question", q)
		answers := make([]any, len(replies))
		for i, r := range replies {
			r.Decode(&answers[i])
		}
		return p.Ack(answers, err == nil)
	})
	// fail, panic (ack): one handler returns an error for the client, the other panics.
	h.On("fail", func(p *parley.Packet) error {
		return &parley.Error{Code: "too_bad", Message: "it did not work", Data: 42}
	})
	h.On("panic", func(*parley.Packet) error { panic("on purpose") })
	// disconnect-me (close): the server disconnects the socket, or the connection.
	h.On("disconnect-me", func(p *parley.Packet) error {
		var closeConnection bool
		if err := p.Decode(&closeConnection); err != nil {
			return err
		}
		p.Socket().Disconnect(closeConnection)
		return nil
	})
	// handshake (ack): acknowledges with the client's handshake.
	h.On("handshake", func(p *parley.Packet) error {
		h := p.Socket().Handshake()
		return p.Ack(map[string]any{
			"headers": h.Headers, "query": h.Query, "auth": h.Auth, "url": h.URL, "address": h.Address,
			"secure": h.Secure, "crossOrigin": h.CrossOrigin,
		})
	})
	// whoami (ack): acknowledges with the socket's id, recovered, transport, data and rooms.
	h.On("whoami", func(p *parley.Packet) error {
		s := p.Socket()
		return p.Ack(map[string]any{
			"id": s.ID(), "recovered": s.Recovered(), "transport": s.Transport(), "data": s.Data(), "rooms": s.Rooms(),
		})
	})
	// set-data (any, ack): sets the socket's data.
	h.On("set-data", func(p *parley.Packet) error {
		var v any
		if err := p.Decode(&v); err != nil {
			return err
		}
		p.Socket().SetData(v)
		return p.Ack()
	})
	// cut: ends the client's connection as a network failure would.
	h.On("cut", func(p *parley.Packet) error {
		p.Socket().CloseConnection()
		return nil
	})
	// The room "watchers" gets "left" with the id and the reason of each socket that disconnects.
	h.OnDisconnect(func(s *parley.Socket, reason parley.Reason) {
		s.Namespace().To("watchers").Emit("left", s.ID(), reason)
	})
}
