package history_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/history"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func draft(room string, n int) history.Draft {
	return history.Draft{RoomID: room, UserID: "ann", Message: json.RawMessage(fmt.Sprint(n))}
}

// mustAppendLarge appends messages of 60,000 bytes each.
func mustAppendLarge(t *testing.T, log *history.Log, room string, n int) {
	t.Helper()
	large := draft(room, 0)
	large.Message = json.RawMessage(`"` + strings.Repeat("x", 60_000) + `"`)
	for range n {
		if _, err := log.Append(context.Background(), large); err != nil {
			t.Fatal(err)
		}
	}
}

// put appends to the store without going through a log.
func put(t testing.TB, store history.Store, room string, n int) []history.Message {
	t.Helper()
	drafts := make([]history.Draft, n)
	for i := range drafts {
		drafts[i] = draft(room, i)
	}
	results, err := store.Append(context.Background(), drafts)
	if err != nil {
		t.Fatal(err)
	}
	messages := make([]history.Message, n)
	for i, r := range results {
		messages[i] = r.Message
	}
	return messages
}

// listener is a subscriber that records its messages.
type listener struct {
	mu     sync.Mutex
	opened []history.Opened
	live   []*history.Live
	then   func(*history.Live) // called with each message, if set
}

func (l *listener) ready(o history.Opened) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened = append(l.opened, o)
}

func (l *listener) Deliver(m *history.Live) {
	l.mu.Lock()
	l.live = append(l.live, m)
	then := l.then
	l.mu.Unlock()
	if then != nil {
		then(m)
	}
}

// seqs returns the numbers of the live messages so far.
func (l *listener) seqs() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	seqs := make([]int64, len(l.live))
	for i, m := range l.live {
		seqs[i] = m.Message.Seq
	}
	return seqs
}

func (l *listener) wantLive(t testing.TB, from, to int64) {
	t.Helper()
	got := l.seqs()
	ok := int64(len(got)) == to-from+1
	for i, n := range got {
		ok = ok && n == from+int64(i)
	}
	if !ok {
		t.Errorf("live messages %v, want %d to %d", got, from, to)
	}
}

// open opens a room and fails the test on error.
func (l *listener) open(t testing.TB, log *history.Log, room string, o history.OpenOptions) *history.Subscription {
	t.Helper()
	s, err := log.Open(context.Background(), room, o, l, l.ready)
	if err != nil {
		t.Fatalf("open %s: %v", room, err)
	}
	return s
}

// wantPage checks the page of the last Open.
func (l *listener) wantPage(t testing.TB, first, last int64, reset bool) {
	t.Helper()
	o := l.opened[len(l.opened)-1]
	if int64(len(o.Messages)) != last-first+1 || o.LastSeq != last || o.Reset != reset ||
		len(o.Messages) > 0 && o.Messages[0].Seq != first {
		t.Errorf("opened with %d messages up to %d, reset %v; want %d to %d, %v",
			len(o.Messages), o.LastSeq, o.Reset, first, last, reset)
	}
}

// hooked is a store whose methods can be replaced by functions.
type hooked struct {
	history.Store
	mu sync.Mutex
	hooks
}

type hooks struct {
	append  func([]history.Draft) ([]history.Appended, error)
	history func(string, history.Page) (history.Slice, error)
	changes func(string, int64, history.Limit) (history.Slice, error)
	heads   func([]string) (map[string]int64, error)
}

// hook replaces the functions.
func (s *hooked) hook(h hooks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = h
}

func (s *hooked) current() hooks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hooks
}

var errDisk = errors.New("disk on fire")

func (s *hooked) Append(ctx context.Context, drafts []history.Draft) ([]history.Appended, error) {
	if f := s.current().append; f != nil {
		return f(drafts)
	}
	return s.Store.Append(ctx, drafts)
}

func (s *hooked) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	if f := s.current().history; f != nil {
		return f(room, p)
	}
	return s.Store.History(ctx, room, p)
}

func (s *hooked) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	if f := s.current().changes; f != nil {
		return f(room, since, l)
	}
	return s.Store.Changes(ctx, room, since, l)
}

func (s *hooked) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	if f := s.current().heads; f != nil {
		return f(rooms)
	}
	return s.Store.Heads(ctx, rooms)
}
