package engine

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/fifo"
)

// Each session has limits of its own. All sessions together have one, too, for what the server holds
// for them: what waits to be sent, what waits for handlers, and messages that are not complete. Over
// this limit, the server ends the sessions for which it holds the most, at the address for which it
// holds the most.
//
// Sessions report what they hold in steps of holdStep bytes, so that sending costs nothing. A message
// that waits for many sessions counts for each of them, though it is in memory once. So a sum over
// the limit is only a reason to count exactly, which an audit does.

const (
	holdStep = 16 << 10
	// addressShare is the part of the limit that the sessions of one address may hold; see share.
	addressShare = 4
	// An audit takes at most a tenth of the time. While the sum stays over the limit, another one
	// follows after auditAgain: messages that a transport was handing on may have come back.
	auditPause    = 10
	leastAuditGap = 20 * time.Millisecond
	auditAgain    = time.Second
)

// ErrMemory is the cause of a TransportError when the server holds too much for its clients, and the
// most for this one.
var ErrMemory = errors.New("engine: the server holds too much for its clients")

// memory knows which sessions hold how much.
type memory struct {
	limit int64 // bytes; 0 or less: none

	mu       sync.Mutex
	holders  map[*Session]int64 // bytes, as reported
	perHost  map[string]int64   // bytes by Server.client; all exempt addresses are one
	total    int64
	grown    bool        // while over the limit, since the last audit began
	running  bool        // an audit
	earliest time.Time   // for the next audit
	timer    *time.Timer // of the next audit; nil: none is due
	due      time.Time
	audited  chan struct{} // closed at the end of an audit; nil: nobody waits for it

	some atomic.Bool // total is so large that a part of it may be tight
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, holders: map[*Session]int64{}, perHost: map[string]int64{}}
}

// Hold changes the number of bytes that the server holds for the client apart from the outbox: in
// messages that are not complete, not handled, or on their way. Whoever adds bytes takes them away
// later, even if the session ends.
func (s *Session) Hold(bytes int) {
	if bytes != 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.holdLocked(bytes)
	}
}

func (s *Session) holdLocked(bytes int) {
	s.incoming += int32(bytes)
	s.reportLocked()
}

// heldLocked returns how many bytes the server holds for the client.
func (s *Session) heldLocked() int {
	held := s.queued + int(s.incoming)
	if t, ok := s.transport.(*sse); ok && s.state != closed {
		held += t.held
	}
	return held
}

// reportLocked reports what the session holds, if it has changed by more than a step.
func (s *Session) reportLocked() {
	steps := int32(s.heldLocked() / holdStep)
	if steps <= s.reported && steps >= s.reported-1 && (steps > 0 || s.reported == 0) {
		return
	}
	s.reported = steps
	s.srv.memory.report(s, int64(steps)*holdStep)
}

func (m *memory) report(s *Session, bytes int64) {
	if m.limit <= 0 {
		return
	}
	host := s.srv.client(s.info.Address)
	m.mu.Lock()
	defer m.mu.Unlock()
	grown := bytes - m.holders[s]
	m.total += grown
	if m.perHost[host] += grown; m.perHost[host] == 0 {
		delete(m.perHost, host)
	}
	if m.holders[s] = bytes; bytes == 0 {
		delete(m.holders, s)
	}
	m.some.Store(m.total > m.limit/addressShare/2)
	if grown > 0 && m.isOverLocked(host) {
		m.grown = true
		if !m.running {
			m.scheduleLocked(s.srv, m.earliest)
		}
	}
}

// share returns how many bytes may be held for one address. Exempt addresses may share all of it.
func (m *memory) share(host string) int64 {
	if host == "" {
		return m.limit
	}
	return m.limit / addressShare
}

// isOverLocked reports whether the sums that concern an address are over a limit.
func (m *memory) isOverLocked(host string) bool {
	return m.total > m.limit || m.perHost[host] > m.share(host)
}

// awaitAudit waits for the next audit if the session has just reported more and the sums are over a
// limit now. Whoever receives something in steps waits after each one, so that little can arrive
// before sessions end.
func (m *memory) awaitAudit(s *Session) {
	host := s.srv.client(s.info.Address)
	m.mu.Lock()
	if m.limit <= 0 || !m.isOverLocked(host) {
		m.mu.Unlock()
		return
	}
	if m.audited == nil {
		m.audited = make(chan struct{})
	}
	audited := m.audited
	m.mu.Unlock()
	<-audited
}

// tightLocked reports whether over half of what may be held is held, for all sessions or for those of
// this address. It does not if it holds next to nothing for this session.
func (s *Session) tightLocked() bool {
	m := s.srv.memory
	if s.reported == 0 || !m.some.Load() {
		return false
	}
	host := s.srv.client(s.info.Address)
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total > m.limit/2 || m.perHost[host] > m.share(host)/2
}

// Held returns how many bytes the server holds for its clients, as far as they are reported.
func (s *Server) Held() int64 {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	return s.memory.total
}

// scheduleLocked makes an audit run at the given time, unless one is due earlier.
func (m *memory) scheduleLocked(srv *Server, at time.Time) {
	if m.timer != nil && (!m.due.After(at) || !m.timer.Stop()) {
		return
	}
	m.due = at
	m.timer = time.AfterFunc(time.Until(at), func() { m.audit(srv) })
}

// overLocked reports whether the sums are over a limit.
func (m *memory) overLocked() bool {
	for host, bytes := range m.perHost {
		if bytes > m.share(host) {
			return true
		}
	}
	return m.total > m.limit
}

// audit counts exactly, and ends sessions until the rest is within the limits.
func (m *memory) audit(srv *Server) {
	begin := time.Now()
	m.mu.Lock()
	m.timer, m.running, m.grown = nil, true, false
	sessions := slices.Collect(maps.Keys(m.holders))
	m.mu.Unlock()
	for _, h := range m.excess(count(sessions)) {
		h.s.evict(h.bytes)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.running = false
	if m.audited != nil {
		close(m.audited)
		m.audited = nil
	}
	m.earliest = time.Now().Add(max(leastAuditGap, auditPause*time.Since(begin)))
	switch {
	case !m.overLocked():
	case m.grown:
		m.scheduleLocked(srv, m.earliest)
	default:
		m.scheduleLocked(srv, m.earliest.Add(auditAgain))
	}
}

// holding is what a session holds, counted exactly.
type holding struct {
	s     *Session
	host  string
	bytes int64
}

// count counts the memory that the sessions hold. Sessions share the size of a message that waits for
// several of them. What a transport is handing to the kernel at this moment does not count.
func count(sessions []*Session) []holding {
	all := make([]holding, len(sessions))
	queues := make([][]*Message, len(sessions))
	waiting := map[*Message]int64{} // for how many sessions
	for i, s := range sessions {
		all[i] = holding{s: s, host: s.srv.client(s.info.Address)}
		all[i].bytes = s.eachHeld(func(m *Message) {
			queues[i] = append(queues[i], m)
			waiting[m]++
		})
	}
	for i, queue := range queues {
		for _, m := range queue {
			all[i].bytes += overhead + int64(len(m.frame))/waiting[m]
		}
	}
	return all
}

// eachHeld calls f for each message that waits for the client. It returns the number of the other
// bytes that are held for it.
func (s *Session) eachHeld(f func(*Message)) (others int64) {
	each := func(q *fifo.Queue[*Message]) {
		q.Some(func(m *Message) bool {
			f(m)
			return false
		})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	each(&s.out)
	switch t := s.transport.(type) {
	case *sse:
		for _, m := range t.log {
			f(m)
		}
	case *websocket:
		if t.stalled { // nobody changes out before the next Drain, which needs the lock
			each(&t.out)
		}
	case *webtransport:
		if t.blocked {
			each(&t.out)
			if t.large != nil {
				f(t.large)
			}
		}
	}
	return int64(s.incoming)
}

// excess returns the sessions to end.
func (m *memory) excess(all []holding) (victims []holding) {
	slices.SortFunc(all, func(a, b holding) int { return cmp.Compare(a.bytes, b.bytes) }) // ascending
	byHost := map[string][]holding{}
	held := map[string]int64{}
	var total int64
	for _, h := range all {
		byHost[h.host] = append(byHost[h.host], h)
		held[h.host] += h.bytes
		total += h.bytes
	}
	end := func(host string) {
		list := byHost[host]
		largest := list[len(list)-1]
		byHost[host] = list[:len(list)-1]
		held[host] -= largest.bytes
		total -= largest.bytes
		victims = append(victims, largest)
	}
	for host := range byHost {
		for held[host] > m.share(host) {
			end(host)
		}
	}
	for total > m.limit {
		most := ""
		for host, bytes := range held {
			if bytes > held[most] {
				most = host
			}
		}
		end(most)
	}
	return victims
}

// evict ends the session because the server holds too much for its clients. If the session has ended
// already, what it still wants to send is dropped.
func (s *Session) evict(bytes int64) {
	s.mu.Lock()
	was := s.state
	if was == opening || was == closed {
		s.mu.Unlock()
		return
	}
	tell := s.endLocked(closed, TransportError, fmt.Errorf("%w: %d bytes", ErrMemory, bytes), eio.Close)
	if was != open {
		s.changeLocked(closed)
	}
	s.transport.cutLocked()
	s.mu.Unlock()
	switch was {
	case open:
		s.srv.stats.Evicted.Add(1)
		s.srv.notices.Post(slog.LevelInfo, "memory", "parley: client disconnected, because the server holds too much", "session", s.id,
			"address", s.info.Address, "bytes", bytes, "hint", "MaxMemory (the setting max-memory) is the limit")
	case lingering:
		s.srv.remove(s)
	}
	tell()
}
