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

// Engine.IO over WebTransport, in revision 4 only: the client opens one bidirectional stream,
// and the packets go over it as eio.StreamReader reads them. The first one says what it wants:
//
//	client                           server
//	0                                          a new session
//	                                 0{…}
//
//	0{"sid":"…"}                               that session goes on here
//	2probe
//	                                 3probe
//	5

// WebTransport is a WebTransport session, together with the first bidirectional stream that
// the client has opened in it, which is read from and written to.
type WebTransport interface {
	// Read returns io.EOF when the client has ended the stream or the session.
	io.Reader
	io.Writer
	// SetReadDeadline and SetWriteDeadline also have an effect on calls that are under way.
	// The error is then os.ErrDeadlineExceeded, of Write with what was taken until then.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Context ends with the session.
	Context() context.Context
	// CloseWithError ends the session. If nothing has failed before, it first gives what was
	// written a while to arrive. A Read that is under way returns.
	CloseWithError(code uint32, message string) error
}

const (
	maxFirstPacket = 1 << 10
	// flushBuffer is how much is written at once. Larger messages are not copied.
	flushBuffer = 32 << 10
)

// flushBuffers hold buffers while something is written.
var flushBuffers = sync.Pool{New: func() any { b := make([]byte, 0, flushBuffer); return &b }}

// long ago, for deadlines.
var past = time.Unix(1, 0)

// webtransport is a session's WebTransport, as its transport or as a candidate for that.
//
// current is owned by the goroutine that reads; all else is guarded by the session's lock,
// but for conn, which has its own. Another goroutine writes, while there is something to
// be written.
type webtransport struct {
	s        *Session
	conn     WebTransport
	deadline timer // of the upgrade

	current bool // it is the session's transport

	control []byte // goes out before the session's messages: OPEN, the probe's answer
	begun   bool   // may write
	writing bool   // somebody writes
	cut     bool   // nothing is waited for
	ending  bool   // the WebTransport session is closed after what is queued
	code    uint32 // why
	message string
	gone    chan struct{} // closed when it is closed
}

// OfferWebTransport has the handshakes of clients that poll say that they may upgrade to
// WebTransport, until withdraw is called.
func (s *Server) OfferWebTransport() (withdraw func()) {
	s.webTransports.Add(1)
	return sync.OnceFunc(func() { s.webTransports.Add(-1) })
}

// ServeWebTransport answers a request for a WebTransport session. If it is not refused,
// accept has to accept it and to wait for its first bidirectional stream, for as long as ctx
// lasts; if it fails it has answered the request. ServeWebTransport returns when the session
// has ended.
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
	conn, err := accept(ctx)
	if err != nil {
		s.refused(r, errBadRequest, "transport", transportWebTransport, "cause", err)
		return
	}
	inTime := context.AfterFunc(ctx, func() { conn.SetReadDeadline(past) })
	bytes := &counted{r: conn}
	packets := eio.NewStreamReader(bytes)
	isBinary, first, err := packets.Next(maxFirstPacket)
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
	bytes.s = t.s
	// When a shutdown takes too long.
	uncut := context.AfterFunc(s.serving, func() {
		t.s.mu.Lock()
		defer t.s.mu.Unlock()
		t.cutLocked()
	})
	defer uncut()
	t.receive(packets)
	<-t.gone
}

// verifyWebTransport decides on what can be decided on before it is known what the client
// wants: there is no query in what official clients ask for.
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

// refuseWebTransport closes a WebTransport session that was accepted. The answer to an HTTP
// request is what it sends first: it is no packet, and so an error to official clients. They
// wait for a packet until their timeout if there is none, and do not see why it was closed.
func refuseWebTransport(conn WebTransport, e *requestError) {
	body := e.body()
	conn.SetWriteDeadline(time.Now().Add(closeTimeout))
	conn.Write(append(eio.AppendStreamHeader(nil, false, len(body)), body...)) // if it fails, it is closed anyway
	conn.CloseWithError(uint32(e.status), e.message)
}

// openWebTransport begins a session, or finds the one that the client wants to go on with.
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

// begin sends what comes first, and lets the session's messages follow.
func (t *webtransport) begin(first *Message) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.control = appendStreamed(nil, first)
	t.begun = true
	t.wakeLocked()
}

const transportWebTransport = "webtransport"

// It has a handler of its own, ServeWebTransport.
var webTransportKind = kind{offered: func(s *Server) bool { return s.webTransports.Load() > 0 }}

func (t *webtransport) name() string { return transportWebTransport }

func (t *webtransport) wakeLocked() {
	if t.begun && !t.writing {
		t.writing = true
		go t.write()
	}
}

func (t *webtransport) readyLocked() bool { return true } // if nothing waits to be written
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

// closeLocked has the WebTransport session closed, after what the session still wants to
// send.
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

// fail closes the WebTransport session, and ends the session if this is its transport.
func (t *webtransport) fail(reason Reason, cause error, code uint32, message string) {
	t.s.mu.Lock()
	t.closeLocked(code, message)
	t.s.mu.Unlock()
	if t.current {
		t.s.end(reason, cause)
	}
}

// receive reads until the client has ended, or must be ended. When the session has ended it
// goes on, to notice when the client has, too.
func (t *webtransport) receive(packets *eio.StreamReader) {
	s := t.s
	for {
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
			if errors.Is(err, io.EOF) {
				err = nil
			}
			t.fail(TransportClose, err, 0, "")
			return
		case t.current && s.ended(): // only the end of the stream is still of use
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

// write writes until there is nothing to be written, or it fails. With that, or at the end, it
// closes the WebTransport session, and nobody writes after it.
func (t *webtransport) write() {
	s := t.s
	buffer := flushBuffers.Get().(*[]byte)
	defer flushBuffers.Put(buffer)
	var out fifo.Queue[*Message] // taken from the session
	runtime.Gosched()            // what others are about to send goes out with the same write
	for {
		s.mu.Lock()
		b := append((*buffer)[:0], t.control...)
		t.control = nil
		switch {
		case s.transport != t:
		case out.Len() == 0:
			out, s.out = s.out, fifo.Queue[*Message]{}
		case s.state == closed: // what is queued is dropped
			out = fifo.Queue[*Message]{}
		}
		if len(b) == 0 && out.Len() == 0 {
			last := t.ending
			t.writing = last
			s.mu.Unlock()
			if !last {
				return
			}
			break
		}
		s.mu.Unlock()

		b, large, size := t.gather(b, &out)
		err := t.send(b)
		if err == nil && large != nil {
			err = t.send(large)
		}
		if err != nil {
			t.broken(err)
			break
		}
		s.mu.Lock()
		s.tookLocked(size)
		s.mu.Unlock()
	}
	s.mu.Lock()
	// A session that is still open is about to be ended by the goroutine that reads.
	if s.transport == t && s.state == closing {
		s.changeLocked(closed)
	}
	s.mu.Unlock()
	t.conn.CloseWithError(t.code, t.message) // it may be closed already
	close(t.gone)
}

// broken ends what cannot be written to any more, and the session if this is its transport.
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

// gather takes messages from out and returns them behind b, as many as its capacity has room
// for; size is what they count for in queued. A message that is larger than that is not
// copied: large follows b.
func (t *webtransport) gather(b []byte, out *fifo.Queue[*Message]) (_, large []byte, size int) {
	for out.Len() > 0 && large == nil {
		m := out.Peek()
		switch {
		case len(m.frame) <= cap(b)-len(b):
			b = appendStreamed(b, m)
		case len(b) > 0:
			return b, nil, size
		default:
			b, large = appendStreamHead(b, m), m.data
		}
		size += m.Size()
		out.Pop()
		t.s.sent(1, 0)
	}
	return b, large, size
}

// send writes b, for as long as the client takes some of it.
func (t *webtransport) send(b []byte) error {
	s := t.s
	for {
		s.mu.Lock()
		s.tookLocked(0) // the piece before
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

// appendStreamed appends m as it goes over a stream.
func appendStreamed(dst []byte, m *Message) []byte {
	if m.binary && len(m.data) == 0 {
		// The official client takes a length of 0 for an error, but in text it knows base64.
		return append(eio.AppendStreamHeader(dst, false, 1), 'b')
	}
	return append(appendStreamHead(dst, m), m.data...)
}

// appendStreamHead appends what stands in front of m's data.
func appendStreamHead(dst []byte, m *Message) []byte {
	if m.binary {
		return eio.AppendStreamHeader(dst, true, len(m.data))
	}
	return append(eio.AppendStreamHeader(dst, false, 1+len(m.data)), byte(m.kind))
}

// counted counts what is read: by itself, until it is known which session it is of.
type counted struct {
	r io.Reader
	s *Session
	n int
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	if c.s != nil {
		c.s.arrived(0, n)
	} else {
		c.n += n
	}
	return n, err
}
