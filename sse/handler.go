package sse

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/pace"
)

// Open starts the feed of one client. lastID is the id of the last event that the client has. It is
// empty on the first visit. It comes from the client, so it can be any text. Open sends what the
// client missed and arranges that later events are sent. When the stream ends, the Handler calls
// the close function that Open returned, if it is not nil. Until Open calls Stream.Flush, it may
// refuse the client with a *Refusal.
type Open func(s *Stream, r *http.Request, lastID string) (close func(), err error)

// A Refusal is an answer in place of a stream. EventSource never comes back after it. Status 204
// (No Content) tells other clients too that there is nothing more.
//
// When Open has called Stream.Flush, the stream has begun and cannot be refused any more. An error
// of Open then ends it, and Stats.Failed counts it. EventSource comes back.
type Refusal struct {
	Status  int
	Message string // for people; a single line
	Last    *Event // the last event to send if the stream has already begun; nil for none
	// RetryAfter is when the client should come back, for the statuses 429 and 503. If zero, about
	// Options.Retry.
	RetryAfter time.Duration
}

func (e *Refusal) Error() string { return "sse: " + strconv.Itoa(e.Status) + ": " + e.Message }

func refuse(status int, message string) *Refusal { return &Refusal{Status: status, Message: message} }

// A Handler serves one feed. It is safe for concurrent use.
type Handler struct {
	open  Open
	opts  Options
	cors  origin.Policy
	stats counters

	mu      sync.Mutex
	streams map[*Stream]string // with the clients' addresses
	perHost map[string]int     // number of streams of each address
	closed  bool
}

// preflightAge is how long browsers may cache the answer to a preflight request.
const preflightAge = 10 * time.Minute

type counters struct {
	opened, slow, failed, events atomic.Uint64
	refused                      [len(Refusals)]atomic.Uint64
	queued, behind               atomic.Int64 // of all streams: bytes; streams that wait in WhenDrained
}

// Refusals lists the reasons for refused requests, which are the keys of Stats.Refused.
var Refusals = [...]string{
	forMethod:  "method",  // neither GET nor HEAD
	forOrigin:  "origin",  // a page of an origin that is not allowed
	forWriter:  "writer",  // the ResponseWriter cannot stream
	forStreams: "streams", // MaxStreams
	forAddress: "address", // MaxPerAddress
	byOpen:     "open",    // by Open
}

const (
	forMethod = iota
	forOrigin
	forWriter
	forStreams
	forAddress
	byOpen
)

// New returns a Handler. A nil opt means the defaults. New panics if an origin in opt can never
// match. It also panics if opt combines the origin * with credentials, because every site could
// then act for its visitors.
func New(open Open, opt *Options) *Handler {
	var o Options
	if opt != nil {
		o = *opt
	}
	cors := origin.Policy{Origins: o.CORS.Origins, AllowOrigin: o.CORS.AllowOrigin, Credentials: o.CORS.Credentials, MaxAge: preflightAge}
	if err := cors.Check(); err != nil {
		panic("sse: CORS: " + err.Error())
	}
	return &Handler{open: open, opts: o.withDefaults(), cors: cors, streams: make(map[*Stream]string), perHost: make(map[string]int)}
}

// Stats are the counters of a Handler.
type Stats struct {
	Streams int               // currently open
	Opened  uint64            // since the start
	Refused map[string]uint64 // requests that were refused, by each of Refusals
	Slow    uint64            // streams that ended because the client did not read
	Failed  uint64            // streams that ended because Open failed after they had begun, or by Stream.Fail
	Events  uint64            // events sent; each receiver counts
	Queued  int               // bytes queued for all streams at present
	Behind  int               // streams that are behind at present: someone waits in Stream.WhenDrained
}

// Stats returns the counters.
func (h *Handler) Stats() Stats {
	h.mu.Lock()
	n := len(h.streams)
	h.mu.Unlock()
	c := &h.stats
	refused := make(map[string]uint64, len(Refusals))
	for i, reason := range Refusals {
		refused[reason] = c.refused[i].Load()
	}
	return Stats{
		Streams: n, Opened: c.opened.Load(), Refused: refused, Slow: c.slow.Load(), Failed: c.failed.Load(),
		Events: c.events.Load(), Queued: int(c.queued.Load()), Behind: int(c.behind.Load()),
	}
}

// Close ends all streams, after it has written what is queued for them. It does not wait; call
// http.Server.Shutdown afterwards to wait. It tells new clients to come back later.
func (h *Handler) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.streams {
		s.Close()
	}
}

// Drain ends the streams that are open, one after the other, spread evenly over d, after it has written
// what is queued for them, so that clients move to other servers, and not all at once. New streams still
// begin. Drain returns when it has done that, or with ctx's error. Call Close afterwards.
func (h *Handler) Drain(ctx context.Context, d time.Duration) error {
	h.mu.Lock()
	all := slices.Collect(maps.Keys(h.streams))
	h.mu.Unlock()
	return pace.Spread(ctx, d, len(all), func(i int) { all[i].Close() })
}

// ServeHTTP serves GET, and HEAD for clients that want to see what GET would answer.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	h.cors.SetHeaders(header, r)
	allowed := h.cors.Allows(r)
	switch {
	case r.Method == http.MethodOptions && allowed:
		h.limit(w)
		h.cors.Preflight(w, "GET, HEAD", "Last-Event-ID", "Cache-Control")
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodOptions:
		header.Set("Allow", "GET, HEAD, OPTIONS")
		h.refuse(w, forMethod, refuse(http.StatusMethodNotAllowed, "only GET and HEAD here"))
	case !allowed:
		h.refuse(w, forOrigin, refuse(http.StatusForbidden, "pages of this origin may not read the feed"))
	default:
		h.serve(w, r)
	}
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	s := newStream(w, r, &h.opts, &h.stats)
	if err := s.control.SetWriteDeadline(time.Time{}); err != nil {
		// We could not get rid of a client that does not read.
		h.refuse(w, forWriter, refuse(http.StatusInternalServerError, "the server cannot stream"))
		return
	}
	if reason, err := h.enter(s, r); err != nil {
		h.refuse(w, reason, err)
		return
	}
	defer h.leave(s)
	writeHeader(w, r)
	end, err := h.open(s, r, LastEventID(r))
	if end != nil {
		defer end()
	}
	if err == nil && s.head {
		h.limit(w)
		w.WriteHeader(http.StatusOK)
		return
	}
	var refusal *Refusal
	switch {
	case err == nil:
	case errors.Is(err, ErrClosed) || errors.Is(err, ErrSlow):
		err = nil // run will find it again
	case !s.begun:
		h.refuse(w, byOpen, err)
		return
	case s.broken || s.ctx.Err() != nil: // the client is gone
	case errors.As(err, &refusal):
		s.Fail(refusal.Last)
		err = nil // run sends what is queued, then ends
	default:
		h.stats.failed.Add(1)
	}
	if err == nil {
		h.stats.opened.Add(1)
		err = s.run()
	}
	// Even the end of the response must not wait for a client that does not read.
	if errors.Is(err, ErrClosed) {
		h.limit(w)
		return
	}
	if errors.Is(err, ErrSlow) {
		h.stats.slow.Add(1)
	}
	s.control.SetWriteDeadline(time.Now())
	panic(http.ErrAbortHandler)
}

// limit limits the time for a client to receive a short answer.
func (h *Handler) limit(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(h.opts.WriteTimeout))
}

func writeHeader(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-cache, no-store, no-transform")
	header.Set("X-Accel-Buffering", "no") // nginx
	if r.ProtoMajor == 1 {
		// The connection keeps the deadline of the last write.
		header.Set("Connection", "close")
	}
}

// LastEventID returns the id of the last event that a client has. It prefers the header, which
// EventSource sends when it reconnects automatically, because it is newer than the query of the
// original URL. The query parameter is lastEventId, last_event_id or lastEventID.
func LastEventID(r *http.Request) string {
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		return id
	}
	q := r.URL.Query()
	for _, name := range []string{"lastEventId", "last_event_id", "lastEventID"} {
		if id := q.Get(name); id != "" {
			return id
		}
	}
	return ""
}

// enter counts the stream, or refuses it if there are too many.
func (h *Handler) enter(s *Stream, r *http.Request) (reason int, err error) {
	host := h.client(r)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.opts.MaxStreams > 0 && len(h.streams) >= h.opts.MaxStreams:
		return forStreams, refuse(http.StatusServiceUnavailable, "there are too many clients: try again later")
	case h.opts.MaxPerAddress > 0 && host != "" && h.perHost[host] >= h.opts.MaxPerAddress:
		return forAddress, refuse(http.StatusTooManyRequests, "there are too many clients of this address")
	}
	h.streams[s] = host
	h.perHost[host]++
	if h.closed {
		s.Close() // tells the client when to come back; after another status, EventSource never would
	}
	return 0, nil
}

func (h *Handler) leave(s *Stream) {
	s.Close() // from now on, nothing is queued
	s.mu.Lock()
	s.dropLocked()
	s.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	host := h.streams[s]
	delete(h.streams, s)
	if h.perHost[host]--; h.perHost[host] == 0 {
		delete(h.perHost, host)
	}
}

// client returns the key by which MaxPerAddress counts, or "" if that does not apply.
func (h *Handler) client(r *http.Request) string {
	client := r.RemoteAddr
	if h.opts.ClientAddress != nil {
		client = h.opts.ClientAddress(r)
	}
	return address.Limited(client, h.opts.ExemptAddresses)
}

// refuse sends an answer in place of a stream. reason is an index of Refusals.
func (h *Handler) refuse(w http.ResponseWriter, reason int, err error) {
	h.stats.refused[reason].Add(1)
	h.limit(w)
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		refusal = refuse(http.StatusServiceUnavailable, "the feed is not available: try again later")
	}
	header := w.Header()
	header.Del("Connection")
	header.Del("X-Accel-Buffering")
	header.Set("Cache-Control", "no-store")
	switch refusal.Status {
	case http.StatusNoContent:
		header.Del("Content-Type")
		w.WriteHeader(refusal.Status)
		return
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		wait := refusal.RetryAfter
		if wait <= 0 {
			wait = spread(h.opts.Retry, 0.5, 1.5)
		}
		header.Set("Retry-After", strconv.Itoa(budget.Seconds(wait)))
	}
	http.Error(w, strconv.Itoa(refusal.Status)+": "+refusal.Message, refusal.Status)
}
