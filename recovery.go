package parley

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// recovery lets clients go on after a lost connection. Each event that is neither volatile
// nor to be acknowledged is kept in a log and carries its place there, the offset, as its
// last argument. The client remembers the offset of the last event it saw, and when it
// comes back it says so, together with the socket's private id:
//
//	client                                     server
//	40{…}                                  →
//	                                       ←   40{"sid":…,"pid":…}
//	                                       ←   42["event",…,"<offset>"]
//	(connection lost)
//	40{"pid":…,"offset":…,…}               →   the same socket, rooms and data
//	                                       ←   what it missed
//	                                       ←   40{"sid":…,"pid":…}
//
// The protocol: https://socket.io/docs/v4/connection-state-recovery. Where the reference
// fails, this does not:
//
//   - A client is recovered that has not had an event yet.
//   - A volatile event whose last argument is a string does not spoil the client's offset.
//   - A client gets what its rooms were told while it was in them, and nothing else.
//   - A pid is good until a return succeeds, and not after a deliberate disconnect.
//   - A client that is back before its old connection was missed takes the socket over. The
//     old one's handlers have come to their end by then, OnDisconnect included.
//
// An event is encoded before it gets its offset, which has a fixed width and is put into its
// place. Under the lock nothing is encoded and no handler is called.
type recovery struct {
	opts        *Recovery
	placeholder string // stands for an offset in an event that has none yet
	release     func() // gives up the hold of one comeback on the namespace

	// mu is held while an event gets its offset and is queued for its receivers, since these must
	// see offsets rise; and while a socket's rooms change, since what it has missed depends on
	// the order. It guards what follows.
	mu        sync.Mutex
	last      uint64   // offset of the newest event
	log       []record // oldest first
	bytes     int      // of log
	comebacks map[string]*comeback
	waiting   []wait // for their clients, in the order in which these left
	absent    int    // comebacks in waiting: an entry may be out of date
	released  int    // holds to give up once mu is not held any more
	sweeping  bool   // a timer is set
}

// record is an event of the log.
type record struct {
	offset        uint64
	at            time.Time
	all           bool // as in selection
	rooms, except []string
	only          *comeback
	event         *Encoded
	size          int
}

// comeback is what a client may come back to. It belongs to one socket at a time, and is
// guarded by recovery.mu.
type comeback struct {
	pid, id string
	floor   uint64 // no event up to this one concerns the client, as far as is known
	stays   []stay

	socket   *Socket       // that has it, until its last handler has run; or else nil
	live     bool          // and is connected
	finished chan struct{} // closed when socket becomes nil; made by who waits for it
	claimant *Socket       // that is about to take it over

	turn int // counts how often it has been waiting
	left time.Time
	data any
}

// stay is a time that a socket was in a room: that of the events after from, up to to.
type stay struct {
	room     string
	from, to uint64
}

const (
	stillThere = ^uint64(0) // the end of a stay that has not ended

	// maxStays bounds the ended stays that are kept for a comeback. A client whose stays were
	// forgotten can be recovered only from a later event on.
	maxStays = 64
)

// wait is a comeback that waits for its client.
type wait struct {
	comeback *comeback
	turn     int
}

// offsetDigits is the fixed width of an offset's number, in base 36: enough for three years of
// a million events a second.
const offsetDigits = 9

func newRecovery(o *Recovery, release func()) *recovery {
	epoch := engine.NewID()[:8] // distinguishes our offsets from those of another process
	return &recovery{
		opts: o, placeholder: epoch + "." + strings.Repeat("-", offsetDigits), release: release,
		comebacks: map[string]*comeback{},
	}
}

// unlock unlocks mu and gives up the holds that have become free.
func (r *recovery) unlock() {
	n := r.released
	r.released = 0
	r.mu.Unlock()
	for range n {
		r.release()
	}
}

// recoverable reports whether a client may come back after a disconnection: if neither
// side wanted it.
func recoverable(reason Reason) bool {
	switch reason {
	case TransportError, TransportClose, ForcedClose, PingTimeout, ServerShutdown:
		return true
	}
	return false
}

// parse returns the number of one of our offsets.
func (r *recovery) parse(offset string) (n uint64, ours bool) {
	digits, ours := strings.CutPrefix(offset, r.placeholder[:len(r.placeholder)-offsetDigits])
	n, err := strconv.ParseUint(digits, 36, 64)
	return n, ours && err == nil
}

// mark adds the place of an offset to the arguments of an event, if it is to have one; r may be
// nil. A client takes a last argument that is a string for an offset. So a volatile event
// that ends in a string gets one, too: that of the last event before.
func (r *recovery) mark(b *Broadcast, args []any) []any {
	if r == nil || b.self != nil && b.self.recovery() == nil ||
		b.volatile && (len(args) == 0 || !isString(args[len(args)-1])) {
		return args
	}
	return append(slices.Clip(args), r.placeholder)
}

// isString reports whether v is a string in JSON.
func isString(v any) bool {
	b, err := json.Marshal(v)
	return err == nil && len(b) > 0 && b[0] == '"'
}

// seal puts an offset into its place, if e has one. Nobody else may know e yet.
func (r *recovery) seal(e *Encoded, offset uint64) {
	data := e.first.Data()
	i := bytes.LastIndex(data, []byte(r.placeholder))
	if i < 0 {
		return
	}
	digits := data[i+len(r.placeholder)-offsetDigits:][:offsetDigits]
	for j := offsetDigits - 1; j >= 0; j-- {
		digits[j] = "0123456789abcdefghijklmnopqrstuvwxyz"[offset%36]
		offset /= 36
	}
	if n := len(e.args); n > 0 {
		e.args = e.args[:n-1] // it is none of the event's
	}
}

// deliver is local.deliver to several sockets: it also keeps e for those who come back.
func (r *recovery) deliver(l *local, sel *selection, e *Encoded, volatile bool) {
	r.mu.Lock()
	if volatile {
		r.seal(e, r.last)
	} else {
		r.keepLocked(record{all: sel.all, rooms: slices.Clone(sel.rooms), except: slices.Clone(sel.except)}, e)
	}
	heard := l.transmit(sel, e, volatile)
	r.unlock()
	for _, s := range heard {
		s.sent(e)
	}
}

// emit delivers e to one socket, and keeps it. The error is ErrDisconnected if the socket is gone:
// then e is not kept either.
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
		sent = s.transmit(e, false)
	default:
		r.keepLocked(record{only: c}, e)
		s.transmit(e, false) // if it cannot be sent, its client comes back for it
	}
	r.unlock()
	if sent {
		s.sent(e)
	}
	return nil
}

// keepLocked gives e its offset and adds it to the log, which drops what is too old or too much.
func (r *recovery) keepLocked(rec record, e *Encoded) {
	const overhead = 200
	r.last++
	r.seal(e, r.last)
	rec.offset, rec.at, rec.event = r.last, time.Now(), e
	rec.size = overhead + e.size()
	r.log = append(r.log, rec)
	r.bytes += rec.size
	r.trimLocked(rec.at)
}

// trimLocked drops what is too old or too much, and sees to it that nothing stays for ever when
// nothing happens.
func (r *recovery) trimLocked(now time.Time) {
	limit := now.Add(-r.opts.MaxDisconnection)
	n := 0
	for n < len(r.log) && (r.bytes > r.opts.MaxBytes || r.log[n].at.Before(limit)) {
		r.bytes -= r.log[n].size
		r.log[n] = record{}
		n++
	}
	r.log = r.log[n:]
	if len(r.log) == 0 {
		r.log = nil
	}
	for len(r.waiting) > 0 {
		c, current := r.waiting[0].comeback, r.waiting[0].current()
		if current && r.absent <= r.opts.MaxSessions && !c.left.Before(limit) {
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
	if r.sweeping || len(r.log) == 0 && len(r.waiting) == 0 {
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

// awaitLocked has c wait for its client.
func (r *recovery) awaitLocked(c *comeback) {
	c.turn++
	r.absent++
	r.waiting = append(r.waiting, wait{c, c.turn})
	r.trimLocked(time.Now())
}

// dropLocked forgets a comeback that waits, or is claimed.
func (r *recovery) dropLocked(c *comeback) {
	if c.claimant == nil {
		c.turn++
		r.absent--
	}
	c.claimant = nil
	delete(r.comebacks, c.pid)
	r.released++
}

// claim makes s, which is not connected yet, the socket that its client had before, if the client
// says which and it can be done. It waits for the old socket's handlers.
func (r *recovery) claim(s *Socket) {
	var auth struct {
		PID    string `json:"pid"`
		Offset string `json:"offset"`
	}
	if s.DecodeAuth(&auth) != nil || auth.PID == "" {
		return
	}
	since, ours := uint64(0), auth.Offset == ""
	if !ours {
		if since, ours = r.parse(auth.Offset); !ours {
			return
		}
	}
	r.mu.Lock()
	c := r.comebacks[auth.PID]
	if c == nil {
		r.unlock()
		return
	}
	displaced := c.claimant // the client gave up that return
	switch {
	case displaced != nil:
	case c.live: // the connection is gone, but that was not noticed yet
		displaced = c.socket
	default:
		c.turn++ // it does not wait any more
		r.absent--
	}
	c.claimant = s
	r.unlock()
	if displaced != nil && displaced.conn != s.conn {
		displaced.conn.session.Close()
	}

	r.mu.Lock()
	defer r.unlock()
	for c.claimant == s && c.socket != nil && s.Context().Err() == nil {
		r.awaitFinishedLocked(s.Context(), c)
	}
	if auth.Offset == "" {
		since = c.floor
	}
	switch {
	case c.claimant != s: // another return was faster, or the client is not to come back
	case since > r.last || since < c.floor || since+1 < r.firstLocked() || time.Since(c.left) > r.opts.MaxDisconnection:
		r.dropLocked(c) // it will never be possible
	case !s.resume(c, since):
		r.disclaimLocked(c, s)
	}
}

// awaitFinishedLocked waits until the last handler of the comeback's socket has run, for as long
// as ctx lasts. Meanwhile it gives up the lock.
func (r *recovery) awaitFinishedLocked(ctx context.Context, c *comeback) {
	if c.finished == nil {
		c.finished = make(chan struct{})
	}
	finished := c.finished
	r.unlock()
	select {
	case <-finished:
	case <-ctx.Done():
	}
	r.mu.Lock()
}

// disclaim gives up the claim of a socket that does not get as far as to be connected.
func (r *recovery) disclaim(s *Socket) {
	r.mu.Lock()
	defer r.unlock()
	if c := s.comeback; c != nil {
		r.disclaimLocked(c, s)
	}
}

func (r *recovery) disclaimLocked(c *comeback, s *Socket) {
	if c.claimant == s {
		c.claimant = nil
		r.awaitLocked(c)
	}
}

// firstLocked returns the offset of the oldest event of the log, or of the next one.
func (r *recovery) firstLocked() uint64 {
	if len(r.log) == 0 {
		return r.last + 1
	}
	return r.log[0].offset
}

// enterLocked gives a socket that is entering a comeback, or the one that it has claimed. It
// returns what the client has missed since the offset, and reports false if the socket has
// lost its claim to another one.
func (r *recovery) enterLocked(s *Socket, e *entrance) (ok bool) {
	c := s.comeback
	if c == nil {
		c = &comeback{pid: engine.NewID(), id: s.ID(), floor: r.last, socket: s, live: true}
		s.comeback = c
		r.comebacks[c.pid] = c
		c.joined(r, s.ID())
	} else {
		if c.claimant != s {
			return false
		}
		c.claimant, c.socket, c.live, c.data = nil, s, true, nil
		r.released++                                             // the socket has a hold of its own
		c.stays = slices.DeleteFunc(c.stays, func(t stay) bool { // middleware has taken it out
			return t.to == stillThere && t.room != s.ID() && !slices.Contains(e.rooms, t.room)
		})
		for _, rec := range r.log {
			if rec.offset > e.since && c.concerns(&rec) {
				e.missed = append(e.missed, rec.event)
			}
		}
	}
	for _, room := range e.rooms {
		if !c.isIn(room) {
			c.joined(r, room)
		}
	}
	for _, early := range e.held {
		r.keepLocked(record{only: c}, early)
	}
	return true
}

// concerns reports whether the event was for the client.
func (c *comeback) concerns(rec *record) bool {
	if rec.only != nil {
		return rec.only == c
	}
	there := func(room string) bool {
		return slices.ContainsFunc(c.stays, func(t stay) bool {
			return t.room == room && t.from < rec.offset && rec.offset <= t.to
		})
	}
	return (rec.all || slices.ContainsFunc(rec.rooms, there)) && !slices.ContainsFunc(rec.except, there)
}

func (c *comeback) isIn(room string) bool {
	return slices.ContainsFunc(c.stays, func(t stay) bool { return t.room == room && t.to == stillThere })
}

// joined says that the socket has joined a room. c may be nil, as its recovery then is. recovery.mu
// is held.
func (c *comeback) joined(r *recovery, room string) {
	if c == nil {
		return
	}
	i := slices.IndexFunc(c.stays, func(t stay) bool { return t.room == room && t.to == r.last })
	if i >= 0 {
		c.stays[i].to = stillThere // nothing has been sent since it left
		return
	}
	c.stays = append(c.stays, stay{room, r.last, stillThere})
}

// parted says that the socket has left a room, likewise.
func (c *comeback) parted(r *recovery, room string) {
	if c == nil {
		return
	}
	ended := 0
	for i := range c.stays {
		t := &c.stays[i]
		if t.room == room && t.to == stillThere {
			t.to = r.last
		}
		if t.to != stillThere {
			ended++
		}
	}
	first := r.firstLocked()
	c.stays = slices.DeleteFunc(c.stays, func(t stay) bool {
		forget := t.from == t.to || t.to < first || t.to != stillThere && ended > maxStays
		if forget {
			ended--
			if t.from != t.to && t.to >= first {
				c.floor = max(c.floor, t.to)
			}
		}
		return forget
	})
}

// leaveLocked is called when the socket of a comeback has disconnected. It reports whether the comeback
// keeps the socket's hold on the namespace, and waits for the client, which it does unless
// one of both sides wanted to part.
func (r *recovery) leaveLocked(s *Socket, reason Reason) (kept bool) {
	c := s.comeback
	c.live = false
	if !recoverable(reason) {
		delete(r.comebacks, c.pid)
		c.claimant = nil
		return false
	}
	c.left = time.Now()
	if c.claimant == nil {
		r.awaitLocked(c)
	}
	return true
}

// done is called when the last handler of a socket has run.
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
