package history_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

// numbers returns the numbers of the live messages so far.
func (l *listener) numbers() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	numbers := make([]string, len(l.live))
	for i, m := range l.live {
		numbers[i] = fmt.Sprintf("%d/%d", m.Message.Seq, m.Message.Number())
	}
	return fmt.Sprint(numbers)
}

func edit(room string, seq int64, content string) history.Edit {
	e := history.Edit{RoomID: room, Seq: seq}
	if content != "" {
		e.Message = []byte(content)
	}
	return e
}

// Changes and new messages reach those who have the room open in the order of their numbers, each once,
// also at another node; so do notes.
func TestEditLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		defer store.Close()
		network := historytest.NewNetwork(historytest.Faults{Duplicate: 0.5})
		here := history.NewLog(store, &history.LogOptions{Bus: network, Logger: quiet})
		defer here.Close()
		there := history.NewLog(store, &history.LogOptions{Bus: network, Logger: quiet})
		defer there.Close()
		var hints atomic.Int64
		here.OnChange(func() { hints.Add(1) })
		put(t, store, "r", 3)
		var near, far, notes listener
		near.open(t, here, "r", history.OpenOptions{})
		far.open(t, there, "r", history.OpenOptions{})
		notes.open(t, there, "~notes/r", history.OpenOptions{})

		e := edit("r", 2, `"new"`)
		e.Note = &history.Draft{RoomID: "~notes/r", OperatorID: "op", Message: []byte(`{"event":"edited"}`)}
		for range 2 { // the second one changes nothing
			if _, err := here.Edit(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := here.Append(t.Context(), draft("r", 5)); err != nil {
			t.Fatal(err)
		}
		if _, err := there.Edit(t.Context(), edit("r", 1, "")); err != nil {
			t.Fatal(err)
		}
		if _, err := here.Edit(t.Context(), edit("r", 2, `"newer"`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // what the network has is there, and so is what the log repairs
		for where, l := range map[string]*listener{"here": &near, "there": &far} {
			if got, want := l.numbers(), "[2/4 5/5 1/6 2/7]"; got != want {
				t.Errorf("%s: %s, want %s", where, got, want)
			}
			if last := l.live[3].Message; string(last.Message) != `"newer"` || !l.live[2].Message.Deleted {
				t.Errorf("%s: %+v", where, last)
			}
		}
		if got := notes.numbers(); got != "[1/1]" {
			t.Errorf("notes: %s", got)
		}
		if n := hints.Load(); n != 4 {
			t.Errorf("%d hints for 4 calls", n)
		}
	})
}

func TestEditRefused(t *testing.T) {
	store := history.NewMemory()
	log := history.NewLog(store, &history.LogOptions{MaxMessage: 10})
	put(t, store, "r", 1)
	var l listener
	l.open(t, log, "r", history.OpenOptions{})
	if _, err := log.Edit(t.Context(), edit("r", 1, `"12345678901"`)); !errors.Is(err, history.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := log.Edit(t.Context(), edit("r", 2, `1`)); !errors.Is(err, history.ErrNotFound) {
		t.Errorf("no such message: %v", err)
	}
	if got := l.numbers(); got != "[]" {
		t.Errorf("passed on: %s", got)
	}
	log.Close()
	if _, err := log.Edit(t.Context(), edit("r", 1, `1`)); !errors.Is(err, history.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	store.Close()

	log = history.NewLog(struct{ history.Store }{history.NewMemory()}, nil)
	defer log.Close()
	if _, err := log.Edit(t.Context(), edit("r", 1, `1`)); !errors.Is(err, history.ErrNotSupported) {
		t.Errorf("a store that cannot edit: %v", err)
	}
	if _, err := log.UpdateRoom(t.Context(), history.RoomUpdate{}); !errors.Is(err, history.ErrNotSupported) {
		t.Errorf("a store without conversations: %v", err)
	}
	if _, err := log.CreateRoom(t.Context(), "r", history.Conversation{}); !errors.Is(err, history.ErrNotSupported) {
		t.Errorf("a store without conversations: %v", err)
	}
	if _, err := log.Merge(t.Context(), "v", "u", nil); !errors.Is(err, history.ErrNotSupported) {
		t.Errorf("a store without people: %v", err)
	}
}

// uncertain is a store that makes edits and says that it does not know.
type uncertain struct{ *history.Memory }

func (s uncertain) Edit(ctx context.Context, e history.Edit) (history.Edited, error) {
	s.Memory.Edit(ctx, e)
	return history.Edited{}, history.ErrUnknownOutcome
}

// An edit with unknown outcome reaches the room, and so does its note, although nobody repeats it.
func TestEditUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := uncertain{history.NewMemory()}
		defer store.Close()
		log := history.NewLog(store, nil)
		defer log.Close()
		put(t, store, "r", 1)
		var l, notes listener
		l.open(t, log, "r", history.OpenOptions{})
		notes.open(t, log, "notes", history.OpenOptions{})
		e := edit("r", 1, `"new"`)
		e.Note = &history.Draft{RoomID: "notes", OperatorID: "op", Message: []byte("1")}
		if _, err := log.Edit(t.Context(), e); !errors.Is(err, history.ErrUnknownOutcome) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Second) // the log reads what nobody has passed on
		if got := l.numbers(); got != "[1/2]" {
			t.Errorf("live %s", got)
		}
		if got := notes.numbers(); got != "[1/1]" {
			t.Errorf("notes %s", got)
		}
	})
}
