package engine

import (
	"errors"
	"io"
	"time"

	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/fifo"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/ws"
)

const (
	// closeTimeout limits the wait for the peer's half of the closing handshake.
	closeTimeout = 5 * time.Second
	// maxControl limits, in bytes, the pongs that wait for a peer that pings and does not read. It
	// is 60 pongs of the largest size.
	maxControl = 60 * (ws.MaxControlPayload + 2)
)

// websocket is a session's WebSocket, from the handshake to the end of the connection. It is the
// session's transport or, during an upgrade, the candidate.
//
// The goroutine that calls Receive owns parser, completed, deaf and current. The one that calls Drain
// owns out, offset and deflated. The session's lock guards everything else; only Receive's goroutine
// changes incomplete, so it may read it without the lock.
type websocket struct {
	s        *Session
	conn     reactor.Conn
	base64   bool         // the client cannot receive binary messages
	deflater *ws.Deflater // nil: no compression
	deadline timer        // of the upgrade, a stalled write, or the closing handshake

	parser     ws.Parser
	incomplete *incomplete // nil while no message is being received that is large
	completed  bool        // a message has been received since Receive began
	deaf       bool        // nothing more is parsed
	current    bool        // it is the session's transport

	control []byte // is sent before the session's messages: OPEN, pongs, the answer to the probe
	stalled bool   // the peer has taken nothing since deadline was set
	unsent  int32  // bytes that the connection keeps while stalled
	gone    bool   // Closed was called
	hangUp  bool   // close the connection once the Close frame is written
	ending  ending
	code    int // of the Close frame, which has no reason, like the reference's

	out      fifo.Queue[*Message]
	offset   int    // how much of the first message's frame in out is written
	deflated []byte // that frame, if other connections cannot share it
}

// ending is the stage of the closing handshake (RFC 6455, 7.1).
type ending uint8

const (
	notEnding ending = iota
	closeDue         // the Close frame goes out after what is queued
	closeSent
)

const transportWebSocket = "websocket"

var webSocketKind = kind{reach: byUpgrade, revision3: true, offered: func(*Server) bool { return true }}

func (t *websocket) name() string { return transportWebSocket }

// wakeLocked makes the reactor call Drain. Before the connection is attached that is not necessary.
func (t *websocket) wakeLocked() {
	if t.conn != nil {
		t.conn.Wake()
	}
}

func (t *websocket) readyLocked() bool { return !t.stalled }

func (t *websocket) pauseLocked(paused bool) {
	if t.incomplete != nil {
		t.incomplete.pauseLocked(paused)
	}
	switch {
	case t.conn == nil: // attach does it
	case paused:
		t.conn.Pause()
	default:
		t.conn.Resume()
	}
}

func (t *websocket) endLocked(eio.Type) (linger bool) {
	t.closeLocked(ws.CloseNoStatus)
	return false
}

func (t *websocket) cutLocked() {
	if t.stalled {
		t.conn.Close() // it would not take a Close frame either
	}
}

func (t *websocket) pongLocked() {
	t.control = append(t.control, probePongMessage.frame...)
	t.wakeLocked()
}

func (t *websocket) chosenLocked() {
	t.current = true
	if d := t.s.srv.opts.WriteTimeout; t.stalled && d > 0 { // since the answer to the probe
		t.armLocked(d)
	} else {
		t.s.srv.wheel.clear(&t.deadline)
	}
}

func (t *websocket) dropLocked() { t.closeLocked(ws.CloseNoStatus) }

// begin starts the session if t is its first transport.
func (t *websocket) begin() {
	if t.current {
		t.s.srv.start(t.s)
		t.control = t.s.srv.openMessage(t.s.id).frame
	}
}

// attach is called once, with the connection, before anything is received.
func (t *websocket) attach(c reactor.Conn) {
	t.s.mu.Lock()
	t.conn = c
	switch {
	case t.ending != notEnding:
		t.armLocked(closeTimeout)
	case t.s.triesLocked(t):
		t.armLocked(t.s.srv.opts.UpgradeTimeout)
	}
	if t.s.transport == t && t.s.paused() && !t.s.ended() {
		c.Pause()
	}
	t.s.mu.Unlock()
	c.Wake()
}

// Receive implements reactor.Handler.
func (t *websocket) Receive(b []byte) {
	t.s.arrived(0, len(b))
	var err error
	if t.over() {
		t.parser.Mute()
	}
	if !t.deaf { // else closing now could destroy the server's Close frame on its way
		err = t.parser.Feed(b, t)
	}
	t.charge(len(b))
	t.watchIncomplete(t.completed)
	t.completed = false
	if err == nil {
		return
	}
	t.deaf = true
	t.parser = ws.Parser{}
	t.watchIncomplete(false)
	var fault *ws.CloseError
	if errors.As(err, &fault) {
		t.fail(TransportError, fault, fault.Code)
	}
}

// charge charges the client for what it has sent apart from messages. After the end, nothing that it
// sends is a message.
func (t *websocket) charge(bytes int) {
	cost := t.parser.TakeFrames()
	over := t.over()
	if over {
		cost += 1 + bytes>>10
	}
	switch {
	case cost == 0 || !t.s.overspent(budget.Frames, cost):
	case over:
		t.conn.Pause() // until the deadline of the closing handshake
	case t.current:
		t.s.slowDown(budget.Frames)
	default: // a candidate has little to say
		t.conn.Close()
	}
}

// fail ends the connection with a Close frame. If t is the session's transport, the session ends
// too.
func (t *websocket) fail(reason Reason, cause error, code int) {
	t.s.mu.Lock()
	t.closeLocked(code)
	t.s.mu.Unlock()
	if t.current {
		t.s.end(reason, cause)
	}
}

// over reports whether only the peer's Close frame still matters.
func (t *websocket) over() bool {
	if t.current {
		return t.s.ended()
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.ending != notEnding
}

// OnMessage implements ws.Handler.
func (t *websocket) OnMessage(op ws.Opcode, payload []byte) error {
	t.completed = true
	t.s.arrived(1, 0)
	t.s.Charge(budget.Inflated, t.parser.TakeInflated())
	p, err := t.s.protocol.Decode(op == ws.OpBinary, payload)
	switch {
	case err != nil:
		t.fail(ParseError, err, ws.CloseNoStatus)
	case t.current:
		t.s.received(p)
	default:
		t.s.probing(t, p)
	}
	switch {
	case t.over():
		t.parser.Mute()
	case t.current && t.s.paused():
		t.parser.Stop()
		t.conn.Recall()
	}
	return nil
}

// OnControl implements ws.Handler.
func (t *websocket) OnControl(op ws.Opcode, payload []byte) error {
	switch op {
	case ws.OpPing:
		t.s.mu.Lock()
		defer t.s.mu.Unlock()
		if t.ending == closeSent {
			return nil
		}
		if len(t.control) > maxControl {
			return &ws.CloseError{Code: ws.ClosePolicyViolation, Reason: "too many pings"}
		}
		t.control = ws.AppendFrame(t.control, ws.OpPong, payload)
		t.wakeLocked()
	case ws.OpClose:
		code, _ := ws.ParseClose(payload)
		t.s.mu.Lock()
		t.hangUp = true
		t.closeLocked(code)
		t.wakeLocked()
		t.s.mu.Unlock()
		if t.current {
			t.s.end(TransportClose, nil)
		}
	}
	return nil
}

// closeLocked begins the closing handshake. It sends what the session still wants to send and a
// Close frame. Then it waits up to closeTimeout for the peer's Close frame.
func (t *websocket) closeLocked(code int) {
	if t.ending != notEnding {
		return
	}
	t.ending, t.code = closeDue, code
	t.s.abandonLocked(t)
	if t.conn != nil { // else attach does it
		t.conn.Resume() // to read the peer's Close frame
		t.armLocked(closeTimeout)
		t.wakeLocked()
	}
}

// dismissLocked closes a WebSocket that nobody wants, without waiting for the peer's half.
func (t *websocket) dismissLocked() {
	t.hangUp = true
	t.closeLocked(ws.CloseNoStatus)
}

// armLocked sets the deadline.
func (t *websocket) armLocked(d time.Duration) {
	w := t.s.srv.wheel
	w.set(&t.deadline, t, w.since()+d)
}

// alarm implements alarmed: the upgrade, a write or the closing handshake took too long.
func (t *websocket) alarm(*timer) {
	t.s.mu.Lock()
	if !t.s.srv.wheel.fired(&t.deadline) || t.gone {
		t.s.mu.Unlock()
		return
	}
	switch {
	case t.ending != notEnding:
		t.s.mu.Unlock()
		t.conn.Close()
	case t.s.triesLocked(t): // not upgraded in time
		t.closeLocked(ws.CloseNoStatus)
		t.s.mu.Unlock()
	case t.stalled && t.s.state == open:
		tell := t.s.stalledLocked(t.s.srv.opts.WriteTimeout)
		t.s.mu.Unlock()
		tell()
	default: // the deadline was cleared at this very moment
		t.s.mu.Unlock()
	}
}

// Drain implements reactor.Handler. It writes everything that waits, in as few writes as possible.
func (t *websocket) Drain(scratch []byte) {
	s := t.s
	for {
		s.mu.Lock()
		if t.stalled { // the connection takes bytes again
			t.stalled = false
			t.keepsLocked(0)
			if t.ending == notEnding && s.transport == t {
				s.srv.wheel.clear(&t.deadline)
			}
		}
		var control []byte
		if t.offset == 0 { // else it would land inside the frame that was begun
			control, t.control = t.control, nil
		}
		onlyFirst := len(t.control) > 0
		switch {
		case s.transport != t, t.ending == closeSent: // nothing follows a Close frame
		case t.out.Len() == 0:
			t.out, s.out = s.out, fifo.Queue[*Message]{}
		case s.state == closed: // drop what is queued, but finish a frame that was begun
			t.out.Truncate()
			if t.offset == 0 {
				t.out = fifo.Queue[*Message]{}
			}
		}
		if t.out.Len() == 0 && t.ending == closeDue {
			control = ws.AppendClose(control, ws.Server, t.code, "")
			t.ending = closeSent
			t.armLocked(closeTimeout)
			// If the session is still open, the goroutine that reads is about to end it.
			if s.transport == t && s.state == closing {
				s.changeLocked(closed)
			}
		}
		hangUp := t.hangUp && t.ending == closeSent
		s.mu.Unlock()

		if len(control) == 0 && t.out.Len() == 0 {
			if hangUp {
				t.conn.Close()
			}
			return
		}
		b := control
		if t.out.Len() > 0 {
			var taken int
			b, taken = t.gather(append(scratch[:0], control...), onlyFirst)
			s.mu.Lock()
			s.tookLocked(taken)
			s.mu.Unlock()
		}
		s.sent(0, len(b))
		if !t.conn.Write(b) {
			t.stall(len(b))
			return
		}
	}
}

// gather takes messages from out and returns their frames after the contents of scratch: as many as
// fit into its capacity, or only the first one. written is what they count for in queued. A message
// that is alone is not copied.
func (t *websocket) gather(scratch []byte, onlyFirst bool) (b []byte, written int) {
	b = scratch
	for t.out.Len() > 0 {
		m := t.out.Peek()
		frame := t.frame(m)[t.offset:]
		room := cap(scratch) - len(b)
		if len(b) == 0 && t.out.Len() == 1 && len(frame) <= room {
			t.next()
			return frame, m.Size()
		}
		if len(frame) > room {
			b = append(b, frame[:room]...)
			t.offset += room
			return b, written
		}
		b = append(b, frame...)
		written += m.Size()
		t.next()
		if onlyFirst {
			break
		}
	}
	return b, written
}

func (t *websocket) next() {
	t.out.Pop()
	t.offset, t.deflated = 0, nil
	t.s.sent(1, 0)
}

// frame returns the bytes to write for m.
func (t *websocket) frame(m *Message) []byte {
	m = m.as(t.s.protocol, t.base64)
	switch {
	case t.deflater == nil || m.plain || len(m.data) < t.s.srv.opts.Compression.Threshold:
		return m.frame
	case t.deflater == t.s.srv.deflater:
		return m.sharedDeflated(t.deflater)
	}
	if t.offset == 0 { // else its frame has been made and begun
		t.deflated = m.deflate(t.deflater)
	}
	return t.deflated
}

// stall notes that the peer does not take n bytes, and sets the deadline by which it must.
func (t *websocket) stall(n int) {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.gone {
		return
	}
	t.stalled = true
	t.keepsLocked(n)
	switch {
	case t.ending == closeDue: // each write has its own time
		t.armLocked(closeTimeout)
	case t.ending == notEnding && s.transport == t && s.srv.opts.WriteTimeout > 0:
		t.armLocked(s.srv.opts.WriteTimeout)
	}
}

// keepsLocked reports that the connection keeps n bytes which the peer has not taken.
func (t *websocket) keepsLocked(n int) {
	t.s.holdLocked(n - int(t.unsent))
	t.unsent = int32(n)
}

// Closed implements reactor.Handler.
func (t *websocket) Closed(err error) {
	s := t.s
	t.parser = ws.Parser{}
	t.watchIncomplete(false)
	s.mu.Lock()
	t.gone = true
	t.keepsLocked(0)
	t.ending = closeSent
	s.srv.wheel.clear(&t.deadline)
	s.abandonLocked(t)
	s.mu.Unlock()
	if errors.Is(err, io.EOF) || errors.Is(err, reactor.ErrClosed) {
		err = nil
	}
	if t.current {
		s.end(TransportClose, err)
	}
	s.srv.connEnded()
}
