package engine

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/notice"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/ws"
)

// Server makes and keeps sessions. It is an http.Handler for the protocol's one path. It is safe
// for concurrent use.
type Server struct {
	opts     Options
	accept   ws.AcceptOptions
	parsing  *ws.ParserConfig
	deflater *ws.Deflater // shared by all connections with the usual parameters
	reactor  *reactor.Reactor
	wheel    *wheel
	notices  *notice.Board // for events that may happen at any rate
	stats    Stats
	memory   *memory

	// For WebTransport. webTransports is the number of servers that offer it. accepting ends when
	// the server accepts no more sessions; serving ends when it cuts the rest.
	webTransports atomic.Int32
	accepting     context.Context
	serving       context.Context
	stopAccepting context.CancelFunc
	stopServing   context.CancelFunc

	draining  atomic.Bool // refuse new sessions; set under mu
	mu        sync.Mutex
	sessions  map[string]*Session
	perClient map[string]int // sessions by client address, if MaxPerAddress limits them
	pending   pending
	conns     int           // WebSocket and WebTransport connections, until they are closed
	idle      chan struct{} // closed when the server drains and has no conns and no sessions
}

// NewServer returns a Server. It fails if the options are wrong.
func NewServer(o Options) (*Server, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts:      o,
		parsing:   o.parserConfig(),
		reactor:   reactor.New(runtime.GOMAXPROCS(0)),
		notices:   notice.New(o.Logger),
		memory:    newMemory(o.MaxMemory),
		sessions:  map[string]*Session{},
		perClient: map[string]int{},
		idle:      make(chan struct{}),
	}
	s.pending = pending{srv: s, guests: map[guest]*arrival{}, clients: map[string]*clientPending{}, conns: map[string]int{}}
	s.reactor.SendBuffer = max(o.SendBuffer, 0)
	s.accepting, s.stopAccepting = context.WithCancel(context.Background())
	s.serving, s.stopServing = context.WithCancel(context.Background())
	s.accept = ws.AcceptOptions{
		CheckOrigin: func(*http.Request) bool { return true }, // ServeHTTP checks the origin for all transports
		// Clients can set subprotocols (the option protocols), but they mean nothing to this
		// server.
		AnySubprotocol: true,
		Compression:    o.Compression,
	}
	if o.Compression != nil {
		s.deflater = ws.NewDeflater(ws.Server, &ws.DeflateParams{
			ServerNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15, Level: o.Compression.Level,
		})
	}
	// Short timeouts need precise ticks; long ones save wake-ups with fewer ticks.
	s.wheel = newWheel(min(max(min(o.PingInterval, o.PingTimeout)/200, time.Millisecond), 100*time.Millisecond))
	return s, nil
}

// Stats returns the live counters.
func (s *Server) Stats() *Stats { return &s.stats }

// Sessions returns the number of sessions, including those that linger.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Pending returns the number of pending sessions, and of WebTransport sessions before their first
// packet.
func (s *Server) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending.queue.Len()
}

// ServeHTTP serves handshakes, polls, streams, posts, upgrades and preflights.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.LimitBody(w, r)
	q := parseQuery(r.URL.RawQuery)
	upgrade := ws.OverHTTP2(r) || isUpgrade(r) && (!q.plain() || hasToken(r.Header["Upgrade"], "websocket"))
	if !upgrade {
		defer s.limitAnswer(w, r)
	}
	if !upgrade {
		s.opts.CORS.SetHeaders(w.Header(), r)
	}
	if r.Method == http.MethodOptions && !upgrade {
		s.servePreflight(w, r)
		return
	}
	session, err := s.verify(r, q, upgrade)
	if err == errUnknownSession {
		if err = s.serveForeign(w, r, q.sid, upgrade); err == nil {
			return
		}
	}
	switch {
	case err != nil:
		s.refused(r, err, "transport", notice.Quote(q.transport))
		if upgrade {
			s.limitAnswer(w, r)
			refuseUpgrade(w, r, err)
		} else {
			refuse(w, err)
		}
	case upgrade:
		s.serveWebSocket(w, r, q, session)
	case session == nil:
		kindOf(q.transport).begin(s, w, r, q)
	case r.Method == http.MethodGet:
		kindOf(q.transport).serve(session, w, r, q)
	case r.Method == http.MethodPost:
		session.servePost(w, r)
	default:
		w.Header().Set("Allow", "GET, POST, OPTIONS")
		refuse(w, errMethod)
	}
}

// servePreflight answers an OPTIONS request.
func (s *Server) servePreflight(w http.ResponseWriter, r *http.Request) {
	if !s.opts.CORS.Allows(r) {
		s.refused(r, errOrigin)
		refuse(w, errOrigin)
		return
	}
	s.opts.CORS.Preflight(w, "GET, POST", "Content-Type")
}

// limitAnswer limits how long a client may take to receive an answer. Short answers are written
// only after the handler has returned.
func (s *Server) limitAnswer(w http.ResponseWriter, r *http.Request) {
	if d := s.opts.WriteTimeout; d > 0 {
		if r.ContentLength != 0 {
			d += max(s.opts.BodyTimeout, 0) // net/http may have to wait for the body first
		}
		// Some ResponseWriters have no deadlines. Then the http.Server's own timeout applies.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d))
	}
}

// isUpgrade reports whether r asks for another protocol in the way an HTTP library does that then
// expects 101 or the end of the connection. Some libraries offer h2c, say, with every request;
// ServeHTTP may ignore that (RFC 9110, 7.8).
func isUpgrade(r *http.Request) bool {
	return r.Header["Upgrade"] != nil && hasToken(r.Header["Connection"], "upgrade")
}

// hasToken reports whether one of the lists, which are the lines of a header, contains the token.
func hasToken(lists []string, token string) bool {
	for _, list := range lists {
		for t := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// verify checks a request, in the same order as the reference. It returns the session that the
// request belongs to, or nil for a handshake.
func (s *Server) verify(r *http.Request, q query, upgrade bool) (*Session, *requestError) {
	kind := kindOf(q.transport)
	if !s.opts.allows(q.transport) || kind.reach == unreachable {
		return nil, errUnknownTransport
	}
	allowed := s.opts.CORS.Allows
	if q.script() && s.opts.JSONP {
		allowed = func(r *http.Request) bool { return s.opts.CORS.AllowsScript(r, s.opts.ClientSecure(r)) }
	}
	if !allowed(r) {
		return nil, errOrigin
	}
	protocol, spoken := s.opts.protocol(q.eio)
	if q.sid != "" {
		session := s.session(q.sid)
		switch {
		case session == nil:
			return nil, errUnknownSession
		case protocol != session.protocol:
			return nil, errBadRequest // a session keeps its revision
		case !upgrade && (kind.reach != byRequest || session.Transport() != q.transport):
			return nil, errBadRequest
		}
		return session, nil
	}
	switch {
	case r.Method != http.MethodGet && !ws.OverHTTP2(r):
		return nil, errHandshakeMethod
	case kind.reach == byUpgrade && !upgrade:
		return nil, errBadRequest
	case q.script() && !s.opts.JSONP:
		return nil, errUnknownTransport
	case q.script() && !isCallback(q.j):
		return nil, errBadRequest
	}
	if refusal := s.admit(r); refusal != nil {
		return nil, refusal
	}
	if !spoken || protocol == eio.V3 && !kind.revision3 {
		return nil, errProtocolVersion
	}
	return nil, nil
}

// admit asks AllowRequest about a handshake.
func (s *Server) admit(r *http.Request) *requestError {
	if s.opts.AllowRequest == nil {
		return nil
	}
	err := s.opts.AllowRequest(r)
	var refusal *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		e := *errForbidden
		if refusal.RetryAfter > 0 {
			e = *errTooSoon
			e.retryAfter = budget.Seconds(refusal.RetryAfter)
		}
		e.message = refusal.Message
		return &e
	}
	return errForbidden
}

func (s *Server) session(id string) *Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	session := s.sessions[id]
	if session != nil {
		s.pending.heardLocked(session)
	}
	return session
}

// newSession makes and registers a session with the transport t, if the limits allow it. The caller
// must start the session.
func (s *Server) newSession(r *http.Request, q query, t transport) (*Session, *requestError) {
	if r.Context().Err() != nil {
		return nil, errGone // a reset stream, say
	}
	address := s.opts.ClientAddress(r)
	client := s.client(address)
	s.mu.Lock()
	refusal := s.fullLocked(client) // a refusal must not cost a copy of the request
	s.mu.Unlock()
	if refusal != nil {
		return nil, refusal
	}
	info, refusal := s.opts.newHandshake(r)
	if refusal != nil {
		return nil, refusal
	}
	session := &Session{id: NewID() + s.opts.IDSuffix, srv: s, info: info, transport: t}
	session.protocol, _ = s.opts.protocol(q.eio) // verified
	if info.Address = address; address != r.RemoteAddr {
		info.Address = strings.Clone(address) // it may be part of a header, which need not stay in memory
	}
	info.Secure = s.opts.ClientSecure(r)
	if s.opts.Context != nil {
		info.Context = s.opts.Context(r)
	}
	cost := costOf(info)
	if refusal := s.lockWithRoom(client, cost, true); refusal != nil {
		return nil, refusal
	}
	defer s.mu.Unlock()
	s.sessions[session.id] = session
	if s.opts.MaxPerAddress > 0 && client != "" {
		s.perClient[client]++
	}
	if _, isWebSocket := t.(*websocket); s.opts.expectsJoin() && !(isWebSocket && session.protocol == eio.V3) {
		s.pending.addLocked(session, client, r.RemoteAddr, cost).unasked = session.protocol == eio.V3
	}
	return session, nil
}

// fullLocked returns the refusal of a newcomer for whom nobody can make room.
func (s *Server) fullLocked(client string) *requestError {
	switch {
	case s.draining.Load():
		return errShuttingDown
	case s.atMaxSessionsLocked() && s.pending.queue.Len() == 0:
		return errTooManySessions
	case s.atMaxPerAddressLocked(client) && s.pending.clients[client] == nil:
		return errTooManyOfOne
	}
	return nil
}

func (s *Server) atMaxSessionsLocked() bool {
	return s.opts.MaxSessions > 0 && len(s.sessions) >= s.opts.MaxSessions
}

func (s *Server) atMaxPerAddressLocked(client string) bool {
	return s.opts.MaxPerAddress > 0 && client != "" && s.perClient[client] >= s.opts.MaxPerAddress
}

// start attaches the session's handler before anybody else knows of the session, so that the
// handler misses nothing.
func (s *Server) start(session *Session) {
	session.start(s.opts.Open(session))
	switch {
	case session.halted.Load()&isExpelled != 0:
		session.expel()
	case s.draining.Load(): // Shutdown has closed all other sessions, but could not close this one
		session.Close()
	}
}

// remove forgets an ended session.
func (s *Server) remove(session *Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[session.id] != session {
		return
	}
	delete(s.sessions, session.id)
	s.pending.removeLocked(session)
	if client := s.client(session.info.Address); s.opts.MaxPerAddress > 0 && client != "" {
		if s.perClient[client]--; s.perClient[client] == 0 {
			delete(s.perClient, client)
		}
	}
	s.checkIdleLocked()
}

// openMessage returns the OPEN packet of a session. No text in it needs escaping. encoding/json
// would take 5 % of the time of a whole connection.
func (s *Server) openMessage(id string, upgrades ...string) *Message {
	list := ""
	if len(upgrades) > 0 {
		list = `"` + strings.Join(upgrades, `","`) + `"`
	}
	return control(eio.Open, fmt.Sprintf(`{"sid":"%s","upgrades":[%s],"pingInterval":%d,"pingTimeout":%d,"maxPayload":%d}`,
		id, list, s.opts.PingInterval.Milliseconds(), s.opts.PingTimeout.Milliseconds(), s.opts.MaxPayload))
}

// cookie returns the session's cookie, if Options has one.
func (s *Server) cookie(id string) *http.Cookie {
	if s.opts.Cookie == nil {
		return nil
	}
	c := *s.opts.Cookie
	c.Value = id
	return &c
}

// serveWebSocket accepts a WebSocket. It becomes the transport of a new session, or the candidate
// of an existing one.
func (s *Server) serveWebSocket(w http.ResponseWriter, r *http.Request, q query, session *Session) {
	accepted, err := ws.Accept(r, &s.accept)
	if err != nil {
		s.refused(r, errBadRequest, "transport", transportWebSocket, "cause", err)
		s.limitAnswer(w, r)
		var refusal *ws.HandshakeError
		errors.As(err, &refusal)
		refusal.Respond(w)
		return
	}
	t := &websocket{s: session, base64: q.b64}
	t.parser.Init(s.parsing, ws.Server, accepted.Deflate)
	t.deflater = s.deflaterFor(accepted.Deflate)

	switch {
	case q.transport != transportWebSocket:
		// Like the reference, accept it and close it at once.
		t.s = &Session{srv: s, protocol: eio.V4, state: closed}
		t.dismissLocked() // nobody else knows of it
	case session != nil:
		session.mu.Lock()
		if !session.tryLocked(t) {
			t.dismissLocked()
		}
		session.mu.Unlock()
	default:
		var refusal *requestError
		if session, refusal = s.newSession(r, q, t); refusal != nil {
			s.refused(r, refusal, "transport", transportWebSocket)
			s.limitAnswer(w, r)
			refuseUpgrade(w, r, refusal)
			return
		}
		t.s, t.current = session, true
	}

	s.connBegun()
	if ws.OverHTTP2(r) {
		s.setCookie(w, t)
		s.serveHTTP2(w, r, accepted, t)
		return
	}
	if err := s.takeOver(w, r, accepted, t); err != nil {
		if t.current { // nobody has heard of the session
			s.remove(session)
		}
		t.Closed(err)
	}
}

// setCookie sets the cookie of the session, if it begins with t.
func (s *Server) setCookie(w http.ResponseWriter, t *websocket) {
	if c := s.cookie(t.s.id); c != nil && t.current {
		http.SetCookie(w, c)
	}
}

// takeOver completes the handshake and begins. It does not send OPEN together with the handshake's
// response: a client that starts to listen only when the handshake is complete would miss it. The
// protocol's own test suite is such a client. On an error the request has been answered, or the
// connection is broken.
func (s *Server) takeOver(w http.ResponseWriter, r *http.Request, accepted *ws.Accepted, t *websocket) error {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.refused(r, errCannotHijack, "transport", transportWebSocket, "writer", typeOf(w), "cause", err)
		s.limitAnswer(w, r)
		refuseUpgrade(w, r, errCannotHijack)
		return err
	}
	reserved, err := s.reactor.Reserve(nc)
	if err != nil {
		refusal := errNoDescriptors
		if errors.Is(err, reactor.ErrClosed) {
			refusal = errShuttingDown
		}
		s.refused(r, refusal, "transport", transportWebSocket, "cause", err)
		refuseUpgrade(&takenOver{nc: nc, header: w.Header()}, r, refusal)
		return err
	}
	s.setCookie(w, t)
	accepted.Header = w.Header()                      // headers that middleware has set
	nc.SetWriteDeadline(time.Now().Add(closeTimeout)) // answers that the client has not read may be in the way
	if _, err := nc.Write(accepted.AppendResponse(make([]byte, 0, 512))); err != nil {
		reserved.Release()
		nc.Close()
		return err
	}
	var buffered []byte
	if n := rw.Reader.Buffered(); n > 0 {
		buffered, _ = rw.Reader.Peek(n) // cannot fail
	}
	t.begin()
	reserved.Add(buffered, t, t.attach)
	return nil
}

// deflaterFor returns the compressor for a connection with the parameters p.
func (s *Server) deflaterFor(p *ws.DeflateParams) *ws.Deflater {
	switch {
	case p == nil:
		return nil
	case p.ServerMaxWindowBits == 15:
		return s.deflater
	}
	return ws.NewDeflater(ws.Server, p)
}

func (s *Server) connBegun() {
	s.mu.Lock()
	s.conns++
	s.mu.Unlock()
}

func (s *Server) connEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
	s.checkIdleLocked()
}

func (s *Server) checkIdleLocked() {
	if s.draining.Load() && s.conns == 0 && len(s.sessions) == 0 {
		select {
		case <-s.idle:
		default:
			close(s.idle)
		}
	}
}

// Drain makes the server refuse new sessions from now on.
func (s *Server) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	s.stopAccepting()
	s.checkIdleLocked()
}

// Each calls f for every session, including those that linger.
func (s *Server) Each(f func(*Session)) {
	s.mu.Lock()
	all := make([]*Session, 0, len(s.sessions))
	for _, session := range s.sessions {
		all = append(all, session)
	}
	s.mu.Unlock()
	for _, session := range all {
		f(session)
	}
}

// Shutdown refuses new sessions, sends what is queued for the others, closes them, and waits until
// their connections are closed. If ctx ends first, it cuts the remaining ones and returns ctx's
// error. You cannot use the server afterwards.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.Each(func(session *Session) {
		session.Close()
		session.hurry()
	})
	var err error
	select {
	case <-s.idle:
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.stopServing()
	s.wheel.close()
	s.reactor.Close()
	return err
}
