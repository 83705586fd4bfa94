package chat

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// The lobby tells operators of every change of every conversation. It is joined like a room, without
// a gap and without a buffer: the order of changes in the store takes the buffer's place.
//
//	watch:   read a page, and with it the position p up to which it is complete; answer
//	         p ≥ at: live from now on     p < at: behind, at p
//	live:    gets each row that the lobby broadcasts, unless it has it
//	behind:  gets nothing until its client has taken what it had; then the lobby reads what has
//	         changed since its position, until it has everything up to at: live again
//
// at is the change up to which the lobby has broadcast. One goroutine at a time broadcasts and reads
// for those that are behind. So at does not move while it makes somebody live. The goroutine exists
// while there is something to do, and the timer while somebody watches.
//
// Nobody needs to believe a position that others have reached: each row goes out with the change up
// to which its receiver then lacks nothing, which is the row's own, because rows come in the order of
// changes. If a connection breaks between two rows, its client goes on from there.
type lobby struct {
	service *Service

	poll    time.Duration
	watched atomic.Int32 // watchers, and those that read their first page

	mu       sync.Mutex
	watchers map[*watcher]bool
	at       int64
	hinted   bool       // there may be changes
	read     time.Time  // when the lobby last looked for changes
	ready    []*watcher // behind; their clients have taken what they had
	gone     []string   // rooms that were erased
	running  bool
	timer    *time.Timer       // made when first needed; runs while there are watchers, unless running
	hearing  adapter.Listening // to hints of other servers, while there are watchers
	failing  bool              // the store failed when the lobby last read
}

const (
	// lobbyEvery is the shortest time between two reads of what has changed. So a conversation causes
	// one row in this time, however much happens in it.
	lobbyEvery = 250 * time.Millisecond
	// lobbyPoll is the longest time. It makes hints that are lost harmless, also those of other servers.
	lobbyPoll = time.Second
	// maxMissed is how many conversations may have changed while a client was away, for the client to
	// go on from its position.
	maxMissed = 2000
)

// hint says that conversations may have changed. It costs next to nothing while nobody watches.
func (l *lobby) hint() {
	if l.watched.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.hinted {
		l.hinted = true
		l.settleLocked()
	}
}

func (l *lobby) erased(rooms []string) {
	if l.watched.Load() == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone = append(l.gone, rooms...)
	l.hinted = true
	l.settleLocked()
}

// settleLocked makes sure that step is called when there is something to do.
func (l *lobby) settleLocked() {
	switch {
	case l.running:
	case len(l.watchers) == 0:
		l.ready, l.gone = nil, nil
		if l.hearing != nil {
			l.hearing.Close()
			l.hearing = nil
		}
		if l.timer != nil {
			l.timer.Stop()
		}
	default:
		wait := l.waitLocked()
		if len(l.ready) > 0 && !l.failing {
			wait = 0
		}
		if l.timer == nil {
			l.timer = time.AfterFunc(wait, l.run)
		} else {
			l.timer.Reset(wait)
		}
	}
}

// waitLocked returns the time until the next read of what has changed.
func (l *lobby) waitLocked() time.Duration {
	every := l.poll
	if l.hinted && !l.failing {
		every = lobbyEvery
	}
	return max(0, every-time.Since(l.read))
}

// run does what there is to do. It is the lobby's goroutine.
func (l *lobby) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return
	}
	l.running = true
	for len(l.watchers) > 0 {
		switch {
		case l.waitLocked() == 0:
			l.hinted, l.read = false, time.Now()
			l.broadcastLocked()
		case len(l.ready) > 0 && !l.failing:
			w := l.ready[0]
			l.ready = l.ready[1:]
			l.catchUpLocked(w)
		default:
			l.running = false
			l.settleLocked()
			return
		}
	}
	l.running = false
	l.settleLocked()
}

// broadcastLocked tells those that are live what has changed since at. It unlocks the lobby
// meanwhile.
func (l *lobby) broadcastLocked() {
	gone := l.gone
	l.gone = nil
	for _, room := range gone {
		n := newNotice(conversation.RoomGone, conversation.RoomLoss{RoomID: room})
		l.tellLocked(n, n)
	}
	for more := true; more; {
		at := l.at
		changed, err := l.changedLocked(at)
		switch {
		case l.at != at: // everybody has left, and somebody has come
			continue
		case errors.Is(err, history.ErrPruned): // whoever comes now has a later position
			lost := l.watchers
			l.watchers = nil
			l.unlocked(func([]*watcher) {
				for w := range lost {
					w.lose()
				}
			})
			return
		case err != nil:
			l.gone = append(gone, l.gone...)
			return
		}
		l.at, more = changed.Next, changed.Next < changed.Head
		l.unlocked(func(watchers []*watcher) {
			if len(changed.Rooms) > 0 {
				l.service.staff.changed()
			}
			for _, row := range l.news(changed) {
				for _, w := range watchers {
					w.deliver(row)
				}
			}
			for _, w := range watchers {
				w.advance(changed.Next)
			}
		})
	}
	l.unlocked(func(watchers []*watcher) {
		ctx, cancel := l.service.bounded(context.Background())
		defer cancel()
		l.revive(ctx, gone, watchers)
		l.service.staff.recount(ctx) // again later if it fails
	})
}

// revive tells again of those rooms that were written again before watchers were told that they
// were erased: whoever had a new row has dropped it with the old one.
func (l *lobby) revive(ctx context.Context, gone []string, watchers []*watcher) {
	for i, room := range gone {
		r, err := l.service.can.rooms.Room(ctx, room, history.Member{})
		switch {
		case history.Code(err) == history.ErrNotFound.Code || err == nil && r.UserID == "":
		case err != nil:
			l.service.storeError(ctx, "read room", err)
			l.erased(gone[i:]) // again later
			return
		default:
			row := l.news(history.ChangedRooms{Rooms: []history.Room{r}, Next: r.Change})[0]
			for _, w := range watchers {
				w.again(row)
			}
		}
	}
}

// catchUpLocked reads for a watcher that is behind, as much as its client takes. It unlocks the lobby
// meanwhile.
func (l *lobby) catchUpLocked(w *watcher) {
	var pos int64
	var waits bool
	l.unlocked(func([]*watcher) { pos, waits = w.waiting() }) // its lock comes before the lobby's
	if !waits {
		return
	}
	changed, err := l.changedLocked(pos)
	again, at := err != nil, l.at
	l.unlocked(func([]*watcher) {
		switch {
		case errors.Is(err, history.ErrPruned):
			w.lose()
			again = false
		case err == nil:
			again = w.take(changed, at)
		}
	})
	if again {
		l.ready = append(l.ready, w)
	}
}

// tell tells all watchers something that is not stored. Those who may not read all conversations get
// what is for them; nil: nothing.
func (l *lobby) tell(n, limited *Notice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tellLocked(n, limited)
}

// tellLocked is tell. It unlocks the lobby meanwhile.
func (l *lobby) tellLocked(n, limited *Notice) {
	l.unlocked(func(watchers []*watcher) {
		for _, w := range watchers {
			switch {
			case !l.service.limited(w.client.Identity()):
				w.tell(n)
			case limited != nil:
				w.tell(limited)
			}
		}
	})
}

// unlocked calls f with the watchers, while the lobby is not locked.
func (l *lobby) unlocked(f func(watchers []*watcher)) {
	watchers := slices.Collect(maps.Keys(l.watchers))
	l.mu.Unlock()
	defer l.mu.Lock()
	f(watchers)
}

// changedLocked reads what has changed after a position. It unlocks the lobby meanwhile.
func (l *lobby) changedLocked(after int64) (changed history.ChangedRooms, err error) {
	l.unlocked(func([]*watcher) {
		ctx, cancel := l.service.bounded(context.Background())
		defer cancel()
		changed, err = l.service.can.rooms.ChangedRooms(ctx, after, history.MaxLimit, history.Member{})
	})
	l.failing = err != nil && !errors.Is(err, history.ErrPruned)
	if l.failing {
		l.read = time.Now()
		l.service.storeError(context.Background(), "read what has changed in conversations", err)
	}
	return changed, err
}

// A rowNews is a row on its way to several watchers.
type rowNews struct {
	room, owner string
	change      int64
	notice      *Notice
}

// news returns rows for all watchers. The last one goes out with the position up to which changed is
// complete, the others with their own change.
func (l *lobby) news(changed history.ChangedRooms) []rowNews {
	news := make([]rowNews, len(changed.Rooms))
	for i := range changed.Rooms {
		r := &changed.Rooms[i]
		position := r.Change
		if i == len(news)-1 {
			position = changed.Next
		}
		news[i] = rowNews{r.RoomID, r.UserID, r.Change, newNotice(conversation.RoomChanged, conversation.RoomNews{Room: l.service.row(r, forAll), Position: &position})}
	}
	return news
}
