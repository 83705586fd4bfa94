package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

func draft(room string, n int) history.Draft {
	return history.Draft{RoomID: room, UserID: "ann", ClientID: fmt.Sprint("c", n), Message: fmt.Append(nil, n)}
}

func appended(t *testing.T, s *postgres.Store, d history.Draft) history.Appended {
	t.Helper()
	results, err := s.Append(t.Context(), []history.Draft{d})
	if err != nil {
		t.Fatal(err)
	}
	if results[0].Err != nil {
		t.Fatal(results[0].Err)
	}
	return results[0]
}

func wantSeqs(t *testing.T, s *postgres.Store, room string, n int) {
	t.Helper()
	slice, err := s.History(t.Context(), room, history.Page{Limit: history.Limit{Messages: history.MaxLimit}})
	if err != nil || len(slice.Messages) != n || slice.Head != int64(n) {
		t.Fatalf("%s: %d messages, head %d, %v; want %d", room, len(slice.Messages), slice.Head, err, n)
	}
	for i, m := range slice.Messages {
		if m.Seq != int64(i+1) {
			t.Errorf("%s: message %d has the number %d", room, i, m.Seq)
		}
	}
}

// A connection that ends while a message is stored costs no message, and stores none twice. Without a client
// id the store cannot know, and says so.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	p, url := newProxy(t, postgrestest.Database(t))
	s := openAt(t, url, nil)
	n := 0
	for _, lost := range []action{cutBefore, cutAfter} {
		p.onCommit(lost)
		n++
		if r := appended(t, s, draft("a", n)); r.Message.Seq != int64(n) || r.Dup != (lost == cutAfter) {
			t.Errorf("%v: %+v", lost, r)
		}
		p.onCommit(lost)
		anonymous := draft("b", n)
		anonymous.ClientID = ""
		_, err := s.Append(t.Context(), []history.Draft{anonymous})
		if !errors.Is(err, history.ErrUnknownOutcome) {
			t.Errorf("%v, without a client id: %v", lost, err)
		}
	}
	wantSeqs(t, s, "a", 2)
	wantSeqs(t, s, "b", 1)

	status := history.Closed
	d := draft("c", 1)
	d.Conversation = &history.Conversation{UserID: "ann"}
	appended(t, s, d)
	p.onCommit(cutAfter)
	if _, err := s.UpdateRoom(t.Context(), history.RoomUpdate{RoomID: "c", Status: &status}); !errors.Is(err, history.ErrUnknownOutcome) {
		t.Errorf("an update: %v", err)
	}
	if u, err := s.UpdateRoom(t.Context(), history.RoomUpdate{RoomID: "c", Status: &status}); err != nil || u.Changed {
		t.Errorf("repeated: %+v, %v", u, err)
	}
	p.onCommit(cutAfter)
	put := history.Record{Kind: "k", ID: "a", Value: []byte("1")}
	if _, err := s.PutRecords(t.Context(), put); !errors.Is(err, history.ErrUnknownOutcome) {
		t.Errorf("a record: %v", err)
	}

	p.cut() // all at once, while nothing runs
	wantSeqs(t, s, "a", 2)
	p.cut()
	if r := appended(t, s, draft("a", 3)); r.Message.Seq != 3 || r.Dup {
		t.Errorf("after all connections were lost: %+v", r)
	}
}

// A node that is gone in the middle of a transaction holds its locks for a while, not for ever.
func TestNodeLost(t *testing.T) {
	t.Parallel()
	direct := postgrestest.Database(t)
	p, url := newProxy(t, direct)
	lost := openAt(t, url, &postgres.Options{Timeout: time.Second, Patience: -1})
	other := openAt(t, direct, nil)
	appended(t, other, draft("a", 1))
	appended(t, lost, draft("a", 2))
	p.onCommit(hold)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		lost.Append(context.Background(), []history.Draft{draft("a", 3)}) // again, over another connection
	}()
	for {
		p.mu.Lock()
		held := p.onNext == pass
		p.mu.Unlock()
		if held {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if r := appended(t, other, draft("a", 4)); r.Message.Seq != 3 {
		t.Errorf("another node: %+v", r)
	}
	<-ended
}

// log is a buffer for a logger.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// The server crashes again and again under load. Everything that was acknowledged is there once, and nothing
// that was refused. What fails says so, and one line tells when it began and when it ended.
func TestServerCrash(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, &postgrestest.Options{Durable: true})
	var lines log
	s := openAt(t, server.URL("postgres"), &postgres.Options{Logger: slog.New(slog.NewTextHandler(&lines, nil))})
	const senders, each = 4, 20
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for n := range each {
				d := draft("a", sender*each+n)
				for {
					results, err := s.Append(context.Background(), []history.Draft{d})
					if err == nil && results[0].Err == nil {
						break
					}
					if !errors.Is(err, history.ErrUnavailable) && !errors.Is(err, history.ErrUnknownOutcome) {
						t.Errorf("%v, %v", results, err)
						return
					}
				}
			}
		})
	}
	for crash := range 2 {
		for count(t, s) < (crash+1)*senders*each/3 {
			time.Sleep(time.Millisecond)
		}
		server.Restart(t)
	}
	group.Wait()
	wantSeqs(t, s, "a", senders*each)
	server.Crash()
	for s.Fault() == nil { // until a call has found out
		if _, err := s.Heads(t.Context(), nil); !errors.Is(err, history.ErrUnavailable) {
			t.Fatalf("without a server: %v", err)
		}
	}
	server.Restart(t)
	for s.Fault() != nil { // it notices by itself
		time.Sleep(time.Millisecond)
	}
	if down, up := lines.count("cannot be used"), lines.count("can be used again"); down != up {
		t.Errorf("%d and %d lines", down, up)
	}
}

// count returns how many messages are in room a, as soon as that can be read.
func count(t *testing.T, s *postgres.Store) int {
	for {
		heads, err := s.Heads(t.Context(), []string{"a"})
		if err == nil {
			return int(heads["a"])
		}
	}
}

// A server that does not answer, though its connections are open, is unavailable after a while.
func TestServerPaused(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t, nil)
	s := openAt(t, server.URL("postgres"), &postgres.Options{Timeout: time.Second, Patience: -1})
	appended(t, s, draft("a", 1))
	server.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := s.History(ctx, "a", history.Page{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read: %v", err)
	}
	if _, err := s.Append(t.Context(), []history.Draft{draft("a", 2)}); !errors.Is(err, history.ErrUnavailable) && !errors.Is(err, history.ErrUnknownOutcome) {
		t.Errorf("an append: %v", err)
	}
	server.Resume(t)
	for {
		if results, err := s.Append(t.Context(), []history.Draft{draft("a", 2)}); err == nil && results[0].Message.Seq == 2 {
			break
		}
	}
	wantSeqs(t, s, "a", 2)
}

// A read that waits for a lock of another program ends.
func TestReadWaits(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	s := openAt(t, url, &postgres.Options{Timeout: time.Second})
	unlock := locked(t, url, "LOCK TABLE parley.rooms IN ACCESS EXCLUSIVE MODE")
	if _, err := s.Heads(t.Context(), []string{"a"}); !errors.Is(err, history.ErrBusy) {
		t.Errorf("a read: %v", err)
	}
	if _, err := s.Append(t.Context(), []history.Draft{draft("a", 1)}); !errors.Is(err, history.ErrUnavailable) {
		t.Errorf("an append: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if _, err := s.Heads(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("a read that nobody waits for: %v", err)
	}
	unlock()
	for {
		if _, err := s.Heads(t.Context(), []string{"a"}); err == nil {
			break
		}
	}
}
