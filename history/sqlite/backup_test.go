package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// sound checks the store at path.
func sound(path string) error {
	r, err := sqlite.Check(context.Background(), path)
	if err == nil && len(r.Findings) > 0 {
		err = fmt.Errorf("findings: %q", r.Findings)
	}
	return err
}

func backup(t *testing.T, path, to string) sqlite.Report {
	t.Helper()
	r, err := sqlite.Backup(context.Background(), path, to)
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("backup: %+v, %v", r, err)
	}
	return r
}

func restore(t *testing.T, from, path string) (replaced string) {
	t.Helper()
	r, replaced, err := sqlite.Restore(context.Background(), from, path)
	if err != nil || len(r.Findings) > 0 {
		t.Fatalf("restore: %+v, %v", r, err)
	}
	return replaced
}

// names returns the names of the files in a directory.
func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func head(t *testing.T, s *sqlite.Store, room string) int64 {
	t.Helper()
	heads, err := s.Heads(context.Background(), []string{room})
	if err != nil {
		t.Fatal(err)
	}
	return heads[room]
}

// A restored store has the content of the backup and another epoch. The previous store is next to
// it.
func TestBackupAndRestore(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "history.db"), filepath.Join(t.TempDir(), "backup.db")
	s := openAt(t, path)
	put(t, s, "a", 3)
	put(t, s, "b", 1)
	if r := backup(t, path, file); r.Rooms != 2 || r.Messages != 4 || r.Bytes == 0 {
		t.Errorf("report %+v", r)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may read the backup: %v, %v", info.Mode(), err)
	}
	put(t, s, "a", 5) // two more
	backup(t, path, file)
	put(t, s, "a", 6)
	epoch := s.Epoch()
	if _, _, err := sqlite.Restore(t.Context(), file, path); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("restored while the store is open: %v", err)
	}
	if n := head(t, s, "a"); n != 6 {
		t.Errorf("head %d after a restore that was refused", n)
	}
	s.Close()
	if got := names(t, filepath.Dir(file)); len(got) != 1 {
		t.Errorf("beside the backup: %q", got)
	}

	replaced := restore(t, file, path)
	s = openAt(t, path)
	if n := head(t, s, "a"); n != 5 || s.Epoch() == epoch || s.Epoch() == "" {
		t.Errorf("restored up to %d, epoch %q after %q", n, s.Epoch(), epoch)
	}
	restored := s.Epoch()
	s.Close()
	if old := openAt(t, replaced); head(t, old, "a") != 6 || old.Epoch() != epoch {
		t.Errorf("set aside: %d, %q", head(t, old, "a"), old.Epoch())
	}
	// Restore the same backup again, and restore a store from itself.
	for _, from := range []string{file, path} {
		restore(t, from, path)
		s = openAt(t, path)
		if s.Epoch() == restored || s.Epoch() == epoch || head(t, s, "a") != 5 {
			t.Errorf("restored from %s: epoch %q, head %d", from, s.Epoch(), head(t, s, "a"))
		}
		s.Close()
	}
	for _, name := range names(t, dir) {
		if strings.HasSuffix(name, "-restore") {
			t.Errorf("left behind: %s", name)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "new", "history.db")
	if replaced := restore(t, file, elsewhere); replaced != "" {
		t.Errorf("set aside %s, where nothing was", replaced)
	}
	if s := openAt(t, elsewhere); head(t, s, "a") != 5 {
		t.Errorf("elsewhere: head %d", head(t, s, "a"))
	}
}

// A backup has no epoch, so that a backup put in place by hand does not count as the original
// store. A backup made with SQLite's own means gets a new epoch from Restore.
func TestEpochOfBackups(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	s := openAt(t, path)
	put(t, s, "a", 3)
	copied, foreign := filepath.Join(dir, "copied.db"), filepath.Join(dir, "foreign.db")
	backup(t, path, copied)
	if other := openAt(t, copied); other.Epoch() == s.Epoch() || other.Epoch() == "" {
		t.Errorf("epoch %q of a backup that was opened", other.Epoch())
	}
	if err := s.Exec("VACUUM INTO ?", foreign); err != nil {
		t.Fatal(err)
	}
	epoch := s.Epoch()
	s.Close()
	restore(t, foreign, path)
	if s := openAt(t, path); s.Epoch() == epoch {
		t.Error("the epoch is the same")
	}
}

// A backup made during appends has everything that had been acknowledged when it began, and a
// gapless beginning of each room.
func TestBackupWhileSending(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	log := history.NewLog(openAt(t, path), nil)
	defer log.Close()
	var acknowledged [4]int64
	var mu sync.Mutex
	var senders sync.WaitGroup
	for n := range acknowledged {
		senders.Go(func() {
			for range 300 {
				r, err := log.Append(context.Background(), history.Draft{RoomID: fmt.Sprint("r", n), UserID: "ann", Message: []byte(`"` + strings.Repeat("x", 2000) + `"`)})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged[n] = r.Message.Seq
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { defer close(ended); senders.Wait() }()
	for n, sending := 0, true; sending; n++ {
		select {
		case <-ended:
			sending = false // the last backup has everything
		default:
		}
		mu.Lock()
		before := acknowledged
		mu.Unlock()
		file := filepath.Join(dir, fmt.Sprint("backup", n, ".db"))
		r := backup(t, path, file)
		s := openAt(t, file)
		var total int64
		for room, least := range before {
			name := fmt.Sprint("r", room)
			at := head(t, s, name)
			total += at
			if at < least {
				t.Errorf("room %d: %d are in the backup, of %d", room, at, least)
			}
			page, err := s.History(t.Context(), name, history.Page{After: -1, Limit: history.Limit{Messages: history.MaxLimit}})
			if err != nil {
				t.Fatal(err)
			}
			for i, m := range page.Messages {
				if m.Seq != int64(i+1) {
					t.Fatalf("room %d: message %d has number %d", room, i, m.Seq)
				}
			}
		}
		if r.Messages != total {
			t.Errorf("%d messages by the report, %d by the heads", r.Messages, total)
		}
		s.Close()
	}
}

func TestBackupRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "history.db")
	s := openAt(t, path)
	put(t, s, "a", 1)
	linked := filepath.Join(dir, "link.db")
	if err := os.Symlink(path, linked); err != nil {
		t.Fatal(err)
	}
	stale := filepath.Join(dir, "stale.db")
	if err := os.WriteFile(stale+"-wal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(dir, "foreign.db")
	other := openAt(t, foreign)
	if err := other.Exec("PRAGMA application_id = 7"); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	if err := openAt(t, newer).Exec("INSERT INTO migrations VALUES (99, 0)"); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(dir, "text.db")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database at all\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	absent := filepath.Join(dir, "absent.db")
	before := names(t, dir)
	for _, test := range []struct{ from, to, want string }{
		{path, path, "belongs to the store"},
		{path, path + "-wal", "belongs to the store"},
		{path, path + "-lock", "belongs to the store"},
		{path, linked, "belongs to the store"},
		{path, stale, "stale.db-wal belongs to a database"},
		{path, filepath.Join(dir, "nowhere", "b.db"), "no such file"},
		{absent, filepath.Join(dir, "b.db"), "there is no store"},
		{foreign, filepath.Join(dir, "b.db"), "another program"},
		{newer, filepath.Join(dir, "b.db"), "newer version"},
		{text, filepath.Join(dir, "b.db"), "not a database"},
	} {
		if _, err := sqlite.Backup(t.Context(), test.from, test.to); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s to %s: %v, want %q", test.from, test.to, err, test.want)
		}
		if test.from == path {
			continue
		}
		if _, _, err := sqlite.Restore(t.Context(), test.from, filepath.Join(t.TempDir(), "r.db")); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("restore %s: %v, want %q", test.from, err, test.want)
		}
	}
	if after := names(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("files %q, were %q", after, before)
	}
	if err := sound(path); err != nil || head(t, s, "a") != 1 {
		t.Errorf("the store afterwards: %v", err)
	}
}

// A failed backup leaves the previous one in place.
func TestBackupThatFails(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "history.db"), filepath.Join(dir, "backup.db")
	put(t, openAt(t, path), "a", 1)
	backup(t, path, file)
	before := names(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlite.Backup(ctx, path, file); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if after := names(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("files %q, were %q", after, before)
	}
	if err := sound(file); err != nil {
		t.Error(err)
	}
}

// If another program had the store open, it would continue with the replaced file.
func TestRestoreBesideAnotherProgram(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "history.db"), filepath.Join(dir, "backup.db")
	s := openAt(t, path)
	put(t, s, "a", 1)
	backup(t, path, file)
	s.Close()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var rooms int
	if err := db.QueryRow("SELECT count(*) FROM rooms").Scan(&rooms); err != nil || rooms != 1 {
		t.Fatal(rooms, err)
	}
	if _, _, err := sqlite.Restore(t.Context(), file, path); !errors.Is(err, sqlite.ErrInUse) {
		t.Errorf("error %v", err)
	}
	db.Close()
	restore(t, file, path)
}

func TestCheckFinds(t *testing.T) {
	for name, test := range map[string]struct{ change, want string }{
		"room":       {"DELETE FROM rooms WHERE room_id = 'a'", "is of a room that does not exist"},
		"JSON":       {"UPDATE messages SET message = '{' WHERE id = 1 << 32 | 2", "message 4294967298 is no JSON"},
		"head":       {"UPDATE rooms SET head = 2 WHERE room_id = 'a'", "room 'a' has given the number 3, and knows only 2"},
		"free":       {"UPDATE rooms SET status = 'open' WHERE room_id = 'a'", "room 'a' belongs to nobody"},
		"status":     {"UPDATE rooms SET status = 'snoozed' WHERE room_id = 'c'", "conversation 'c' has the status 'snoozed'"},
		"opened":     {"UPDATE rooms SET closed_at = 1 WHERE room_id = 'c'", "conversation 'c' is open, and was closed"},
		"closed":     {"UPDATE rooms SET status = 'closed', waiting_at = NULL WHERE room_id = 'c'", "conversation 'c' is closed, and nobody knows when"},
		"waiting":    {"UPDATE rooms SET status = 'closed', closed_at = 1 WHERE room_id = 'c'", "conversation 'c' is closed, and its user waits"},
		"change":     {"UPDATE rooms SET change = 0 WHERE room_id = 'c'", "conversation 'c' has no change"},
		"labels":     {"UPDATE rooms SET labels = '{}' WHERE room_id = 'c'", "the labels of room 'c'"},
		"attributes": {"UPDATE rooms SET attributes = '[' WHERE room_id = 'c'", "the attributes of room 'c'"},
		"person":     {"UPDATE people SET attributes = '1'", "the attributes of person 'cy'"},
		"merged":     {"UPDATE people SET became = 'cy'", "became somebody else"},
		"changed":    {"UPDATE messages SET rev = 9 WHERE id = 1 << 32 | 2", "room 'a' has given the number 9, and knows only 3"},
	} {
		path := filepath.Join(t.TempDir(), "history.db")
		s := openAt(t, path)
		put(t, s, "a", 3)
		put(t, s, "b", 3)
		d := history.Draft{RoomID: "c", UserID: "cy", Message: []byte("1"), Conversation: &history.Conversation{UserID: "cy"}}
		if _, err := s.Append(t.Context(), []history.Draft{d}); err != nil {
			t.Fatal(err)
		}
		if err := sound(path); err != nil {
			t.Fatal(err)
		}
		if err := s.Exec(test.change); err != nil {
			t.Fatal(err)
		}
		r, err := sqlite.Check(t.Context(), path)
		if err != nil || r.Damaged || len(r.Findings) == 0 || !strings.Contains(r.Findings[0], test.want) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		// A backup is still made if single messages are damaged.
		if r, err := sqlite.Backup(t.Context(), path, path+".backup"); err != nil || len(r.Findings) == 0 {
			t.Errorf("%s: backup %+v, %v", name, r, err)
		}
	}
}

// A damaged file is reported and not backed up, and it can be replaced.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "history.db"), filepath.Join(dir, "backup.db")
	s := openAt(t, path)
	for n := range 50 {
		put(t, s, fmt.Sprint("room", n), 20)
	}
	backup(t, path, file)
	s.Close()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 3 << 12; at < 9<<12; at++ {
		content[at] ^= 0x55
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := sqlite.Check(t.Context(), path); err != nil || !r.Damaged || len(r.Findings) == 0 {
		t.Errorf("check: %+v, %v", r, err)
	}
	if _, err := sqlite.Backup(t.Context(), path, file); err == nil {
		t.Error("the backup of a file that is broken")
	}
	for _, broken := range []func() error{
		func() error { return nil },
		func() error { return os.WriteFile(path, []byte(strings.Repeat("no database at all\n", 100)), 0o600) },
	} {
		if err := broken(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path+"-wal", []byte("whatever"), 0o600); err != nil {
			t.Fatal(err)
		}
		restore(t, file, path)
		s = openAt(t, path)
		if n := head(t, s, "room7"); n != 20 {
			t.Errorf("head %d", n)
		}
		s.Close()
		if err := sound(path); err != nil {
			t.Error(err)
		}
	}
}
