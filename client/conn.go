package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/client/internal/engine"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/sio"
)

// conn is a connection to a server, which the clients of its namespaces share. It has one session after
// another. A goroutine connects; while a session lasts, there is none.
//
// The lock order is conn, Client. No handler runs while one of them is held.
type conn struct {
	o      *Options
	engine *engine.Options
	parser sio.Parser
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	mu       sync.Mutex
	spaces   map[string]*Client // those that want to be connected, by namespace
	link     *link              // the session; nil: none
	looping  bool               // a goroutine connects
	hurry    chan struct{}      // ends the pause before the next attempt
	attempts int                // that have failed, since the last success
	failure  error              // the last one's
	next     time.Time          // of the next attempt
	held     int                // bytes in the inboxes
	paused   bool
	work     sync.WaitGroup
}

func newConn(o *Options, u *url.URL) *conn {
	c := &conn{o: o, engine: o.engine(u), parser: sio.JSON, spaces: map[string]*Client{}, hurry: make(chan struct{}, 1)}
	if o.Msgpack {
		c.parser = sio.Msgpack
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// link is one session of a conn. It implements engine.Handler.
type link struct {
	conn    *conn
	session *engine.Session
	decoder sio.Decoder
}

// enter adds a namespace.
func (c *conn) enter(s *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil { // it was closed, and is used again
		c.ctx, c.cancel = context.WithCancel(context.Background())
	}
	if c.engine.Reactor == nil {
		c.engine.Reactor = theReactor.acquire()
	}
	c.spaces[s.name] = s
	if l := c.link; l != nil {
		c.work.Go(func() { l.join(s) })
		return
	}
	if !c.looping {
		c.looping, c.attempts, c.failure = true, 0, nil
		c.work.Go(c.loop)
		return
	}
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// forget takes a namespace away. With the last one, the connection ends.
func (c *conn) forget(s *Client) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.spaces[s.name] == s {
		delete(c.spaces, s.name)
	}
	if len(c.spaces) > 0 {
		return false
	}
	c.cancel()
	if l := c.link; l != nil {
		c.link = nil
		l.session.Close()
		c.work.Go(l.session.Wait)
	}
	return true
}

// leave is forget. If the connection ends, it waits until nothing of it runs any more.
func (c *conn) leave(s *Client) {
	if !c.forget(s) {
		return
	}
	c.work.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.spaces) == 0 && c.engine.Reactor != nil {
		c.engine.Reactor = nil
		theReactor.release()
		c.engine.HTTP.Transport.(*http.Transport).CloseIdleConnections()
	}
}

// rejoin asks for a namespace again, after a pause.
func (c *conn) rejoin(l *link, s *Client) {
	c.mu.Lock()
	ctx, delay := c.ctx, c.o.Reconnection.delay(0)
	c.mu.Unlock()
	c.work.Go(func() {
		select {
		case <-time.After(delay):
			l.join(s)
		case <-ctx.Done():
		}
	})
}

// loop connects, until that succeeds or nobody wants it any more.
func (c *conn) loop() {
	for {
		l := &link{conn: c, decoder: c.parser.NewDecoder(&sio.Limits{MaxAttachments: -1, MaxAttachmentBytes: c.o.MaxMessage, MaxDepth: -1})}
		_, err := engine.Dial(c.ctx, c.engine, l)
		if err == nil {
			return // Opened has noted it
		}
		c.mu.Lock()
		if c.ctx.Err() != nil {
			c.looping = false
			c.mu.Unlock()
			return
		}
		c.failure = err
		c.attempts++
		spaces := c.spacesLocked()
		r := &c.o.Reconnection
		if r.Off || r.Attempts > 0 && c.attempts > r.Attempts {
			c.looping = false
			c.mu.Unlock()
			for _, s := range spaces {
				s.fail(err)
				s.giveUp(err)
			}
			return
		}
		delay, ctx := r.delay(c.attempts-1), c.ctx
		c.next = time.Now().Add(delay)
		c.mu.Unlock()
		for _, s := range spaces {
			s.fail(err)
		}
		c.pause(ctx, delay)
	}
}

func (c *conn) spacesLocked() []*Client {
	all := make([]*Client, 0, len(c.spaces))
	for _, s := range c.spaces {
		all = append(all, s)
	}
	return all
}

// Opened implements engine.Handler.
func (l *link) Opened(s *engine.Session) {
	c := l.conn
	l.session = s
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looping = false
	if c.ctx.Err() != nil || len(c.spaces) == 0 {
		s.Close()
		return
	}
	c.link, c.attempts, c.failure, c.paused, c.held = l, 0, nil, false, 0
	for _, s := range c.spacesLocked() {
		c.work.Go(func() { l.join(s) })
	}
}

// join asks the server for a namespace.
func (l *link) join(s *Client) {
	data, err := s.proof(l.conn.ctx)
	if err != nil {
		s.refused(l, err)
		return
	}
	p := sio.Packet{Type: sio.Connect, Namespace: s.name, ID: -1, Data: data}
	if l.conn.engine.Protocol == eio.V3 {
		if s.name == "/" {
			return // the server joins it by itself
		}
		p.Namespace, p.Data = withQuery(s.name, data), nil
	}
	if !s.joining(l) {
		return
	}
	l.send(&p)
}

// send sends a packet without attachments.
func (l *link) send(p *sio.Packet) {
	b, err := l.conn.parser.Append(nil, p)
	if err == nil {
		l.session.Send(engine.Message{Binary: l.conn.parser.Binary(), Data: b})
	}
}

// Receive implements engine.Handler.
func (l *link) Receive(binary bool, data []byte) error {
	decode := l.decoder.Text
	if binary {
		decode = l.decoder.Binary
	}
	p, complete, err := decode(data)
	if err != nil || !complete {
		return err
	}
	l.conn.mu.Lock()
	s := l.conn.spaces[p.Namespace]
	current := l.conn.link == l
	l.conn.mu.Unlock()
	if s == nil || !current {
		return nil // it has left
	}
	if len(p.Attachments) == 0 {
		p.Data = slices.Clone(p.Data) // which is valid only now
	}
	return s.receive(l, &p)
}

// Drained implements engine.Handler.
func (l *link) Drained() {}

// Closed implements engine.Handler.
func (l *link) Closed(why *engine.CloseError) {
	c := l.conn
	c.mu.Lock()
	if c.link != l { // it was closed on purpose
		c.mu.Unlock()
		return
	}
	c.link = nil
	var err error = errors.New("client: closed")
	if why != nil {
		err = why
	}
	c.failure = err
	spaces := c.spacesLocked()
	r := &c.o.Reconnection
	again := len(spaces) > 0 && !r.Off && c.ctx.Err() == nil
	delay, ctx := r.delay(0), c.ctx
	if again {
		c.looping, c.next = true, time.Now().Add(delay)
		c.work.Add(1)
	}
	c.mu.Unlock()
	for _, s := range spaces { // before they can connect again
		s.lost(err)
		if !again {
			s.giveUp(err)
		}
	}
	if again {
		go func() {
			defer c.work.Done()
			c.pause(ctx, delay)
			c.loop()
		}()
	}
}

// pause waits before an attempt.
func (c *conn) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.hurry:
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.next = time.Time{}
	c.mu.Unlock()
}

// maxHeld is how many bytes of events may wait for handlers before the connection is not read any more.
// While an answer is awaited, it may be more, because a handler may wait for it.
const (
	maxHeld         = 1 << 20
	maxHeldAwaiting = 64 << 20
)

// hold changes the number of bytes that wait for handlers.
func (c *conn) hold(n int, awaiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = max(0, c.held+n)
	l := c.link
	if l == nil {
		return
	}
	switch {
	case !c.paused && (c.held > maxHeld && !awaiting || c.held > maxHeldAwaiting):
		c.paused = true
		l.session.Pause()
	case c.paused && (c.held <= maxHeld/2 || awaiting && c.held <= maxHeldAwaiting/2):
		c.paused = false
		l.session.Resume()
	}
}

// theReactor reads for all connections of the process, while there are some.
var theReactor sharedReactor

type sharedReactor struct {
	mu    sync.Mutex
	r     *reactor.Reactor
	users int
}

func (s *sharedReactor) acquire() *reactor.Reactor {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users++; s.users == 1 {
		s.r = reactor.New(1)
	}
	return s.r
}

func (s *sharedReactor) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users == 0 {
		s.r.Close()
		s.r = nil
	}
}
