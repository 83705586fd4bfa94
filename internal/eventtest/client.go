package eventtest

import (
	"context"
	"encoding/json"
	"errors"
	"sync"

	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/sio"
	"github.com/parley-go/parley/internal/ws"
)

// Client is a WebSocket connection that has joined the main namespace. It is an event.Emitter and
// an event.Caller, and is safe for concurrent use. Handlers run one at a time, in order.
type Client struct {
	Auth any    // sent to the namespace; set it in setup
	SID  string // of the socket
	PID  string // the secret with which a client can recover the socket

	conn    *ws.Conn
	decoder sio.Decoder // owned by receive
	joined  chan error  // the answer to CONNECT
	events  chan func() // events to handle
	done    chan struct{}

	mu       sync.Mutex
	handlers map[string]func(packet) error
	acks     map[int64]chan<- event.Reply
	lastID   int64
	offset   string
}

// Dial connects to the server at an address such as ws://127.0.0.1:3000. Handlers that setup
// registers see even the first event. If the server refuses the client, the error is an
// *event.Error.
func Dial(ctx context.Context, url string, setup func(*Client)) (*Client, error) {
	conn, _, err := ws.Dial(ctx, url+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		return nil, err
	}
	c := &Client{
		conn: conn, decoder: sio.JSON.NewDecoder(nil), joined: make(chan error, 1), events: make(chan func(), 100), done: make(chan struct{}),
		handlers: map[string]func(packet) error{}, acks: map[int64]chan<- event.Reply{},
	}
	if setup != nil {
		setup(c)
	}
	go c.receive()
	go func() {
		defer close(c.done)
		for handle := range c.events {
			handle()
		}
	}()
	auth, err := json.Marshal(c.Auth)
	if err == nil {
		if c.Auth == nil {
			auth = nil
		}
		err = c.send(&sio.Packet{Type: sio.Connect, ID: -1, Data: auth})
	}
	if err == nil {
		select {
		case err = <-c.joined:
		case <-c.done:
			err = errEnded
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		c.Cut()
		return nil, err
	}
	return c, nil
}

var errEnded = errors.New("eventtest: the connection has ended")

// Cut breaks the connection as a network failure would, and waits for the end.
func (c *Client) Cut() {
	c.conn.CloseNow()
	<-c.done
}

// Done is closed when the connection has ended and all events are handled.
func (c *Client) Done() <-chan struct{} { return c.done }

// Recovery returns the auth value with which another client recovers this one's socket.
func (c *Client) Recovery() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return map[string]string{"pid": c.PID, "offset": c.offset}
}

// Close ends the connection and waits for the end.
func (c *Client) Close() {
	c.conn.Close(ws.CloseNormal, "")
	<-c.done
}

func (c *Client) receive() {
	defer close(c.events)
	for {
		op, message, err := c.conn.ReadMessage(context.Background())
		if err != nil {
			return
		}
		decode := c.decoder.Binary
		if op == ws.OpText {
			if message[0] == '2' { // a ping
				c.conn.WriteMessage(context.Background(), ws.OpText, []byte("3"))
			}
			if message[0] != '4' {
				continue
			}
			message, decode = message[1:], c.decoder.Text
		}
		p, complete, err := decode(message)
		if err != nil {
			c.conn.CloseNow()
			return
		}
		if complete {
			c.packet(p)
		}
	}
}

// packet handles what the server has sent.
func (c *Client) packet(p sio.Packet) {
	data := append([]byte(nil), p.Data...)
	switch p.Type {
	case sio.Connect:
		c.joined <- json.Unmarshal(data, c)
	case sio.ConnectError:
		var refusal struct{ Data event.Error }
		if err := json.Unmarshal(data, &refusal); err != nil {
			c.joined <- err
			return
		}
		c.joined <- &refusal.Data
	case sio.Event:
		args := sio.EventArgs(nil, data)
		c.mu.Lock()
		if len(args) > 0 {
			json.Unmarshal(args[len(args)-1], &c.offset) // if the last argument is an offset
		}
		h := c.handlers[string(sio.EventName(data))]
		c.mu.Unlock()
		if h != nil {
			p := packet{event.NewReply(sio.AppendAck(nil, args...), p.Attachments...), c, p.ID}
			c.events <- func() { h(p) }
		}
	case sio.Ack:
		c.mu.Lock()
		reply := c.acks[p.ID]
		delete(c.acks, p.ID)
		c.mu.Unlock()
		if reply != nil {
			reply <- event.NewReply(data, p.Attachments...)
		}
	}
}

// packet is an event from the server.
type packet struct {
	event.Arguments
	client *Client
	id     int64 // id of the acknowledgement to send, or -1
}

func (p packet) ack(args ...any) error {
	if p.id < 0 {
		return nil
	}
	data, attachments, err := sio.AppendArgs(nil, args)
	if err != nil {
		return err
	}
	return p.client.send(&sio.Packet{Type: sio.Ack, ID: p.id, Data: data, Attachments: attachments})
}

func (c *Client) send(p *sio.Packet) error {
	p.Namespace = "/"
	message, err := sio.JSON.Append([]byte("4"), p)
	if err != nil {
		return err
	}
	c.mu.Lock() // attachments must directly follow their packet
	defer c.mu.Unlock()
	if err := c.conn.WriteMessage(context.Background(), ws.OpText, message); err != nil {
		return err
	}
	for _, a := range p.Attachments {
		if err := c.conn.WriteMessage(context.Background(), ws.OpBinary, a); err != nil {
			return err
		}
	}
	return nil
}

// Emit implements event.Emitter.
func (c *Client) Emit(name string, args ...any) error { return c.emit(-1, name, args) }

func (c *Client) emit(id int64, name string, args []any) error {
	data, attachments, err := sio.AppendEventArgs(nil, name, args)
	if err != nil {
		return err
	}
	return c.send(&sio.Packet{Type: sio.Event, ID: id, Data: data, Attachments: attachments})
}

// EmitWithAck implements event.Caller.
func (c *Client) EmitWithAck(ctx context.Context, name string, args ...any) (event.Reply, error) {
	reply := make(chan event.Reply, 1)
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	c.acks[id] = reply
	c.mu.Unlock()
	if err := c.emit(id, name, args); err != nil {
		return event.Reply{}, err
	}
	select {
	case r := <-reply:
		return r, nil
	case <-ctx.Done():
		return event.Reply{}, ctx.Err()
	case <-c.done:
		return event.Reply{}, errEnded
	}
}

// On registers h for each event e that the server sends.
func On[T any](c *Client, e event.Event[T], h func(T)) {
	c.handle(string(e), func(p packet) error {
		v, err := e.Decode(p)
		if err == nil {
			h(v)
		}
		return err
	})
}

// On2 is On for an event with two arguments.
func On2[A, B any](c *Client, e event.Event2[A, B], h func(A, B)) {
	c.handle(string(e), func(p packet) error {
		a, b, err := e.Decode(p)
		if err == nil {
			h(a, b)
		}
		return err
	})
}

// Handle registers h, which answers each event e that the server sends.
func Handle[Q, R any](c *Client, e event.RPC[Q, R], h func(Q) (R, error)) {
	c.handle(string(e), func(p packet) error {
		q, err := e.Decode(p)
		if err != nil {
			return err
		}
		r, err := h(q)
		if err != nil {
			return err
		}
		return p.ack(event.Encode(r)...)
	})
}

// handle registers h. If h returns an *Error, that is the answer.
func (c *Client) handle(name string, h func(packet) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[name] = func(p packet) error {
		err := h(p)
		var e *event.Error
		if errors.As(err, &e) {
			return p.ack(event.Refusal{Error: e})
		}
		return err
	}
}
