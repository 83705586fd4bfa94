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

	mu       sync.Mutex
	ctx      context.Context // ends when nobody wants the connection any more
	cancel   context.CancelFunc
	spaces   map[string]*Client // those that want to be connected, by namespace
	link     *link              // the session; nil: none
	looping  bool               // a goroutine connects
	hurry    chan struct{}      // ends the pause before the next attempt
	attempts int                // that have failed, since the last success
	failure  error              // the last one's
	next     time.Time          // of the next attempt
	held     int                // bytes in the inboxes
	paused   bool
	running  int       // goroutines and calls that rest waits for
	quiet    sync.Cond // running is 0
}

func newConn(o *Options, u *url.URL) *conn {
	c := &conn{o: o, engine: o.engine(u), parser: sio.JSON, spaces: map[string]*Client{}, hurry: make(chan struct{}, 1)}
	if o.Msgpack {
		c.parser = sio.Msgpack
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.quiet.L = &c.mu
	return c
}

// startLocked starts a goroutine that rest waits for.
func (c *conn) startLocked(f func()) {
	c.running++
	go func() {
		defer c.done()
		f()
	}()
}

// done ends what has counted in running.
func (c *conn) done() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running--; c.running == 0 {
		c.quiet.Broadcast()
	}
}

// outside calls a function of the program. Nobody waits for that, because it may call Close.
func (c *conn) outside(f func()) {
	c.done()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running++
	}()
	f()
}

// link is one session of a conn. It implements engine.Handler.
type link struct {
	conn    *conn
	session *engine.Session
	decoder sio.Decoder

	// Guarded by the conn's lock.
	asked map[string]bool // namespaces whose CONNECT is not answered; nil: none
	greet greeting
}

// greeting is what has become of the CONNECT that a server of Socket.IO 2 sends by itself for the main
// namespace.
type greeting byte

const (
	expected greeting = iota
	kept              // it came when no client was there for it
	used              // from now on a client has to ask
)

// enter adds a namespace.
func (c *conn) enter(s *Client) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.spaces[s.name]; other != nil && other != s {
		return errTaken
	}
	s.mu.Lock()
	wanted := s.wanted
	s.mu.Unlock()
	if !wanted { // it was closed meanwhile
		return ErrClosed
	}
	if c.ctx.Err() != nil { // it was closed, and is used again
		c.ctx, c.cancel = context.WithCancel(context.Background())
	}
	if c.engine.Reactor == nil {
		c.engine.Reactor = theReactor.acquire()
	}
	c.spaces[s.name] = s
	if l := c.link; l != nil {
		c.startLocked(func() { l.join(s) })
		return nil
	}
	if !c.looping {
		c.looping, c.attempts, c.failure = true, 0, nil
		c.startLocked(c.loop)
		return nil
	}
	select {
	case c.hurry <- struct{}{}:
	default:
	}
	return nil
}

var errTaken = errors.New("client: another client of the connection is in this namespace")

// forgetLocked takes a namespace away. With the last one, the connection ends.
func (c *conn) forgetLocked(s *Client) (last bool) {
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
		c.startLocked(l.session.Wait)
	}
	return true
}

// rest waits until nothing runs any more of a connection that has no client.
func (c *conn) rest() {
	c.mu.Lock()
	for c.running > 0 && len(c.spaces) == 0 {
		c.quiet.Wait()
	}
	last := len(c.spaces) == 0 && c.engine.Reactor != nil
	if last {
		c.engine.Reactor = nil
	}
	c.mu.Unlock()
	if last {
		theReactor.release()
		c.engine.HTTP.Transport.(*http.Transport).CloseIdleConnections()
	}
}

// rejoin asks for a namespace again, after a pause.
func (c *conn) rejoin(l *link, s *Client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ctx, delay := c.ctx, c.o.Reconnection.delay(0)
	s.mu.Lock()
	s.next = time.Now().Add(delay)
	s.mu.Unlock()
	c.startLocked(func() {
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
		c.mu.Lock()
		ctx := c.ctx
		if len(c.spaces) == 0 {
			c.looping = false
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		l := &link{conn: c, decoder: c.parser.NewDecoder(&sio.Limits{MaxAttachments: maxAttachments, MaxAttachmentBytes: c.o.MaxMessage, MaxDepth: -1})}
		_, err := engine.Dial(ctx, c.engine, l)
		if err == nil {
			return // Opened has noted it
		}
		if ctx.Err() != nil {
			continue
		}
		c.mu.Lock()
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
		delay := r.delay(c.attempts - 1)
		c.next = time.Now().Add(delay)
		c.mu.Unlock()
		for _, s := range spaces {
			s.fail(err)
		}
		c.pause(ctx, delay)
	}
}

// maxAttachments is how many binary attachments an event of the server may have. Each costs memory even if it
// is empty.
const maxAttachments = 100_000

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
	if len(c.spaces) == 0 {
		s.Close()
		c.startLocked(s.Wait)
		return
	}
	c.link, c.attempts, c.failure, c.paused = l, 0, nil, false
	for _, s := range c.spacesLocked() {
		c.startLocked(func() { l.join(s) })
	}
}

// join asks the server for a namespace.
func (l *link) join(s *Client) {
	c := l.conn
	c.mu.Lock()
	ctx, current := c.ctx, c.link == l
	c.mu.Unlock()
	if !current {
		return
	}
	var data []byte
	old := c.engine.Protocol == eio.V3
	if !old || s.name != "/" { // there is no place for it
		var err error
		c.outside(func() {
			err = guard(func() (err error) { data, err = s.proof(ctx); return err })
		})
		if err != nil {
			s.unproved(l, err)
			return
		}
	}
	p := sio.Packet{Type: sio.Connect, Namespace: s.name, ID: -1, Data: data}
	if old {
		p.Namespace, p.Data = withQuery(s.name, data), nil
	}
	switch s.joining(l) {
	case ask:
		l.send(&p)
	case joined:
		_ = s.welcome(l, nil)
	}
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
	s := l.route(&p)
	if s == nil {
		return nil // it has left
	}
	if len(p.Attachments) == 0 {
		p.Data = slices.Clone(p.Data) // which is valid only now
	}
	return s.receive(l, &p)
}

// route returns the client that a packet is for; nil: there is none any more.
func (l *link) route(p *sio.Packet) *Client {
	c := l.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link != l {
		return nil
	}
	s := c.spaces[p.Namespace]
	if p.Type != sio.Connect && p.Type != sio.ConnectError {
		return s
	}
	delete(l.asked, p.Namespace)
	greets := p.Namespace == "/" && c.engine.Protocol == eio.V3 && l.greet == expected
	if greets {
		l.greet = used
		if s != nil { // it must not ask any more
			s.mu.Lock()
			s.link = l
			s.mu.Unlock()
		}
	}
	if s == nil && p.Type == sio.Connect { // it has left before it had joined
		if greets {
			l.greet = kept
		} else {
			l.send(&sio.Packet{Type: sio.Disconnect, Namespace: p.Namespace, ID: -1})
		}
	}
	return s
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
	c.startLocked(l.session.Wait)
	c.running++ // for this call
	var err error = ErrClosed
	if why != nil {
		err = why
	}
	c.failure = err
	spaces := c.spacesLocked()
	r := &c.o.Reconnection
	again := !r.Off
	delay, ctx := r.delay(0), c.ctx
	if again {
		c.looping, c.next = true, time.Now().Add(delay)
	}
	c.mu.Unlock()
	for _, s := range spaces { // before they can connect again
		s.lost(err)
		if !again {
			s.giveUp(err)
		}
	}
	if !again {
		c.done()
		return
	}
	go func() {
		defer c.done()
		c.pause(ctx, delay)
		c.loop()
	}()
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
func (c *conn) hold(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held += n
	l := c.link
	if l == nil || c.held <= maxHeld && !c.paused {
		return
	}
	limit := maxHeld
	for _, s := range c.spaces { // any handler may wait for any of them
		if s.awaits() {
			limit = maxHeldAwaiting
		}
	}
	switch {
	case !c.paused && c.held > limit:
		c.paused = true
		l.session.Pause()
	case c.paused && c.held <= limit/2:
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
