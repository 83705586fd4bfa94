package pubsub

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/internal/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Topics that have the same subject by accident do not hear each other.
func TestSubjectShared(t *testing.T) {
	defer func(h func(string) [16]byte) { hash = h }(hash)
	hash = func(string) [16]byte { return [16]byte{} }
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer s.WaitForShutdown()
	defer s.Shutdown()
	connect := func() *Bus {
		b, err := New(s.ClientURL(), Options{Options: driver.Options{Logger: slog.New(slog.DiscardHandler)}})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	a, b := connect(), connect()
	defer a.Close()
	defer b.Close()
	var mu sync.Mutex
	heard := map[string][]string{}
	listen := func(topic string) adapter.Listening {
		l := b.Listen(topic, func(data []byte) {
			mu.Lock()
			defer mu.Unlock()
			heard[topic] = append(heard[topic], string(data))
		})
		<-l.Active()
		return l
	}
	one, _ := listen("one"), listen("two")
	say := func(topic, text string) {
		if err := a.Publish(topic, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	say("one", "1")
	say("two", "2")
	adaptertest.Eventually(t, "both", func() bool { mu.Lock(); defer mu.Unlock(); return len(heard["two"]) == 1 })
	one.Close()
	say("one", "3")
	say("two", "4")
	adaptertest.Eventually(t, "the other one", func() bool { mu.Lock(); defer mu.Unlock(); return len(heard["two"]) == 2 })
	if len(heard["one"]) != 1 || heard["one"][0] != "1" {
		t.Errorf("heard %q", heard)
	}
}
