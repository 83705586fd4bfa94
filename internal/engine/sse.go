package engine

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/parley-go/parley/internal/eio"
)

// sse is Server-Sent Events as a session's transport. The server sends in one response that does
// not end; the client sends by POST. When that response breaks off, the client asks for another one
// and says which event it received last. The server sends the later events again. So the server
// keeps an event until it knows that the client has it. The client's next pong proves that: the
// client read the ping, which the server sent after the event.
//
//	GET  …&transport=sse                      ←  id 0: OPEN, 1, 2, 3, …
//	GET  …&transport=sse&sid=…&lastEventId=2  ←  3, 4, …
//
// For an upgrade the server ends the events with a Noop and holds back what is queued later. A
// client that has read the Noop has read everything. It closes the stream before it upgrades.
//
// The session's lock guards everything except what a stream's goroutine owns.
type sse struct {
	s        *Session
	post     posts
	stream   *stream  // nil while the client is between two streams
	farewell eio.Type // Noop if the client has ended the session

	// The log holds messages that were taken from the outbox and may have to be sent again. They
	// have consecutive ids, up to taken. Messages that the present stream has not written count as
	// queued, the others as held.
	log   []*Message
	taken uint64
	sent  uint64 // the last id that the present stream has written
	held  int    // bytes
	acked uint64 // the last id that the client is known to have

	ping    uint64 // the id of the last ping
	barrier uint64 // the id of the last probe's Noop, which ends the events before an upgrade
	closed  bool   // nothing follows the messages in the log
}

const (
	// batchSize is how many bytes of messages a stream takes at a time; it takes at least one
	// message. After writeSize bytes of them the client gets its full time again.
	batchSize = 64 << 10
	writeSize = 16 << 10
)

const transportSSE = "sse"

var sseKind = kind{reach: byRequest, begin: (*Server).openSSE, serve: (*Session).serveStream}

func (t *sse) name() string { return transportSSE }

func (t *sse) wakeLocked() {
	t.boundLocked()
	if t.stream != nil {
		t.stream.release()
	}
}

// boundLocked keeps held within what the outbox leaves of OutboxLimit. It drops the messages that
// the client has had the longest time to read. If the client still asks for one of them, the
// session ends. The last message stays, since it may be larger than the limit.
func (t *sse) boundLocked() {
	if t.held == 0 {
		return
	}
	limit := t.s.srv.opts.OutboxLimit
	for limit > 0 && t.s.queued+t.held > limit && t.sent > t.kept() {
		t.trimLocked()
	}
}

// kept returns the id of the first message in the log.
func (t *sse) kept() uint64 { return t.taken - uint64(len(t.log)) + 1 }

// trimLocked drops the first message of the log.
func (t *sse) trimLocked() {
	m := t.log[0]
	if t.kept() <= t.sent {
		t.held -= m.Size()
		t.s.reportLocked()
	} else {
		t.s.tookLocked(m.Size())
	}
	t.log[0] = nil
	if t.log = t.log[1:]; len(t.log) == 0 {
		t.log = nil
	}
}

// forgetLocked drops the whole log.
func (t *sse) forgetLocked() {
	for len(t.log) > 0 {
		t.trimLocked()
	}
	t.sent = t.taken
}

func (t *sse) readyLocked() bool { return t.stream != nil && !t.holdsLocked() }
func (t *sse) pauseLocked(bool)  {} // see awaitResumed
func (t *sse) posts() *posts     { return &t.post }

func (t *sse) cutLocked() {
	t.post.cutLocked()
	if t.stream != nil {
		t.stream.cutLocked()
	}
}

func (t *sse) endLocked(farewell eio.Type) (linger bool) {
	t.farewell = farewell
	t.wakeLocked()
	if t.s.state == closed || farewell == eio.Noop {
		t.forgetLocked()
		return false
	}
	return true
}

// probedLocked queues the Noop. It returns false if the client may not have read the Noop of an
// earlier probe: the client could mistake that one for this probe's.
func (t *sse) probedLocked() bool {
	switch {
	case t.s.probedLocked():
		return true
	case t.acked < t.barrier:
		return false
	}
	t.s.out.Push(noopMessage)
	t.s.queued += noopMessage.Size()
	t.barrier = t.taken + uint64(t.s.out.Len())
	t.wakeLocked()
	return true
}

// holdsLocked reports whether queued messages wait for the end of the upgrade.
func (t *sse) holdsLocked() bool { return t.s.probedLocked() && t.taken >= t.barrier }

func (t *sse) leaveLocked() bool {
	if t.post.busy || !t.holdsLocked() {
		return false
	}
	t.forgetLocked() // the client has it, since it has read the Noop
	if t.stream != nil {
		t.stream.release()
	}
	return true
}

// arrivedLocked implements keeper.
func (t *sse) arrivedLocked() { t.acknowledgeLocked(t.ping) }

// acknowledgeLocked notes that the client has the event id and all earlier ones.
func (t *sse) acknowledgeLocked(id uint64) {
	for len(t.log) > 0 && t.kept() <= id {
		t.trimLocked()
	}
	t.sent = max(t.sent, id)
	t.acked = max(t.acked, id)
}

// resumeLocked makes st the stream, for a client that has all events up to last. It returns false
// if the log no longer has the events that follow.
func (t *sse) resumeLocked(st *stream, last uint64) bool {
	if last > t.taken || last+1 < t.kept() {
		return false
	}
	t.acknowledgeLocked(last)
	t.sent = last
	t.s.growLocked(t.held)
	t.held = 0
	if t.stream != nil { // the client noticed the break before the server did
		t.stream.cutLocked()
	}
	t.stream = st
	return true
}

// takeLocked returns the next messages for the stream, and the id of the last of them. The stream
// must have finished what it took before. end means that the stream ends after them.
func (t *sse) takeLocked() (batch []*Message, id uint64, end bool) {
	s := t.s
	for s.out.Len() > 0 && !t.holdsLocked() {
		m := s.out.Pop()
		t.pushLocked(m)
		if m == pingMessage {
			t.ping = t.taken
		}
	}
	if s.ended() && s.out.Len() == 0 && !s.probedLocked() && !t.closed {
		t.closed = true
		if t.farewell == eio.Close {
			t.pushLocked(closeMessage)
		}
	}
	rest := t.log[len(t.log)-int(t.taken-t.sent):]
	for n := 0; len(batch) < len(rest) && n < batchSize; n += rest[len(batch)-1].Size() {
		batch = rest[:len(batch)+1]
	}
	id = t.sent + uint64(len(batch))
	return slices.Clone(batch), id, t.closed && id == t.taken
}

func (t *sse) pushLocked(m *Message) {
	t.log = append(t.log, m)
	t.taken++
	t.s.sent(1, 0)
}

// sentLocked notes that the stream has written all events up to id.
func (t *sse) sentLocked(id uint64) {
	for ; t.sent < id; t.sent++ {
		size := t.log[len(t.log)-int(t.taken-t.sent)].Size()
		t.s.tookLocked(size)
		t.held += size
	}
}

// stream is one response. The goroutine that serves the request writes it.
type stream struct {
	t       *sse
	w       http.ResponseWriter
	control *http.ResponseController
	gone    context.Context // ends when the client is gone
	wake    chan struct{}   // capacity 1

	deadline time.Time // of the running write
	writing  bool      // guarded by the session's lock; while it is set others may cut the stream
}

// newStream returns nil if the server cannot stream: if it cannot set a deadline, it could not get
// rid of a client that does not read.
func newStream(w http.ResponseWriter, r *http.Request) *stream {
	st := &stream{w: w, control: http.NewResponseController(w), gone: r.Context(), wake: make(chan struct{}, 1)}
	if st.control.SetWriteDeadline(time.Time{}) != nil { // the http.Server's deadline is for whole responses
		return nil
	}
	return st
}

func (st *stream) release() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// cutLocked ends a stream that the session no longer uses, or whose client is too slow.
func (st *stream) cutLocked() {
	if st.writing { // so ServeHTTP has not returned and w is valid
		st.control.SetWriteDeadline(time.Unix(1, 0))
	}
	st.release()
}

// openSSE begins a session.
func (s *Server) openSSE(w http.ResponseWriter, r *http.Request, q query) {
	if _, given := lastEventID(r, q); given {
		// This is an EventSource that nobody closed and that reconnects by itself. 204 makes it
		// stop.
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	st := newStream(w, r)
	if st == nil {
		s.refused(r, errCannotStream, "transport", q.transport, "writer", typeOf(w))
		refuse(w, errCannotStream)
		return
	}
	t := &sse{}
	session, refusal := s.newSession(r, q, t)
	if refusal != nil {
		s.refused(r, refusal, "transport", q.transport)
		refuse(w, refusal)
		return
	}
	session.mu.Lock()
	t.s, st.t, t.stream = session, t, st
	session.mu.Unlock()
	s.start(session)
	if c := s.cookie(session.id); c != nil {
		http.SetCookie(w, c)
	}
	if err := r.Context().Err(); err != nil { // the client never hears of the session
		session.end(TransportError, err)
		return
	}
	st.serve(appendEvent(nil, 0, s.openMessage(session.id, s.upgrades(session.protocol)...)))
}

// serveStream continues a session after its last stream has ended. The server may not have noticed
// that end yet.
func (s *Session) serveStream(w http.ResponseWriter, r *http.Request, q query) {
	st := newStream(w, r)
	if st == nil {
		refuse(w, errCannotStream)
		return
	}
	id, _ := lastEventID(r, q)
	last, err := strconv.ParseUint(id, 10, 64)
	s.mu.Lock()
	t, ok := s.transport.(*sse)
	switch {
	case !ok: // upgraded in the meantime
		s.mu.Unlock()
		refuse(w, errBadRequest)
		return
	case s.state != open && s.state != lingering:
		s.mu.Unlock()
		refuse(w, errUnknownSession)
		return
	case s.overdueLocked():
		s.mu.Unlock()
		s.end(PingTimeout, nil)
		refuse(w, errUnknownSession)
		return
	}
	st.t = t
	if err != nil || !t.resumeLocked(st, last) {
		s.mu.Unlock()
		s.violate(TransportError, "no event to go on from")
		refuse(w, errBadRequest)
		return
	}
	s.mu.Unlock()
	st.serve(nil)
}

// lastEventID returns the id of the last event that the client says it has, or "0". The header is
// newer than the query: EventSource sends it when it reconnects by itself, with the URL it was made
// with.
func lastEventID(r *http.Request, q query) (id string, given bool) {
	id = r.Header.Get("Last-Event-ID")
	if id == "" {
		id = q.lastEventID
	}
	if id == "" {
		return "0", false
	}
	return id, true
}

// serve writes first, then what the session sends, until the stream ends.
func (st *stream) serve(first []byte) {
	h := st.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx
	h.Set("X-Content-Type-Options", "nosniff")
	st.w.WriteHeader(http.StatusOK)

	t, s := st.t, st.t.s
	// Some proxies forward nothing before the body has begun.
	ended, err := false, st.write(append([]byte(":\n\n"), first...))
	var b []byte
	for err == nil && !ended {
		s.mu.Lock()
		if t.stream != st || s.transport != t {
			s.mu.Unlock()
			break
		}
		batch, id, end := t.takeLocked()
		s.mu.Unlock()
		if len(batch) == 0 && !end {
			if b = b[:0]; cap(b) > writeSize {
				b = nil // the next batch may be a long time off
			}
			select {
			case <-st.wake:
			case <-st.gone.Done():
				err = st.gone.Err()
				s.srv.noticeTimeout(st.gone)
			}
			continue
		}
		b = b[:0]
		for i, m := range batch {
			b = appendEvent(b, id-uint64(len(batch)-1-i), m)
		}
		if err = st.write(b); err == nil {
			s.mu.Lock()
			if t.stream == st {
				t.sentLocked(id)
			}
			s.mu.Unlock()
			ended = end
		}
	}
	st.leave(ended, err)
}

// write writes b and flushes it. The client has WriteTimeout to take each piece.
func (st *stream) write(b []byte) error {
	s := st.t.s
	for piece := range slices.Chunk(b, writeSize) {
		if err := st.begin(); err != nil {
			return err
		}
		n, err := st.w.Write(piece)
		s.sent(0, n)
		if err != nil {
			return st.fault(err)
		}
	}
	if err := st.control.Flush(); err != nil {
		return st.fault(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.writing = false
	return st.control.SetWriteDeadline(time.Time{}) // over HTTP/2 a deadline ends the stream even when nothing is written
}

// begin sets the deadline for a write. It returns an error if the stream is no longer needed.
func (st *stream) begin() error {
	s := st.t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.t.stream != st {
		return context.Canceled
	}
	if s.state == lingering {
		s.lingerLocked(eio.Close) // the time does not run while the client reads
	}
	s.tookLocked(0) // the piece before
	st.writing = true
	return st.extend()
}

// extend restarts the client's time to take something.
func (st *stream) extend() error {
	st.deadline = time.Time{}
	if d := st.t.s.srv.opts.WriteTimeout; d > 0 {
		st.deadline = time.Now().Add(d)
	}
	return st.control.SetWriteDeadline(st.deadline)
}

// fault returns the cause of a write's error. Over HTTP/2 the error itself does not say that the
// deadline has passed.
func (st *stream) fault(err error) error {
	if !st.deadline.IsZero() && !time.Now().Before(st.deadline) {
		return ErrSlowConsumer
	}
	return err
}

// leave ends the stream. If the client has read the end of the session, or is too slow, the session
// ends too. Otherwise the client may come back until its pong is overdue.
func (st *stream) leave(ended bool, err error) {
	t, s := st.t, st.t.s
	s.mu.Lock()
	current := t.stream == st
	if current {
		t.stream = nil
	}
	st.writing = false
	told := current && ended && s.state == lingering
	if told {
		s.changeLocked(closed)
	}
	var tell func()
	if current && s.state == open && err == ErrSlowConsumer {
		tell = s.stalledLocked(s.srv.opts.WriteTimeout)
	}
	if err == nil {
		st.extend() // for the rest of the response
	}
	s.mu.Unlock()
	if told {
		s.srv.remove(s)
	}
	if tell != nil {
		tell()
	}
}

// appendEvent appends m as an event. Line breaks in a packet would end the line, and some kinds
// would be lost. So a packet with line breaks is sent as a JSON string.
func appendEvent(dst []byte, id uint64, m *Message) []byte {
	dst = append(strconv.AppendUint(append(dst, "id: "...), id, 10), '\n')
	switch packet := m.packet(); {
	case m.binary:
		dst = base64.StdEncoding.AppendEncode(append(dst, "data: b"...), m.data)
	case bytes.ContainsAny(m.data, "\r\n"):
		quoted, _ := json.Marshal(string(packet.Type) + string(packet.Data)) // cannot fail
		dst = append(append(dst, "event: json\ndata: "...), quoted...)
	default:
		dst = append(append(append(dst, "data: "...), byte(packet.Type)), packet.Data...)
	}
	return append(dst, "\n\n"...)
}
