package historybus_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historybus"
)

// patience ends a wait that would otherwise last for ever.
const patience = 2 * time.Minute

// Three servers share a store, and are connected by Redis, which cuts their subscriptions meanwhile. All
// write to one room, and all get everything once and in order.
func TestRedis(t *testing.T) {
	const servers, each = 3, 200
	redisServer := redistest.Start(t)
	store := history.NewMemory()
	quiet := slog.New(slog.DiscardHandler)
	var logs []*history.Log
	var all [servers]ears
	for i := range servers {
		bus, err := redis.New(rueidis.ClientOption{InitAddress: []string{redisServer.Addr}}, &redis.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		node, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint(i), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { node.Close() })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := node.Join(ctx); err != nil {
			t.Fatal(err)
		}
		log := history.NewLog(store, &history.LogOptions{Bus: historybus.New(node, bus), Logger: quiet})
		t.Cleanup(log.Close)
		logs = append(logs, log)
		s, err := log.Open(ctx, "r", history.OpenOptions{}, &all[i], func(history.Opened) {})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
	}
	var senders sync.WaitGroup
	for i, log := range logs {
		senders.Go(func() {
			for n := range each {
				if n%50 == 25 && i == 0 {
					redisServer.Do("CLIENT KILL TYPE pubsub")
				}
				if _, err := log.Append(t.Context(), history.Draft{RoomID: "r", UserID: "ann", Message: fmt.Append(nil, n)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	for i := range all {
		e := &all[i]
		e.wait(t, servers*each)
		for n, m := range e.heard {
			if m.Seq != int64(n+1) {
				t.Fatalf("server %d delivers %d after %d messages", i, m.Seq, n)
			}
		}
	}
}

// wait waits until n messages have been heard.
func (e *ears) wait(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		e.mu.Lock()
		heard := len(e.heard)
		e.mu.Unlock()
		if heard >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("heard %d of %d messages", heard, n)
		}
	}
}
