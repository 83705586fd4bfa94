package postgrestest_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(postgrestest.Main(m)) }

// Each test has its own database, which is gone after it.
func TestDatabase(t *testing.T) {
	var first string
	t.Run("first", func(t *testing.T) {
		first = postgrestest.Database(t)
		query(t, first, "CREATE TABLE a (b int)")
	})
	second := postgrestest.Database(t)
	query(t, second, "CREATE TABLE a (b int)")
	if conn, err := pgx.Connect(t.Context(), first); err == nil {
		conn.Close(t.Context())
		t.Error("the database of a test outlived it")
	}
}

// What was committed survives a crash of the server. A server that is paused does not answer.
func TestServer(t *testing.T) {
	s := postgrestest.Start(t, &postgrestest.Options{Settings: []string{"max_connections = 17"}})
	url := s.URL("postgres")
	query(t, url, "CREATE TABLE a AS SELECT 1")
	s.Restart(t)
	if n := query(t, url, "SELECT 1 FROM a"); n != 1 {
		t.Errorf("%d rows after a crash", n)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var connections int
	if err := conn.QueryRow(t.Context(), "SELECT current_setting('max_connections')::int").Scan(&connections); err != nil || connections != 17 {
		t.Error(connections, err)
	}
	s.Pause(t)
	answered := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "SELECT 1")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a paused server answered: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	s.Resume(t)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func query(t *testing.T, url, statement string) int64 {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	tag, err := conn.Exec(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	return tag.RowsAffected()
}
