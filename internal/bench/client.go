package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/sio"
)

// wire is a transport of Engine.IO packets. Its methods do not block and are safe for
// concurrent use.
type wire interface {
	// send queues copies of packets and sends them in order.
	send(packets ...[]byte)
	// end sends what is queued, then closes.
	end()
	// abort closes at once.
	abort()
}

// client is one connection that has joined, or is joining, a namespace.
type client struct {
	index int
	fleet *fleet
	wire  wire
	room  string // the room to join, in scenarios with rooms

	joined chan error    // receives the server's answer to CONNECT, once
	done   chan struct{} // closed when the connection has ended
	err    error         // why it ended; read it only after done is closed

	leaving atomic.Bool // the client wants to end
}

var (
	errHungUp       = errors.New("the server closed the connection")
	errDisconnected = errors.New("the server disconnected the client from the namespace")
)

// receive handles an Engine.IO packet. Only one goroutine at a time calls it.
func (c *client) receive(b []byte) {
	p, err := eio.V4.Decode(false, b)
	switch {
	case err != nil:
		c.answer(fmt.Errorf("the server sent %.40q, which is not an Engine.IO packet: is it a Socket.IO server of version 3 or later?", b))
	case p.Type == eio.Open:
		c.wire.send(c.fleet.hello)
	case p.Type == eio.Ping:
		c.wire.send([]byte{byte(eio.Pong)})
	case p.Type == eio.Message:
		c.message(p.Data)
	case p.Type == eio.Close:
		c.wire.abort()
	}
}

func (c *client) message(b []byte) {
	p, ok := parsePacket(b)
	if !ok {
		c.fleet.meter.fail("the server sent a malformed packet", 1)
		return
	}
	switch p.kind {
	case sio.Connect:
		c.answer(nil)
	case sio.ConnectError:
		c.answer(fmt.Errorf("the server refuses the namespace: %s", p.data))
	case sio.Disconnect:
		c.answer(errDisconnected)
		c.wire.abort()
	default:
		c.fleet.hear(c, p)
	}
}

// answer passes the result of the handshake to awaitJoined. Only the first call has an effect.
func (c *client) answer(err error) {
	select {
	case c.joined <- err:
	default:
	}
}

// closed is the wire's last call; it comes once.
func (c *client) closed(err error) {
	c.err = err
	close(c.done)
	c.fleet.gone(c)
}

// awaitJoined waits until the client is in the namespace.
func (c *client) awaitJoined(ctx context.Context) error {
	select {
	case err := <-c.joined:
		return err
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave leaves the namespace, closes the connection, and waits until the server has closed it, too.
func (c *client) leave(ctx context.Context) error {
	c.leaving.Store(true)
	c.wire.send(c.fleet.farewell)
	c.wire.end()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.abort()
		return errors.New("the server does not close a connection that the client has closed")
	}
}

// abort closes the connection at once and waits until it has ended.
func (c *client) abort() {
	c.leaving.Store(true)
	c.wire.abort()
	<-c.done
}
