package remote

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/history"
)

// FollowOptions say what to follow.
type FollowOptions struct {
	Rooms []string
	All   bool // all conversations, in place of Rooms
	Notes bool // the notes of operators in Rooms as well
	// Newest and Since say where a room begins of which the State has nothing: with the last numbers of the
	// room, or if Since is not zero, at a time.
	Newest int64
	Since  time.Time
	// Say is called with what people should know.
	Say func(format string, args ...any)
}

// An Item is a message, or a change of one.
type Item struct {
	conversation.Message
	Note bool // it is a note
}

// A Follower delivers the messages of rooms and their changes, each once and in the order of the room,
// without a gap, from where a State ends. It joins again after interruptions. Next and State belong to one
// goroutine.
//
// What it has of a room is complete up to a number, whatever happens. A live message counts if it has the
// next number. If it has a later one, the Follower reads what is missing.
type Follower struct {
	s        *Session
	o        FollowOptions
	handlers []*client.Registration

	mu       sync.Mutex
	rooms    map[string]*followed
	due      []*followed // for which there is something to do
	joined   int         // rooms
	queued   int         // live messages
	lobby    Position
	watching bool
	early    int64 // the lobby's position that came before the answer to watchRooms
	since    history.Time
	turns    int64

	connections int64         // so far
	news        chan struct{} // holds one element if there is something new
}

// followed is a room.
type followed struct {
	id       string
	messages stream
	notes    stream
	seen     int64 // the largest number of messages that the lobby has told
	joined   bool
	wanted   bool // it is to be joined, also if nothing has happened there
	listed   bool // it is in due
	turn     int64
}

// stream is one sequence of numbers.
type stream struct {
	note   bool
	at     Position
	live   []conversation.Message // that came after at, in their order
	behind bool                   // pages have to be read
}

const (
	maxLive   = 1000 // live messages that wait; if there are more, they are read again
	maxJoined = 100  // rooms that a Follower of all is in
	pageSize  = 500
)

// Follow begins to follow. Close the Follower before the session.
func (s *Session) Follow(o FollowOptions, from *State) *Follower {
	f := &Follower{s: s, o: o, rooms: map[string]*followed{}, lobby: from.Lobby, since: from.Since, news: make(chan struct{}, 1)}
	for id, place := range from.Rooms {
		r := f.roomLocked(id)
		r.messages.at, r.notes.at = place.Messages, place.Notes
		r.messages.behind = place.Behind
		if place.Behind && o.All {
			f.listLocked(r)
		}
	}
	for _, id := range o.Rooms {
		r := f.roomLocked(id)
		r.wanted = true
		f.listLocked(r)
	}
	hear := func(note bool) func(context.Context, conversation.Message) error {
		return func(_ context.Context, m conversation.Message) error { f.hear(m, note); return nil }
	}
	f.handlers = []*client.Registration{
		client.On(s.client, conversation.NewMessage, hear(false)), client.On(s.client, conversation.MessageChanged, hear(false)),
		client.On(s.client, conversation.NewNote, hear(true)), client.On(s.client, conversation.NoteChanged, hear(true)),
		client.On(s.client, conversation.ErrorNotice, func(_ context.Context, n conversation.Notice) error { f.notice(n); return nil }),
		s.client.OnConnect(func(client.Connection) { f.anew() }),
		s.client.OnDisconnect(func(error) { f.tell() }),
	}
	if o.All {
		f.handlers = append(f.handlers,
			client.On(s.client, conversation.RoomChanged, func(_ context.Context, n conversation.RoomNews) error { f.changed(n); return nil }),
			client.On(s.client, conversation.RoomGone, func(_ context.Context, l conversation.RoomLoss) error { f.gone(l.RoomID); return nil }))
	}
	return f
}

// Close ends following.
func (f *Follower) Close() {
	for _, h := range f.handlers {
		h.Remove()
	}
}

// State returns how far the Follower has come, with what Next has returned.
func (f *Follower) State() *State {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.forgetLocked()
	s := &State{Rooms: make(map[string]Place, len(f.rooms)), Lobby: f.lobby, Since: f.since}
	for id, r := range f.rooms {
		p := Place{Messages: r.messages.at, Notes: r.notes.at}
		p.Behind = f.o.All && r.behind()
		s.Rooms[id] = p
	}
	return s
}

// behind reports whether there is more of the room.
func (r *followed) behind() bool {
	return r.messages.pending() || r.notes.pending() || r.seen > r.messages.at.After
}

func (s *stream) pending() bool { return s.behind || len(s.live) > 0 }

// forgetLocked forgets rooms in which nothing has happened for the longest time, if there are too many.
func (f *Follower) forgetLocked() {
	if len(f.rooms) <= maxPlaces {
		return
	}
	all := slices.SortedFunc(maps.Values(f.rooms), func(a, b *followed) int { return a.messages.at.At.Compare(b.messages.at.At.Time) })
	for _, r := range all[:len(all)/2] {
		if r.wanted || r.joined || r.listed || r.behind() {
			continue
		}
		delete(f.rooms, r.id)
		if at := r.messages.at.At; at.After(f.since.Time) {
			f.since = history.TimeMilli(at.UnixMilli() + 1)
		}
	}
}

func (f *Follower) roomLocked(id string) *followed {
	r := f.rooms[id]
	if r == nil {
		r = &followed{id: id, notes: stream{note: true}}
		f.rooms[id] = r
	}
	return r
}

// listLocked notes that there is something to do for a room.
func (f *Follower) listLocked(r *followed) {
	if !r.listed {
		r.listed = true
		f.due = append(f.due, r)
	}
	f.tell()
}

func (f *Follower) tell() {
	select {
	case f.news <- struct{}{}:
	default:
	}
}

// hear takes a live message.
func (f *Follower) hear(m conversation.Message, note bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.rooms[m.RoomID]
	if r == nil || !r.joined {
		return
	}
	s := &r.messages
	if note {
		s = &r.notes
	}
	if f.queued < maxLive {
		s.live = append(s.live, m)
		f.queued++
	} else {
		s.behind = true
	}
	f.listLocked(r)
}

// anew begins with a new connection.
func (f *Follower) anew() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connections++
	f.watching, f.early, f.joined, f.queued = false, 0, 0, 0
	for _, r := range f.rooms {
		r.messages.live, r.notes.live = nil, nil // another store may answer now
		if r.joined || r.wanted {
			r.joined = false
			f.listLocked(r)
		}
	}
	f.tell()
}

// notice takes a refusal that no request has asked for: what the client was in has ended.
func (f *Follower) notice(n conversation.Notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n.Event == string(conversation.WatchRooms) {
		f.watching = false
		f.tell()
		return
	}
	for _, r := range f.rooms { // whichever it is
		if r.joined {
			f.leftLocked(r)
			f.listLocked(r)
		}
	}
}

// leftLocked notes that the client is not in a room any more. When it joins again, the answer says what it
// lacks.
func (f *Follower) leftLocked(r *followed) {
	f.joined--
	f.queued -= len(r.messages.live) + len(r.notes.live)
	r.joined, r.messages.live, r.notes.live = false, nil, nil
}

// Next returns the next messages, at most most, and waits for them until ctx ends. The error is ctx's, or the
// *event.Error with which the server refuses.
func (f *Follower) Next(ctx context.Context, most int) ([]Item, error) {
	for {
		if f.s.client.State().Status == client.Idle { // the server has disconnected it
			if err := f.reconnect(ctx); err != nil {
				return nil, err
			}
		}
		if f.o.All && !f.isWatching() {
			if err := f.watch(ctx); err != nil {
				return nil, err
			}
		}
		r := f.take()
		if r == nil {
			select {
			case <-f.news:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		items, err := f.advance(ctx, r, most)
		var refused *event.Error
		if f.o.All && errors.As(err, &refused) && slices.Contains(lost, refused.Code) {
			f.gone(r.id)
			continue
		}
		if err != nil || len(items) > 0 {
			return items, err
		}
	}
}

// lost are the codes of refusals that a Follower of all takes for the end of a room: it was erased, or is
// another's now.
var lost = []string{string(conversation.NotFound), string(conversation.Gone), string(conversation.Forbidden)}

func (f *Follower) reconnect(ctx context.Context) error {
	err := f.s.connect(ctx)
	if errors.Is(err, ErrUnreachable) { // the client goes on trying
		return nil
	}
	return err
}

func (f *Follower) isWatching() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.watching
}

// take returns the next room for which there is something to do.
func (f *Follower) take() *followed {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.due) == 0 {
		return nil
	}
	r := f.due[0]
	f.due = f.due[1:]
	f.turns++
	r.listed, r.turn = false, f.turns
	return r
}

// advance goes on in a room.
func (f *Follower) advance(ctx context.Context, r *followed, most int) ([]Item, error) {
	f.mu.Lock()
	joined := r.joined
	f.mu.Unlock()
	if !joined {
		if err := f.enter(ctx, r); err != nil {
			return nil, err
		}
	}
	for _, s := range []*stream{&r.messages, &r.notes} {
		items, err := f.advanceStream(ctx, r, s, most)
		f.mu.Lock()
		if r.messages.pending() || r.notes.pending() {
			f.listLocked(r)
		}
		f.mu.Unlock()
		if err != nil || len(items) > 0 {
			return items, err
		}
	}
	return nil, nil
}

// enter joins a room, and finds where its streams begin.
func (f *Follower) enter(ctx context.Context, r *followed) error {
	if err := f.makeRoom(ctx); err != nil {
		return err
	}
	q := f.s.join(r.id)
	q.Notes = f.o.Notes
	f.mu.Lock()
	f.joined++
	r.joined = true // live messages may come before we see the answer
	f.mu.Unlock()
	joined, err := Ask(ctx, f.s, conversation.JoinRoom, q)
	if err == nil {
		err = f.begin(ctx, r, &r.messages, &joined.Page)
	}
	if err == nil && joined.Notes != nil {
		err = f.begin(ctx, r, &r.notes, joined.Notes)
	}
	if err != nil {
		f.mu.Lock()
		if r.joined {
			f.leftLocked(r)
		}
		f.mu.Unlock()
	}
	return err
}

// makeRoom leaves the room in which nothing has happened for the longest time, if a Follower of all is in too
// many.
func (f *Follower) makeRoom(ctx context.Context) error {
	f.mu.Lock()
	var oldest *followed
	if f.o.All && f.joined >= maxJoined {
		for _, r := range f.rooms {
			if r.joined && (oldest == nil || r.turn < oldest.turn) {
				oldest = r
			}
		}
	}
	if oldest != nil {
		if oldest.behind() {
			f.listLocked(oldest)
		}
		f.leftLocked(oldest)
	}
	f.mu.Unlock()
	if oldest == nil {
		return nil
	}
	_, err := Ask(ctx, f.s, conversation.LeaveRoom, conversation.RoomRequest{RoomID: oldest.id})
	return err
}

// begin finds where a stream begins that the client has joined. The page is that of joining.
func (f *Follower) begin(ctx context.Context, r *followed, s *stream, page *conversation.Page) (err error) {
	f.mu.Lock()
	at, since := s.at, f.since.Time
	f.mu.Unlock()
	if at.Epoch == page.Epoch {
		f.mu.Lock()
		s.behind = s.behind || s.at.After < page.LastSeq
		f.mu.Unlock()
		return nil
	}
	if at.Epoch != "" {
		f.o.Say("%s: the server has another store than before; going on by the time", r.id)
	}
	next := Position{Epoch: page.Epoch, At: at.At}
	switch {
	case !at.At.IsZero():
		next.After, err = f.find(ctx, r, s, page.LastSeq, at.At.Add(time.Millisecond))
	case f.o.All:
		next.After, err = f.find(ctx, r, s, page.LastSeq, since)
	case !f.o.Since.IsZero():
		next.After, err = f.find(ctx, r, s, page.LastSeq, f.o.Since)
	default:
		next.After = max(0, page.LastSeq-f.o.Newest)
	}
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s.at, s.behind = next, next.After < page.LastSeq
	if !s.note && at.Epoch != "" {
		r.seen = 0 // it was told of the old numbering
	}
	return nil
}

// find returns the number after which everything has happened since a time.
func (f *Follower) find(ctx context.Context, r *followed, s *stream, last int64, since time.Time) (int64, error) {
	if since.IsZero() {
		return 0, nil
	}
	low, high := int64(0), last // it is one of them, or in between
	for low < high {
		middle := low + (high-low)/2
		page, err := f.read(ctx, r, s, middle, 1)
		if err != nil {
			return 0, err
		}
		if len(page.Messages) == 0 || !changedAt(&page.Messages[0]).Before(since) {
			high = middle
		} else {
			low = min(high, page.Messages[0].Number())
		}
	}
	return high, nil
}

// changedAt returns the time of the last change of a message.
func changedAt(m *conversation.Message) history.Time {
	if !m.EditedAt.IsZero() {
		return m.EditedAt
	}
	return m.Timestamp
}

// read reads a page after a number.
func (f *Follower) read(ctx context.Context, r *followed, s *stream, after int64, limit int) (conversation.Page, error) {
	page, err := Ask(ctx, f.s, conversation.History, conversation.HistoryRequest{RoomID: r.id, After: &after, Limit: limit, Notes: s.note})
	var refused *event.Error
	switch {
	case !errors.As(err, &refused):
		return page, err
	case refused.Code == string(conversation.NotJoined):
		return page, errLeft
	case refused.Code == string(conversation.Gone) && after > 0: // deleted for its age: what is left comes after that
		return f.read(ctx, r, s, 0, limit)
	}
	return page, err
}

// errLeft says that the client is not in the room any more.
var errLeft = errors.New("remote: the room was left")

// advanceStream goes on in a stream.
func (f *Follower) advanceStream(ctx context.Context, r *followed, s *stream, most int) (items []Item, err error) {
	f.mu.Lock()
	at, behind, seen := s.at, s.behind, r.seen
	s.behind = false // unless something happens while the page is read
	f.mu.Unlock()
	if !behind {
		items = f.takeLive(r, s, most)
		f.mu.Lock()
		defer f.mu.Unlock()
		if !s.note && !s.pending() && r.seen > s.at.After { // what the lobby has told comes live, or not
			s.behind = true
		}
		return items, nil
	}
	page, err := f.read(ctx, r, s, at.After, min(most, pageSize))
	switch {
	case errors.Is(err, errLeft): // the connection was lost meanwhile, or it comes as a notice
		f.mu.Lock()
		defer f.mu.Unlock()
		s.behind = true
		if r.joined {
			f.leftLocked(r)
		}
		return nil, nil
	case err == nil && page.Epoch != at.Epoch:
		return nil, f.begin(ctx, r, s, &page)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		s.behind = true
		return nil, err
	}
	for _, m := range page.Messages {
		if m.Number() > s.at.After {
			items = append(items, s.deliver(m))
		}
	}
	if page.HasMore {
		s.behind = true
		return items, nil
	}
	s.at.After = max(s.at.After, page.LastSeq)
	if !s.note && r.seen == seen { // what the lobby has told meanwhile may be newer than the page
		r.seen = min(seen, s.at.After)
	}
	return items, nil
}

// deliver counts a message as taken.
func (s *stream) deliver(m conversation.Message) Item {
	s.at.After, s.at.At = m.Number(), changedAt(&m)
	return Item{m, s.note}
}

// takeLive takes live messages as long as nothing is missing before them.
func (f *Follower) takeLive(r *followed, s *stream, most int) (items []Item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(s.live) > 0 && len(items) < most && !s.behind {
		m := s.live[0]
		switch n := m.Number(); {
		case n == s.at.After+1:
			items = append(items, s.deliver(m))
		case n > s.at.After:
			s.behind = true
			f.queued -= len(s.live)
			s.live = nil
			return items
		}
		s.live = s.live[1:]
		f.queued--
	}
	if len(s.live) == 0 {
		s.live = nil
	}
	return items
}
