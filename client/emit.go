package client

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/parley-go/parley/client/internal/engine"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/sio"
)

// outgoing is an event on its way.
type outgoing struct {
	event    string
	messages []engine.Message
	size     int
	sent     bool                          // guarded by the client's lock
	answer   func([]byte, [][]byte, error) // nil: no acknowledgement is wanted
}

// encode makes an outgoing event. id is that of the acknowledgement, or -1.
func (c *Client) encode(t sio.Type, id int64, name string, args []any) (*outgoing, error) {
	p := sio.Packet{Type: t, Namespace: c.name, ID: id}
	var err error
	if t == sio.Event {
		p.Data, p.Attachments, err = sio.AppendEventArgs(nil, name, args)
	} else {
		p.Data, p.Attachments, err = sio.AppendArgs(nil, args)
	}
	if err != nil {
		return nil, fmt.Errorf("client: encode arguments: %w", err)
	}
	parser := c.conn.parser
	b, err := parser.Append(nil, &p)
	if err != nil {
		return nil, fmt.Errorf("client: encode %q: %w", name, err)
	}
	o := &outgoing{event: name, messages: []engine.Message{{Binary: parser.Binary(), Data: b}}, size: len(b)}
	if !parser.Binary() {
		for _, a := range p.Attachments {
			o.messages = append(o.messages, engine.Message{Binary: true, Data: slices.Clone(a)})
			o.size += len(a)
		}
	}
	return o, nil
}

// Emit sends an event. Without a connection it waits for one. The errors are ErrBufferFull, ErrTooLarge,
// ErrClosed, and those of encoding the arguments.
func (c *Client) Emit(event string, args ...any) error {
	o, err := c.encode(sio.Event, -1, event, args)
	if err != nil {
		return err
	}
	return c.send(o, patient)
}

// Volatile returns what sends events that do not wait: without a connection, or if something waits to be
// sent, Emit returns ErrNotConnected.
func (c *Client) Volatile() event.Emitter { return volatile{c} }

type volatile struct{ c *Client }

func (v volatile) Emit(event string, args ...any) error {
	o, err := v.c.encode(sio.Event, -1, event, args)
	if err != nil {
		return err
	}
	return v.c.send(o, volatileOnly)
}

// EmitWithAck sends an event and waits for its acknowledgement until ctx ends. Without a connection it waits
// for one. If the connection is lost before the answer, the error is ErrDisconnected: the server may have
// handled the event or not.
func (c *Client) EmitWithAck(ctx context.Context, event string, args ...any) (event.Reply, error) {
	return c.call(ctx, event, args, patient)
}

func (c *Client) call(ctx context.Context, name string, args []any, p patience) (event.Reply, error) {
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	c.mu.Unlock()
	o, err := c.encode(sio.Event, id, name, args)
	if err != nil {
		return event.Reply{}, err
	}
	type outcome struct {
		reply event.Reply
		err   error
	}
	outcomes := make(chan outcome, 1)
	o.answer = func(data []byte, attachments [][]byte, err error) {
		outcomes <- outcome{event.NewReply(data, attachments...), err}
	}
	c.mu.Lock()
	c.acks[id] = o
	c.mu.Unlock()
	c.conn.hold(0) // the answer has to be read
	if err := c.send(o, p); err != nil {
		c.mu.Lock()
		delete(c.acks, id)
		c.mu.Unlock()
		return event.Reply{}, err
	}
	select {
	case got := <-outcomes:
		return got.reply, got.err
	case <-ctx.Done():
	}
	c.mu.Lock()
	delete(c.acks, id)
	if i := slices.Index(c.waiting, o); i >= 0 {
		c.waiting = slices.Delete(c.waiting, i, i+1)
		c.bytes -= o.size
	}
	c.mu.Unlock()
	select {
	case got := <-outcomes:
		return got.reply, got.err
	default:
		return event.Reply{}, ctx.Err()
	}
}

// Retry returns a caller whose EmitWithAck sends the event again, with the same arguments, when the
// connection was lost before the answer, until ctx ends. The server may get the event more than once, so an
// argument has to say which one it is, as the clientId of a message does.
func (c *Client) Retry() event.Caller { return retry{c} }

type retry struct{ c *Client }

func (r retry) EmitWithAck(ctx context.Context, name string, args ...any) (event.Reply, error) {
	for {
		reply, err := r.c.call(ctx, name, args, patient)
		if !errors.Is(err, ErrDisconnected) || ctx.Err() != nil {
			return reply, err
		}
	}
}

// present is a caller whose events do not wait for a connection: its error is ErrNotConnected.
type present struct{ c *Client }

func (p present) EmitWithAck(ctx context.Context, name string, args ...any) (event.Reply, error) {
	return p.c.call(ctx, name, args, connectedOnly)
}

// patience is what an event waits for.
type patience byte

const (
	patient       patience = iota // for a connection, and until the network accepts it
	connectedOnly                 // only for the network
	volatileOnly                  // for nothing
)

// send sends an event, or lets it wait.
func (c *Client) send(o *outgoing, p patience) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.wanted {
		return ErrClosed
	}
	if c.connected {
		return c.queueLocked(o, p)
	}
	switch {
	case p != patient:
		return ErrNotConnected
	case c.bytes > 0 && c.bytes > c.conn.o.MaxBuffer-o.size:
		return ErrBufferFull
	}
	c.waiting = append(c.waiting, o)
	c.bytes += o.size
	return nil
}

// queueLocked passes an event to the session.
func (c *Client) queueLocked(o *outgoing, p patience) error {
	session := c.link.session
	if !fits(session, o) {
		return ErrTooLarge
	}
	if queued := session.Queued(); queued > 0 {
		if p == volatileOnly {
			return ErrNotConnected
		}
		if queued > c.conn.o.MaxBuffer-o.size {
			return ErrBufferFull
		}
	}
	o.sent = true
	session.Send(o.messages...)
	return nil
}

// reply sends an acknowledgement over the connection on which the event came: the server counts ids anew on
// each.
func (c *Client) reply(l *link, o *outgoing) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.connected || c.link != l {
		return ErrDisconnected
	}
	return c.queueLocked(o, patient)
}

func fits(s *engine.Session, o *outgoing) bool {
	for _, m := range o.messages {
		if !s.Fits(m.Binary, len(m.Data)) {
			return false
		}
	}
	return true
}

// flush sends what has waited for the connection.
func (c *Client) flush(l *link) {
	c.mu.Lock()
	if !c.connected || c.link != l {
		c.mu.Unlock()
		return
	}
	var large []*outgoing
	for _, o := range c.waiting {
		if !fits(l.session, o) {
			large = append(large, o)
			continue
		}
		o.sent = true
		l.session.Send(o.messages...)
	}
	c.waiting, c.bytes = nil, 0
	c.mu.Unlock()
	for _, o := range large {
		c.drop(o, ErrTooLarge)
	}
}

// drop tells that an event that waited will not be sent.
func (c *Client) drop(o *outgoing, err error) {
	if o.answer != nil {
		c.mu.Lock()
		for id, other := range c.acks {
			if other == o {
				delete(c.acks, id)
			}
		}
		c.mu.Unlock()
		o.answer(nil, nil, err)
		return
	}
	if f := c.conn.o.OnDrop; f != nil {
		c.inbox.push(c, 0, func() { c.notify("drop", func() { f(o.event, err) }) })
	}
}
