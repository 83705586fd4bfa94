package app_test

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/budget"
)

// held returns how often clients were slowed down or refused, by the kind of budget.
func held(t *testing.T, i *instance) map[string]int {
	t.Helper()
	_, metrics := request(t, "GET", i.url+"/metrics")
	times := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^parley_(?:slowed|over_budget)_total\{kind="(\w+)"\} (\d+)$`).FindAllStringSubmatch(metrics, -1) {
		n, _ := strconv.Atoi(m[2])
		times[m[1]] += n
	}
	if len(times) != budget.Kinds {
		t.Fatalf("budgets of %d kinds: %v", len(times), times)
	}
	for kind, n := range times {
		if n == 0 {
			delete(times, kind)
		}
	}
	return times
}

// A client that comes back joins its rooms, asks for their history, sends what it has kept, and
// types. The defaults do not slow it down.
func TestDefaultsSuitAChat(t *testing.T) {
	c := app.Defaults()
	c.Data = "memory"
	i := start(t, c)
	p := i.dial(t)
	for n := range 20 {
		p.Send("joinRoom", object{"roomId": fmt.Sprint("r", n), "userId": "u"})
		p.Send("history", object{"roomId": fmt.Sprint("r", n), "limit": 500})
	}
	for range 40 {
		p.Expect("history", new(answer))
	}
	for n := range 40 {
		p.Send("sendMessage", object{"roomId": "r0", "message": n})
	}
	for n := range 40 {
		var m message
		if p.Expect("newMessage", &m); m.Message != float64(n) {
			t.Errorf("message %v, want %d", m.Message, n)
		}
	}
	p.Ask("typing", object{"roomId": "r0"}, new(answer))
	if times := held(t, i); len(times) > 0 {
		t.Errorf("it was slowed down: %v", times)
	}
}

// 0 events a second switch off all limits of counts a second, 0 bytes a second all limits of bytes.
// What one address may create and store in an hour, and in how many rooms it may be, has other settings.
func TestNoBudgets(t *testing.T) {
	counts := []budget.Kind{budget.Joins, budget.Pages, budget.Messages, budget.RoomMessages, budget.Typing, budget.Presence, budget.Openings, budget.Requests, budget.AddressEvents}
	for kind := budget.UserMessages; kind <= budget.OperatorSearches; kind++ {
		counts = append(counts, kind) // of identities
	}
	bytes := []budget.Kind{budget.Reads, budget.AddressReads, budget.MessageBytes, budget.RoomMessageBytes}
	others := []budget.Kind{budget.Rooms, budget.Stored, budget.Memberships}
	const ofAccess = budget.Visitors - budget.SignIns + 1 // package access has these limits
	if n := budget.ConnectionKinds + int(ofAccess) + len(counts) + len(bytes) + len(others); n != budget.Kinds {
		t.Fatalf("this test knows %d kinds of %d", n, budget.Kinds)
	}
	for _, off := range []struct{ counts, bytes bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		c := app.Defaults()
		if off.counts {
			c.EventsPerSecond = 0
		}
		if off.bytes {
			c.BytesPerSecond = 0
		}
		o, limits := app.Options(c), app.Budgets(c)
		// In parley.Options, 0 is a default for frames and for inflated bytes. The others have none.
		if (o.EventsPerSecond == 0) != off.counts || (o.FramesPerSecond < 0) != off.counts ||
			(o.BytesPerSecond == 0) != off.bytes || (o.InflatedBytesPerSecond < 0) != off.bytes {
			t.Errorf("%+v: %v events, %v frames, %v bytes and %v inflated bytes a second", off,
				o.EventsPerSecond, o.FramesPerSecond, o.BytesPerSecond, o.InflatedBytesPerSecond)
		}
		for _, kinds := range []struct {
			kinds []budget.Kind
			off   bool
		}{{counts, off.counts}, {bytes, off.bytes}, {others, false}} {
			for _, kind := range kinds.kinds {
				if (limits[kind] == budget.Limit{}) != kinds.off {
					t.Errorf("%+v: the limit of %v is %+v", off, kind, limits[kind])
				}
			}
		}
	}
}

// A client that sends too much is slowed down. It stays, and loses nothing.
func TestFloodWaits(t *testing.T) {
	for name, c := range map[string]app.Config{"defaults": app.Defaults(), "no budgets": testConfig()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Data = "memory"
			i := start(t, c)
			flooder, other := i.dial(t), i.dial(t)
			join(t, flooder, object{"roomId": "r", "userId": "flooder"})
			join(t, other, object{"roomId": "r", "userId": "other"})
			const messages = 160
			for n := range messages {
				flooder.Send("sendMessage", object{"roomId": "r", "message": n})
			}
			for n := range messages {
				var m message
				if other.Expect("newMessage", &m); m.Message != float64(n) {
					t.Fatalf("message %v, want %d", m.Message, n)
				}
			}
			if times := held(t, i); (times["events"]+times["messages"] > 0) != (c.EventsPerSecond > 0) {
				t.Errorf("slowed down: %v", times)
			}
			send(t, flooder, object{"roomId": "r", "message": "still here"})
		})
	}
}

// What all members of a room may send at once takes at most half of what may be queued for each.
func TestBudgetsFitTheOutbox(t *testing.T) {
	for _, events := range []float64{1, 50, 1e4, 0} {
		for _, outbox := range []int64{64 << 10, 1 << 20, 64 << 20} {
			for _, bytes := range []int64{1 << 10, outbox / 4, outbox} {
				c := testConfig()
				c.EventsPerSecond, c.BytesPerSecond, c.MaxOutbox = events, bytes, outbox
				if burst := app.Budgets(c)[budget.RoomMessageBytes].Burst; burst <= 0 || burst > float64(outbox)/2 {
					t.Errorf("with %v events, %d bytes and an outbox of %d: a burst of %v", events, bytes, outbox, burst)
				}
			}
		}
	}
}
