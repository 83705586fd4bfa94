package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/proxytest"
	"github.com/parley-go/parley/internal/soak"
)

// cutting cuts all connections of a proxy n times, at random moments, and not before the client has done
// something since the last cut.
func cutting(p *proxytest.Proxy, n int, done func() int64, ended <-chan struct{}) {
	for range n {
		before := done()
		for done() == before {
			select {
			case <-ended:
				return
			case <-time.After(100 * time.Microsecond):
			}
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		p.Cut()
	}
}

// However often the connection is cut, whatever a Retry has answered has happened once, in order, and a room
// delivers each message once, in order.
func TestCuts(t *testing.T) {
	ways := map[string]client.Options{
		"websocket": kinds["websocket"], "polling": kinds["polling"], "upgrade": kinds["upgrade"], "sse": kinds["sse"],
		"websocket, EIO3": kinds["websocket, EIO3"], "upgrade, EIO3": kinds["upgrade, EIO3"],
	}
	n := soak.Times(25, 850) // for each of the twelve tests
	for kind, o := range ways {
		t.Run("retry, "+kind, func(t *testing.T) {
			t.Parallel()
			h := serve(t, nil)
			var mu sync.Mutex
			seen := map[int]bool{}
			var order []int
			h.On("store", func(p *parley.Packet) error {
				var v int
				if err := p.Decode(&v); err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				if !seen[v] { // it says which one it is
					seen[v] = true
					order = append(order, v)
				}
				return p.Ack(v)
			})
			proxy := proxytest.New(t)
			c := connect(t, "http://"+proxy.To(strings.TrimPrefix(h.url, "http://")), soon(o))
			var answered atomic.Int64
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				cutting(proxy, n, answered.Load, t.Context().Done())
			}()
			const store = event.RPC[int, int]("store")
			for i := 0; ; i++ {
				if v, err := store.Call(t.Context(), c.Retry(), i); err != nil || v != i {
					t.Fatalf("%d is answered with %d, %v", i, v, err)
				}
				answered.Add(1)
				select {
				case <-ended:
				default:
					continue
				}
				break
			}
			mu.Lock()
			defer mu.Unlock()
			for i, v := range order {
				if i != v {
					t.Fatalf("place %d has %d", i, v)
				}
			}
			if int64(len(order)) != answered.Load() {
				t.Errorf("%d have happened, %d are answered", len(order), answered.Load())
			}
		})
		t.Run("room, "+kind, func(t *testing.T) {
			t.Parallel()
			h := serveRooms(t)
			proxy := proxytest.New(t)
			url := "http://" + proxy.To(strings.TrimPrefix(h.url, "http://"))
			writer, err := connect(t, url, soon(o)).Room(t.Context(), "r", &client.RoomOptions{UserID: "ann"})
			must(t, err)
			defer writer.Close()
			r, err := connect(t, url, soon(o)).Room(t.Context(), "r", &client.RoomOptions{UserID: "bob", Limit: 7})
			must(t, err)
			defer r.Close()
			var delivered, stored atomic.Int64
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				cutting(proxy, n, delivered.Load, t.Context().Done())
			}()
			last := make(chan int64, 1)
			go func() {
				defer func() { last <- stored.Load() }()
				for i := 0; ; i++ {
					m, err := writer.Send(t.Context(), i)
					if err != nil || m.Seq != int64(i+1) {
						t.Errorf("message %d has the number %d: %v", i, m.Seq, err)
						return
					}
					stored.Add(1)
					select {
					case <-ended:
						return
					default:
					}
				}
			}()
			total := int64(-1)
			for next := int64(0); next != total; {
				ctx, cancel := context.WithCancel(t.Context())
				stop := make(chan struct{})
				if total < 0 {
					go func() {
						select {
						case n := <-last:
							last <- n
							cancel()
						case <-stop:
						}
					}()
				}
				e, err := r.Next(ctx)
				close(stop)
				cancel()
				if errors.Is(err, context.Canceled) && t.Context().Err() == nil {
					total = <-last
					continue
				}
				must(t, err)
				if e.ID == "" {
					continue
				}
				if e.Seq != next+1 || e.Changed || string(e.Message.Message) != fmt.Sprint(next) || e.Reset && next > 0 {
					t.Fatalf("after %d comes %+v", next, e)
				}
				next++
				delivered.Store(next)
			}
		})
	}
}

// A client's ends at random moments of its life leave no goroutine (see TestMain).
func TestCutsAndCloses(t *testing.T) {
	h := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	parley.Handle(h, add, func(_ context.Context, _ *parley.Socket, q []int) (int, error) { return len(q), nil })
	for kind, o := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			proxy := proxytest.New(t)
			url := "http://" + proxy.To(strings.TrimPrefix(h.url, "http://"))
			for range soak.Times(20, 500) {
				c, err := client.New(url, soon(o))
				must(t, err)
				var work sync.WaitGroup
				work.Go(func() { _ = c.Connect(t.Context()) })
				work.Go(func() {
					for range 20 {
						if _, err := add.Call(t.Context(), c.Retry(), []int{1}); err != nil {
							return
						}
					}
				})
				time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
				proxy.Cut()
				time.Sleep(time.Duration(rand.IntN(5000)) * time.Microsecond)
				c.Close()
				work.Wait()
				c.Close()
			}
		})
	}
}
