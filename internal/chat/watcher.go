package chat

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// A watcher is a connection that watches the lobby.
type watcher struct {
	lobby  *lobby
	client *Client

	mu     sync.Mutex // held while something is passed on
	pos    int64      // it has everything up to this change
	behind bool
	closed bool
	missed map[string]bool // users of whom there was news while it was behind
}

// maxMissedUsers is of how many users a watcher that is behind gets the latest news later. With more
// of them, those that come later wait for their next news, or for the client's next list.
const maxMissedUsers = 1000

// Watch makes the client one that is told of every change of the conversations. It calls answer
// before any such news. answer must not block. If Watch fails, it does not call answer, and the client
// watches as before. Watching again replaces what the client watched.
func (c *Client) Watch(ctx context.Context, q conversation.WatchRequest, answer func(conversation.Watched)) error {
	s, l, who := c.service, &c.service.lobby, c.Identity()
	if !operates(who) {
		return Refuse(Forbidden, "only operators watch the list of conversations")
	}
	query, err := s.roomQuery(who, q.Filter, q.Sort, q.Limit)
	if err != nil {
		return err
	}
	if q.After != nil && *q.After < 0 {
		return Refuse(BadPayload, "after cannot be negative")
	}
	l.watched.Add(1) // hints count from now on
	var watched conversation.Watched
	err = c.readRooms(ctx, func(ctx context.Context) (rows int, err error) {
		watched, rows, err = s.watched(ctx, who, &q, query)
		return rows, err
	})
	if err != nil {
		l.watched.Add(-1)
		return err
	}
	c.Unwatch()
	w := &watcher{lobby: l, client: c, pos: watched.Position}
	c.watcher.Store(w)
	l.join(w, func() {
		watched.Operators = s.staff.all(who)
		answer(watched)
	})
	return nil
}

// Watchers returns the number of clients that watch the lobby.
func (s *Service) Watchers() int { return int(s.lobby.watched.Load()) }

// Unwatch ends what Watch began, if it has.
func (c *Client) Unwatch() {
	if w := c.watcher.Swap(nil); w != nil {
		w.close()
	}
}

// watched reads what a client lacks, or the first page of the list. It reports the number of rows that
// were read.
func (s *Service) watched(ctx context.Context, who *auth.Identity, q *conversation.WatchRequest, query history.RoomQuery) (w conversation.Watched, rows int, err error) {
	w.Epoch = s.store.Epoch()
	if err := s.staff.recount(ctx); err != nil {
		return w, 0, err
	}
	if q.After != nil && cmp.Or(q.Epoch, w.Epoch) == w.Epoch {
		var rooms []history.Room
		rooms, rows, w.Position, err = s.missed(ctx, query.By, *q.After)
		if err == nil {
			w.Rooms = s.rows(who, rooms)
			w.Counts, err = s.counts(ctx, who, query.By)
			return w, rows, err
		}
		if !errors.Is(err, history.ErrPruned) {
			return w, rows, err
		}
	}
	list, err := s.can.rooms.ListRooms(ctx, query)
	if err != nil {
		return w, rows, err
	}
	w.Rooms, w.Next, w.Position, w.Reset = s.rows(who, list.Rooms), list.Next, list.Head, q.After != nil
	w.Counts, err = s.counts(ctx, who, query.By)
	return w, rows + len(list.Rooms), err
}

// missed returns the conversations that have changed after a position, each once, as many as fit into
// a page, and the position up to which these are complete. The lobby tells the rest. If there are too
// many, or the position means nothing here, the error is ErrPruned.
func (s *Service) missed(ctx context.Context, by history.Member, after int64) (rooms []history.Room, rows int, position int64, err error) {
	bytes, full := 0, false
	for position = after; ; {
		changed, err := s.can.rooms.ChangedRooms(ctx, after, history.MaxLimit, by)
		if err != nil {
			return nil, rows, 0, err
		}
		if rows += len(changed.Rooms); rows > maxMissed || after > changed.Head {
			return nil, rows, 0, history.ErrPruned
		}
		for _, r := range changed.Rooms {
			if bytes += rowBytes(&r); bytes > s.opts.PageBytes && len(rooms) > 0 {
				full = true
			}
			if full {
				break
			}
			rooms, position = append(rooms, r), r.Change
		}
		if !full {
			position = changed.Next
		}
		if after = changed.Next; after >= changed.Head {
			return newest(rooms), rows, position, nil
		}
	}
}

// newest keeps the last row of each room.
func newest(rooms []history.Room) []history.Room {
	last := make(map[string]int64, len(rooms))
	for i := range rooms {
		last[rooms[i].RoomID] = rooms[i].Change
	}
	return slices.DeleteFunc(rooms, func(r history.Room) bool { return last[r.RoomID] != r.Change })
}

// rowBytes returns about how large a row is.
func rowBytes(r *history.Room) int {
	const others = 600 // bytes of names, times and the excerpt
	return others + len(r.RoomID) + len(r.UserID) + len(r.Subject) + len(r.Attributes) + len(r.Labels)*history.MaxLabel
}

// join adds a watcher, which has everything up to its position, and calls answer before it is told
// anything.
func (l *lobby) join(w *watcher, answer func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l.mu.Lock()
	if len(l.watchers) == 0 {
		l.at, l.watchers = w.pos, make(map[*watcher]bool)
	}
	if c := l.service.cluster; c != nil && l.hearing == nil {
		l.hearing = c.Hear(lobbySubject, func(adapter.Node, []byte) { l.hint() })
	}
	l.watchers[w] = true
	if w.behind = w.pos < l.at; w.behind {
		l.ready = append(l.ready, w)
	}
	l.hinted = true // what was committed before hints counted
	l.settleLocked()
	l.mu.Unlock()
	answer()
}

// close ends the watch. After it returns, nothing is on its way.
func (w *watcher) close() {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	w.mu.Unlock()
	if !closed {
		w.lobby.leave(w)
	}
}

func (l *lobby) leave(w *watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.watchers, w)
	l.watched.Add(-1)
	l.settleLocked()
}

// lose ends the watch, and says so.
func (w *watcher) lose() {
	w.mu.Lock()
	closed := w.closed
	w.closed = true
	if !closed {
		w.client.peer.Announce(newNotice(conversation.ErrorNotice, conversation.Notice{
			Code: conversation.Gone, Message: "conversations were erased: watch again", Event: string(conversation.WatchRooms),
		}))
	}
	w.mu.Unlock()
	if !closed {
		w.lobby.leave(w)
	}
}

// deliver passes on a row, unless the watcher has it.
func (w *watcher) deliver(row rowNews) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && !w.behind {
		w.passLocked(row)
	}
}

// passLocked passes on a row, unless the watcher has it. It reports false if the watcher is behind.
func (w *watcher) passLocked(row rowNews) bool {
	switch {
	case row.change <= w.pos:
	case !w.lobby.service.mayRead(w.client.Identity(), row.room, row.owner):
	case w.client.peer.Behind():
		w.behind = true
		w.client.peer.WhenDrained(w.drained)
		return false
	default:
		w.pos = row.change
		w.client.peer.Announce(row.notice)
	}
	return true
}

// again passes on a row that the watcher has had. If it has not, the row comes when it is its turn.
func (w *watcher) again(row rowNews) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && row.change <= w.pos && w.lobby.service.mayRead(w.client.Identity(), row.room, row.owner) {
		w.client.peer.Announce(row.notice)
	}
}

// advance says that nothing is left up to a change.
func (w *watcher) advance(to int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.behind {
		w.pos = max(w.pos, to)
	}
}

// tell passes on something that is not stored, in the same order. A watcher that is behind gets what
// is about a user later.
func (w *watcher) tell(n *Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
	case w.behind && n.about != "":
		if len(w.missed) < maxMissedUsers {
			w.missed = put(w.missed, n.about, true)
		}
	default:
		w.client.peer.Announce(n)
	}
}

// drained is called when the client has taken what it had.
func (w *watcher) drained() {
	l := w.lobby
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watchers[w] {
		l.ready = append(l.ready, w)
		l.settleLocked()
	}
}

// waiting returns the watcher's position, and whether it is behind.
func (w *watcher) waiting() (pos int64, waits bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pos, w.behind && !w.closed
}

// take passes on what a watcher that is behind lacks, as much as its client takes. If it then has
// everything up to at, it is live. Otherwise take reports whether the client takes more.
func (w *watcher) take(changed history.ChangedRooms, at int64) (more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range w.lobby.news(changed) {
		if w.closed || !w.passLocked(row) {
			return false
		}
	}
	w.pos = max(w.pos, changed.Next)
	w.behind = w.pos < at
	if !w.behind {
		for user := range w.missed {
			w.client.peer.Announce(w.lobby.service.visitors.notice(user))
		}
		w.missed = nil
	}
	return w.behind
}
