package engine

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

const (
	// noopInterval is how long a poll may last while the session is being upgraded: the
	// client goes on only when its poll has ended.
	noopInterval = 100 * time.Millisecond
	// lingerTimeout is how long a session that was closed here waits for a poll, to tell;
	// farewellTimeout is how long one that the client closed waits for a poll that the
	// client sent at the same time.
	lingerTimeout   = 30 * time.Second
	farewellTimeout = time.Second
)

// polling is HTTP long polling as a session's transport. The server sends in the
// response to a GET, which is parked until there is something; the client sends by POST,
// one at a time. What is not fixed from the beginning is guarded by the session's lock.
type polling struct {
	base64   bool   // the client cannot receive bytes
	callback string // of JSONP: the answers are scripts that call it, what is sent is a form
	parked   *parkedGet
	posting  bool
	// farewell answers the last GET, behind what is queued: Close when the server ends
	// the session, Noop when the client does.
	farewell eio.Type
}

// newPolling returns polling as the handshake asks for it.
func newPolling(q query) *polling {
	p := &polling{base64: q.b64}
	if q.script() {
		p.base64, p.callback = true, callback(q.j)
	}
	return p
}

// parkedGet is a GET that waits. The goroutine that serves it collects what is queued
// when it is woken.
type parkedGet struct {
	wake chan struct{} // capacity 1
}

func (g *parkedGet) release() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (p *polling) wakeLocked() { p.releaseLocked() }

// releaseLocked ends the poll that is under way, if there is one.
func (p *polling) releaseLocked() {
	if p.parked != nil {
		p.parked.release()
	}
}

// closeLocked has the poll that is under way answered. It reports whether the session
// has to linger, for the next poll or the end of the upgrade.
func (p *polling) closeLocked(s *Session, farewell eio.Type) (linger bool) {
	p.farewell = farewell
	parked := p.parked != nil
	p.releaseLocked()
	if s.state == closed || parked && s.out.Len() == 0 {
		return false
	}
	s.beatAt = s.srv.wheel.since()
	switch {
	case farewell == eio.Noop:
		s.beatLocked(farewellTimeout)
	case s.srv.draining.Load(): // a shutdown waits for it
		s.beatLocked(closeTimeout)
	default:
		s.beatLocked(lingerTimeout)
	}
	return true
}

// serveGet answers one poll.
func (s *Session) serveGet(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p := s.polling
	switch {
	case p == nil: // upgraded in the meantime
		s.mu.Unlock()
		refuse(w, errBadRequest)
		return
	case s.state == closed:
		s.mu.Unlock()
		refuse(w, errUnknownSession)
		return
	case s.overdueLocked():
		s.mu.Unlock()
		s.end(PingTimeout, nil, eio.Close)
		refuse(w, errUnknownSession)
		return
	case p.parked != nil:
		s.mu.Unlock()
		s.violate(TransportError, "overlapping polls")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	get := &parkedGet{wake: make(chan struct{}, 1)}
	p.parked = get
	if s.out.Len() > 0 || s.state == closing {
		get.release()
	}
	var noop <-chan time.Time
	if s.probe != nil && s.probe.probed {
		noop = time.After(noopInterval)
	}
	s.mu.Unlock()

	select {
	case <-get.wake:
	case <-noop:
	case <-r.Context().Done():
		s.mu.Lock()
		p.parked = nil
		upgraded := s.polling != p
		s.mu.Unlock()
		if !upgraded {
			s.end(TransportError, r.Context().Err(), eio.Close)
		}
		return
	}

	s.mu.Lock()
	p.parked = nil
	if s.polling != p { // the client has upgraded, with a poll under way that it should not have sent
		s.mu.Unlock()
		refuse(w, errBadRequest)
		return
	}
	answer := s.payloadLocked()
	last := s.state == closing && answer.bytes == nil
	if last {
		s.state = closed
		s.srv.wheel.clear(&s.beat)
		if s.probe != nil {
			s.probe.closeLocked(ws.CloseNoStatus, "")
		}
	}
	if answer.bytes == nil {
		answer.append(p.nothing())
	}
	s.mu.Unlock()
	if last {
		s.srv.remove(s)
	}
	if err := s.respond(w, r, p, answer); err != nil {
		s.end(TransportError, err, eio.Close)
	}
}

// nothing is what a poll is answered with when no message is queued.
func (p *polling) nothing() *Message {
	if p.farewell == eio.Close {
		return closeMessage
	}
	return noopMessage
}

// payload is the body of a response to a poll.
type payload struct {
	encoding eio.Encoding
	bytes    []byte // nil: there is no packet
	compress bool   // if it pays
}

// newPayload returns an empty payload for text and, if binary is true, for bytes.
func newPayload(p eio.Protocol, binary bool) payload {
	e, ok := p.Encoding(binary)
	if !ok {
		e, _ = p.Encoding(false)
	}
	return payload{encoding: e}
}

func (p *payload) append(m *Message) { p.bytes = p.encoding.Append(p.bytes, m.packet()) }

// payloadLocked takes all that is queued. The end of the session is not added: clients act
// on it while they decode the payload, but on the messages of the same payload only
// afterwards.
func (s *Session) payloadLocked() payload {
	answer := newPayload(s.protocol, !s.polling.base64 && s.out.Some(isBinary))
	if s.out.Len() == 0 {
		return answer
	}
	answer.bytes = make([]byte, 0, s.queued+16)
	for s.out.Len() > 0 {
		m := s.out.Pop()
		answer.append(m)
		answer.compress = answer.compress || m.kind == eio.Message && !m.plain
		s.srv.stats.PacketsOut.Add(1)
	}
	s.queued = 0
	return answer
}

func isBinary(m *Message) bool { return m.binary }

// respond writes a payload, compressed if that pays and the client can read it.
func (s *Session) respond(w http.ResponseWriter, r *http.Request, p *polling, answer payload) error {
	h := w.Header()
	payload := answer.bytes
	switch {
	case p.callback != "":
		payload = script(p.callback, payload)
		h.Set("Content-Type", "text/javascript; charset=UTF-8")
		h.Set("X-Content-Type-Options", "nosniff")
	case answer.encoding.Binary():
		h.Set("Content-Type", "application/octet-stream")
	default:
		h.Set("Content-Type", "text/plain; charset=UTF-8")
	}
	h.Set("Cache-Control", "no-store")
	if limit := s.srv.opts.HTTPCompressionThreshold; answer.compress && limit > 0 && len(payload) >= limit {
		h.Add("Vary", "Accept-Encoding")
		if name := acceptedEncoding(r.Header.Get("Accept-Encoding")); name != "" {
			h.Set("Content-Encoding", name)
			payload = encode(name, payload)
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(payload)))
	if d := s.srv.opts.WriteTimeout; d > 0 {
		// Not every ResponseWriter can: then the http.Server's own timeout holds.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
	}
	n, err := w.Write(payload)
	s.srv.stats.BytesOut.Add(uint64(n))
	return err
}

// acceptedEncoding returns the encoding to use for a client that sent this
// Accept-Encoding (RFC 9110, 12.5.3), or "".
func acceptedEncoding(header string) string {
	best := ""
	for item := range strings.SplitSeq(header, ",") {
		name, parameters, _ := strings.Cut(item, ";")
		if q, ok := strings.CutPrefix(strings.ReplaceAll(parameters, " ", ""), "q="); ok {
			if v, err := strconv.ParseFloat(q, 64); err != nil || v == 0 {
				continue
			}
		}
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "gzip":
			return name
		case "deflate":
			best = name
		}
	}
	return best
}

// encoders are kept for reuse, since making one costs more than most payloads.
var encoders = map[string]*sync.Pool{
	"gzip":    {New: func() any { w, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return w }},
	"deflate": {New: func() any { w, _ := zlib.NewWriterLevel(nil, zlib.BestSpeed); return w }},
}

func encode(encoding string, payload []byte) []byte {
	w := encoders[encoding].Get().(interface {
		io.WriteCloser
		Reset(io.Writer)
	})
	defer encoders[encoding].Put(w)
	var b bytes.Buffer
	w.Reset(&b)
	w.Write(payload) // a bytes.Buffer takes all
	w.Close()
	return b.Bytes()
}

// servePost receives what the client sends.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	encoding, ok := s.protocol.Encoding(r.Header.Get("Content-Type") == "application/octet-stream")
	s.mu.Lock()
	p := s.polling
	switch {
	case !ok || p != nil && p.callback != "" && encoding.Binary():
		s.mu.Unlock()
		s.violate(TransportError, "binary body")
		w.WriteHeader(http.StatusBadRequest)
		return
	case p == nil:
		s.mu.Unlock()
		refuse(w, errBadRequest)
		return
	case s.state != open:
		s.mu.Unlock()
		refuse(w, errUnknownSession)
		return
	case p.posting:
		s.mu.Unlock()
		s.violate(TransportError, "overlapping posts")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.posting = true
	s.mu.Unlock()

	body, err := s.readBody(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		s.donePosting(p)
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		s.end(TransportError, err, eio.Close)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.srv.stats.BytesIn.Add(uint64(len(body)))
	if p.callback != "" {
		body, ok = formData(body)
	}
	if !ok || !encoding.Binary() && !utf8.Valid(body) {
		err = eio.ErrMalformed // or we would pass it on to WebSockets, which must refuse it
	} else {
		err = encoding.Decode(body, func(packet eio.Packet) error {
			s.srv.stats.PacketsIn.Add(1)
			s.received(packet)
			return nil
		})
	}
	if errors.Is(err, eio.ErrMalformed) {
		s.end(ParseError, err, eio.Close)
	}
	s.awaitResumed(r)
	// Before the answer, since the client's next packet may be an upgrade.
	s.donePosting(p)
	h := w.Header()
	h.Set("Content-Type", "text/html") // some old browsers offer text/plain for download
	h.Set("Cache-Control", "no-store")
	io.WriteString(w, "ok")
}

func (s *Session) donePosting(p *polling) {
	s.mu.Lock()
	p.posting = false
	s.mu.Unlock()
}

// readBody reads the whole body. The error is *http.MaxBytesError over MaxPayload.
func (s *Session) readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if d := s.srv.opts.BodyTimeout; d > 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d))
	}
	limited := http.MaxBytesReader(w, r.Body, s.srv.opts.MaxPayload)
	if r.ContentLength > s.srv.opts.MaxPayload {
		return nil, &http.MaxBytesError{Limit: s.srv.opts.MaxPayload}
	}
	// What is allocated follows what has arrived, not what was declared.
	var b bytes.Buffer
	_, err := b.ReadFrom(limited)
	return b.Bytes(), err
}

// awaitResumed holds the answer to a POST back while the session is paused: the
// client will not send more before it has the answer.
func (s *Session) awaitResumed(r *http.Request) {
	s.mu.Lock()
	if !s.paused || s.state != open {
		s.mu.Unlock()
		return
	}
	if s.resume == nil {
		s.resume = make(chan struct{})
	}
	resumed := s.resume
	s.mu.Unlock()
	select {
	case <-resumed:
	case <-r.Context().Done():
	}
}
