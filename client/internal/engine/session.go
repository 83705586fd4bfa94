package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/eio"
)

// Handler gets what happens in a session. Opened is the first call, and Closed the last one. Opened,
// Receive and Closed come one at a time. None of them may block.
type Handler interface {
	// Opened gets the session, before Dial returns it.
	Opened(s *Session)
	// Receive gets a message. data is valid until it returns. An error ends the session.
	Receive(binary bool, data []byte) error
	// Drained is called when nothing is queued any more.
	Drained()
	// Closed says why the session has ended; nil if Close was called.
	Closed(err *CloseError)
}

// transport is how a session reaches its server. The session's lock is not held when its methods are
// called, and none of them blocks.
type transport interface {
	name() string
	// wake says that there are packets to take, or that the session closes.
	wake()
	// pause stops reading, or lets it go on.
	pause(bool)
	// cut ends the transport at once.
	cut()
}

// opening is the packet Open.
type opening struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"` // ms
	PingTimeout  int64    `json:"pingTimeout"`  // ms
	MaxPayload   int      `json:"maxPayload"`   // bytes; 0: the server does not say
}

// Session is an Engine.IO session. It is safe for concurrent use.
type Session struct {
	o *Options
	h Handler
	opening

	calls sync.Mutex // is held while the handler is called

	mu        sync.Mutex
	opened    chan error // gets the outcome of the handshake; nil after it
	transport transport
	probe     *webSocket // to which the session may be upgraded
	giveUp    func()     // ends the attempt to make the probe
	held      bool       // an upgrade is under way: nobody takes packets
	queue     []eio.Packet
	queued    int // bytes
	timer     *time.Timer
	deadline  time.Time
	pinged    bool          // revision 3: our ping is not answered
	paused    chan struct{} // closed when reading goes on; nil: reading is not paused
	closing   bool          // Close was called; what is queued goes out first
	closed    bool
	running   sync.WaitGroup // goroutines of transports, and their connections
}

// closeTimeout is how long Close waits until everything is sent.
const closeTimeout = 2 * time.Second

// Dial opens a session. It tries the transports in their order. The error says what failed with each.
// h.Opened has returned when Dial does.
func Dial(ctx context.Context, o *Options, h Handler) (*Session, error) {
	var failures []error
	for _, name := range o.Transports {
		s := &Session{o: o, h: h, opened: make(chan error, 1)}
		err := s.dial(ctx, name)
		if err == nil {
			return s, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", name, err))
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(failures...)
}

func (s *Session) dial(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, s.o.OpenTimeout)
	defer cancel()
	opened := s.opened
	err := s.start(ctx, name)
	if err == nil {
		select {
		case err = <-opened:
		case <-ctx.Done():
			s.stop(&CloseError{TransportError, ctx.Err()}, true)
			err = <-opened // nil if it was opened at this moment
		}
	}
	if err == nil {
		return nil
	}
	s.end(&CloseError{TransportError, err})
	s.running.Wait()
	return err
}

// run starts a goroutine of a transport, unless the session has ended. Until then at least one is running, so
// none starts while Wait returns.
func (s *Session) run(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.running.Go(f)
	}
}

// start starts the first transport.
func (s *Session) start(ctx context.Context, name string) error {
	switch name {
	case WebSocket:
		t, err := s.dialWebSocket(ctx)
		if err != nil {
			return err
		}
		s.use(t)
		t.begin()
	case Polling:
		t := newPolling(s)
		s.use(t)
		t.start()
	case SSE:
		t := newSSE(s)
		s.use(t)
		t.start()
	case WebTransport:
		return s.dialStream(ctx)
	default:
		return fmt.Errorf("engine: there is no transport %q", name)
	}
	return nil
}

// use makes t the session's transport.
func (s *Session) use(t transport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.transport = t
}

// Transport returns the name of the transport in use.
func (s *Session) Transport() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport.name()
}

// Queued returns how many bytes wait for the transport.
func (s *Session) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// Fits reports whether the server accepts a message of n bytes over the present transport.
func (s *Session) Fits(binary bool, n int) bool {
	if s.MaxPayload == 0 {
		return true
	}
	switch s.Transport() {
	case WebSocket, WebTransport:
		if !binary || s.o.Protocol.WritesType() {
			n++
		}
	default:
		n = encodedSize(binary, n)
	}
	return n <= s.MaxPayload
}

// encodedSize returns the size of a message in a request.
func encodedSize(binary bool, n int) int {
	if binary {
		return (n+2)/3*4 + 1
	}
	return n + 1
}

// Message is what Send sends.
type Message struct {
	Binary bool
	Data   []byte // must not change afterwards
}

// Send queues messages, which follow each other. After the session's end they are dropped.
func (s *Session) Send(messages ...Message) {
	packets := make([]eio.Packet, len(messages))
	for i, m := range messages {
		packets[i] = eio.Packet{Type: eio.Message, Binary: m.Binary, Data: m.Data}
	}
	s.send(packets...)
}

func (s *Session) send(packets ...eio.Packet) {
	s.mu.Lock()
	if s.closed || s.closing {
		s.mu.Unlock()
		return
	}
	s.queue = append(s.queue, packets...)
	for _, p := range packets {
		s.queued += len(p.Data)
	}
	t := s.transport
	s.mu.Unlock()
	t.wake()
}

// take returns the packets that t has to send now: some of limit bytes, or a single one that is larger.
// last is true if t has to end politely when it has sent them.
func (s *Session) take(t transport, limit int) (packets []eio.Packet, last bool) {
	s.mu.Lock()
	if s.closed || s.held || s.transport != t || len(s.queue) == 0 && !s.closing {
		s.mu.Unlock()
		return nil, false
	}
	n, size := 0, 0
	for _, p := range s.queue {
		size += encodedSize(p.Binary, len(p.Data)) + 1
		if n > 0 && size > limit {
			break
		}
		n++
		s.queued -= len(p.Data)
	}
	packets = s.queue[:n:n]
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue = nil
	}
	drained := s.queue == nil && n > 0
	last = s.queue == nil && s.closing
	s.mu.Unlock()
	if drained && !last {
		s.h.Drained()
	}
	return packets, last
}

// receive handles a packet that has arrived over t. An error means that t must end.
func (s *Session) receive(t transport, p eio.Packet) error {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return ErrClosed
	case s.opened != nil:
		s.mu.Unlock()
		return s.open(p)
	case s.probe != nil && t == s.probe:
		s.mu.Unlock()
		return s.probed(p)
	case t != s.transport:
		s.mu.Unlock()
		return errors.New("engine: a message over a transport that is not in use")
	}
	s.mu.Unlock()
	switch p.Type {
	case eio.Message:
		s.calls.Lock()
		defer s.calls.Unlock()
		if s.isClosed() {
			return ErrClosed
		}
		return s.h.Receive(p.Binary, p.Data)
	case eio.Ping:
		s.mu.Lock()
		s.postponeLocked()
		s.mu.Unlock()
		s.send(eio.Packet{Type: eio.Pong, Data: slices.Clone(p.Data)})
	case eio.Pong:
		s.mu.Lock()
		if s.pinged && !s.closing {
			s.pinged = false
			s.alarm(time.Duration(s.PingInterval) * time.Millisecond)
		}
		s.mu.Unlock()
	case eio.Close:
		s.end(&CloseError{Reason: TransportClose})
	}
	return nil
}

// ErrClosed is the error of what arrives after the end.
var ErrClosed = errors.New("engine: the session is closed")

func (s *Session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// patience is how long the server may send no ping.
func (s *Session) patience() time.Duration {
	return time.Duration(s.PingInterval+s.PingTimeout) * time.Millisecond
}

// open handles the first packet.
func (s *Session) open(p eio.Packet) error {
	if p.Type != eio.Open {
		return fmt.Errorf("engine: the server began with a packet of the type %q", p.Type)
	}
	if err := json.Unmarshal(p.Data, &s.opening); err != nil {
		return fmt.Errorf("engine: the server's handshake: %w", err)
	}
	const most = 1 << 40 // ms
	if s.SID == "" || s.PingInterval <= 0 || s.PingTimeout <= 0 || s.PingInterval > most || s.PingTimeout > most {
		return fmt.Errorf("engine: the server's handshake %.200q is not complete", p.Data)
	}
	s.calls.Lock() // an end that comes from now on is told after Opened
	defer s.calls.Unlock()
	s.mu.Lock()
	opened := s.opened
	if opened == nil {
		s.mu.Unlock()
		return ErrClosed
	}
	s.opened = nil
	if s.o.Protocol.ClientPings() {
		s.alarm(time.Duration(s.PingInterval) * time.Millisecond)
	} else {
		s.alarm(s.patience())
	}
	s.mu.Unlock()
	s.h.Opened(s)
	opened <- nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.o.Upgrade && s.transport.name() == Polling && slices.Contains(s.Upgrades, WebSocket) && slices.Contains(s.o.Transports, WebSocket) {
		s.running.Go(s.upgrade)
	}
	return nil
}

// postponeLocked gives the server its whole time again, unless Close has begun to count its own.
func (s *Session) postponeLocked() {
	if !s.closing {
		s.deadline = time.Now().Add(s.patience())
	}
}

// alarm sets the timer. The caller holds the lock.
func (s *Session) alarm(d time.Duration) {
	s.deadline = time.Now().Add(d)
	if s.timer == nil {
		s.timer = time.AfterFunc(d, s.tick)
		return
	}
	s.timer.Reset(d)
}

// tick is called when something is due.
func (s *Session) tick() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	rest := time.Until(s.deadline)
	switch {
	case rest > 0:
		s.timer.Reset(rest)
		s.mu.Unlock()
	case s.closing:
		s.mu.Unlock()
		s.end(nil)
	case s.paused != nil: // what the server has sent is not read
		s.alarm(s.patience())
		s.mu.Unlock()
	case s.o.Protocol.ClientPings() && !s.pinged:
		s.pinged = true
		s.alarm(time.Duration(s.PingTimeout) * time.Millisecond)
		s.mu.Unlock()
		s.send(eio.Packet{Type: eio.Ping})
	default:
		s.mu.Unlock()
		s.end(&CloseError{Reason: PingTimeout})
	}
}

// Pause stops reading, so that the network slows the server down, until Resume is called.
func (s *Session) Pause() { s.setPaused(true) }

// Resume lets reading go on.
func (s *Session) Resume() { s.setPaused(false) }

func (s *Session) setPaused(paused bool) {
	s.mu.Lock()
	if s.closed || paused == (s.paused != nil) {
		s.mu.Unlock()
		return
	}
	if paused {
		s.paused = make(chan struct{})
	} else {
		close(s.paused)
		s.paused = nil
		s.postponeLocked()
	}
	t := s.transport
	s.mu.Unlock()
	t.pause(paused)
}

// gate waits while reading is paused.
func (s *Session) gate(ctx context.Context) {
	s.mu.Lock()
	paused := s.paused
	s.mu.Unlock()
	if paused != nil {
		select {
		case <-paused:
		case <-ctx.Done():
		}
	}
}

// Close ends the session when everything that is queued has been sent, two seconds later at the latest.
// It does not wait for that.
func (s *Session) Close() {
	s.mu.Lock()
	if s.closed || s.closing {
		s.mu.Unlock()
		return
	}
	s.closing = true
	s.alarm(closeTimeout)
	t := s.transport
	s.mu.Unlock()
	t.wake()
}

// Cut ends the session at once.
func (s *Session) Cut() { s.end(&CloseError{Reason: ForcedClose}) }

// Wait waits until the session has ended and nothing of it runs any more. No Handler may call it.
func (s *Session) Wait() { s.running.Wait() }

// fail ends the session if t is its transport, or gives the upgrade up if t is the probe.
func (s *Session) fail(t transport, reason string, err error) {
	s.mu.Lock()
	current := t == s.transport
	s.mu.Unlock()
	if current {
		s.end(&CloseError{reason, err})
	} else {
		s.abandon(t)
	}
}

// end ends the session.
func (s *Session) end(why *CloseError) { s.stop(why, false) }

// stop ends the session, once; with unopened only if it has not opened.
func (s *Session) stop(why *CloseError, unopened bool) {
	s.mu.Lock()
	if s.closed || unopened && s.opened == nil {
		s.mu.Unlock()
		return
	}
	s.closed = true
	if s.paused != nil {
		close(s.paused)
		s.paused = nil
	}
	opened, t, probe, giveUp := s.opened, s.transport, s.probe, s.giveUp
	s.opened, s.probe, s.queue, s.queued = nil, nil, nil, 0
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.closing {
		why = nil
	}
	s.mu.Unlock()
	if giveUp != nil {
		giveUp()
	}
	if t != nil {
		t.cut()
	}
	if probe != nil {
		probe.settle()
		probe.cut()
	}
	if opened != nil {
		var err error = ErrClosed
		if why != nil {
			err = cmp.Or(why.Err, error(why))
		}
		opened <- err
		return
	}
	s.calls.Lock()
	defer s.calls.Unlock()
	s.h.Closed(why)
}
