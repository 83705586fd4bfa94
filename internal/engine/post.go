package engine

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

// posts belongs to a transport whose client sends by POST, one at a time. The session's lock guards
// the fields that change.
type posts struct {
	forms   bool // JSONP: the body is a form
	busy    bool
	reading *http.ResponseController // of the POST whose body is being read; while it is set others may cut it

	// through is set for a POST that is handed on even while the session is paused. A client that
	// upgrades waits for the answer to its last POST before it goes on, and handlers may wait until
	// the client has taken something, which it does after the upgrade.
	through  bool
	throughs uint8 // how often that was
}

// maxThroughs limits the upgrades of a session for which a POST is let through. A client tries each
// transport once.
const maxThroughs = 4

func (p *posts) letThrough() {
	if p.throughs < maxThroughs {
		p.throughs++
		p.through = true
	}
}

// letsThroughLocked reports whether the running POST is let through.
func (s *Session) letsThroughLocked() bool {
	t, posted := s.transport.(original)
	return posted && t.posts().through
}

func (s *Session) letsThrough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.letsThroughLocked()
}

// cutLocked ends the reading of a body that nobody needs any more.
func (p *posts) cutLocked() {
	if p.reading != nil { // so servePost has not returned
		p.reading.SetReadDeadline(time.Unix(1, 0))
	}
}

// servePost receives what the client sends.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	encoding, ok := s.protocol.Encoding(r.Header.Get("Content-Type") == "application/octet-stream")
	s.mu.Lock()
	var p *posts
	if t, posted := s.transport.(original); posted {
		p = t.posts()
	}
	switch {
	case p == nil:
		s.mu.Unlock()
		refuse(w, errBadRequest)
		return
	case s.state != open:
		s.mu.Unlock()
		refuse(w, errUnknownSession)
		return
	case s.overdueLocked(): // a pong in the body would be too late
		s.mu.Unlock()
		s.end(PingTimeout, nil)
		refuse(w, errUnknownSession)
		return
	case !ok || p.forms && encoding.Binary():
		s.mu.Unlock()
		s.violate(TransportError, "binary body")
		w.WriteHeader(http.StatusBadRequest)
		return
	case p.busy:
		s.mu.Unlock()
		s.violate(TransportError, "overlapping posts")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.busy, p.reading = true, http.NewResponseController(w)
	if s.probedLocked() { // it was sent before the client knew
		p.letThrough()
	}
	s.mu.Unlock()

	held := &holdingReader{r: r.Body, s: s}
	defer held.release()
	body, err := s.readBody(w, r, held)
	s.mu.Lock()
	p.reading = nil
	s.mu.Unlock()
	s.arrived(0, held.read)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		held.release()
		s.awaitTurn(r)
		s.donePosting(p)
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		s.end(TransportError, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if p.forms {
		body, ok = formData(body)
	}
	if !ok || !encoding.Binary() && !utf8.Valid(body) {
		err = eio.ErrMalformed // or else the server would pass it on to WebSockets, which must refuse it
	} else {
		err = encoding.Decode(body, func(p eio.Packet) error { return s.receivedInTurn(p, r) })
	}
	if errors.Is(err, eio.ErrMalformed) {
		s.end(ParseError, err)
	}
	s.awaitTurn(r)
	// Do this before the answer, since the client's next packet may be an upgrade.
	s.donePosting(p)
	h := w.Header()
	h.Set("Content-Type", "text/html") // some old browsers offer text/plain for download
	h.Set("Cache-Control", "no-store")
	io.WriteString(w, "ok")
}

func (s *Session) donePosting(p *posts) {
	s.mu.Lock()
	p.busy, p.through = false, false
	s.mu.Unlock()
}

// LimitBody limits the time to receive a request's body to BodyTimeout from now. It applies to
// refused requests too: before net/http answers, it waits for a body that nobody has read.
func (s *Server) LimitBody(w http.ResponseWriter, r *http.Request) {
	if d := s.opts.BodyTimeout; d > 0 && r.ContentLength != 0 && !ws.OverHTTP2(r) {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(d))
	}
}

// readBody reads the whole body. The error is *http.MaxBytesError if that exceeds MaxPayload.
func (s *Session) readBody(w http.ResponseWriter, r *http.Request, body io.Reader) ([]byte, error) {
	limited := http.MaxBytesReader(w, io.NopCloser(body), s.srv.opts.MaxPayload)
	if r.ContentLength > s.srv.opts.MaxPayload {
		return nil, &http.MaxBytesError{Limit: s.srv.opts.MaxPayload}
	}
	return readAll(limited)
}

const leastPiece, largestPiece = 512, 64 << 10

// readAll reads all of r. It allocates in proportion to what has arrived, not to a declared length,
// and in pieces: a buffer that grows would take up to three times as much while the rest is awaited.
func readAll(r io.Reader) ([]byte, error) {
	var full [][]byte
	piece := make([]byte, 0, leastPiece)
	for {
		n, err := r.Read(piece[len(piece):cap(piece)])
		piece = piece[:len(piece)+n]
		switch {
		case err == io.EOF && full == nil:
			return piece, nil
		case err == io.EOF:
			return bytes.Join(append(full, piece), nil), nil
		case err != nil:
			return nil, err
		case len(piece) == cap(piece):
			full = append(full, piece)
			piece = make([]byte, 0, min(2*cap(piece), largestPiece))
		}
	}
}

// receivedInTurn handles one packet of the body of r, once the session is not paused. Until then the
// client's POST is running, even if the client has given it up, and another POST would overlap with
// it. So a paused session holds at most one body.
func (s *Session) receivedInTurn(p eio.Packet, r *http.Request) error {
	if !s.awaitTurn(r) {
		return ErrEnded // drops the rest of the body
	}
	s.arrived(1, 0)
	s.received(p)
	return nil
}

// awaitTurn waits like awaitResumed, before the server goes on with the body of r. A client that is
// over its budget can make that last for minutes. So if it has given up the POST, the session ends.
func (s *Session) awaitTurn(r *http.Request) bool {
	for s.halted.Load()&isSlowed != 0 && !s.ended() && !s.letsThrough() {
		if !s.awaitResumed(r.Context().Done()) && r.Context().Err() != nil {
			s.end(TransportError, r.Context().Err())
		}
	}
	return s.awaitResumed(nil)
}

// awaitResumed waits while the session is paused, or until gone is closed. It reports whether the
// session is open and may receive. A client that posts waits too: it sends no more before its POST
// is answered.
func (s *Session) awaitResumed(gone <-chan struct{}) bool {
	for {
		s.mu.Lock()
		if !s.paused() || s.state != open || s.letsThroughLocked() {
			defer s.mu.Unlock()
			return s.state == open
		}
		if s.resume == nil {
			s.resume = make(chan struct{})
		}
		resumed := s.resume
		s.mu.Unlock()
		select {
		case <-resumed:
		case <-gone:
			return false
		}
	}
}
