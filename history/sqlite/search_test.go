package sqlite_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
	"github.com/parley-go/parley/history/sqlite"
)

func openSearch(t testing.TB, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(path, &sqlite.Options{Search: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSearch(t *testing.T) {
	t.Parallel()
	historytest.RunSearch(t, func(t testing.TB) history.Store { return openSearch(t, filepath.Join(t.TempDir(), "history.db")) })
}

// hits returns how many messages have a word, and whether the index is complete. Of an index that is
// not complete, it reads one page.
func hits(t *testing.T, s *sqlite.Store, text string) (n int, complete bool) {
	t.Helper()
	for q := (history.SearchQuery{Text: text, Limit: 500}); ; {
		f, err := s.Search(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		n += len(f.Hits)
		if q.Cursor = f.Next; q.Cursor == "" || !f.Complete {
			return n, f.Complete
		}
	}
}

func wantHits(t *testing.T, s *sqlite.Store, text string, want int) {
	t.Helper()
	until(t, fmt.Sprintf("%d messages with %q", want, text), func() bool {
		n, complete := hits(t, s, text)
		return complete && n == want
	})
}

func write(t *testing.T, s *sqlite.Store, room, text string, n int) {
	t.Helper()
	drafts := make([]history.Draft, n)
	for i := range drafts {
		drafts[i] = history.Draft{RoomID: room, UserID: "ann", Message: fmt.Appendf(nil, `{"text":"%s %d"}`, text, i)}
	}
	if _, err := s.Append(t.Context(), drafts); err != nil {
		t.Fatal(err)
	}
}

// Messages from before there was an index are found when it is complete. It goes on where it was when
// the store was closed. Without the option, it is removed.
func TestIndexBuild(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path)
	write(t, s, "a", "früher", 1100)
	if _, err := s.Search(t.Context(), history.SearchQuery{Text: "früher"}); history.Code(err) != history.ErrNotReady.Code {
		t.Errorf("without an index: %v", err)
	}
	must(t, s.Close())

	s = openSearch(t, path)
	write(t, s, "a", "später", 10)
	until(t, "a part is indexed", func() bool { return s.Built() > 0 })
	built := s.Built()
	must(t, s.Close())
	s = openSearch(t, path)
	until(t, "the index is open", func() bool { return s.Built() > 0 })
	if now := s.Built(); now < built {
		t.Errorf("it begins again at %d, after %d", now, built)
	}
	wantHits(t, s, "fruher", 1100)
	wantHits(t, s, "spater", 10)
	write(t, s, "b", "zuletzt", 3)
	must(t, s.Close()) // maybe before they were indexed
	s = openSearch(t, path)
	wantHits(t, s, "zuletzt", 3)
	must(t, s.Close())

	s = openAt(t, path)
	must(t, s.Close())
	if got := strings.Join(names(t, filepath.Dir(path)), " "); strings.Contains(got, "search") {
		t.Errorf("left over: %s", got)
	}
}

// An index that does not belong to the store is made anew.
func TestIndexOfAnother(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, path string){
		"damaged": func(t *testing.T, path string) {
			must(t, os.WriteFile(path+"-search", []byte(strings.Repeat("no database ", 1000)), 0o600))
		},
		"empty": func(t *testing.T, path string) { must(t, os.Truncate(path+"-search", 0)) },
		"gone":  func(t *testing.T, path string) { must(t, os.Remove(path+"-search")) },
		"of another format": func(t *testing.T, path string) {
			s := openSearch(t, path)
			wantHits(t, s, "apfel", 5)
			must(t, s.ExecIndex("UPDATE state SET v = '0' WHERE k = 'format'"), s.ExecIndex("DELETE FROM docs"), s.Close())
		},
		"restored": func(t *testing.T, path string) {
			copied := filepath.Join(t.TempDir(), "copy")
			_, err := sqlite.Backup(t.Context(), path, copied)
			must(t, err)
			_, _, err = sqlite.Restore(t.Context(), copied, path)
			must(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			s := openSearch(t, path)
			write(t, s, "a", "apfel", 5)
			wantHits(t, s, "apfel", 5)
			must(t, s.Close())
			spoil(t, path)
			s = openSearch(t, path)
			write(t, s, "a", "birne", 2)
			wantHits(t, s, "apfel", 5)
			wantHits(t, s, "birne", 2)
		})
	}
}

// A failure of the index is logged once, does not disturb anybody else, and passes.
func TestIndexFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s, log := openRecorded(t, path, sqlite.Options{Search: true})
	write(t, s, "a", "eins", 1)
	wantHits(t, s, "eins", 1)
	must(t, s.ExecIndex("CREATE TRIGGER fail BEFORE UPDATE ON state BEGIN SELECT RAISE(ABORT, 'no space left on device'); END"))
	write(t, s, "a", "zwei", 1)
	until(t, "it has failed twice", func() bool { return s.IndexFailures() >= 2 })
	if n, _ := hits(t, s, "eins"); n != 1 {
		t.Errorf("meanwhile %d are found", n)
	}
	must(t, s.ExecIndex("DROP TRIGGER fail"))
	wantHits(t, s, "zwei", 1)
	until(t, "it is logged", func() bool { return s.IndexFailures() == 0 })
	lines := log.take()
	if len(lines) != 2 || !strings.Contains(lines[0], "cannot be written") || !strings.Contains(lines[1], "written again") {
		t.Errorf("logged %q", lines)
	}
}

// The changelog does not grow while the index follows.
func TestIndexPasses(t *testing.T) {
	s := openSearch(t, filepath.Join(t.TempDir(), "history.db"))
	for i := range 4 {
		write(t, s, fmt.Sprint(i), "wort", 300)
	}
	wantHits(t, s, "wort", 1200)
	until(t, "the changelog is empty", func() bool {
		var n int
		must(t, s.QueryRow("SELECT count(*) FROM changelog", &n))
		return n == 0
	})
}

// The writer does not wait for the index.
func TestIndexIsApart(t *testing.T) {
	s := openSearch(t, filepath.Join(t.TempDir(), "history.db"))
	write(t, s, "a", "eins", 1)
	wantHits(t, s, "eins", 1)
	release := s.HoldIndex()
	write(t, s, "a", "zwei", 1)
	release()
	wantHits(t, s, "zwei", 1)
}

// The end of a query is the beginning of a word, whether many words begin so, or few, or none, and
// whatever the script. A page finds no other messages, and finds the newest first.
func TestSearchBeginnings(t *testing.T) {
	s := openSearch(t, filepath.Join(t.TempDir(), "history.db"))
	drafts := make([]history.Draft, 400)
	for i := range drafts {
		drafts[i] = history.Draft{RoomID: "a", UserID: "ann", Message: fmt.Appendf(nil, `{"text":"every word%d and Übermut%d 言葉遊び%d"}`, i, i, i%10)}
	}
	_, err := s.Append(t.Context(), drafts)
	must(t, err)
	wantHits(t, s, "every", 400)
	for text, want := range map[string]int{
		"e": 400, "ever": 400, "word": 400, "w": 400, "word1": 111, "word39": 11, "word399": 1, "word3999": 0, "wordless": 0, "word 1": 0,
		"every word399": 1, "every and word2": 111, "ubermut3": 111, "übermut20": 11, "言": 400, "言葉遊び": 400, "言葉遊び7": 40, "nothing word": 0,
	} {
		n, complete := hits(t, s, text)
		if n != want || !complete {
			t.Errorf("%q: %d messages, want %d", text, n, want)
		}
		f, err := s.Search(t.Context(), history.SearchQuery{Text: text, Limit: 10})
		must(t, err)
		for i := 1; i < len(f.Hits); i++ {
			if f.Hits[i-1].Message.Seq <= f.Hits[i].Message.Seq {
				t.Errorf("%q: number %d is before %d", text, f.Hits[i-1].Message.Seq, f.Hits[i].Message.Seq)
			}
		}
	}
}
