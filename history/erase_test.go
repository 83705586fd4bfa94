package history_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
)

// losing is a listener that is told when its room is gone.
type losing struct {
	listener
	lost []error
}

func (l *losing) Lost(_ string, err error) { l.lost = append(l.lost, err) }

// Whoever has an erased room open is told, once; whoever has open what became of it elsewhere gets the
// tombstones. The room can be opened and written again.
func TestEraseLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		defer store.Close()
		log := history.NewLog(store, &history.LogOptions{Logger: quiet})
		defer log.Close()
		own := history.Draft{RoomID: "own", UserID: "bob", Message: []byte("1"), Conversation: &history.Conversation{UserID: "bob"}}
		for _, d := range []history.Draft{own, {RoomID: "other", UserID: "bob", Message: []byte("1")}, {RoomID: "other", UserID: "ann", Message: []byte("2")}} {
			if _, err := log.Append(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		var gone, notes, other losing
		gone.on(t, log, "own")
		notes.on(t, log, "~notes/own")
		other.on(t, log, "other")
		e, err := log.EraseUser(t.Context(), "bob")
		if err != nil || len(e.Rooms) != 1 || len(e.Changed) != 1 {
			t.Fatalf("erased %+v, %v", e, err)
		}
		synctest.Wait()
		for what, l := range map[string]*losing{"room": &gone, "notes": &notes} {
			if len(l.lost) != 1 || !errors.Is(l.lost[0], history.ErrNotFound) {
				t.Errorf("%s: lost %v", what, l.lost)
			}
		}
		if got := other.numbers(); got != "[1/3]" || len(other.lost) != 0 {
			t.Errorf("elsewhere %s, lost %v", got, other.lost)
		}
		var again losing
		again.on(t, log, "own")
		if _, err := log.Append(t.Context(), own); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // its first number is not 1, so the log looks for what is before
		synctest.Wait()
		again.wantLive(t, 2, 2)
		gone.wantLive(t, 1, 0)
		if e, err := log.EraseRoom(t.Context(), "own"); err != nil || len(e.Rooms) != 1 || len(again.lost) != 1 || len(gone.lost) != 1 {
			t.Errorf("erased again %+v, %v; told %d and %d times", e, err, len(again.lost), len(gone.lost))
		}
	})
}

// on opens a room for a listener that is told when it is gone.
func (l *losing) on(t *testing.T, log *history.Log, room string) {
	t.Helper()
	if _, err := log.Open(t.Context(), room, history.OpenOptions{}, l, l.ready); err != nil {
		t.Fatal(err)
	}
}

// interrupted is a store that does something after it has read a page.
type interrupted struct {
	*history.Memory
	then func()
}

func (s interrupted) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	slice, err := s.Memory.History(ctx, room, p)
	s.then()
	return slice, err
}

// A room that is erased while somebody opens it is not opened with what was erased.
func TestEraseWhileOpening(t *testing.T) {
	store := interrupted{Memory: history.NewMemory()}
	defer store.Close()
	var log *history.Log
	store.then = func() {
		if _, err := log.EraseRoom(context.Background(), "r"); err != nil {
			t.Error(err)
		}
	}
	log = history.NewLog(store, &history.LogOptions{Logger: quiet})
	defer log.Close()
	put(t, store, "r", 1)
	var l losing
	_, err := log.Open(t.Context(), "r", history.OpenOptions{}, &l, func(history.Opened) { t.Error("it was opened") })
	if !errors.Is(err, history.ErrUnavailable) || len(l.lost) != 0 {
		t.Errorf("opened: %v; lost %v", err, l.lost)
	}
}

// A store that cannot erase says so.
func TestEraseNotSupported(t *testing.T) {
	store := history.NewMemory()
	defer store.Close()
	log := history.NewLog(struct{ history.Store }{store}, nil)
	defer log.Close()
	if _, err := log.EraseRoom(t.Context(), "r"); !errors.Is(err, history.ErrNotSupported) {
		t.Error(err)
	}
}
