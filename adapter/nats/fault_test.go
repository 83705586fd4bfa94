package nats_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/nats"
)

// Whatever ends a connection, it comes back, and listens to everything again.
func TestConnectionLost(t *testing.T) {
	for name, hit := range map[string]func(*natsServer, *nats.Bus){
		"restarted": func(s *natsServer, _ *nats.Bus) { s.restart() },
		"kicked": func(s *natsServer, _ *nats.Bus) {
			conns, err := s.Connz(nil)
			if err != nil {
				s.t.Fatal(err)
			}
			for _, c := range conns.Conns {
				if err := s.DisconnectClientByID(c.Cid); err != nil {
					s.t.Fatal(err)
				}
			}
		},
		"deaf": func(_ *natsServer, b *nats.Bus) { b.Reconnect() },
	} {
		t.Run(name, func(t *testing.T) {
			server := start(t, nil)
			a, b := connect(t, server.ClientURL(), nats.Options{}), connect(t, server.ClientURL(), nats.Options{})
			l := b.Listen("kept", func([]byte) {})
			<-l.Active()
			for range 2 {
				seen := adaptertest.Watch(b)
				hit(server, b)
				adaptertest.Eventually(t, "Down", seen.Saw(adapter.Down))
				adaptertest.Eventually(t, "Up", seen.Saw(adapter.Up))
				adaptertest.Hears(t, a, b, "kept")
				adaptertest.Hears(t, a, b, "new")
			}
		})
	}
}

// What waits while there is no connection is sent when there is one again, if that is soon.
func TestQueuedWhileDown(t *testing.T) {
	server := start(t, nil)
	proxy := adaptertest.NewProxy(t, server.Addr().String())
	a := connect(t, proxy.Addr, nats.Options{MaxAge: time.Hour})
	b := connect(t, server.ClientURL(), nats.Options{})
	heard := make(chan string, 10)
	l := b.Listen("topic", func(data []byte) { heard <- string(data) })
	<-l.Active()
	seen := adaptertest.Watch(a)
	proxy.Cut(true)
	adaptertest.Eventually(t, "Down", seen.Saw(adapter.Down))
	for _, text := range []string{"one", "two", "three"} {
		if err := a.Publish("topic", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	proxy.Cut(false)
	for _, want := range []string{"one", "two", "three"} {
		if got := <-heard; got != want {
			t.Errorf("heard %q, not %q", got, want)
		}
	}
	if n := seen.Count(adapter.Unsent); n > 0 {
		t.Errorf("%d messages were not sent", n)
	}
}

// A server that hangs makes Publish neither wait nor pile up without bounds. What it may not have read
// counts as not sent.
func TestNATSHangs(t *testing.T) {
	server := start(t, nil)
	proxy := adaptertest.NewProxy(t, server.Addr().String())
	b := connect(t, proxy.Addr, nats.Options{MaxQueue: 1 << 20, MaxAge: time.Second})
	adaptertest.Hears(t, b, b, "before")
	seen := adaptertest.Watch(b)
	proxy.Stall(true)
	var sent, refused int
	for range 400 { // more than what the kernel holds
		switch err := b.Publish("topic", make([]byte, 64<<10)); {
		case err == nil:
			sent++
		case errors.Is(err, adapter.ErrFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("25 MB were queued, of 1 MB allowed")
	}
	adaptertest.Eventually(t, "Down", seen.Saw(adapter.Down))
	adaptertest.Eventually(t, "all that was accepted is unsent", func() bool { return seen.Count(adapter.Unsent) == sent })
	proxy.Stall(false)
	adaptertest.Hears(t, b, b, "after")
}

// Close does not wait for a server that hangs.
func TestCloseWhileNATSHangs(t *testing.T) {
	server := start(t, nil)
	proxy := adaptertest.NewProxy(t, server.Addr().String())
	b := connect(t, proxy.Addr, nats.Options{MaxAge: time.Hour})
	proxy.Stall(true)
	b.Listen("topic", func([]byte) {})
	for range 100 {
		if err := b.Publish("topic", make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// What is published before Close is sent.
func TestCloseSends(t *testing.T) {
	server := start(t, nil)
	b := connect(t, server.ClientURL(), nats.Options{})
	heard := make(chan struct{}, 1000)
	l := b.Listen("topic", func([]byte) { heard <- struct{}{} })
	<-l.Active()
	a := connect(t, server.ClientURL(), nats.Options{})
	for range 1000 {
		if err := a.Publish("topic", []byte("last words")); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		<-heard
	}
}

// Who does not read fast enough is cut off by NATS, and learns that something is missing. Its memory does
// not grow: at most some MB are read before they are delivered.
func TestSlowConsumer(t *testing.T) {
	server := start(t, func(o *server.Options) { o.MaxPending = 1 << 20 })
	a, b := connect(t, server.ClientURL(), nats.Options{}), connect(t, server.ClientURL(), nats.Options{})
	seen := adaptertest.Watch(b)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	l := b.Listen("flood", func([]byte) { <-release })
	<-l.Active()
	adaptertest.Eventually(t, "NATS cuts it off", func() bool {
		for range 100 {
			_ = a.Publish("flood", make([]byte, 60<<10))
		}
		return server.NumSlowConsumersClients() > 0
	})
	free()
	adaptertest.Eventually(t, "Down", seen.Saw(adapter.Down))
	adaptertest.Eventually(t, "Up", seen.Saw(adapter.Up))
	adaptertest.Hears(t, a, b, "after")
}

// Options go to NATS: a user, a key, and what the server allows.
func TestSigningIn(t *testing.T) {
	server := start(t, func(o *server.Options) {
		o.MaxPayload = 10 << 10
		o.Users = []*server.User{{Username: "parley", Password: "secret", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"chat.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"chat.>"}},
		}}}
	})
	if _, err := nats.New(server.ClientURL(), nil); err == nil {
		t.Error("nobody was let in")
	}
	b := connect(t, server.ClientURL(), nats.Options{Prefix: "chat.", Connect: []natsgo.Option{natsgo.UserInfo("parley", "secret")}})
	adaptertest.Hears(t, b, b, "topic")
	if most := b.Caps().MaxMessage; most != 9<<10 {
		t.Errorf("the largest message has %d bytes", most)
	}
	if err := b.Publish(string(make([]byte, 2<<10)), make([]byte, 9<<10)); !errors.Is(err, adapter.ErrTooLarge) {
		t.Errorf("a message with a long topic: %v", err)
	}
	if _, err := nats.New("nats://parley:secret@"+server.Addr().String(), &nats.Options{Prefix: "a b"}); err == nil {
		t.Error("a prefix with a space was accepted")
	}
}

func TestNoNATS(t *testing.T) {
	if _, err := nats.New("127.0.0.1:1", nil); err == nil {
		t.Error("a NATS that does not exist was accepted")
	}
}
