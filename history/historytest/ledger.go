package historytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/parley-go/parley/history"
)

// ledger is a store that writes down what it has committed, before anybody else can read it.
type ledger struct {
	history.Store

	mu    sync.Mutex
	rooms map[string]*account
}

// account is what was committed to a room.
type account struct {
	changes []int64 // changes[n-1] is the seq of the message that change n has made
	latest  map[int64]history.Message
}

func newLedger(store history.Store) *ledger {
	return &ledger{Store: store, rooms: make(map[string]*account)}
}

// noteLocked writes down a message that may be new.
func (l *ledger) noteLocked(m history.Message) {
	a := l.atLocked(m.RoomID)
	if m.Number() > int64(len(a.changes)) {
		a.changes = append(a.changes, m.Seq)
		a.latest[m.Seq] = m
	}
}

func (l *ledger) atLocked(room string) *account {
	a := l.rooms[room]
	if a == nil {
		a = &account{latest: make(map[int64]history.Message)}
		l.rooms[room] = a
	}
	return a
}

func (l *ledger) Append(ctx context.Context, drafts []history.Draft) ([]history.Appended, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	results, err := l.Store.Append(ctx, drafts)
	for _, r := range results {
		if r.Err == nil {
			l.noteLocked(r.Message)
		}
	}
	return results, err
}

func (l *ledger) Message(ctx context.Context, room string, seq int64) (history.Message, error) {
	return l.Store.(history.Editor).Message(ctx, room, seq)
}

func (l *ledger) Edit(ctx context.Context, e history.Edit) (history.Edited, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	edited, err := l.Store.(history.Editor).Edit(ctx, e)
	if err == nil {
		l.noteLocked(edited.Message)
	}
	return edited, err
}

// any returns the seq of a message of the room, or 0.
func (l *ledger) any(room string, random *rand.Rand) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes := l.atLocked(room).changes
	if len(changes) == 0 {
		return 0
	}
	return changes[random.IntN(len(changes))]
}

// firstIs reports whether no message of the room has a smaller seq.
func (l *ledger) firstIs(room string, seq int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(l.atLocked(room).changes, func(s int64) bool { return s < seq })
}

// superseded returns an error unless each change after one number and before another has been
// superseded by a later change of the same message.
func (l *ledger) superseded(room string, after, before int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.atLocked(room)
	for n := after + 1; n < before; n++ {
		if n > int64(len(a.changes)) {
			return fmt.Errorf("%d does not exist", n)
		}
		m := a.latest[a.changes[n-1]]
		if m.Number() == n {
			return fmt.Errorf("%d is missing, the message %d", n, m.Seq)
		}
	}
	return nil
}

// since returns the messages of the room that have changed after a number.
func (l *ledger) since(room string, number int64) (messages []history.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.atLocked(room).latest {
		if m.Number() > number {
			messages = append(messages, m)
		}
	}
	return messages
}

// latest returns a message of the room as it is now.
func (l *ledger) latest(room string, seq int64) history.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.atLocked(room).latest[seq]
}
