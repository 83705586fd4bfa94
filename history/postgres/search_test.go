package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
)

// A message with more words than PostgreSQL can index is found, and so is a word that is longer than a
// query. Another node brings the index forward if the one that stores is gone; it looks every 5 s, so this
// takes as long.
func TestSearchLarge(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	first := openAt(t, url, &postgres.Options{Search: true})
	second := openAt(t, url, &postgres.Options{Search: true})
	var many strings.Builder
	for n := range 100_000 {
		fmt.Fprintf(&many, "word%d ", n)
	}
	long := strings.Repeat("ä", 300) // as many bytes when it is folded
	for n, text := range []string{many.String(), long + " short", "something else"} {
		d := draft("a", n)
		d.Message = fmt.Appendf(nil, "%q", text)
		appended(t, first, d)
	}
	first.Close()
	for query, want := range map[string]int{"word7 word99999": 1, "word1000": 1, strings.Repeat("a", 150): 1, strings.Repeat("a", 149): 1,
		strings.Repeat("a", 200): 1, "short": 1, "word7 else": 0} {
		for {
			other, err := second.Search(t.Context(), history.SearchQuery{Text: "something"})
			if err != nil {
				t.Fatal(err)
			}
			f, err := second.Search(t.Context(), history.SearchQuery{Text: query})
			if err != nil {
				t.Fatal(err)
			}
			if !f.Complete || len(other.Hits) == 0 { // the last message was indexed after the others, or with them
				continue
			}
			if len(f.Hits) != want {
				t.Errorf("%.20s: %d hits, want %d", query, len(f.Hits), want)
			}
			break
		}
	}
}
