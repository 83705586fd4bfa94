package parley

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// recovery lets clients continue after a lost connection. It keeps each event in a log, except
// volatile events and those that ask for an acknowledgement. Each event carries its position in the
// log, the offset, as its last argument. The client remembers the offset of the last event it
// received. When it comes back, it sends this offset and the socket's private id:
//
//	client                                     server
//	40{…}                                  →
//	                                       ←   40{"sid":…,"pid":…}
//	                                       ←   42["event",…,"<offset>"]
//	(connection lost)
//	40{"pid":…,"offset":…,…}               →   the same socket, rooms and data
//	                                       ←   the events that it missed
//	                                       ←   40{"sid":…,"pid":…}
//
// The protocol: https://socket.io/docs/v4/connection-state-recovery. This implementation avoids
// some failures of the reference implementation:
//
//   - It also recovers clients that have not received an event yet.
//   - A volatile event whose last argument is a string does not spoil the client's offset.
//   - A client receives what was sent to its rooms while it was in them, and nothing else.
//   - A pid is valid until a recovery succeeds. A deliberate disconnect invalidates it.
//   - A client may come back before the server has noticed that the old connection is lost. It
//     then takes over the socket, after the old socket's handlers have finished, including
//     OnDisconnect.
//
// An event is encoded before it gets its offset. The offset has a fixed width and is written into
// the encoded event. While the lock is held, nothing is encoded and no handler is called.
type recovery struct {
	opts        *Recovery
	epoch       string // begins our offsets, and distinguishes them from those of another process
	placeholder string // stands for the offset in an event that has none yet; a secret, or clients could send it
	release     func() // gives up one comeback's hold on the namespace
	suffix      string // of pids
	born        time.Time
	handover    *handover // moves comebacks between the servers of a cluster; nil: there is none

	// mu is held while an event gets its offset and is queued for its receivers, because each
	// receiver must see rising offsets. It is also held while a socket's rooms change, because the
	// order decides what the socket has missed. It guards the fields below.
	mu        sync.Mutex
	last      uint64   // offset of the newest event
	hole      uint64   // the newest event when events of other servers were lost
	log       []record // oldest first
	dropped   uint64   // the newest event that is no longer in log
	bytes     int      // of log
	comebacks map[string]*comeback
	waiting   []wait // comebacks whose clients are away, in the order in which they left
	absent    int    // number of current entries in waiting; others are out of date
	released  int    // holds to give up after mu is unlocked
	sweeping  bool   // a timer is running
}

// record is an event in the log.
type record struct {
	offset        uint64
	at            time.Time
	all           bool // as in selection
	rooms, except []string
	only          *comeback
	event         *Encoded
	size          int
	id            eventID
	skip          []*comeback // have had it from another server
}

// wait is an entry for a comeback that waits for its client.
type wait struct {
	comeback *comeback
	turn     int32
}

// recordOverhead is about how many bytes an event in the log takes beside what is sent.
const recordOverhead = 200

// offsetDigits is the fixed width of an offset's number in base 36. It is enough for three years of
// a million events per second.
const offsetDigits = 9

func newRecovery(o *Recovery, release func()) *recovery {
	epoch := engine.NewID()[:8] + "."
	return &recovery{
		opts: o, epoch: epoch, placeholder: engine.NewID()[:len(epoch)+offsetDigits], release: release, born: time.Now(),
		comebacks: map[string]*comeback{},
	}
}

// unlock unlocks mu and gives up the holds that have been released.
func (r *recovery) unlock() {
	n := r.released
	r.released = 0
	free := r.handover.takeFree()
	r.mu.Unlock()
	if len(free) > 0 {
		r.handover.nsp.local.touch(free)
	}
	for range n {
		r.release()
	}
}

// recoverable reports whether a client may come back after this reason: if neither side wanted to
// disconnect.
func recoverable(reason Reason) bool {
	switch reason {
	case TransportError, TransportClose, ForcedClose, PingTimeout, ServerShutdown:
		return true
	}
	return false
}

// parse returns the number in one of our offsets.
func (r *recovery) parse(offset string) (n uint64, ours bool) {
	digits, ours := strings.CutPrefix(offset, r.epoch)
	n, err := strconv.ParseUint(digits, 36, 64)
	return n, ours && err == nil
}

// offset returns the offset with this number.
func (r *recovery) offset(n uint64) string {
	digits := strconv.FormatUint(n, 36)
	return r.epoch + strings.Repeat("0", offsetDigits-len(digits)) + digits
}

// mark appends the placeholder of an offset to the arguments of an event, if the event needs one. r
// may be nil. A client takes a string as last argument for an offset. So a volatile event that ends
// in a string also gets an offset: that of the last event before it.
func (r *recovery) mark(b *Broadcast, args []any) []any {
	if r == nil || b.self != nil && b.self.recovery() == nil ||
		b.volatile && (len(args) == 0 || !isString(args[len(args)-1])) {
		return args
	}
	return append(slices.Clip(args), r.placeholder)
}

// placeholderFor returns the placeholder that mark would append to an event of several servers, or "".
func (r *recovery) placeholderFor(m *adapter.Message) string {
	if r == nil || m.Flags&adapter.Volatile != 0 &&
		(m.Data[len(m.Data)-2] != '"' || len(sio.EventArgs(nil, m.Data)) == 0) {
		return ""
	}
	return r.placeholder
}

// gap notes that events of other servers may have been lost. Whoever is away could have missed them.
func (r *recovery) gap() {
	r.mu.Lock()
	defer r.unlock()
	r.hole = r.last
	for _, c := range r.comebacks {
		if !c.live {
			r.dropLocked(c)
		}
	}
	r.handover.spoil()
}

// isString reports whether v is a string in JSON.
func isString(v any) bool {
	b, err := json.Marshal(v)
	return err == nil && len(b) > 0 && b[0] == '"'
}

// marked reports whether mark has appended a placeholder to the arguments of e.
func (r *recovery) marked(e *Encoded) bool {
	return bytes.Contains(e.first.Data(), []byte(r.placeholder))
}

// seal writes the offset over the placeholder of e, if e has one. Nobody else may know e yet.
func (r *recovery) seal(e *Encoded, offset uint64) {
	if slot := r.slot(e); slot != nil {
		digits := slot[copy(slot, r.epoch):]
		for j := offsetDigits - 1; j >= 0; j-- {
			digits[j] = "0123456789abcdefghijklmnopqrstuvwxyz"[offset%36]
			offset /= 36
		}
	}
}

// slot returns the placeholder of e, or nil. It is about to be replaced by an offset.
func (r *recovery) slot(e *Encoded) []byte {
	data := e.first.Data()
	i := bytes.LastIndex(data, []byte(r.placeholder))
	if i < 0 {
		return nil
	}
	if n := len(e.args); n > 0 {
		e.args = e.args[:n-1] // the offset is not one of the event's own arguments
	}
	return data[i:][:len(r.placeholder)]
}

// dispatch is local.dispatch to several sockets. It also keeps e for clients that come back.
func (r *recovery) dispatch(l *local, sel *selection, e *Encoded, volatile bool, id eventID) (heard []*Socket, flight *flight) {
	r.mu.Lock()
	defer r.unlock()
	skip := r.handover.hadBy(id)
	if volatile {
		r.seal(e, r.last)
	} else {
		r.keepLocked(record{all: sel.all, rooms: slices.Clone(sel.rooms), except: slices.Clone(sel.except), id: id, skip: skip}, e)
		flight = r.handover.board(id)
	}
	return l.transmit(sel, e, volatile, skip), flight
}

// emit delivers e to one socket, and keeps it. If the socket is gone, it returns ErrDisconnected
// and does not keep e.
func (r *recovery) emit(s *Socket, e *Encoded, volatile bool) error {
	r.mu.Lock()
	c, early, sent := s.comeback, s.early(), true
	switch {
	case !early && (c == nil || !c.live || c.socket != s):
		r.unlock()
		return ErrDisconnected
	case volatile:
		r.seal(e, r.last)
		sent = s.transmit(e, true)
	case early: // e gets its offset when the socket enters
		if _, held := s.hold(e, false); !held { // it has given up joining meanwhile
			r.unlock()
			return ErrDisconnected
		}
	default:
		r.keepLocked(record{only: c}, e)
		s.transmit(e, false) // if it cannot be sent, the client receives it when it comes back
	}
	r.unlock()
	if sent {
		s.sent(e)
	}
	return nil
}

// keepLocked gives e its offset and appends it to the log. Events that are too old or exceed the
// limit drop out.
func (r *recovery) keepLocked(rec record, e *Encoded) {
	r.last++
	r.seal(e, r.last)
	rec.offset, rec.at, rec.event = r.last, time.Now(), e
	rec.size = recordOverhead + e.size()
	r.log = append(r.log, rec)
	r.bytes += rec.size
	r.trimLocked(rec.at)
}

// trimLocked drops what is too old or exceeds a limit. It also sets a timer, so that nothing stays
// for ever when the server is idle.
func (r *recovery) trimLocked(now time.Time) {
	limit := now.Add(-r.opts.MaxDisconnection)
	n := 0
	for n < len(r.log) && (r.bytes > r.opts.MaxBytes || r.log[n].at.Before(limit)) {
		r.bytes -= r.log[n].size
		r.dropped = r.log[n].offset
		r.log[n] = record{}
		n++
	}
	r.log = r.log[n:]
	if len(r.log) == 0 {
		r.log = nil
	}
	for len(r.waiting) > 0 {
		c, current := r.waiting[0].comeback, r.waiting[0].current()
		if current && r.absent <= r.opts.MaxSessions && !r.born.Add(c.left).Before(limit) {
			break
		}
		if current {
			r.dropLocked(c)
		}
		r.waiting[0] = wait{}
		r.waiting = r.waiting[1:]
	}
	if len(r.waiting) == 0 {
		r.waiting = nil
	}
	kept := r.handover.trim(now, limit)
	if r.sweeping || len(r.log) == 0 && len(r.waiting) == 0 && !kept {
		return
	}
	r.sweeping = true
	time.AfterFunc(r.opts.MaxDisconnection, func() {
		r.mu.Lock()
		defer r.unlock()
		r.sweeping = false
		r.trimLocked(time.Now())
	})
}

func (w wait) current() bool { return w.comeback.turn == w.turn }

// awaitLocked makes c wait for its client.
func (r *recovery) awaitLocked(c *comeback) {
	c.turn++
	r.absent++
	r.waiting = append(r.waiting, wait{c, c.turn})
	r.trimLocked(time.Now())
}

// dropLocked forgets a comeback that is waiting or claimed.
func (r *recovery) dropLocked(c *comeback) {
	if c.claimant == nil {
		c.turn++
		r.absent--
	}
	r.forgetLocked(c)
}

// forgetLocked forgets a comeback whose client is away and that does not wait.
func (r *recovery) forgetLocked(c *comeback) {
	c.claim(nil)
	delete(r.comebacks, c.pid)
	r.handover.unhold(c)
	r.released++
}

// enterLocked gives an entering socket a new comeback, or the one that it has claimed. For a
// claimed one, it stores the events that the client missed in e.missed. It reports false if the
// socket has lost its claim, or if the events are no longer there.
func (r *recovery) enterLocked(s *Socket, e *entrance) (ok bool) {
	c := s.comeback
	if c == nil {
		c = &comeback{pid: engine.NewID() + r.suffix, id: s.ID(), floor: r.last, socket: s, live: true}
		s.comeback = c
		r.comebacks[c.pid] = c
	} else {
		if !c.claimedBy(s) {
			return false
		}
		if !r.reachesLocked(c, e.since) {
			r.dropLocked(c)
			return false
		}
		r.handover.unhold(c)
		c.claim(nil)
		c.socket, c.live, c.data, c.bare = s, true, nil, false
		r.released++ // the socket has a hold of its own

		var left []string
		c.stays = slices.DeleteFunc(c.stays, func(t stay) bool { // middleware has taken it out
			out := t.to == stillThere && t.room != s.ID() && !slices.Contains(e.rooms, t.room)
			if out {
				left = append(left, t.room)
			}
			return out
		})
		e.missed = r.handover.carried(c.moved.after(e.since), left)
		for i := range r.log {
			if rec := &r.log[i]; rec.offset > e.since.offset && c.concerns(rec) {
				e.missed = append(e.missed, rec.event)
			}
		}
		c.passed(e.since)
	}
	for _, room := range append([]string{s.ID()}, e.rooms...) {
		if !c.isIn(room) {
			c.joined(r, room)
		}
	}
	for _, early := range e.held {
		if r.marked(early) { // otherwise it comes from Encode
			r.keepLocked(record{only: c}, early)
		}
	}
	return true
}

// leaveLocked is called when the socket of a comeback has disconnected. Unless one of the two sides
// wanted to part, the comeback keeps the socket's hold on the namespace and waits for the client;
// kept is then true.
func (r *recovery) leaveLocked(s *Socket, reason Reason) (kept bool) {
	c := s.comeback
	c.live, c.identity = false, s.Identity()
	if c.barred || !recoverable(reason) {
		delete(r.comebacks, c.pid)
		c.claim(nil)
		return false
	}
	c.left = time.Since(r.born)
	r.handover.hold(c)
	if c.claimant == nil {
		r.awaitLocked(c)
	}
	return true
}

// bar forgets the comebacks of these identities, so that a revoked client does not come back. A client
// that is coming back has proved its identity again, and that one counts.
func (r *recovery) bar(which *auth.Match) {
	r.mu.Lock()
	defer r.unlock()
	for _, c := range r.comebacks {
		who, from := c.who(), "" // whoever comes back shows its address again
		if a := c.claimant; a != nil && a.socket != nil {
			who, from = a.socket.Identity(), a.socket.conn.address()
		}
		switch {
		case !which.Matches(who, from):
		case c.live: // it is about to disconnect
			c.barred = true
			delete(r.comebacks, c.pid)
		default:
			r.dropLocked(c)
		}
	}
}

// done is called after the last handler of a socket has run.
func (r *recovery) done(s *Socket) {
	data := s.stored()
	r.mu.Lock()
	defer r.mu.Unlock()
	c := s.comeback
	c.socket, c.data = nil, data
	if c.finished != nil {
		close(c.finished)
		c.finished = nil
	}
}
