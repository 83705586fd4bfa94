package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/fifo"
)

// Engine.IO over WebTransport, in revision 4 only. The client opens one bidirectional stream, and
// the packets go over it in the form that eio.StreamReader reads. The first packet says what the
// client wants:
//
//	client                           server
//	0                                          a new session
//	                                 0{…}
//
//	0{"sid":"…"}                               to upgrade that session
//	2probe
//	                                 3probe
//	5

// WebTransport is a WebTransport session together with the first bidirectional stream that the
// client has opened in it. Reads and writes use that stream.
type WebTransport interface {
	// Read returns io.EOF when the client has ended the stream or the session.
	io.Reader
	io.Writer
	// SetReadDeadline and SetWriteDeadline also affect running calls. These then fail with
	// os.ErrDeadlineExceeded; Write also returns how much was taken until then.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Context ends with the session.
	Context() context.Context
	// CloseWithError ends the session. If nothing has failed before, it first gives what was
	// written some time to arrive. A running Read returns.
	CloseWithError(code uint32, message string) error
}

const (
	maxFirstPacket = 1 << 10
	// flushBuffer is the most bytes in one write. Larger messages are not copied.
	flushBuffer = 32 << 10
)

// flushBuffers holds buffers for writes.
var flushBuffers = sync.Pool{New: func() any { b := make([]byte, 0, flushBuffer); return &b }}

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// webtransport is a session's WebTransport. It is the session's transport or its candidate.
//
// The goroutine that reads owns current. The session's lock guards everything else except conn,
// which has its own. Another goroutine writes; it runs only while there is something to write.
type webtransport struct {
	s        *Session
	conn     WebTransport
	deadline timer // of the upgrade

	current bool // it is the session's transport

	control []byte // is sent before the session's messages: OPEN, the answer to the probe
	begun   bool   // may write
	writing bool   // a goroutine is writing
	blocked bool   // it waits for the client, and does not change out and large
	cut     bool   // nobody waits for the client any more
	ending  bool   // the WebTransport session closes after what is queued
	code    uint32 // why it closes
	message string
	gone    chan struct{} // closed when the WebTransport session is closed

	// Owned by the goroutine that writes.
	out   fifo.Queue[*Message] // taken from the session
	large *Message             // is being written by itself
}

// OfferWebTransport advertises WebTransport as an upgrade in the handshakes of polling and sse
// clients until withdraw is called.
func (s *Server) OfferWebTransport() (withdraw func()) {
	s.webTransports.Add(1)
	return sync.OnceFunc(func() { s.webTransports.Add(-1) })
}

// ServeWebTransport answers a request for a WebTransport session and returns when that session has
// ended. Unless it refuses the request, it calls accept, which accepts the session and waits for
// its first bidirectional stream, until ctx ends. If accept fails, it must have answered the
// request itself.
func (s *Server) ServeWebTransport(w http.ResponseWriter, r *http.Request, accept func(ctx context.Context) (WebTransport, error)) {
	if refusal := s.verifyWebTransport(r); refusal != nil {
		s.refused(r, refusal, "transport", transportWebTransport)
		refuse(w, refusal)
		return
	}
	s.connBegun()
	defer s.connEnded()
	ctx, cancel := context.WithTimeout(s.accepting, s.opts.UpgradeTimeout)
	defer cancel()
	leave := s.arrive(r, cancel)
	conn, err := accept(ctx)
	if err != nil {
		leave()
		s.refused(r, errBadRequest, "transport", transportWebTransport, "cause", err)
		return
	}
	inTime := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	bytes := &counted{r: conn}
	packets := eio.NewStreamReader(bytes)
	isBinary, first, err := packets.Next(maxFirstPacket)
	leave()
	late := !inTime()
	var t *webtransport
	var refusal *requestError
	switch {
	case late && s.draining.Load():
		refusal = errShuttingDown
	case late || err != nil:
		refusal = errBadRequest
	default:
		t, refusal = s.openWebTransport(r, conn, isBinary, first)
	}
	if refusal != nil {
		s.stats.BytesIn.Add(uint64(bytes.n))
		s.refused(r, refusal, "transport", transportWebTransport)
		refuseWebTransport(conn, refusal)
		return
	}
	t.s.arrived(1, bytes.n)
	bytes.t = t
	bytes.held = holdingReader{r: conn, s: t.s}
	defer bytes.held.release()
	// A shutdown takes too long.
	uncut := context.AfterFunc(s.serving, func() {
		t.s.mu.Lock()
		defer t.s.mu.Unlock()
		t.cutLocked()
	})
	defer uncut()
	t.receive(packets, bytes)
	<-t.gone
}

// verifyWebTransport makes the checks that do not depend on what the client wants. Official clients
// send no query, so only the first packet tells that.
func (s *Server) verifyWebTransport(r *http.Request) *requestError {
	switch q := parseQuery(r.URL.RawQuery); {
	case !s.opts.allows(transportWebTransport):
		return errUnknownTransport
	case !s.opts.CORS.Allows(r):
		return errOrigin
	case q.eio != "" && q.eio != "4":
		return errProtocolVersion
	case s.draining.Load():
		return errShuttingDown
	}
	return nil
}

// refuseWebTransport closes a WebTransport session that was accepted. First it sends the body that
// an HTTP request would get. That is no packet, so official clients report an error. Without it
// they would wait for a packet until their timeout, and not see why the server has closed.
func refuseWebTransport(conn WebTransport, e *requestError) {
	body := e.body()
	conn.SetWriteDeadline(time.Now().Add(closeTimeout))
	conn.Write(append(eio.AppendStreamHeader(nil, false, len(body)), body...)) // if it fails, the session is closed anyway
	conn.CloseWithError(uint32(e.status), e.message)
}

// openWebTransport begins a new session, or finds the one that the client wants to upgrade.
func (s *Server) openWebTransport(r *http.Request, conn WebTransport, isBinary bool, first []byte) (*webtransport, *requestError) {
	p, err := eio.V4.Decode(isBinary, first)
	if err != nil || p.Type != eio.Open {
		return nil, errBadRequest
	}
	t := &webtransport{conn: conn, gone: make(chan struct{})}
	if len(p.Data) == 0 {
		if refusal := s.admit(r); refusal != nil {
			return nil, refusal
		}
		session, refusal := s.newSession(r, query{eio: "4"}, t)
		if refusal != nil {
			return nil, refusal
		}
		t.s, t.current = session, true
		s.start(session)
		t.begin(s.openMessage(session.id))
		return t, nil
	}
	var of struct {
		SID string `json:"sid"`
	}
	if err := json.Unmarshal(p.Data, &of); err != nil {
		return nil, errBadRequest
	}
	if t.s = s.session(of.SID); t.s == nil {
		if s.opts.Foreign != nil && of.SID != "" { // a stream over QUIC cannot be passed on like a request
			return nil, unknownSession("WebTransport has to reach the session's own server")
		}
		return nil, errUnknownSession
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.protocol != eio.V4 || !t.s.tryLocked(t) {
		return nil, errBadRequest
	}
	t.begun = true
	s.wheel.set(&t.deadline, t, s.wheel.since()+s.opts.UpgradeTimeout)
	return t, nil
}

// begin sends the first message, then lets the session's messages follow.
func (t *webtransport) begin(first *Message) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.control = appendStreamed(nil, first)
	t.begun = true
	t.wakeLocked()
}

const transportWebTransport = "webtransport"

// ServeWebTransport serves it, not ServeHTTP.
var webTransportKind = kind{offered: func(s *Server) bool { return s.webTransports.Load() > 0 }}

func (t *webtransport) name() string { return transportWebTransport }

func (t *webtransport) wakeLocked() {
	if t.begun && !t.writing {
		t.writing = true
		go t.write()
	}
}

func (t *webtransport) readyLocked() bool { return true } // once nothing waits to be written
func (t *webtransport) pauseLocked(bool)  {}              // see awaitResumed

func (t *webtransport) endLocked(eio.Type) (linger bool) {
	t.closeLocked(0, "")
	return false
}

func (t *webtransport) cutLocked() {
	t.cut = true
	t.conn.SetReadDeadline(past)
	t.conn.SetWriteDeadline(past)
}

func (t *webtransport) pongLocked() {
	t.control = appendStreamed(t.control, probePongMessage)
	t.wakeLocked()
}

func (t *webtransport) chosenLocked() {
	t.current = true
	t.s.srv.wheel.clear(&t.deadline)
}

func (t *webtransport) dropLocked() { t.closeLocked(0, "") }

// alarm implements alarmed: the upgrade took too long.
func (t *webtransport) alarm(*timer) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if t.s.srv.wheel.fired(&t.deadline) && t.s.triesLocked(t) {
		t.closeLocked(http.StatusRequestTimeout, "not upgraded in time")
	}
}

// closeLocked closes the WebTransport session after what the session still wants to send.
func (t *webtransport) closeLocked(code uint32, message string) {
	if t.ending {
		return
	}
	t.ending, t.code, t.message = true, code, message
	t.s.abandonLocked(t)
	t.s.srv.wheel.clear(&t.deadline)
	if t.writing {
		t.conn.SetWriteDeadline(time.Now().Add(closeTimeout))
	}
	t.wakeLocked()
}

// fail closes the WebTransport session. If t is the session's transport, the session ends too.
func (t *webtransport) fail(reason Reason, cause error, code uint32, message string) {
	t.s.mu.Lock()
	t.closeLocked(code, message)
	t.s.mu.Unlock()
	if t.current {
		t.s.end(reason, cause)
	}
}

// receive reads until the client ends the stream or breaks the protocol. It goes on after the
// session has ended, to notice when the client ends.
func (t *webtransport) receive(packets *eio.StreamReader, bytes *counted) {
	s := t.s
	for {
		bytes.next()
		isBinary, b, err := packets.Next(s.srv.opts.MaxPayload)
		switch {
		case errors.Is(err, eio.ErrTooLarge):
			err = fmt.Errorf("%w: message over %d bytes", ErrProtocol, s.srv.opts.MaxPayload)
			t.fail(TransportError, err, http.StatusRequestEntityTooLarge, "message too large")
			return
		case errors.Is(err, eio.ErrMalformed):
			t.fail(ParseError, err, http.StatusBadRequest, "malformed packet")
			return
		case err != nil:
			reason := TransportClose
			switch {
			case errors.Is(err, io.EOF):
				err = nil
			case bytes.reads > 1 && errors.Is(err, os.ErrDeadlineExceeded):
				reason, err = TransportError, errIncomplete
			}
			t.fail(reason, err, 0, "")
			return
		case t.current && s.ended(): // only the end of the stream matters now
			continue
		}
		s.arrived(1, 0)
		p, err := s.protocol.Decode(isBinary, b)
		switch {
		case err != nil:
			t.fail(ParseError, err, http.StatusBadRequest, "malformed packet")
			return
		case t.current:
			if s.awaitResumed(t.conn.Context().Done()) {
				s.received(p)
			}
		default:
			s.probing(t, p)
		}
	}
}

// write writes until nothing is left to write or a write fails. After a failure, and at the end, it
// closes the WebTransport session; nobody writes after that.
func (t *webtransport) write() {
	s := t.s
	buffer := flushBuffers.Get().(*[]byte)
	defer flushBuffers.Put(buffer)
	runtime.Gosched() // messages that other goroutines are about to send go out with the same write
	for {
		s.mu.Lock()
		b := append((*buffer)[:0], t.control...)
		t.control = nil
		switch {
		case s.transport != t:
		case t.out.Len() == 0:
			t.out, s.out = s.out, fifo.Queue[*Message]{}
		case s.state == closed: // drop what is queued
			t.out = fifo.Queue[*Message]{}
		}
		if len(b) == 0 && t.out.Len() == 0 {
			last := t.ending
			t.writing = last
			s.mu.Unlock()
			if !last {
				return
			}
			break
		}
		s.mu.Unlock()

		b, size := t.gather(b)
		err := t.send(b)
		if err == nil && t.large != nil {
			err = t.send(t.large.data)
		}
		if err != nil {
			t.broken(err)
			break
		}
		s.mu.Lock()
		t.blocked = false
		s.tookLocked(size)
		s.mu.Unlock()
	}
	s.mu.Lock()
	t.blocked = false
	// If the session is still open, the goroutine that reads is about to end it.
	if s.transport == t && s.state == closing {
		s.changeLocked(closed)
	}
	s.mu.Unlock()
	t.conn.CloseWithError(t.code, t.message) // it may be closed already
	close(t.gone)
}

// broken closes a WebTransport session after a failed write. If it is the session's transport, the
// session ends too.
func (t *webtransport) broken(err error) {
	s := t.s
	s.mu.Lock()
	tell := func() {}
	switch {
	case s.transport != t || s.state != open:
	case errors.Is(err, os.ErrDeadlineExceeded):
		tell = s.stalledLocked(s.srv.opts.WriteTimeout)
	default:
		tell = s.endLocked(closed, TransportClose, err, eio.Close)
	}
	t.closeLocked(0, "")
	s.mu.Unlock()
	tell()
}

// gather takes messages from out and returns them after b, as many as fit into its capacity. size
// is what they count for in queued. A message that is larger than the whole buffer is not copied;
// its data is to be sent after b, as large.
func (t *webtransport) gather(b []byte) (_ []byte, size int) {
	t.large = nil
	for t.out.Len() > 0 && t.large == nil {
		m := t.out.Peek()
		switch {
		case len(m.frame) <= cap(b)-len(b):
			b = appendStreamed(b, m)
		case len(b) > 0:
			return b, size
		default:
			b, t.large = appendStreamHead(b, m), m
		}
		size += m.Size()
		t.out.Pop()
		t.s.sent(1, 0)
	}
	return b, size
}

// send writes b. It goes on as long as the client takes some of it within WriteTimeout.
func (t *webtransport) send(b []byte) error {
	s := t.s
	for {
		s.mu.Lock()
		s.tookLocked(0) // progress by the previous piece
		t.blocked = true
		switch timeout := s.srv.opts.WriteTimeout; {
		case t.cut:
		case t.ending:
			t.conn.SetWriteDeadline(time.Now().Add(closeTimeout))
		case timeout > 0:
			t.conn.SetWriteDeadline(time.Now().Add(timeout))
		}
		s.mu.Unlock()
		n, err := t.conn.Write(b[:min(len(b), flushBuffer)])
		s.sent(0, n)
		if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
		if b = b[n:]; len(b) == 0 {
			return nil
		}
	}
}

// appendStreamed appends m in its form for a stream.
func appendStreamed(dst []byte, m *Message) []byte {
	if m.binary && len(m.data) == 0 {
		// The official client treats a length of 0 as an error, but it accepts base64 in text.
		return append(eio.AppendStreamHeader(dst, false, 1), 'b')
	}
	return append(appendStreamHead(dst, m), m.data...)
}

// appendStreamHead appends what precedes m's data.
func appendStreamHead(dst []byte, m *Message) []byte {
	if m.binary {
		return eio.AppendStreamHeader(dst, true, len(m.data))
	}
	return append(eio.AppendStreamHeader(dst, false, 1+len(m.data)), byte(m.kind))
}

// counted counts the bytes that are read. It keeps the count itself until the session is known. From
// then on, it limits the time for a packet, and reports what it holds.
type counted struct {
	r     io.Reader
	n     int
	t     *webtransport
	held  holdingReader
	reads int // of the present packet
}

func (c *counted) Read(b []byte) (int, error) {
	if c.t == nil {
		n, err := c.r.Read(b)
		c.n += n
		return n, err
	}
	if c.reads++; c.reads == 2 { // the packet has begun
		c.t.readWithin(c.t.s.srv.opts.BodyTimeout)
	}
	n, err := c.held.Read(b)
	c.t.s.arrived(0, n)
	return n, err
}

// next begins a new packet.
func (c *counted) next() {
	if c.reads > 1 {
		c.t.readWithin(0)
	}
	c.reads = 0
	c.held.release()
}

// readWithin limits the time to read; 0 or less is no limit.
func (t *webtransport) readWithin(d time.Duration) {
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	if !t.cut {
		t.conn.SetReadDeadline(deadline)
	}
}
