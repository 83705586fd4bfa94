package sqlite_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
)

// What a draft's footprint says is no less than what the file grows by, and not far more.
func TestFootprint(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	id := func(n int) string {
		s := fmt.Sprintf("%016x", random.Uint64())
		return (s + strings.Repeat("x", max(0, n-len(s))))[:n]
	}
	for _, c := range []struct {
		name     string
		messages int
		rooms    int // 0: each message makes one
		draft    history.Draft
		clientID int // its length
	}{
		{"short", 3000, 10, history.Draft{UserID: "ann", Message: []byte(`1`)}, 0},
		{"short, each its room", 3000, 0, history.Draft{UserID: "ann", Message: []byte(`1`)}, 0},
		{"short, client ids", 3000, 100, history.Draft{UserID: "ann", Message: []byte(`1`)}, 36},
		{"conversations", 3000, 0, history.Draft{UserID: "ann", Message: []byte(`1`), Conversation: &history.Conversation{
			Subject: "A parcel", Labels: []string{"vip"}, Attributes: []byte(`{"plan":"pro"}`), Name: "Ann", Email: "ann@example.org",
		}}, 36},
		{"long names", 3000, 100, history.Draft{
			UserID: strings.Repeat("u", 120), OperatorID: strings.Repeat("o", 120), Message: []byte(`1`),
		}, 120},
		{"1 KB", 2000, 500, history.Draft{UserID: "ann", Message: text(1000)}, 36},
		{"3 KB", 1000, 300, history.Draft{UserID: "ann", Message: text(3000)}, 36},
		{"5 KB", 1000, 300, history.Draft{UserID: "ann", Message: text(5000)}, 36},
		{"60 KB", 100, 10, history.Draft{UserID: "ann", Message: text(60_000)}, 36},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openAt(t, filepath.Join(t.TempDir(), "history.db"))
			must(t, s.ExecWriter("PRAGMA synchronous = OFF")) // the disk does not matter here
			size := func() int64 {
				var size int64
				must(t, s.QueryRow("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", &size))
				return size
			}
			rooms := make([]string, c.rooms)
			for i := range rooms {
				rooms[i] = id(20)
			}
			seen := map[string]bool{}
			before, footprint := size(), 0
			for left := c.messages; left > 0; left -= 100 {
				drafts := make([]history.Draft, 100)
				for i := range drafts {
					d := c.draft
					if c.rooms == 0 {
						d.RoomID = id(100)
					} else {
						d.RoomID = rooms[random.IntN(len(rooms))]
					}
					if c.clientID > 0 {
						d.ClientID = id(c.clientID)
					}
					if d.Conversation != nil {
						own := *d.Conversation
						own.UserID = id(20)
						d.UserID, d.Conversation = own.UserID, &own
					}
					footprint += d.Footprint(!seen[d.RoomID])
					seen[d.RoomID] = true
					drafts[i] = d
				}
				results, err := s.Append(context.Background(), drafts)
				must(t, err)
				for _, r := range results {
					must(t, r.Err)
				}
			}
			if grown := int(size() - before); footprint < grown || footprint > 3*grown {
				t.Errorf("the file has grown by %d bytes, the footprint is %d", grown, footprint)
			} else {
				t.Logf("%.2f of the footprint", float64(grown)/float64(footprint))
			}
		})
	}
}

// text returns a message of n bytes.
func text(n int) []byte { return []byte(`"` + strings.Repeat("m", n-2) + `"`) }
