package chat_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// defaults are the budgets of the binary's defaults.
var defaults = chat.Budgets(50, 256<<10, 1<<20, 128)

// guest returns a member of the room r, or of others.
func guest(t *testing.T, s *chat.Service, h *hall, id string, rooms ...string) (*chat.Client, *peer) {
	t.Helper()
	p := &peer{id: id + "-12345678", hall: h}
	c := s.Connect(p)
	for _, room := range append([]string{"r"}, rooms...) {
		if err := c.Join(t.Context(), chat.Principal{UserID: id}, chat.JoinRequest{RoomID: room}, func(chat.Joined) {}); err != nil {
			t.Fatal(err)
		}
	}
	return c, p
}

// say sends a message and reports whether the service took it. It does not wait for the store.
func say(ctx context.Context, c *chat.Client, room, text string) error {
	message, _ := json.Marshal(text)
	return c.Send(ctx, chat.SendRequest{RoomID: room, Message: message}, func(history.Message, error) {})
}

// all returns what the peer has heard.
func (p *peer) all() []string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.said)
}

// forget drops what the peer has heard.
func (p *peer) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = nil
}

// heard returns how many things the peer has heard that begin with prefix.
func (p *peer) heard(prefix string) (n int) {
	for _, said := range p.all() {
		if strings.HasPrefix(said, prefix) {
			n++
		}
	}
	return n
}

// A member that sends much waits. It loses nothing, and the order stays.
func TestMemberWaitsForItsBudget(t *testing.T) {
	for kind, test := range map[budget.Kind]struct{ size, messages int }{
		budget.Messages:     {1, 300},
		budget.MessageBytes: {60 << 10, 30},
	} {
		t.Run(kind.String(), func(t *testing.T) {
			inLimited(t, history.NewMemory(), defaults, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
				flooder, p := guest(t, s, h, "flooder")
				defer flooder.Close()
				begun := time.Now()
				for i := range test.messages {
					if err := say(t.Context(), flooder, "r", fmt.Sprintf("%0*d", test.size, i)); err != nil {
						t.Fatal(err)
					}
				}
				least := float64(test.messages)/defaults[kind].PerSecond - defaults[kind].Burst/defaults[kind].PerSecond
				if kind == budget.MessageBytes {
					least = (float64(test.messages*test.size) - defaults[kind].Burst) / defaults[kind].PerSecond
				}
				if took := time.Since(begun).Seconds(); took < least-1 || took > least+1 {
					t.Errorf("%d messages took %.1f s, want about %.1f", test.messages, took, least)
				}
				all := p.all()
				for i, said := range all {
					if !strings.Contains(said, fmt.Sprintf("%d\" by flooder", i)) {
						t.Fatalf("number %d is %.80q", i, said)
					}
				}
				stats := s.Stats()
				if len(all) != test.messages || stats.Slowed[kind.String()] == 0 || stats.Refused[kind.String()] > 0 {
					t.Errorf("%d messages arrived, of %d; %+v", len(all), test.messages, stats)
				}
			})
		})
	}
}

// floodOfARoom lets many members of one address send as fast as they can for ten seconds, while
// another one, of an address, says something every so often. It returns how many messages of the
// flood arrived, and how long the other one waited at most.
func floodOfARoom(t *testing.T, limits budget.Limits, address string, every time.Duration) (arrived int, waited time.Duration) {
	inLimited(t, history.NewMemory(), limits, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		heard := &peer{id: "ann-12345678", hall: h, address: address}
		ann := s.Connect(heard)
		defer ann.Close()
		if err := ann.Join(t.Context(), chat.Principal{UserID: "ann"}, chat.JoinRequest{RoomID: "r"}, func(chat.Joined) {}); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 30 {
			flooder, _ := guest(t, s, h, fmt.Sprint("flooder", i))
			wg.Go(func() {
				defer flooder.Close()
				for range 300 {
					var refusal *chat.Error
					if err := say(ctx, flooder, "r", "flood"); errors.Is(err, chat.ErrGone) {
						return
					} else if err != nil && (!errors.As(err, &refusal) || refusal.Code != chat.RateLimited || refusal.RetryAfter <= 0) {
						t.Error(err)
					}
				}
			})
		}
		times := int(10 * time.Second / every)
		for range times {
			time.Sleep(every)
			begun := time.Now()
			if err := say(ctx, ann, "r", "hello"); err != nil {
				t.Error(err)
			}
			waited = max(waited, time.Since(begun))
		}
		stop()
		wg.Wait()
		if n := heard.heard(`message "hello" by ann`); n != times {
			t.Errorf("%d of %d messages arrived", n, times)
		}
		arrived = heard.heard(`message "flood"`)
	})
	return arrived, waited
}

func TestFloodOfARoom(t *testing.T) {
	limit := defaults[budget.RoomMessages]
	for name, other := range map[string]struct {
		address string
		every   time.Duration
	}{
		"one of the same address speaks":   {"192.0.2.1", time.Second},
		"one of another address says much": {"192.0.2.2", 100 * time.Millisecond},
	} {
		arrived, waited := floodOfARoom(t, defaults, other.address, other.every)
		if most := int(limit.Burst + 12*limit.PerSecond); arrived > most || arrived < most/2 {
			t.Errorf("%s: %d messages of the flood arrived, want at most %d", name, arrived, most)
		}
		if waited > 50*time.Millisecond {
			t.Errorf("%s: it waited for %v", name, waited)
		}
	}
	if arrived, _ := floodOfARoom(t, budget.Limits{}, "", time.Second); arrived != 30*300 {
		t.Errorf("without budgets %d messages of the flood arrived", arrived)
	}
}

// What would wait too long is refused, and says when to try again.
func TestRateLimited(t *testing.T) {
	inLimited(t, history.NewMemory(), chat.Budgets(0, 1000, 1<<20, 128), func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		c, _ := guest(t, s, h, "member")
		defer c.Close()
		large := strings.Repeat("x", 10_000)
		if err := say(t.Context(), c, "r", large); err != nil {
			t.Fatal(err)
		}
		var refusal *chat.Error
		if err := say(t.Context(), c, "r", large); !errors.As(err, &refusal) || refusal.Code != chat.RateLimited {
			t.Fatal(err)
		}
		time.Sleep(refusal.RetryAfter)
		begun := time.Now()
		if err := say(t.Context(), c, "r", large); err != nil || time.Since(begun) > 0 {
			t.Errorf("after %v: %v, %v", refusal.RetryAfter, err, time.Since(begun))
		}
	})
}

// What is too large is refused at once, so that it does not take memory while it waits.
func TestTooLargeDoesNotWait(t *testing.T) {
	inLimited(t, history.NewMemory(), budget.Limits{budget.Messages: {PerSecond: 1, Burst: 1}}, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		c, p := guest(t, s, h, "member")
		defer c.Close()
		begun := time.Now()
		for range 3 {
			wantCode(t, say(t.Context(), c, "r", strings.Repeat("x", maxMessage)), chat.TooLarge)
		}
		spaced := append(make([]byte, 0, 2*maxMessage), '[')
		spaced = append(append(spaced, strings.Repeat(" ", maxMessage)...), "1 ]"...)
		if err := c.Send(t.Context(), chat.SendRequest{RoomID: "r", Message: spaced}, func(history.Message, error) {}); err != nil || time.Since(begun) > 0 {
			t.Errorf("%v, after %v", err, time.Since(begun))
		}
		p.want(t, "message [1] by member")
	})
}

// What waits when its sender leaves is not sent, and holds nothing.
func TestGoneWhileWaiting(t *testing.T) {
	for name, limits := range map[string]budget.Limits{
		"member": {budget.Messages: {PerSecond: 1, Burst: 1}},
		"room":   {budget.RoomMessages: {PerSecond: 1, Burst: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			inLimited(t, history.NewMemory(), limits, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
				c, p := guest(t, s, h, "member")
				defer c.Close()
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				var err error
				for range 3 {
					if err == nil {
						err = say(ctx, c, "r", "x")
					}
				}
				if !errors.Is(err, chat.ErrGone) {
					t.Errorf("error %v", err)
				}
				time.Sleep(time.Minute)
				if n := p.heard("message"); n != 2 {
					t.Errorf("%d messages arrived", n)
				}
				if err := say(t.Context(), c, "r", "x"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestJoinsAndPagesWait(t *testing.T) {
	inLimited(t, history.NewMemory(), defaults, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		c, _ := guest(t, s, h, "member")
		defer c.Close()
		for kind, do := range map[budget.Kind]func() error{
			budget.Joins: func() error {
				return c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r"}, func(chat.Joined) {})
			},
			budget.Pages: func() error {
				_, err := c.History(t.Context(), chat.HistoryRequest{RoomID: "r"})
				return err
			},
		} {
			limit := defaults[kind]
			begun := time.Now()
			for range int(limit.Burst + 10*limit.PerSecond) {
				if err := do(); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(begun).Seconds(); took < 9 || took > 11 {
				t.Errorf("%v: 10 s more than the burst took %.1f s", kind, took)
			}
		}
	})
}

// What does not change is not announced, and what changes all the time is announced now and then.
func TestTypingFlood(t *testing.T) {
	inService(t, history.NewMemory(), func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		ann, heard := guest(t, s, h, "ann")
		defer ann.Close()
		bob, _ := guest(t, s, h, "bob")
		defer bob.Close()
		heard.forget()
		for range 10_000 {
			bob.Typing("r", false, "")
		}
		heard.want(t)
		for i := range 10_001 {
			bob.Typing("r", i%2 == 0, "")
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Second)
		if n := heard.heard("typing"); n > 5 || heard.all()[n-1] != "typing true of bob" {
			t.Errorf("%d events for 1 s of changes: %q", n, heard.all())
		}
		for range 100 {
			bob.Typing("r", true, "")
			time.Sleep(100 * time.Millisecond)
		}
		if n := heard.heard("typing true"); n < 9 || n > 14 {
			t.Errorf("%d events for 10 s of typing", n)
		}
		heard.forget()
		bob.Typing("r", false, "")
		time.Sleep(time.Minute)
		heard.want(t, "typing false of bob")
	})
}

// A room hears only so much about typing, however many members type. Whoever begins is heard first.
func TestTypingInARoom(t *testing.T) {
	inLimited(t, history.NewMemory(), budget.Limits{budget.Typing: defaults[budget.Typing]}, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		ann, _ := guest(t, s, h, "ann")
		bob, heard := guest(t, s, h, "bob")
		clients := []*chat.Client{ann, bob}
		for i := range 100 {
			c, _ := guest(t, s, h, fmt.Sprint("flooder", i))
			clients = append(clients, c)
		}
		for i := range 100 {
			for _, c := range clients[2:] {
				c.Typing("r", i%2 == 0, "")
			}
			if i == 50 {
				ann.Typing("r", true, "")
			}
			time.Sleep(100 * time.Millisecond)
			if i == 51 && heard.heard("typing true of ann") != 1 {
				t.Error("one that begins to type is not heard")
			}
		}
		limit := defaults[budget.Typing]
		if n, most := heard.heard("typing"), int(limit.Burst+11*limit.PerSecond); n > most || n < most/2 {
			t.Errorf("%d events in 10 s, want at most %d", n, most)
		}
		for _, c := range clients {
			c.Close()
		}
	})
}

// Members that come, go and change all the time cause few announcements. In the end everybody knows
// who is there.
func TestPresenceChurn(t *testing.T) {
	for name, limits := range map[string]budget.Limits{"within budgets": {budget.Presence: defaults[budget.Presence]}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			inLimited(t, history.NewMemory(), limits, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
				const churners, changes = 20, 10_000
				ann, heard := guest(t, s, h, "ann")
				defer ann.Close()
				clients, here := [churners]*chat.Client{}, [churners]bool{}
				for i := range clients {
					clients[i] = s.Connect(&peer{id: fmt.Sprintf("churner%d", i+10), hall: h})
				}
				random := rand.New(rand.NewPCG(1, 2))
				var late *peer // somebody who comes later
				known := map[*peer]map[string]bool{heard: {}}
				for n := range changes {
					i := random.IntN(churners)
					if here[i] = random.IntN(2) == 0; here[i] {
						who := chat.Principal{UserID: fmt.Sprint(n % 3)}
						if err := clients[i].Join(t.Context(), who, chat.JoinRequest{RoomID: "r"}, func(chat.Joined) {}); err != nil {
							t.Fatal(err)
						}
					} else if err := clients[i].Leave("r"); err != nil {
						t.Fatal(err)
					}
					if n == changes/2 {
						late = &peer{id: "late-12345678", hall: h}
						c := s.Connect(late)
						defer c.Close()
						if err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r"}, func(j chat.Joined) {
							late.forget()
							known[late] = map[string]bool{}
							for _, m := range j.Members {
								known[late][m.ID] = true
							}
							if !known[late][late.id] {
								t.Error("it does not see itself")
							}
						}); err != nil {
							t.Fatal(err)
						}
					}
					time.Sleep(time.Millisecond)
				}
				limit := defaults[budget.Presence]
				if n, most := len(heard.all()), int(limit.Burst+11*limit.PerSecond); (n > most) == (limits != budget.Limits{}) {
					t.Errorf("%d announcements for %d changes, %d are within the budget", n, changes, most)
				}
				time.Sleep(time.Minute)
				want := 2
				for _, is := range here {
					if is {
						want++
					}
				}
				for p, known := range known {
					all := p.all()
					for _, said := range all {
						what, rest, _ := strings.Cut(said, " of ")
						id, _, _ := strings.Cut(rest, ",")
						switch what {
						case "join":
							known[id] = true
						case "leave":
							if !known[id] {
								t.Errorf("%s left, but was not there", id)
							}
							delete(known, id)
						}
					}
					for i := range clients {
						if known[fmt.Sprintf("churner%d", i+10)] != here[i] {
							t.Errorf("%s: churner%d is there: %v", p.id, i+10, here[i])
						}
					}
					if last := all[len(all)-1]; !strings.HasSuffix(last, fmt.Sprintf("now %d", want)) {
						t.Errorf("%d are there, announced last: %q", want, last)
					}
				}
				for _, c := range clients {
					c.Close()
				}
			})
		})
	}
}
