package parley

import (
	"container/heap"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/auth"
)

// proof is what a socket has proved: its identity, and when that ends. It exists from the question
// who the client is until the socket has disconnected.
type proof struct {
	identity atomic.Pointer[auth.Identity] // nil while Options.Authorize is being asked

	// Guarded by proofs.mu.
	socket   *Socket // nil until it is in line
	due      int64   // when to look at it next, in Unix milliseconds
	place    int32   // in line
	admitted bool    // the socket is connected
	noticed  bool    // the handlers of OnExpiring have been told
	over     bool    // the identity has ended, and so does the socket
}

// proofs are those of all sockets of a server. One timer watches all of their deadlines, by the wall
// clock, because that is what tokens name. mu is the last lock to be taken.
type proofs struct {
	grace time.Duration

	mu     sync.Mutex
	line   line // of the sockets
	asking map[*proof]*question
	timer  *time.Timer // runs while line is not empty; made when first needed
	wakes  int64       // when timer fires
}

// question is what a client is being asked: who it is.
type question struct {
	from    string       // the client's address
	revoked []auth.Match // since the question
}

const (
	// noticeTime is how long before the end of an identity OnExpiring is called.
	noticeTime = time.Minute

	// maxSleep bounds what a step of the wall clock, or a machine that slept, can add to a deadline.
	maxSleep = 15 * time.Second
)

// line is a heap: the proof with the earliest due time is first.
type line []*proof

func (l line) Len() int           { return len(l) }
func (l line) Less(i, j int) bool { return l[i].due < l[j].due }
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = int32(i), int32(j)
}

func (l *line) Push(x any) {
	p := x.(*proof)
	p.place = int32(len(*l))
	*l = append(*l, p)
}

func (l *line) Pop() any {
	last := len(*l) - 1
	p := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return p
}

// begin returns the proof of a client at this address that is about to be asked who it is.
func (ps *proofs) begin(from string) *proof {
	p := &proof{}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.asking == nil {
		ps.asking = map[*proof]*question{}
	}
	ps.asking[p] = &question{from: from}
	return p
}

// revokes reports whether the identity of a proof has been revoked since the question.
func (q *question) revokes(p *proof) bool {
	return q != nil && slices.ContainsFunc(q.revoked, func(m auth.Match) bool { return m.Matches(p.identity.Load(), q.from) })
}

// attach puts a proof in line that belongs to a connecting socket from now on. It reports false if it
// has been revoked. Nil, without Options.Authorize, is always valid.
func (ps *proofs) attach(p *proof, s *Socket) bool {
	if p == nil {
		return true
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	q := ps.asking[p]
	revoked := q.revokes(p)
	delete(ps.asking, p)
	if q == nil || revoked { // without q, the socket has closed meanwhile
		return !revoked
	}
	p.socket = s
	p.due = ps.dueLocked(p)
	heap.Push(&ps.line, p)
	ps.armLocked()
	return true
}

// admit is called when the proof's socket is connected. Nil is ignored.
func (ps *proofs) admit(p *proof) {
	if p != nil {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		p.admitted = true
		ps.changedLocked(p)
	}
}

// renew gives p the identity of a fresh proof.
func (ps *proofs) renew(p, fresh *proof) error {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	switch {
	case p.socket == nil || p.over:
		return ErrDisconnected
	case ps.asking[fresh].revokes(fresh):
		return errRevoked
	}
	p.identity.Store(fresh.identity.Load())
	p.noticed = false
	ps.changedLocked(p)
	return nil
}

// forget takes a proof out. Nil is ignored, and so is a proof that is not there.
func (ps *proofs) forget(p *proof) {
	if p == nil {
		return
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.asking, p)
	if p.socket != nil {
		heap.Remove(&ps.line, int(p.place))
		p.socket = nil
		ps.armLocked()
	}
}

// over reports whether the identity has ended.
func (ps *proofs) over(p *proof) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	return p.over
}

// revoke returns the sockets that have one of these identities. It also refuses the clients that are
// being asked and turn out to have one.
func (ps *proofs) revoke(which *auth.Match) (sockets []*Socket) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, q := range ps.asking {
		q.revoked = append(q.revoked, *which)
	}
	for _, p := range ps.line {
		if which.Matches(p.identity.Load(), p.socket.conn.address()) {
			sockets = append(sockets, p.socket)
		}
	}
	return sockets
}

// dueLocked returns when to look at p next.
func (ps *proofs) dueLocked(p *proof) int64 {
	switch end := p.identity.Load().Expires; {
	case end.IsZero() || p.over:
		return math.MaxInt64
	case p.admitted && !p.noticed:
		return end.Add(-noticeTime).UnixMilli()
	default:
		return end.Add(ps.grace).UnixMilli()
	}
}

// changedLocked computes p's due time again, if p is in line.
func (ps *proofs) changedLocked(p *proof) {
	if p.socket != nil {
		p.due = ps.dueLocked(p)
		heap.Fix(&ps.line, int(p.place))
		ps.armLocked()
	}
}

// armLocked sets the timer for the first in line.
func (ps *proofs) armLocked() {
	if len(ps.line) == 0 || ps.line[0].due == math.MaxInt64 {
		if ps.timer != nil {
			ps.timer.Stop()
		}
		ps.wakes = 0
		return
	}
	now := time.Now().UnixMilli()
	sleep := min(max(ps.line[0].due-now, 0), maxSleep.Milliseconds())
	if wakes := now + sleep; ps.wakes == 0 || wakes < ps.wakes {
		ps.wakes = wakes
		if ps.timer == nil {
			ps.timer = time.AfterFunc(time.Duration(sleep)*time.Millisecond, ps.turn)
		} else {
			ps.timer.Reset(time.Duration(sleep) * time.Millisecond)
		}
	}
}

// turn looks at the proofs that are due.
func (ps *proofs) turn() {
	type news struct {
		socket  *Socket
		expires time.Time
		over    bool
	}
	var all []news
	now := time.Now().UnixMilli()
	ps.mu.Lock()
	for len(ps.line) > 0 && ps.line[0].due <= now {
		p := ps.line[0]
		end := p.identity.Load().Expires
		if p.over = end.Add(ps.grace).UnixMilli() <= now; !p.over {
			p.noticed = true
		}
		all = append(all, news{p.socket, end, p.over})
		p.due = ps.dueLocked(p)
		heap.Fix(&ps.line, 0)
	}
	ps.wakes = 0
	ps.armLocked()
	ps.mu.Unlock()
	for _, n := range all {
		if n.over {
			n.socket.expire()
		} else {
			n.socket.expiring(n.expires)
		}
	}
}
