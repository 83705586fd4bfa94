package chat_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/soak"
)

// members returns the ids and names of members, in order.
func members(shown []chat.Member) (all string) {
	slices.SortFunc(shown, func(x, y chat.Member) int { return strings.Compare(x.ID, y.ID) })
	for _, m := range shown {
		all += m.ID + " " + m.Name + ", "
	}
	return all
}

// People come and go on three servers, change their names and type, while servers are cut off and lose
// what others say. When all is quiet, every server shows the same members, and so does what each
// watcher has heard.
func TestModelOfMembers(t *testing.T) {
	for seed := range uint64(soak.Times(40, 20_000)) {
		atDesks(t, 3, open, func(t *testing.T, b []*branch) {
			random := rand.New(rand.NewPCG(seed, 0))
			pause := func() { time.Sleep(time.Duration(random.IntN(3000)) * time.Millisecond) }
			type guest struct {
				*person
				name string
			}
			join := func(p *person, name string) string {
				j, err := p.tryJoin(conversation.JoinRequest{RoomID: "r", UserID: "u" + p.peer.id, Name: name})
				if err != nil {
					t.Fatal(err)
				}
				return members(j.Members)
			}
			watchers, views := make([]*person, 3), make([]shownTo, 3)
			truth := map[string]string{}
			for i := range b {
				watchers[i] = b[i].with(nil)
				truth[watchers[i].peer.id] = ""
				p := watchers[i]
				if err := p.Join(t.Context(), chat.Principal{UserID: "u" + p.peer.id}, conversation.JoinRequest{RoomID: "r"}, views[i].joined); err != nil {
					t.Fatal(err)
				}
			}
			var guests []guest
			for range 60 {
				at := b[random.IntN(3)]
				switch n := random.IntN(20); {
				case n < 8 || len(guests) == 0:
					g := guest{at.with(nil), ""}
					join(g.person, "")
					guests = append(guests, g)
					truth[g.peer.id] = ""
				case n < 13:
					i := random.IntN(len(guests))
					guests[i].Leave("r")
					delete(truth, guests[i].peer.id)
					guests = slices.Delete(guests, i, i+1)
				case n < 15:
					g := &guests[random.IntN(len(guests))]
					g.name = fmt.Sprint(random.IntN(100))
					join(g.person, g.name)
					truth[g.peer.id] = g.name
				case n < 16:
					if err := guests[random.IntN(len(guests))].Typing("r", true, ""); err != nil {
						t.Fatal(err)
					}
				case n < 18:
					at.bus.Cut(true)
					pause()
				case n < 19:
					at.bus.Cut(false)
				default:
					lost := 0 // changes, without anybody knowing
					at.misses(func(_ string, data []byte) bool {
						if !strings.Contains(string(data), `"set"`) {
							return false
						}
						lost++
						return lost%2 == 1 && lost < 10
					})
				}
				if random.IntN(3) == 0 {
					pause()
				}
			}
			for _, branch := range b {
				branch.misses(nil)
				branch.bus.Cut(false)
			}
			time.Sleep(13 * time.Second) // one digest, and what it causes
			synctest.Wait()
			want := ""
			for _, id := range slices.Sorted(maps.Keys(truth)) {
				want += id + " " + truth[id] + ", "
			}
			for i, p := range watchers {
				views[i].apply(t, p.heard())
				ids := slices.Sorted(maps.Keys(views[i].ids))
				if all := slices.Sorted(maps.Keys(truth)); !slices.Equal(ids, all) || views[i].count != len(all) {
					t.Errorf("seed %d: on server %d, %v are shown, of %d; want %v", seed, i, ids, views[i].count, all)
				}
				if got := join(p, ""); got != want {
					t.Errorf("seed %d: server %d says %s, want %s", seed, i, got, want)
				}
			}
		})
		if t.Failed() {
			return
		}
	}
}
