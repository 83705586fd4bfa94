package history

import (
	"bytes"
	"context"
	"crypto/rand"
	"sort"
	"strconv"
	"sync"
	"time"
)

// Memory is a Store that loses everything when the process ends. Until then it grows without limit.
// It is safe for concurrent use.
type Memory struct {
	epoch string
	now   func() time.Time

	mu       sync.RWMutex
	rooms    map[string]*memoryRoom
	lastRoom int64 // the number of the newest room
	people   map[string]Person
	visitors map[string][]string // that a user was, sorted
	// change is the newest change of all conversations. changed has the changes in order. Those up to
	// changeFloor are not complete, because something was erased.
	change, changeFloor int64
	changed             []memoryChange
	closed              bool

	records   memoryRecords
	changelog memoryChangelog
	erased    memoryErased
}

// memoryRoom is a room. Memory.mu guards it.
type memoryRoom struct {
	name     string
	number   int64     // distinguishes the room in message ids
	head     int64     // the newest number
	floor    int64     // the largest number that was pruned
	lastAt   int64     // the time of the newest message, in milliseconds
	messages []Message // in the order of their seqs
	edited   []int64   // the seqs of the messages that have a Rev, in the order of the Revs
	clients  map[memoryKey]int64
	marks    map[Member]Mark

	conversation *Room // what is not above; nil: the room belongs to nobody
}

// memoryKey is the scope of a client id within a room.
type memoryKey struct {
	author   Member
	clientID string
}

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{
		epoch: rand.Text(), now: time.Now,
		rooms: make(map[string]*memoryRoom), people: make(map[string]Person), visitors: make(map[string][]string),
	}
}

// Append implements [Store].
func (s *Memory) Append(ctx context.Context, drafts []Draft) ([]Appended, error) {
	var results []Appended
	err := s.write(ctx, "append", func(now int64) error {
		results = make([]Appended, len(drafts))
		for i, d := range drafts {
			results[i] = s.appendLocked(d, now)
		}
		return nil
	})
	return results, err
}

// write calls f with the lock and the time in milliseconds.
func (s *Memory) write(ctx context.Context, doing string, f func(now int64) error) error {
	if err := ctx.Err(); err != nil {
		return ErrUnavailable.Wrap(doing, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return f(s.now().UnixMilli())
}

func (s *Memory) appendLocked(d Draft, now int64) Appended {
	d, err := d.Prepare()
	if err != nil {
		return Appended{Err: err}
	}
	isNew := s.rooms[d.RoomID] == nil
	room := s.makeLocked(d.RoomID)
	if isNew && d.Conversation != nil {
		s.converseLocked(room, d.Conversation, now)
	}
	key := memoryKey{d.Author(), d.ClientID}
	if seq, ok := s.replayLocked(room, &d); ok {
		original := *room.message(seq)
		if original.Rev == 0 && !bytes.Equal(original.Message, d.Message) {
			return Appended{Err: ErrKeyReuse}
		}
		return Appended{Message: original, Dup: true}
	}
	room.head++
	room.lastAt = max(room.lastAt, now)
	m := Message{
		ID:         strconv.FormatInt(room.number<<32|room.head, 10),
		RoomID:     d.RoomID,
		Seq:        room.head,
		UserID:     d.UserID,
		OperatorID: d.OperatorID,
		Message:    d.Message,
		Timestamp:  TimeMilli(room.lastAt),
		ClientID:   d.ClientID,
	}
	if r := room.conversation; r != nil {
		if m.OperatorID != "" {
			m.UserID = r.UserID
		}
		r.Receive(&m, d.KeepOperator)
		r.LastAt = m.Timestamp
		s.changedLocked(room)
	}
	s.logLocked(MessageAdded, room.name, m.Seq, m.Seq)
	room.messages = append(room.messages, m)
	if d.ClientID != "" {
		room.clients[key] = m.Seq
	}
	return Appended{Message: m}
}

// replayLocked returns the seq of the message that d repeats. A user may repeat what it has sent as
// the visitor that it was.
func (s *Memory) replayLocked(r *memoryRoom, d *Draft) (seq int64, found bool) {
	if d.ClientID == "" {
		return 0, false
	}
	author := d.Author()
	seq, found = r.clients[memoryKey{author, d.ClientID}]
	if found || author.UserID == "" || r.conversation == nil || r.conversation.UserID != author.UserID {
		return seq, found
	}
	for _, visitor := range s.visitors[author.UserID] {
		if seq, found := r.clients[memoryKey{Member{UserID: visitor}, d.ClientID}]; found {
			return seq, true
		}
	}
	return 0, false
}

// after returns where the first message is that has a larger seq.
func (r *memoryRoom) after(seq int64) int {
	return sort.Search(len(r.messages), func(i int) bool { return r.messages[i].Seq > seq })
}

// message returns the message with a seq, or nil.
func (r *memoryRoom) message(seq int64) *Message {
	if i := r.after(seq - 1); i < len(r.messages) && r.messages[i].Seq == seq {
		return &r.messages[i]
	}
	return nil
}

// History implements [Store].
func (s *Memory) History(ctx context.Context, room string, p Page) (Slice, error) {
	p, err := p.Prepare()
	if err != nil {
		return Slice{}, err
	}
	slice := Slice{Messages: []Message{}}
	err = s.read(ctx, room, func(r *memoryRoom) error {
		from, older, newer := len(r.messages), p.Limit, Limit{} // the page grows from here in both directions
		switch {
		case p.After != 0:
			from, older, newer = r.after(p.After), Limit{}, p.Limit
		case p.Around != 0:
			from = r.after(p.Around - 1)
			older, newer = p.Limit.Halves()
		case p.Before != 0:
			from = r.after(p.Before - 1)
		}
		to := from
		for from > 0 && older.Take(&r.messages[from-1]) {
			from--
		}
		for to < len(r.messages) && newer.Take(&r.messages[to]) {
			to++
		}
		slice = Slice{
			Messages:   append([]Message{}, r.messages[from:to]...),
			Head:       r.head,
			Floor:      r.floor,
			MoreBefore: from > 0,
			MoreAfter:  to < len(r.messages),
		}
		return nil
	})
	return slice, err
}

// Changes implements [Store].
func (s *Memory) Changes(ctx context.Context, room string, since int64, l Limit) (Slice, error) {
	since, l = max(since, 0), l.Prepare()
	slice := Slice{Messages: []Message{}}
	err := s.read(ctx, room, func(r *memoryRoom) error {
		if slice.Head, slice.Floor = r.head, r.floor; since < r.floor {
			return ErrPruned
		}
		slice.UpTo, slice.MoreBefore = r.head, since > r.floor
		for m := range r.changes(since) {
			if !l.Take(m) {
				// At least one message fits.
				slice.UpTo, slice.MoreAfter = slice.Messages[len(slice.Messages)-1].Number(), true
				break
			}
			slice.Messages = append(slice.Messages, *m)
		}
		return nil
	})
	return slice, err
}

// changes yields the messages whose last change has a larger number, in the order of the changes.
func (r *memoryRoom) changes(since int64) func(yield func(*Message) bool) {
	return func(yield func(*Message) bool) {
		unchanged := r.messages[r.after(since):]
		first := sort.Search(len(r.edited), func(i int) bool { return r.message(r.edited[i]).Rev > since })
		changed := r.edited[first:]
		for {
			for len(unchanged) > 0 && unchanged[0].Rev != 0 {
				unchanged = unchanged[1:]
			}
			var next *Message
			if len(changed) > 0 {
				next = r.message(changed[0])
			}
			switch {
			case len(unchanged) > 0 && (next == nil || unchanged[0].Seq < next.Rev):
				next, unchanged = &unchanged[0], unchanged[1:]
			case next == nil:
				return
			default:
				changed = changed[1:]
			}
			if !yield(next) {
				return
			}
		}
	}
}

// read calls f with a room and the lock. If the room does not exist, it does not.
func (s *Memory) read(ctx context.Context, room string, f func(*memoryRoom) error) error {
	if err := CheckRoom(room); err != nil {
		return err
	}
	return s.look(ctx, func() error {
		if r := s.rooms[room]; r != nil {
			return f(r)
		}
		return nil
	})
}

// look calls f with the lock for reading.
func (s *Memory) look(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return ErrClosed
	}
	return f()
}

// Heads implements [Store].
func (s *Memory) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	heads := make(map[string]int64, len(rooms))
	err := s.look(ctx, func() error {
		for _, room := range rooms {
			if r := s.rooms[room]; r != nil && r.head > 0 {
				heads[room] = r.head
			}
		}
		return nil
	})
	return heads, err
}

// Epoch implements [Store].
func (s *Memory) Epoch() string { return s.epoch }

// Close implements [Store].
func (s *Memory) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.rooms, s.people, s.visitors, s.changed = nil, nil, nil, nil
	s.records, s.changelog = memoryRecords{}, memoryChangelog{}
	return nil
}
