package parley

import (
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
// fails, this does not: a client that has not had an event yet is recovered, too; a
// volatile event whose last argument is a string does not spoil the client's offset; a
// pid is good for one return, and not after a deliberate disconnect; and a client that is
// back before its old connection was missed takes the socket over.
type recovery struct {
	opts  *Recovery
	epoch string // distinguishes our offsets from those of another process

	// order is held while an event gets its offset and is queued for its receivers: they
	// must see offsets rise. No handler is called under it.
	order sync.Mutex

	mu       sync.Mutex // guards what follows; taken after order
	last     uint64     // offset of the newest event
	log      []record   // oldest first
	bytes    int        // of log
	live     map[string]*Socket
	saved    map[string]*savedSocket
	oldest   []*savedSocket // saved, in the order in which they left
	sweeping bool           // a timer is set
}

// record is an event of the log.
type record struct {
	offset        uint64
	at            time.Time
	rooms, except []string
	event         *Encoded
	size          int
}

// savedSocket is what is left of a socket whose client may come back.
type savedSocket struct {
	pid, id  string
	rooms    []string
	data     any
	joinedAt uint64
	left     time.Time
}

func newRecovery(o *Recovery) *recovery {
	return &recovery{
		opts: o, epoch: engine.NewID()[:8] + ".",
		live: map[string]*Socket{}, saved: map[string]*savedSocket{},
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

func (r *recovery) format(offset uint64) string { return r.epoch + strconv.FormatUint(offset, 36) }

func (r *recovery) parse(offset string) (uint64, bool) {
	digits, ours := strings.CutPrefix(offset, r.epoch)
	n, err := strconv.ParseUint(digits, 36, 64)
	return n, ours && err == nil
}

// emit sends an event to those whom b chooses, or to one of them only, and keeps it.
func (r *recovery) emit(b *Broadcast, only *Socket, event string, args []any) error {
	e, heard, err := r.transmit(b, only, event, args)
	for _, s := range heard {
		s.sent(e)
	}
	return err
}

// transmit is emit without the listeners, whom it returns the sockets for.
func (r *recovery) transmit(b *Broadcast, only *Socket, event string, args []any) (e *Encoded, heard []*Socket, err error) {
	r.order.Lock()
	defer r.order.Unlock()
	if b.volatile {
		e, err = r.encodeVolatile(b, event, args)
		if err == nil {
			heard = b.nsp.transmit(b, e)
		}
		return e, heard, err
	}
	r.mu.Lock()
	offset := r.last + 1
	r.mu.Unlock()
	e, err = b.encode(-1, event, append(slices.Clip(args), r.format(offset)))
	if err != nil {
		return nil, nil, err
	}
	rooms := b.rooms
	if b.self != nil {
		rooms = []string{b.self.ID()}
	}
	r.mu.Lock()
	r.last = offset
	r.keepLocked(record{offset: offset, at: time.Now(), rooms: rooms, except: b.except, event: e})
	r.mu.Unlock()
	if only == nil {
		return e, b.nsp.transmit(b, e), nil
	}
	if !only.Connected() || !only.transmit(e, false) {
		return nil, nil, ErrDisconnected
	}
	return e, []*Socket{only}, nil
}

// encodeVolatile encodes an event that is not kept. A client takes a last argument that is
// a string for an offset, so such an event gets a real one: that of the last event before.
func (r *recovery) encodeVolatile(b *Broadcast, event string, args []any) (*Encoded, error) {
	e, err := b.encode(-1, event, args)
	if err == nil && len(args) > 0 && endsInString(args[len(args)-1]) {
		r.mu.Lock()
		last := r.last
		r.mu.Unlock()
		e, err = b.encode(-1, event, append(slices.Clip(args), r.format(last)))
	}
	return e, err
}

func endsInString(v any) bool {
	b, err := json.Marshal(v)
	return err == nil && len(b) > 0 && b[0] == '"'
}

// keepLocked adds to the log and drops what is too old or too much.
func (r *recovery) keepLocked(rec record) {
	const overhead = 200
	rec.size = overhead
	for _, m := range rec.event.messages {
		rec.size += m.Size()
	}
	r.log = append(r.log, rec)
	r.bytes += rec.size
	r.trimLocked(rec.at)
	r.sweepLocked()
}

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
	for len(r.oldest) > 0 {
		first := r.oldest[0]
		current := r.saved[first.pid] == first
		if current && len(r.saved) <= r.opts.MaxSessions && !first.left.Before(limit) {
			break
		}
		if current {
			delete(r.saved, first.pid)
		}
		r.oldest[0] = nil
		r.oldest = r.oldest[1:]
	}
}

// sweepLocked sees to it that nothing stays for ever when nothing happens.
func (r *recovery) sweepLocked() {
	if r.sweeping || len(r.log) == 0 && len(r.oldest) == 0 {
		return
	}
	r.sweeping = true
	time.AfterFunc(r.opts.MaxDisconnection, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sweeping = false
		r.trimLocked(time.Now())
		r.sweepLocked()
	})
}

// restore makes s the socket that its client had before, if the client says which and it
// can be done.
func (r *recovery) restore(s *Socket) {
	var auth struct {
		PID    string `json:"pid"`
		Offset string `json:"offset"`
	}
	if s.DecodeAuth(&auth) != nil || auth.PID == "" {
		return
	}
	r.mu.Lock()
	old := r.live[auth.PID]
	r.mu.Unlock()
	if old != nil { // its connection is gone, but that was not noticed yet
		old.conn.session.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.saved[auth.PID]
	if was == nil {
		return
	}
	delete(r.saved, auth.PID)
	since := was.joinedAt
	if auth.Offset != "" {
		var ours bool
		if since, ours = r.parse(auth.Offset); !ours {
			return
		}
	}
	if since > r.last || since+1 < r.firstLocked() || time.Since(was.left) > r.opts.MaxDisconnection {
		return
	}
	s.member.ID, s.pid, s.joinedAt, s.recovered = was.id, was.pid, since, true
	s.data, s.was = was.data, was
	s.Join(was.rooms...) // within the limit, as it was
}

// firstLocked returns the offset of the oldest event of the log, or of the next one.
func (r *recovery) firstLocked() uint64 {
	if len(r.log) == 0 {
		return r.last + 1
	}
	return r.log[0].offset
}

// admit lets s in: what it missed, the answer, and what comes from now on, in this order.
// It returns what it missed, and the rooms that had nobody in them.
func (r *recovery) admit(s *Socket) (missed []*Encoded, created []string) {
	r.order.Lock()
	defer r.order.Unlock()
	var rooms []string
	if s.was != nil { // middleware may have taken it out of some
		rooms = slices.DeleteFunc(slices.Clone(s.was.rooms), func(room string) bool { return room != s.ID() && !s.InRoom(room) })
	}
	r.mu.Lock()
	for _, rec := range r.log {
		if s.recovered && rec.offset > s.joinedAt && rec.includes(rooms) {
			missed = append(missed, rec.event)
		}
	}
	if !s.recovered {
		s.joinedAt, s.pid = r.last, engine.NewID()
	}
	r.live[s.pid] = s
	r.mu.Unlock()
	for _, e := range missed {
		s.transmit(e, false)
	}
	created = s.enter()
	if s.recovered {
		s.nsp.srv.stats.recovered.Add(1)
	}
	s.was = nil
	return missed, created
}

func (rec *record) includes(rooms []string) bool {
	has := func(room string) bool { return slices.Contains(rooms, room) }
	return (len(rec.rooms) == 0 || slices.ContainsFunc(rec.rooms, has)) && !slices.ContainsFunc(rec.except, has)
}

// leave keeps what is needed for the client's return, unless one of both sides wanted to
// part.
func (r *recovery) leave(s *Socket, reason Reason) {
	rooms := s.member.Rooms()
	s.mu.Lock()
	if !s.entered { // gone again before it was admitted
		rooms = append([]string{s.ID()}, s.joining...)
	}
	data := s.data
	s.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live[s.pid] != s {
		return
	}
	delete(r.live, s.pid)
	if !recoverable(reason) {
		return
	}
	was := &savedSocket{pid: s.pid, id: s.ID(), rooms: rooms, data: data, joinedAt: s.joinedAt, left: time.Now()}
	r.saved[s.pid] = was
	r.oldest = append(r.oldest, was)
	r.trimLocked(was.left)
	r.sweepLocked()
}
