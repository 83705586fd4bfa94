package sqlite_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// oldStore makes a store as an earlier version of the schema has it, with some rooms of messages.
func oldStore(t *testing.T, path string, version, rooms, messages int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	defer db.Close()
	statements := []string{
		"PRAGMA journal_mode = WAL", "PRAGMA synchronous = OFF", "PRAGMA application_id = 0x50726c79",
		"CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT",
	}
	files, err := filepath.Glob("migrations/*.sql")
	must(t, err)
	slices.Sort(files)
	for i, file := range files[:version] {
		script, err := os.ReadFile(file)
		must(t, err)
		statements = append(statements, string(script), fmt.Sprintf("INSERT INTO migrations VALUES (%d, 0)", i+1))
	}
	statements = append(statements, fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO rooms (id, room_id, head, last_at) SELECT i, 'room ' || i, %d, 1700000000000 FROM n`, rooms, messages),
		fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)
		INSERT INTO messages (id, user_id, message, timestamp, client_id)
		SELECT r.id << 32 | i, 'ann', '{"text":"from before ' || i || '"}', 1700000000000, 'c' || i FROM rooms r, n`, messages))
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%v: %s", err, s)
		}
	}
}

// A store of each earlier version can do all that a new one can.
func TestOldStores(t *testing.T) {
	files, err := filepath.Glob("migrations/*.sql")
	must(t, err)
	for version := 1; version < len(files); version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "history.db")
			oldStore(t, path, version, 3, 200)
			s := openSearch(t, path)
			if _, err := s.FollowChanges(t.Context(), "f"); err != nil {
				t.Error(err)
			}
			wantHits(t, s, "before", 600)
			if n := head(t, s, "room 1"); n != 200 {
				t.Errorf("head %d", n)
			}
			write(t, s, "room 1", "now", 1)
			for more := true; more; {
				p, err := s.Prune(t.Context(), history.PruneRule{Room: "room 1", Keep: 2})
				must(t, err)
				more = p.More
			}
			if _, err := s.EraseRoom(t.Context(), "room 2"); err != nil {
				t.Error(err)
			}
			wantHits(t, s, "before", 201)
			e, err := s.EraseUser(t.Context(), "ann")
			if err != nil || len(e.Changed) != 202 {
				t.Errorf("%d tombstones, %v", len(e.Changed), err)
			}
			if found := traces(t, dir, []string{"from before"}); len(found) > 0 {
				t.Errorf("found %q", found)
			}
			must(t, s.Close(), sound(path))
		})
	}
}

// Opening an old store adds to it, and does not write its messages anew: the log stays small.
func TestOldStoreIsNotRewritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	oldStore(t, path, 1, 200, 500)
	info, err := os.Stat(path)
	must(t, err)
	s, err := sqlite.Open(path, nil)
	must(t, err)
	defer s.Close()
	if _, log, err := s.Sizes(); err != nil || log > 1<<20 || info.Size() < 8<<20 {
		t.Errorf("the log has %d bytes after %d were opened, %v", log, info.Size(), err)
	}
}
