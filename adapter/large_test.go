package adapter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
)

// Answers may be larger than what the bus carries in one message.
func TestLargeAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		net.MaxMessage = 4000
		a, b, c := connect(t, net.Connect(), "a"), connect(t, net.Connect(), "b"), connect(t, net.Connect(), "c")
		for _, n := range []*adapter.Native{a, b, c} {
			if err := join(t, n); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()

		large := bytes.Repeat([]byte("0123456789"), 5000)
		for i, n := range []*adapter.Native{b, c} {
			n.Serve("large", func(_ adapter.Node, _ []byte, reply func([]byte)) { reply(large[:len(large)-i]) })
		}
		if answer, err := a.Ask(ctx, b.Self().ID, "large", nil); !bytes.Equal(answer, large) || err != nil {
			t.Errorf("asked b: %d bytes, %v", len(answer), err)
		}
		sizes := map[string]int{}
		if err := a.AskAll(ctx, "large", nil, func(from adapter.Node, answer []byte) {
			if !bytes.HasPrefix(large, answer) {
				t.Errorf("%s has said something else", from.Name)
			}
			sizes[from.Name] += len(answer)
		}); err != nil || !maps.Equal(sizes, map[string]int{"b": 50_000, "c": 49_999}) {
			t.Errorf("asked all: %v, %v", sizes, err)
		}

		here, there, far := adaptertest.NewSpace(a, "/"), adaptertest.NewSpace(b, "/"), adaptertest.NewSpace(c, "/")
		for i := range 1000 {
			there.Connect(fmt.Sprint("k", i)).Join(fmt.Sprint("room ", i), "all\x00 rooms")
		}
		far.Connect("far").Join("room 0")
		rooms := map[string]int{}
		if err := here.Link.Call(ctx, &adapter.Message{Kind: adapter.RoomSizes}, func(answer *adapter.Answer) {
			for room, n := range answer.Rooms {
				rooms[room] += n
			}
		}); err != nil || len(rooms) != 1001 || rooms["all\x00 rooms"] != 1000 || rooms["room 0"] != 2 {
			t.Errorf("%d rooms, of which one has %d sockets, and another %d, not 2: %v", len(rooms), rooms["all\x00 rooms"], rooms["room 0"], err)
		}

		// What does not fit in any way is missing at once.
		there.Connect("k").Join(strings.Repeat("x", 5000))
		for _, k := range []adapter.Kind{adapter.RoomSizes, adapter.Fetch} {
			var partial *adapter.Partial
			if err := here.Link.Call(ctx, &adapter.Message{Kind: k}, func(*adapter.Answer) {}); !errors.As(err, &partial) || fmt.Sprint(partial.Missing) != "[b]" || partial.Cause != nil {
				t.Errorf("kind %d: %v", k, err)
			}
		}
	})
}
