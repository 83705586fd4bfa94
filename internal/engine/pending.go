package engine

import (
	"container/list"
	"log/slog"
	"net/http"
	"time"

	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/eio"
)

// A session is pending until its client joins, see Session.SetPending. A pending session costs its
// client one request, and the client need not even read the answer. So pending sessions have limits of
// their own. At a limit the oldest of them makes room for a newcomer, who is more likely to be in
// earnest:
//
//	MaxPending            the oldest of an address that has more than its share; else the
//	                      oldest of all
//	MaxPendingPerAddress  the oldest of the newcomer's address
//	MaxSessions           as for MaxPending; if nobody is pending, the newcomer is refused
//	MaxPerAddress         as for MaxPendingPerAddress; if none of the address is pending, the
//	                      newcomer is refused
//
// So a few addresses cannot push out the others. Sessions that share their connection with other
// pending ones make room first: a client that floods the server over few connections pushes out its own
// sessions, not those of its neighbors. A WebTransport session is pending too, until its first packet
// says what it wants.
//
// In revision 3 clients join unasked. There the first request that names the session shows that its
// client has read the answer to the handshake. A WebSocket shows that by itself.

// guest is somebody who is pending: a *Session or a *webTransportDoor.
type guest interface {
	// expel ends the guest. The caller holds no lock.
	expel()
}

// pending is the queue of the guests. Server.mu guards it. A session that has joined has no trace
// in it.
type pending struct {
	srv     *Server
	queue   list.List // of *arrival, oldest first, and so by deadline
	guests  map[guest]*arrival
	clients map[string]*clientPending // by address.Limited
	conns   map[string]int            // guests by http.Request.RemoteAddr
	cost    int
	timer   timer // for the first of the queue
	armed   bool
}

type clientPending struct {
	queue list.List // of *arrival, oldest first
	cost  int
}

type arrival struct {
	guest   guest
	client  string
	conn    string // http.Request.RemoteAddr; "" if the session is pending again
	cost    int
	since   time.Duration // since the wheel was made
	unasked bool          // any request that names the session shows that the client is there
	place   *list.Element // in pending.queue
	own     *list.Element // in clientPending.queue
}

// handshakeUnit is how many bytes of a kept handshake count as one pending session.
const handshakeUnit = 2 << 10

// costOf returns what a session with the handshake h counts for.
func costOf(h *Handshake) int {
	return max(1, (len(h.URI)+len(h.headers)+handshakeUnit-1)/handshakeUnit)
}

// client returns the key for limits per address, or "" if they do not apply.
func (s *Server) client(of string) string { return address.Limited(of, s.opts.ExemptAddresses) }

// expectsJoin reports whether sessions are pending at all. Without a limit none is.
func (o *Options) expectsJoin() bool {
	return o.JoinTimeout > 0 || o.MaxPending > 0 || o.MaxPendingPerAddress > 0
}

// SetPending says whether the session waits for its client to join. A new session does. If its
// client has not joined within Options.JoinTimeout, the session ends; it may end sooner to make
// room. When it waits again, its time starts again.
func (s *Session) SetPending(waits bool) {
	srv := s.srv
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.pending.removeLocked(s)
	if waits && srv.sessions[s.id] == s && srv.opts.expectsJoin() {
		srv.pending.addLocked(s, srv.client(s.info.Address), "", costOf(s.info))
	}
}

// addLocked adds a guest to the end of the queue.
func (p *pending) addLocked(g guest, client, conn string, cost int) *arrival {
	of := p.clients[client]
	if of == nil {
		of = &clientPending{}
		p.clients[client] = of
	}
	a := &arrival{guest: g, client: client, conn: conn, cost: cost, since: p.srv.wheel.since()}
	a.place, a.own = p.queue.PushBack(a), of.queue.PushBack(a)
	p.guests[g] = a
	if conn != "" {
		p.conns[conn]++
	}
	p.cost += cost
	of.cost += cost
	p.armLocked()
	return a
}

// removeLocked takes a guest out of the queue, if it is there.
func (p *pending) removeLocked(g guest) {
	a := p.guests[g]
	if a == nil {
		return
	}
	of := p.clients[a.client]
	delete(p.guests, g)
	if a.conn != "" {
		if p.conns[a.conn]--; p.conns[a.conn] == 0 {
			delete(p.conns, a.conn)
		}
	}
	p.queue.Remove(a.place)
	of.queue.Remove(a.own)
	p.cost -= a.cost
	if of.cost -= a.cost; of.queue.Len() == 0 {
		delete(p.clients, a.client)
	}
}

// heardLocked notes a request that names the session.
func (p *pending) heardLocked(s *Session) {
	if s.protocol != eio.V3 {
		return
	}
	if a := p.guests[s]; a != nil && a.unasked {
		p.removeLocked(s)
	}
}

// What to do when pending sessions make room.
const (
	morePending      = "a client floods the server with handshakes; if your clients only come in great numbers, raise MaxPendingConnections (the setting max-pending-connections)"
	moreOfOnePending = "a client floods the server with handshakes; if many clients have this address, raise MaxPendingPerAddress (the setting max-pending-per-address)"
)

// lockWithRoom locks Server.mu when there is room for a newcomer of the client. For that it may end
// others. If the newcomer is a session and nobody can make room, it returns the refusal.
func (s *Server) lockWithRoom(client string, cost int, isSession bool) *requestError {
	p, o := &s.pending, &s.opts
	for {
		s.mu.Lock()
		of := p.clients[client]
		full := o.MaxPending > 0 && p.cost+cost > o.MaxPending && p.queue.Len() > 0
		ownFull := o.MaxPendingPerAddress > 0 && client != "" && of != nil && of.cost+cost > o.MaxPendingPerAddress
		remedy := morePending
		if ownFull {
			remedy = moreOfOnePending
		}
		if isSession {
			if refusal := s.fullLocked(client); refusal != nil {
				s.mu.Unlock()
				return refusal
			}
			if s.atMaxSessionsLocked() {
				full, remedy = true, errTooManySessions.remedy
			}
			if s.atMaxPerAddressLocked(client) {
				ownFull, remedy = true, errTooManyOfOne.remedy
			}
		}
		var oldest *list.Element
		switch {
		case ownFull:
			oldest = p.firstLocked(&of.queue)
		case full:
			oldest = p.oldestLocked(of)
		default:
			return nil
		}
		g := oldest.Value.(*arrival).guest
		p.removeLocked(g)
		s.mu.Unlock()
		s.stats.MadeRoom.Add(1)
		s.notices.Post(slog.LevelWarn, remedy, "parley: connections that had not joined made room for newer ones", "hint", remedy)
		g.expel()
	}
}

// oldestLocked returns the *arrival that makes room when there are too many: the oldest of an address
// that has more than its share, which is at first the newcomer's (nil if it has none). Otherwise it
// looks at a few random guests: most belong to those who flood the server.
func (p *pending) oldestLocked(of *clientPending) *list.Element {
	if of == nil {
		of = &clientPending{}
	}
	looks := 8
	for _, a := range p.guests { // in random order
		if looks--; looks < 0 || of.cost*len(p.clients) > p.cost {
			break
		}
		if other := p.clients[a.client]; other.cost > of.cost {
			of = other
		}
	}
	if of.cost*len(p.clients) > p.cost {
		return p.firstLocked(&of.queue)
	}
	return p.firstLocked(&p.queue)
}

// firstLocked returns the first *arrival of a queue that shares its connection. If there is none
// among the first few, it returns the very first.
func (p *pending) firstLocked(queue *list.List) *list.Element {
	first := queue.Front()
	looks := 64
	for e := first; e != nil && looks > 0; e = e.Next() {
		if p.conns[e.Value.(*arrival).conn] > 1 {
			return e
		}
		looks--
	}
	return first
}

// armLocked sets the timer for the first of the queue.
func (p *pending) armLocked() {
	first := p.queue.Front()
	if d := p.srv.opts.JoinTimeout; first != nil && !p.armed && d > 0 {
		p.armed = true
		p.srv.wheel.set(&p.timer, p, first.Value.(*arrival).since+d)
	}
}

// alarm implements alarmed: the first of the queue may be late.
func (p *pending) alarm(*timer) {
	s := p.srv
	var late []guest
	s.mu.Lock()
	p.armed = false
	for first := p.queue.Front(); first != nil; first = p.queue.Front() {
		a := first.Value.(*arrival)
		if a.since+s.opts.JoinTimeout > s.wheel.since() {
			break
		}
		p.removeLocked(a.guest)
		late = append(late, a.guest)
	}
	p.armLocked()
	s.mu.Unlock()
	s.stats.JoinTimeouts.Add(uint64(len(late)))
	for _, g := range late {
		g.expel()
	}
}

// expel implements guest. The client hears of the end if a poll is running or it has a connection.
// Nobody waits for it.
func (s *Session) expel() {
	s.mu.Lock()
	if s.state == opening {
		s.halted.Store(s.halted.Load() | isExpelled) // start ends it
		s.mu.Unlock()
		s.srv.remove(s) // makes room at once
		return
	}
	tell := s.endLocked(closing, ForcedClose, nil, eio.Close)
	lingers := s.state == lingering
	if lingers {
		s.changeLocked(closed)
	}
	if t, ok := s.transport.(*websocket); ok {
		t.hangUp = true
	}
	s.transport.cutLocked()
	s.mu.Unlock()
	tell()
	if lingers {
		s.srv.remove(s)
	}
}

// webTransportDoor is a WebTransport session before its first packet.
type webTransportDoor struct{ cancel func() }

func (d *webTransportDoor) expel() { d.cancel() }

// arrive makes a WebTransport session pending until leave.
func (s *Server) arrive(r *http.Request, cancel func()) (leave func()) {
	if !s.opts.expectsJoin() {
		return func() {}
	}
	d, client := &webTransportDoor{cancel}, s.client(s.opts.ClientAddress(r))
	s.lockWithRoom(client, 1, false)
	s.pending.addLocked(d, client, r.RemoteAddr, 1)
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.pending.removeLocked(d)
		s.mu.Unlock()
	}
}
