package client

import (
	"errors"
	"runtime/debug"
	"sync"

	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/sio"
)

// inbox runs what happens to a client, one after the other, on a goroutine that exists only while there is
// something.
type inbox struct {
	mu      sync.Mutex
	tasks   []task
	running bool
}

type task struct {
	size int // bytes
	run  func()
}

func (b *inbox) push(c *Client, size int, run func()) {
	if size > 0 {
		c.conn.hold(size) // before the task can end
	}
	b.mu.Lock()
	b.tasks = append(b.tasks, task{size, run})
	start := !b.running
	b.running = true
	b.mu.Unlock()
	if start {
		go b.work(c)
	}
}

func (b *inbox) work(c *Client) {
	for {
		b.mu.Lock()
		if len(b.tasks) == 0 {
			b.running, b.tasks = false, nil
			b.mu.Unlock()
			return
		}
		next := b.tasks[0]
		b.tasks[0] = task{}
		b.tasks = b.tasks[1:]
		b.mu.Unlock()
		next.run()
		if next.size > 0 {
			c.conn.hold(-next.size)
		}
	}
}

// awaits reports whether an answer of the server is awaited.
func (c *Client) awaits() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acks) > 0
}

// event takes an event of the server. The error says that the connection must end.
func (c *Client) event(p *Packet) error {
	c.mu.Lock()
	if c.connected {
		c.mu.Unlock()
		c.enqueue(p)
		return nil
	}
	defer c.mu.Unlock()
	if !c.wanted {
		return nil
	}
	if c.earlyBytes += p.size(); c.earlyBytes > maxHeld && len(c.early) > 0 {
		return errEarly
	}
	c.early = append(c.early, p)
	return nil
}

var errEarly = errors.New("client: the server sends events and does not answer CONNECT")

func (c *Client) enqueue(p *Packet) {
	c.mu.Lock()
	p.ctx = c.ctx
	if args := sio.EventArgs(nil, p.data); c.pid != "" && p.id < 0 && len(args) > 0 { // the last one may be an offset
		if last := args[len(args)-1]; len(last) > 2 && last[0] == '"' {
			c.offset = string(sio.Text(last))
		}
	}
	c.mu.Unlock()
	c.inbox.push(c, p.size(), func() { c.handle(p) })
}

// handle calls the handlers of an event.
func (c *Client) handle(p *Packet) {
	for _, h := range c.of(p.Name()) {
		if err := guard(func() error { return h(p) }); err != nil {
			c.failed(p, err)
		}
	}
}

// guard calls f and turns a panic into an error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return f()
}

// failed handles the error of a handler: the server gets it if it wants an answer.
func (c *Client) failed(p *Packet, err error) {
	var known *event.Error
	if !errors.As(err, &known) {
		known = &event.Error{Code: event.CodeInternal, Message: "the client failed"}
		c.report(p.Name(), err)
	}
	if p.WantsAck() {
		_ = p.Ack(event.Refusal{Error: known})
	}
}
