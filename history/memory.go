package history

import (
	"bytes"
	"context"
	"crypto/rand"
	"strconv"
	"sync"
	"time"
)

// Memory is a Store that loses everything when the process ends. Until then it grows without limit.
// It is safe for concurrent use.
type Memory struct {
	epoch string
	now   func() time.Time

	mu     sync.RWMutex
	rooms  map[string]*memoryRoom
	closed bool
}

type memoryRoom struct {
	number   int64     // distinguishes the room in message ids
	messages []Message // messages[i] has seq i+1
	clients  map[memoryKey]int64
}

// memoryKey is the scope of a client id within a room. A prefix in author distinguishes a user from
// an operator with the same name.
type memoryKey struct{ author, clientID string }

// NewMemory returns an empty store.
func NewMemory() *Memory {
	return &Memory{epoch: rand.Text(), now: time.Now, rooms: make(map[string]*memoryRoom)}
}

// Append implements [Store].
func (s *Memory) Append(ctx context.Context, drafts []Draft) ([]Appended, error) {
	if err := ctx.Err(); err != nil {
		return nil, ErrUnavailable.Wrap("append", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	now := s.now().UnixMilli()
	results := make([]Appended, len(drafts))
	for i, d := range drafts {
		results[i] = s.appendLocked(d, now)
	}
	return results, nil
}

func (s *Memory) appendLocked(d Draft, now int64) Appended {
	d, err := d.Prepare()
	if err != nil {
		return Appended{Err: err}
	}
	room := s.rooms[d.RoomID]
	if room == nil {
		room = &memoryRoom{number: int64(len(s.rooms) + 1), clients: make(map[memoryKey]int64)}
		s.rooms[d.RoomID] = room
	}
	key := memoryKey{"u" + d.UserID, d.ClientID}
	if d.OperatorID != "" {
		key.author = "o" + d.OperatorID
	}
	if seq, ok := room.clients[key]; ok && d.ClientID != "" {
		original := room.messages[seq-1]
		if !bytes.Equal(original.Message, d.Message) {
			return Appended{Err: ErrKeyReuse}
		}
		return Appended{Message: original, Dup: true}
	}
	seq := int64(len(room.messages) + 1)
	if seq > 1 {
		now = max(now, room.messages[seq-2].Timestamp.UnixMilli())
	}
	m := Message{
		ID:         strconv.FormatInt(room.number<<32|seq, 10),
		RoomID:     d.RoomID,
		Seq:        seq,
		UserID:     d.UserID,
		OperatorID: d.OperatorID,
		Message:    d.Message,
		Timestamp:  TimeMilli(now),
		ClientID:   d.ClientID,
	}
	room.messages = append(room.messages, m)
	if d.ClientID != "" {
		room.clients[key] = seq
	}
	return Appended{Message: m}
}

// History implements [Store].
func (s *Memory) History(ctx context.Context, room string, p Page) (Slice, error) {
	p, err := p.Prepare()
	if err != nil {
		return Slice{}, err
	}
	messages, err := s.read(ctx, room)
	if err != nil {
		return Slice{}, err
	}
	// The seq of messages[i] is i+1. So messages[seq] is the message after seq.
	head := int64(len(messages))
	from, older, newer := head, p.Limit, Limit{} // the page grows from here in both directions
	switch {
	case p.After != 0:
		from, older, newer = min(max(p.After, 0), head), Limit{}, p.Limit
	case p.Around != 0:
		from = min(p.Around-1, head)
		older, newer = p.Limit.Halves()
	case p.Before != 0:
		from = min(p.Before-1, head)
	}
	to := from
	for from > 0 && older.Take(&messages[from-1]) {
		from--
	}
	for to < head && newer.Take(&messages[to]) {
		to++
	}
	return Slice{
		Messages:   append([]Message{}, messages[from:to]...),
		Head:       head,
		MoreBefore: from > 0,
		MoreAfter:  to < head,
	}, nil
}

// Changes implements [Store].
func (s *Memory) Changes(ctx context.Context, room string, since int64, l Limit) (Slice, error) {
	messages, err := s.read(ctx, room)
	if err != nil {
		return Slice{}, err
	}
	head := int64(len(messages))
	from := min(max(since, 0), head)
	to := from
	for l = l.Prepare(); to < head && l.Take(&messages[to]); {
		to++
	}
	return Slice{
		Messages:   append([]Message{}, messages[from:to]...),
		Head:       head,
		MoreBefore: from > 0,
		MoreAfter:  to < head,
		UpTo:       to,
	}, nil
}

// read returns the room's messages; the slice is only ever appended to.
func (s *Memory) read(ctx context.Context, room string) ([]Message, error) {
	if err := CheckRoom(room); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	if r := s.rooms[room]; r != nil {
		return r.messages, nil
	}
	return nil, nil
}

// Heads implements [Store].
func (s *Memory) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	heads := make(map[string]int64, len(rooms))
	for _, room := range rooms {
		if r := s.rooms[room]; r != nil {
			heads[room] = int64(len(r.messages))
		}
	}
	return heads, nil
}

// Epoch implements [Store].
func (s *Memory) Epoch() string { return s.epoch }

// Close implements [Store].
func (s *Memory) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.rooms = nil
	return nil
}
