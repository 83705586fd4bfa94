package postgres_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

var quiet = slog.New(slog.DiscardHandler)

func connect(t *testing.T, url string, o postgres.Options) *postgres.Bus {
	t.Helper()
	o.Logger = quiet
	b, err := postgres.New(url, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestBus(t *testing.T) {
	url := postgrestest.Database(t)
	adaptertest.RunBus(t, func(t *testing.T) adaptertest.Network {
		return adaptertest.Network{Connect: func() adapter.Bus { return connect(t, url, postgres.Options{}) }}
	})
}

func TestCluster(t *testing.T) {
	url := postgrestest.Database(t)
	n := 0
	adaptertest.RunCluster(t, nil, func(t *testing.T) adaptertest.Servers {
		n++
		channel := fmt.Sprint("test", n)
		return adaptertest.Servers{Steps: 300, Start: func(name string) adapter.Cluster {
			c, err := adapter.New(connect(t, url, postgres.Options{Channel: channel}), &adapter.Options{Name: name, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}}
	})
}

func query[T any](t *testing.T, url, statement string, args ...any) (v T) {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if err := conn.QueryRow(ctx, statement, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// Large messages stay in the table for as long as a server may need to read them, and no longer.
func TestLargeMessages(t *testing.T) {
	url := postgrestest.Database(t)
	a, b := connect(t, url, postgres.Options{}), connect(t, url, postgres.Options{})
	heard := make(chan int, 10)
	<-b.Listen("topic", func(data []byte) { heard <- len(data) }).Active()
	long := strings.Repeat("a long topic ", 1000)
	<-b.Listen(long, func(data []byte) { heard <- len(data) }).Active()
	count := func() int { return query[int](t, url, "SELECT count(*)::int FROM parley_bus") }
	for i, size := range []int{100, 5900, 6100, 20_000, 1 << 20} {
		for _, topic := range []string{"topic", "nobody", long} {
			if err := a.Publish(topic, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if got := <-heard; got != size {
				t.Errorf("%d bytes arrived, not %d", got, size)
			}
		}
		want := 1 + i // the ones with the long topic
		if i > 1 {
			want += 2 * (i - 1)
		}
		if got := count(); got != want {
			t.Errorf("after messages of %d bytes, %d are in the table, not %d", size, got, want)
		}
	}
	all := count()
	a.CleanAt(time.Now())
	if got := count(); got != all {
		t.Errorf("%d of %d large messages were deleted at once", all-got, all)
	}
	query[int](t, url, "WITH old AS (UPDATE parley_bus SET stored = stored - interval '59 s' WHERE length(message) > 20000 RETURNING 1) SELECT count(*)::int FROM old")
	a.CleanAt(time.Now())
	if got := count(); got != all {
		t.Errorf("%d of %d large messages were deleted too early", all-got, all)
	}
	query[int](t, url, "WITH old AS (UPDATE parley_bus SET stored = stored - interval '2 s' WHERE length(message) > 20000 RETURNING 1) SELECT count(*)::int FROM old")
	a.CleanAt(time.Now())
	if got := count(); got != all-3 {
		t.Errorf("%d large messages are left, not %d", got, all-3)
	}
}

// A server that comes too late for a large message knows that it has missed it.
func TestLargeMessageGone(t *testing.T) {
	url := postgrestest.Database(t)
	b := connect(t, url, postgres.Options{})
	seen := adaptertest.Watch(b)
	<-b.Listen("topic", func([]byte) { t.Error("it heard something") }).Active()
	query[string](t, url, "SELECT pg_notify('parley', '0=12345,dG9waWM')::text")
	adaptertest.Eventually(t, "Lost", seen.Saw(adapter.Lost))
}

// Clusters with different channels do not hear each other, and nobody minds what strangers say.
func TestChannels(t *testing.T) {
	url := postgrestest.Database(t)
	a, b := connect(t, url, postgres.Options{Channel: `one "and"`}), connect(t, url, postgres.Options{Channel: "two"})
	<-b.Listen("topic", func([]byte) { t.Error("it heard another cluster") }).Active()
	adaptertest.Hears(t, a, a, "topic")
	for _, text := range []string{"", "hello", ":", "0:", "0:!", "0:AA", "0://///w", "0=", "0=x,", "0=1,!", "=9223372036854775808,"} {
		query[string](t, url, "SELECT pg_notify('two', $1)::text", text)
	}
	adaptertest.Hears(t, a, a, "another")
	adaptertest.Hears(t, b, b, "another")
	if _, err := postgres.New(url, &postgres.Options{Channel: strings.Repeat("x", 51)}); err == nil {
		t.Error("a channel with a long name was accepted")
	}
}

// An address that is wrong is an error, without the password in it.
func TestNoPostgres(t *testing.T) {
	for _, url := range []string{"postgres://user:hunter2@127.0.0.1:1/x", "postgres://user:hunter2@127.0.0.1:port/x", "postgres://user:hunter2@%zz/"} {
		if _, err := postgres.New(url, nil); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A bus that is not allowed to create its table leaves no connection behind.
func TestNoTable(t *testing.T) {
	url := postgrestest.Database(t)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close the connection at some time
	_, err := postgres.New(url+"&search_path=nowhere&application_name=refused", &postgres.Options{Logger: quiet})
	if err == nil {
		t.Fatal("it has created the table in a schema that does not exist")
	}
	adaptertest.Eventually(t, "the connection ends", func() bool {
		return query[int](t, url, "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'refused'") == 0
	})
}

// Servers that start at the same time all find the table.
func TestStartTogether(t *testing.T) {
	url := postgrestest.Database(t)
	done := make(chan error)
	for range 8 {
		go func() {
			b, err := postgres.New(url, &postgres.Options{Logger: quiet})
			if err == nil {
				err = b.Close()
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
