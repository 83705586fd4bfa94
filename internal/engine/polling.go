package engine

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/eio"
)

// noopInterval is the longest time that a poll lasts during an upgrade. The client continues the
// upgrade only after its poll has ended.
const noopInterval = 100 * time.Millisecond

// polling is HTTP long polling as a session's transport. The server sends in the response to a GET,
// which waits (is parked) until there is something to send. The client sends by POST, one at a
// time. The session's lock guards the fields that change.
type polling struct {
	s        *Session
	post     posts
	base64   bool   // the client cannot receive bytes
	callback string // of JSONP: answers are scripts that call it
	parked   *poll
	// farewell answers the last GET, after what is queued. It is Close if the server ends the
	// session, and Noop if the client does.
	farewell eio.Type
}

const transportPolling = "polling"

var pollingKind = kind{reach: byRequest, revision3: true, begin: (*Server).openPolling, serve: (*Session).servePoll}

// newPolling returns the transport that the handshake asks for.
func newPolling(q query) *polling {
	p := &polling{base64: q.b64}
	if q.script() {
		p.base64, p.callback, p.post.forms = true, callback(q.j), true
	}
	return p
}

// poll is a waiting GET of the client. When it is woken, the goroutine that serves it collects what
// is queued.
type poll struct {
	wake chan struct{} // capacity 1
}

func (w *poll) release() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (p *polling) name() string { return transportPolling }

// wakeLocked ends the running poll, if there is one.
func (p *polling) wakeLocked() {
	if p.parked != nil {
		p.parked.release()
	}
}

func (p *polling) readyLocked() bool { return p.parked != nil }
func (p *polling) pauseLocked(bool)  {} // see awaitResumed
func (p *polling) cutLocked()        { p.post.cutLocked() }
func (p *polling) posts() *posts     { return &p.post }

func (p *polling) probedLocked() bool {
	p.wakeLocked()
	return true
}

func (p *polling) leaveLocked() bool {
	if p.post.busy {
		return false
	}
	p.wakeLocked()
	return true
}

// endLocked ends the running poll with an answer. If that answer cannot carry the farewell, the
// session lingers until the next poll or the end of the upgrade.
func (p *polling) endLocked(farewell eio.Type) (linger bool) {
	p.farewell = farewell
	p.wakeLocked()
	if p.s.state == closed || p.parked != nil && p.s.out.Len() == 0 {
		return false
	}
	return true
}

// openPolling begins a session.
func (s *Server) openPolling(w http.ResponseWriter, r *http.Request, q query) {
	p := newPolling(q)
	session, refusal := s.newSession(r, q, p)
	if refusal != nil {
		s.refused(r, refusal, "transport", q.transport)
		refuse(w, refusal)
		return
	}
	p.s = session
	s.start(session)
	if c := s.cookie(session.id); c != nil {
		http.SetCookie(w, c)
	}
	answer := newPayload(session.protocol, false)
	answer.append(s.openMessage(session.id, s.upgrades(session.protocol)...))
	err := p.respond(w, r, answer)
	if err == nil {
		// net/http sends such a short answer after the handler has returned. If the request has
		// ended by now, by a reset stream, say, the client will never read it.
		err = r.Context().Err()
	}
	if err != nil {
		session.end(TransportError, err)
	}
}

// servePoll answers one poll.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request, _ query) {
	s.mu.Lock()
	p, ok := s.transport.(*polling)
	switch {
	case !ok: // upgraded in the meantime
		s.mu.Unlock()
		refuse(w, errBadRequest)
		return
	case s.state == closed:
		s.mu.Unlock()
		refuse(w, errUnknownSession)
		return
	case s.overdueLocked():
		s.mu.Unlock()
		s.end(PingTimeout, nil)
		refuse(w, errUnknownSession)
		return
	case p.parked != nil:
		s.mu.Unlock()
		s.violate(TransportError, "overlapping polls")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	waiting := &poll{wake: make(chan struct{}, 1)}
	p.parked = waiting
	if s.out.Len() > 0 || s.state.ending() {
		waiting.release()
	}
	var noop <-chan time.Time
	if s.probedLocked() {
		noop = time.After(noopInterval)
	}
	s.mu.Unlock()

	select {
	case <-waiting.wake:
	case <-noop:
	case <-r.Context().Done():
		s.srv.noticeTimeout(r.Context())
		s.mu.Lock()
		p.parked = nil
		upgraded := s.transport != p
		s.mu.Unlock()
		if !upgraded {
			s.end(TransportError, r.Context().Err())
		}
		return
	}

	s.mu.Lock()
	p.parked = nil
	if s.transport != p { // the client has upgraded while a poll was running, which it should not do
		s.mu.Unlock()
		refuse(w, errBadRequest)
		return
	}
	answer := p.payloadLocked()
	last := s.state.ending() && answer.bytes == nil
	if last {
		s.changeLocked(closed)
	}
	if answer.bytes == nil {
		answer.append(p.nothing())
	}
	s.mu.Unlock()
	if last {
		s.srv.remove(s)
	}
	held := len(answer.bytes) &^ (holdStep - 1)
	s.Hold(held)
	err := p.respond(w, r, answer)
	s.Hold(-held)
	if err != nil {
		s.end(TransportError, err)
	}
}

// nothing is the answer to a poll when no message is queued.
func (p *polling) nothing() *Message {
	if p.farewell == eio.Close {
		return closeMessage
	}
	return noopMessage
}

// payload is the body of a response to a poll.
type payload struct {
	encoding eio.Encoding
	bytes    []byte // nil: no packet
	compress bool   // worth compressing if large
}

// newPayload returns an empty payload for text, or for bytes if binary is true and p has such an
// encoding.
func newPayload(p eio.Protocol, binary bool) payload {
	e, ok := p.Encoding(binary)
	if !ok {
		e, _ = p.Encoding(false)
	}
	return payload{encoding: e}
}

func (p *payload) append(m *Message) { p.bytes = p.encoding.Append(p.bytes, m.packet()) }

// payloadLocked takes all that is queued. It does not add the end of the session. Clients act on a
// Close while they decode a payload, but on the messages of that payload only afterwards.
func (p *polling) payloadLocked() payload {
	s := p.s
	answer := newPayload(s.protocol, !p.base64 && s.out.Some(isBinary))
	if s.out.Len() == 0 {
		return answer
	}
	answer.bytes = make([]byte, 0, s.queued+16)
	for s.out.Len() > 0 {
		m := s.out.Pop()
		answer.append(m)
		answer.compress = answer.compress || m.kind == eio.Message && !m.plain
		s.sent(1, 0)
	}
	s.tookLocked(s.queued)
	return answer
}

func isBinary(m *Message) bool { return m.binary }

// respond writes a payload. It compresses a large one if the client can read that.
func (p *polling) respond(w http.ResponseWriter, r *http.Request, answer payload) error {
	s := p.s
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
	s.srv.limitAnswer(w, r)
	n, err := w.Write(payload)
	s.sent(0, n)
	return err
}

// acceptedEncoding returns the encoding to use for a client that sent this Accept-Encoding (RFC
// 9110, 12.5.3), or "".
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

// encoders are reused, since making one costs more than encoding most payloads.
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
	w.Write(payload) // a bytes.Buffer never fails
	w.Close()
	return b.Bytes()
}
