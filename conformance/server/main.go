// Command server is a server on the library for clients to be tried against. It listens on
// 127.0.0.1 and the port given (0: any) and prints its address. What each event does is
// said at its handler.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"regexp"
	"time"

	"github.com/parley-go/parley"
)

var (
	port           = flag.Int("port", 0, "port to listen on")
	recovery       = flag.Duration("recovery", 0, "how long clients may be away and be recovered")
	msgpack        = flag.Bool("msgpack", false, "speak msgpack instead of JSON")
	pingInterval   = flag.Duration("ping-interval", 25*time.Second, "heartbeat interval")
	pingTimeout    = flag.Duration("ping-timeout", 20*time.Second, "heartbeat timeout")
	connectTimeout = flag.Duration("connect-timeout", 45*time.Second, "time to join a namespace")
	compression    = flag.Bool("compression", false, "allow permessage-deflate")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	o := &parley.Options{
		PingInterval: *pingInterval, PingTimeout: *pingTimeout, ConnectTimeout: *connectTimeout,
		CORS: parley.CORS{Origins: []string{"*"}},
	}
	if *recovery > 0 {
		o.Recovery = &parley.Recovery{MaxDisconnection: *recovery}
	}
	if *msgpack {
		o.Parser = parley.ParserMsgpack
	}
	if *compression {
		o.Compression = &parley.Compression{}
	}
	srv, err := parley.New(o)
	if err != nil {
		log.Fatal(err)
	}
	register(srv.Handlers)
	for _, name := range []string{"/custom", "/refused"} {
		register(srv.Of(name).Handlers)
	}
	srv.Of("/refused").Use(func(context.Context, *parley.Socket) error {
		return &parley.ConnectError{Message: "Not authorized", Data: map[string]any{"code": "E1", "label": "no token"}}
	})
	register(srv.OfPattern(regexp.MustCompile(`/dynamic-\d+`)).Handlers)

	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	os.Stdout.Sync()
	log.Fatal(srv.Serve(l))
}

// register makes the application on one namespace, or on all of a parent.
func register(h *parley.Handlers) {
	// Connecting: "auth" with what the client authenticated with.
	h.OnConnection(func(s *parley.Socket) {
		auth := s.Handshake().Auth
		if auth == nil {
			auth = json.RawMessage("{}")
		}
		s.Emit("auth", auth)
	})
	// message (any…): comes back as message-back.
	h.On("message", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Socket().Emit("message-back", v...)
	})
	// message-with-ack (any…, ack): acknowledged with the same.
	h.On("message-with-ack", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Ack(v...)
	})
	// join, leave (room, ack): acknowledged with the socket's rooms.
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
	// broadcast ({to, except, volatile, self}, event, any…): what it says.
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
		b = b.To(how.To...).Except(how.Except...)
		if how.Volatile {
			b = b.Volatile()
		}
		return b.Emit(event, v[2:]...)
	})
	// ask (timeout in ms, any…, ack): emits "question" to the same client, acknowledges with
	// its answer, from within the handler.
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
	// ask-all (timeout in ms, any, ack): asks all sockets, acknowledges with the list of
	// answers and whether all have come.
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
	// fail, panic (ack): a handler that returns an error for the client, and one that breaks.
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
	// whoami (ack): id, recovered, transport, data and rooms of the socket.
	h.On("whoami", func(p *parley.Packet) error {
		s := p.Socket()
		return p.Ack(map[string]any{
			"id": s.ID(), "recovered": s.Recovered(), "transport": s.Transport(), "data": s.Data(), "rooms": s.Rooms(),
		})
	})
	// set-data (any, ack)
	h.On("set-data", func(p *parley.Packet) error {
		var v any
		if err := p.Decode(&v); err != nil {
			return err
		}
		p.Socket().SetData(v)
		return p.Ack()
	})
	// cut: ends the client's connection as a network failure does.
	h.On("cut", func(p *parley.Packet) error {
		p.Socket().CloseConnection()
		return nil
	})
	// To the room "watchers": "left" with the id and the reason of each socket that goes.
	h.OnDisconnect(func(s *parley.Socket, reason parley.Reason) {
		s.Namespace().To("watchers").Emit("left", s.ID(), reason)
	})
}
