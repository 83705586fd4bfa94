package nodewire_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/adapter/redis/redistest"
)

// It takes seconds, because a Redis Cluster takes seconds to form.
func TestRedisCluster(t *testing.T) {
	redis := redistest.StartCluster(t, 3, false)
	// What is sent to different rooms does not keep its order here if they have channels of their own.
	runSuite(t, nodewire.Sharded, map[string]*nodewire.Options{"static": {Mode: nodewire.Static}}, redis.Addrs()...)
	runSuite(t, nodewire.Classic, map[string]*nodewire.Options{"classic": {}}, redis.Addrs()...)
	t.Run("rooms", func(t *testing.T) { roomsInSlots(t, redis) })
}

// The channels of rooms are in many slots. When a slot moves, its room is heard again, and the server knows that
// it may have missed something.
func roomsInSlots(t *testing.T, redis *redistest.Cluster) {
	var spaces []*adaptertest.Space
	for range 2 {
		c, err := nodewire.Sharded(rueidis.ClientOption{InitAddress: redis.Addrs()}, &nodewire.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		spaces = append(spaces, adaptertest.NewSpace(c, "/"))
	}
	k := spaces[1].Connect("a socket's id of 20!!")
	hears := func(room, text string) {
		t.Helper()
		adaptertest.Eventually(t, "the room "+room, func() bool {
			if err := spaces[0].Emit(adapter.Selection{Rooms: []string{room}}, text); err != nil {
				t.Fatal(err)
			}
			return slices.Contains(k.Heard(), text)
		})
	}
	for i := range 30 {
		room := fmt.Sprint("room", i)
		k.Join(room)
		if err := spaces[0].Emit(adapter.Selection{Rooms: []string{room}}, room); err != nil {
			t.Fatal(err)
		}
	}
	adaptertest.Eventually(t, "each room, once", func() bool { return len(k.Heard()) == 30 })
	answers := 0
	if err := spaces[0].Link.Call(t.Context(), &adapter.Message{Kind: adapter.Broadcast, Data: []byte(`["question"]`)}, func(*adapter.Answer) { answers++ }); err != nil || answers != 1 {
		t.Errorf("%d answers, %v", answers, err)
	}
	k.Silence()
	ctx, cancel := context.WithTimeout(t.Context(), 3*nodewire.Recount) // meanwhile, the servers are counted again
	defer cancel()
	var partial *adapter.Partial
	if err := spaces[0].Link.Call(ctx, &adapter.Message{Kind: adapter.Broadcast, Data: []byte(`["question"]`)}, func(*adapter.Answer) {}); !errors.As(err, &partial) || partial.Cause == nil {
		t.Errorf("nobody answers, and the error is %v", err)
	}
	for _, room := range []string{"room7", ""} { // "": the common channel
		channel := "socket.io#/#"
		if room != "" {
			channel += room + "#"
		}
		slot, err := strconv.Atoi(strings.TrimPrefix(redis.Masters[0].Do("CLUSTER KEYSLOT "+channel), ":"))
		if err != nil {
			t.Fatal(err)
		}
		to := redis.Masters[0]
		if slot < redistest.Slots/3 {
			to = redis.Masters[1]
		}
		before := spaces[1].Gaps()
		redis.Move(slot, to)
		adaptertest.Eventually(t, "it knows of the gap", func() bool { return spaces[1].Gaps() > before })
		hears("room7", "after "+channel)
		if room == "" {
			k.Join("twenty characters!!!")
			hears("twenty characters!!!", "all")
		}
	}
	k.Leave("room3")
	k.Join("room3")
	hears("room3", "again")
}
