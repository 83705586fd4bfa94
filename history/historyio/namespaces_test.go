package historyio_test

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historyio"
)

// Sockets of several namespaces, dynamic ones too, join the rooms of one log. Each gets the answer first,
// then the live messages in its own namespace.
func TestSeveralNamespaces(t *testing.T) {
	for name, o := range map[string]*historyio.Options{"default": nil, "encoded once": {EncodeOnce: true}} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, history.NewMemory(), nil, o) // has handlers for the main namespace
			tenants := s.OfPattern(regexp.MustCompile(`^/tenant-\d+$`))
			for _, sockets := range []interface {
				historyio.Sockets
				parley.Listener
			}{s.Of("/admin"), tenants} {
				rooms := historyio.New(sockets, s.log, o)
				parley.HandleStream(sockets, Join, func(ctx context.Context, s *parley.Socket, q JoinRequest, ack func(history.Opened) error) error {
					return rooms.Join(ctx, s, q.Room, history.OpenOptions{Since: q.After, Epoch: q.Epoch}, func(o history.Opened) { ack(o) })
				})
			}
			s.say(t, "r", "one")
			main := dial(t, s)
			main.join(joinRequest{Room: "r"})
			names := []string{"/admin", "/tenant-1", "/tenant-2"}
			for _, n := range names { // on the same connection
				main.put("40" + n + ",")
				main.expect("40" + n + ",{")
				main.put("42" + n + `,7["join",{"room":"r"}]`)
				main.expect("43" + n + `,7[{`)
			}
			s.say(t, "r", "two")
			heard := map[string]bool{}
			for range len(names) + 1 {
				packet, _, _ := strings.Cut(main.expect("42"), `["newMessage",{`)
				heard[packet] = true
			}
			for _, want := range []string{"42", "42/admin,", "42/tenant-1,", "42/tenant-2,"} {
				if !heard[want] {
					t.Errorf("nothing like %s was heard, but %v", want, heard)
				}
			}
		})
	}
}

// A socket that leaves or disconnects has no subscription any more. One that comes back has one again.
func TestSubscriptionsEnd(t *testing.T) {
	bus := &openRooms{open: map[string]int{}}
	s := serveLog(t, history.NewLog(history.NewMemory(), &history.LogOptions{Bus: bus}), &parley.Recovery{}, nil)
	a := dial(t, s)
	for _, room := range []string{"left", "kept", "kept"} { // joining again does not open it twice
		a.join(joinRequest{Room: room})
	}
	bus.want(t, "kept", "left")
	a.ask("leave", "left")
	bus.want(t, "kept")
	a.drop(s)
	bus.want(t)
	a.back()
	bus.want(t, "kept")
	a.drop(s)
	bus.want(t)
}

// openRooms is a history.Bus that knows which rooms of the log are open.
type openRooms struct {
	mu   sync.Mutex
	open map[string]int
}

func (b *openRooms) Publish(*history.Message) {}

func (b *openRooms) Subscribe(_ context.Context, room string, _ func(history.Message)) (cancel func(), err error) {
	b.add(room, 1)
	return func() { b.add(room, -1) }, nil
}

func (b *openRooms) add(room string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open[room] += n; b.open[room] == 0 {
		delete(b.open, room)
	}
}

// want waits until these rooms are open, and no others.
func (b *openRooms) want(t *testing.T, rooms ...string) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		b.mu.Lock()
		open := slices.Sorted(maps.Keys(b.open))
		b.mu.Unlock()
		if slices.Equal(open, rooms) {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("open are %q, want %q", open, rooms)
		}
	}
}
