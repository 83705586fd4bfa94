package postgres_test

import (
	"cmp"
	"context"
	"flag"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

func TestMain(m *testing.M) {
	flag.Set("rapid.checks", "25") // unless the command line says another: each step costs round trips
	goleak.VerifyTestMain(postgrestest.Main(m))
}

// patience is how long a wait may take at most. Nothing that works comes near it.
const patience = 5 * time.Minute

func openAt(t testing.TB, url string, opt *postgres.Options) *postgres.Store {
	t.Helper()
	var o postgres.Options
	if opt != nil {
		o = *opt
	}
	o.Timeout = cmp.Or(o.Timeout, patience)
	o.Logger = cmp.Or(o.Logger, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s, err := postgres.Open(t.Context(), url, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// again returns a function that opens the same database again and again, each time empty: to make one takes
// longer than most tests.
func again(t *testing.T, opt *postgres.Options) func(testing.TB) history.Store {
	url := postgrestest.Database(t)
	var last *postgres.Store
	return func(t testing.TB) history.Store {
		t.Helper()
		if last != nil {
			last.Close()
		}
		exec(t, url, "DROP SCHEMA IF EXISTS parley CASCADE")
		last = openAt(t, url, opt)
		return last
	}
}

func exec(t testing.TB, url, statement string, args ...any) {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(context.Background(), statement, args...); err != nil {
		t.Fatal(err)
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	historytest.Run(t, again(t, nil))
}

func TestRecords(t *testing.T) {
	t.Parallel()
	historytest.RunRecords(t, again(t, nil))
}

func TestSearch(t *testing.T) {
	t.Parallel()
	historytest.RunSearch(t, again(t, &postgres.Options{Search: true}))
}

func TestJoin(t *testing.T) {
	t.Parallel()
	open := again(t, nil)
	historytest.RunJoin(t, func(t testing.TB) history.Store {
		s := outside{open(t).(*postgres.Store), make(chan func()), make(chan chan struct{}, 100)}
		t.Cleanup(func() { close(s.calls) })
		for range 4 {
			go func() {
				for f := range s.calls {
					f()
				}
			}()
		}
		for range cap(s.replies) {
			s.replies <- make(chan struct{}, 1)
		}
		return s
	})
}

// outside is a store whose calls are made outside of the synctest bubble that wants them: connections have
// timers, which must not belong to a bubble, and no channel of a bubble may be used outside.
type outside struct {
	*postgres.Store
	calls   chan func()
	replies chan chan struct{}
}

func call[T any](ctx context.Context, s outside, f func(context.Context) (T, error)) (result T, err error) {
	reply := <-s.replies
	s.calls <- func() {
		result, err = f(context.WithoutCancel(ctx))
		reply <- struct{}{}
	}
	<-reply
	s.replies <- reply
	return result, err
}

func (s outside) Append(ctx context.Context, drafts []history.Draft) ([]history.Appended, error) {
	return call(ctx, s, func(ctx context.Context) ([]history.Appended, error) { return s.Store.Append(ctx, drafts) })
}

func (s outside) Edit(ctx context.Context, e history.Edit) (history.Edited, error) {
	return call(ctx, s, func(ctx context.Context) (history.Edited, error) { return s.Store.Edit(ctx, e) })
}

func (s outside) Message(ctx context.Context, room string, seq int64) (history.Message, error) {
	return call(ctx, s, func(ctx context.Context) (history.Message, error) { return s.Store.Message(ctx, room, seq) })
}

func (s outside) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	return call(ctx, s, func(ctx context.Context) (history.Slice, error) { return s.Store.History(ctx, room, p) })
}

func (s outside) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	return call(ctx, s, func(ctx context.Context) (history.Slice, error) { return s.Store.Changes(ctx, room, since, l) })
}

func (s outside) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	return call(ctx, s, func(ctx context.Context) (map[string]int64, error) { return s.Store.Heads(ctx, rooms) })
}

// Two nodes with one database.
func TestShared(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	var last []history.Store
	historytest.RunShared(t, func(t testing.TB) []history.Store {
		for _, s := range last {
			s.Close()
		}
		exec(t, url, "DROP SCHEMA IF EXISTS parley CASCADE")
		last = []history.Store{openAt(t, url, nil), openAt(t, url, nil)}
		return last
	})
}
