package nodewire_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/nodewire"
)

// While Redis is away, a volatile event does not wait for it: nobody could receive it at once.
func TestVolatileInAnOutage(t *testing.T) {
	c, l, published := nodewire.Open(&adaptertest.Space{})
	send := func(why string, flags adapter.Flags, want int) {
		t.Helper()
		if err := l.Publish(&adapter.Message{Kind: adapter.Broadcast, Flags: flags, Data: []byte(`["event"]`)}); err != nil || published() != want {
			t.Errorf("%s: %v, %d were published, not %d", why, err, published(), want)
		}
	}
	send("volatile", adapter.Volatile, 1)
	c.State(adapter.Down)
	send("volatile, in an outage", adapter.Volatile, 1)
	send("another one, in an outage", 0, 2)
	c.State(adapter.Up)
	send("volatile, after it", adapter.Volatile, 3)
}

// Close ends a call that waits for Redis.
func TestCloseEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l, _ := nodewire.Open(&adaptertest.Space{})
		called := make(chan error)
		call := func() {
			called <- l.Call(context.Background(), &adapter.Message{Kind: adapter.Fetch}, func(*adapter.Answer) {})
		}
		go call()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-called; !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("the call ended with %v", err)
		}
		go call()
		if err := <-called; !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("a call afterwards ended with %v", err)
		}
	})
}
