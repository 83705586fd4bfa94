package adaptertest

import (
	"fmt"
	"slices"
	"testing"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/emitter"
)

// RunEmitter checks an emitter to the main namespace of some servers, each of which has a Space without sockets.
func RunEmitter(t *testing.T, e *emitter.Emitter, spaces []*Space) {
	flush(t, spaces)
	var sockets []*Socket
	for i, s := range spaces {
		k := s.Connect(fmt.Sprint("k", i))
		k.Join("all", fmt.Sprint("room ", i))
		sockets = append(sockets, k)
	}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	do(e.Emit("event", "everybody"))
	do(e.To().Emit("event", "nobody"))
	do(e.To("all").Emit("event", "a room"))
	do(e.To("room 0").To("room 1", "room 1").Emit("event", "two rooms"))
	do(e.To("k1").Volatile().Compress(false).Emit("event", "one socket"))
	do(e.Except("room 1").Emit("event", "all but one"))
	do(e.To("all").Except("k0").Emit("event", "a room but one"))
	do(e.Of("other").Emit("event", "another namespace"))
	do(e.Emit("event", "binary", []byte{1, 2}))
	do(e.To("all").SocketsJoin("late", "later"))
	do(e.To("late").Emit("event", "those that joined"))
	do(e.To("k0").SocketsLeave("late"))
	do(e.To("late").Emit("event", "those that stayed"))
	do(e.To().ServerEmit("hello", 1))
	do(e.Emit("event", "end"))
	shared := []string{"everybody", "a room", "two rooms"}
	for i, k := range sockets {
		want := map[int][]string{
			0: append(slices.Clone(shared), "all but one", "binary 0102", "those that joined", "end"),
			1: append(slices.Clone(shared), "one socket", "a room but one", "binary 0102", "those that joined", "those that stayed", "end"),
		}[i]
		Eventually(t, "the end", func() bool { return slices.Contains(k.Heard(), "end") })
		heard(t, k, want...)
		Eventually(t, "the event for servers", func() bool { return slices.Equal(spaces[i].Events(), []string{`["hello",1]`}) })
	}
	if got := sockets[0].Rooms(); !slices.Equal(got, []string{"all", "later", "room 0"}) {
		t.Errorf("the first one is in %q", got)
	}
	do(e.To("k1").DisconnectSockets(true))
	Eventually(t, "the end of the socket", func() bool { return spaces[1].Count(adapter.Selection{}) == 0 })
	if spaces[0].Count(adapter.Selection{}) != 1 {
		t.Error("the other one was disconnected, too")
	}
	for _, err := range []error{e.Emit("connect"), e.ServerEmit("connection"), e.Emit("event", func() {})} {
		if err == nil {
			t.Error("a bad event is no error")
		}
	}
	do(e.Close())
	if err := e.Of("/x").Emit("event"); err == nil {
		t.Error("after Close, there is no error")
	}
}
