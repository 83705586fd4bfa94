package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
)

// While another program reads, the write-ahead log cannot be reused, and it grows. When the reader
// is gone, the log shrinks.
func TestLogShrinks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path)
	if err := s.ExecWriter("PRAGMA synchronous = OFF"); err != nil { // the disk does not matter here
		t.Fatal(err)
	}
	message := []byte(`"` + strings.Repeat("x", 60_000) + `"`)
	send := func(megabytes int) (size int64) {
		t.Helper()
		for range megabytes {
			drafts := make([]history.Draft, 17)
			for i := range drafts {
				drafts[i] = history.Draft{RoomID: "a", UserID: "ann", Message: message}
			}
			if _, err := s.Append(context.Background(), drafts); err != nil {
				t.Fatal(err)
			}
		}
		_, size, err := s.Sizes()
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	send(1)
	foreign, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	tx, err := foreign.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM messages").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if size := send(50); size < 50e6 {
		t.Errorf("beside a reader the log has %d bytes", size)
	}
	tx.Rollback()
	if size := send(2); size > 32<<20 {
		t.Errorf("without the reader the log has %d bytes", size)
	}
	if database, _, err := s.Sizes(); err != nil || database < 50e6 {
		t.Errorf("the database has %d bytes, %v", database, err)
	}
}
