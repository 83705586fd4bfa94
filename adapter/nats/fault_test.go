package nats_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/nats"
	"github.com/parley-go/parley/internal/proxytest"
	"github.com/parley-go/parley/internal/soak"
)

// through connects to NATS through a proxy, unless it is told not to.
type through struct {
	*proxytest.Proxy
	away atomic.Bool
}

// Dial implements nats.CustomDialer.
func (d *through) Dial(_, address string) (net.Conn, error) {
	if d.away.Load() {
		return nil, errors.New("away")
	}
	return d.Proxy.Dial(context.Background(), &net.Dialer{}, address)
}

func (d *through) option() []natsgo.Option { return []natsgo.Option{natsgo.SetCustomDialer(d)} }

// fail starts three servers that send to each other all the time.
func fail(t *testing.T, nodes []*natsServer) *adaptertest.Faulty {
	t.Helper()
	return adaptertest.Fail(t, adapter.Options{Logger: quiet}, func(server int, p *proxytest.Proxy) adapter.Bus {
		proxy := &through{Proxy: p}
		return connect(t, nodes[server%len(nodes)].ClientURL(), nats.Options{MaxAge: soak.Time(time.Second, 5*time.Second), Connect: proxy.option()})
	})
}

// Each fault of NATS. These tests take seconds because the timeouts do.
func TestFaults(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, s *natsServer, f *adaptertest.Faulty){
		"Killed": func(_ *testing.T, s *natsServer, f *adaptertest.Faulty) {
			f.Outage(s.stop, s.run, soak.Time(0, time.Minute))
		},
		"Frozen": func(_ *testing.T, _ *natsServer, f *adaptertest.Faulty) {
			f.Late = true
			freeze := func(on bool) func() {
				return func() {
					for _, p := range f.Proxies {
						p.Freeze(on)
					}
				}
			}
			f.Outage(freeze(true), freeze(false), soak.Time(0, 30*time.Second))
		},
		"Kicked": func(t *testing.T, s *natsServer, f *adaptertest.Faulty) {
			for range soak.Times(3, 100) {
				conns, err := s.Connz(nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range conns.Conns {
					_ = s.DisconnectClientByID(c.Cid) // it may have gone
				}
				f.Flows()
			}
			f.Gapped()
		},
		"HalfOpen": func(_ *testing.T, _ *natsServer, f *adaptertest.Faulty) { f.HalfOpen() },
		"Cut":      func(_ *testing.T, _ *natsServer, f *adaptertest.Faulty) { f.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			f := fail(t, []*natsServer{s})
			run(t, s, f)
			f.Over()
		})
	}
}

// When a server of a cluster of NATS ends, those that were connected to it go to another one, although nobody
// has told them its address.
func TestServerOfNATSLost(t *testing.T) {
	nodes := startCluster(t, 3)
	f := fail(t, nodes)
	nodes[2].stop()
	f.Gapped(2)
	f.Over()
}

// What waits while there is no connection is sent when there is one again, if that is soon.
func TestQueuedWhileDown(t *testing.T) {
	server := start(t, nil)
	proxy := &through{Proxy: proxytest.New(t)}
	a := connect(t, server.ClientURL(), nats.Options{MaxAge: time.Hour, Connect: proxy.option()})
	b := connect(t, server.ClientURL(), nats.Options{})
	adaptertest.Hears(t, a, a, "before")
	heard := make(chan string, 10)
	l := b.Listen("topic", func(data []byte) { heard <- string(data) })
	<-l.Active()
	seen := adaptertest.Watch(a)
	proxy.away.Store(true)
	proxy.Cut()
	adaptertest.Eventually(t, "Down", seen.Saw(adapter.Down))
	unsent := seen.Count(adapter.Unsent)
	for _, text := range []string{"one", "two", "three"} {
		if err := a.Publish("topic", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	proxy.away.Store(false)
	for _, want := range []string{"one", "two", "three"} {
		if got := <-heard; got != want {
			t.Errorf("heard %q, not %q", got, want)
		}
	}
	if n := seen.Count(adapter.Unsent); n > unsent {
		t.Errorf("%d messages were not sent", n-unsent)
	}
}

// A server that hangs makes Publish neither wait nor pile up without bounds. What it may not have read
// counts as not sent.
func TestNATSHangs(t *testing.T) {
	server := start(t, nil)
	proxy := &through{Proxy: proxytest.New(t)}
	b := connect(t, server.ClientURL(), nats.Options{MaxQueue: 1 << 20, MaxAge: time.Second, Connect: proxy.option()})
	adaptertest.Hears(t, b, b, "before")
	seen := adaptertest.Watch(b)
	proxy.Freeze(true)
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
	adaptertest.Eventually(t, "all that was accepted is unsent", func() bool { return seen.Count(adapter.Unsent) >= sent })
	proxy.Freeze(false)
	adaptertest.Hears(t, b, b, "after")
}

// Close does not wait for a server that hangs.
func TestCloseWhileNATSHangs(t *testing.T) {
	server := start(t, nil)
	proxy := &through{Proxy: proxytest.New(t)}
	b := connect(t, server.ClientURL(), nats.Options{MaxAge: time.Hour, Connect: proxy.option()})
	proxy.Freeze(true)
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

// Who does not read fast enough is cut off by NATS, and learns that something is missing.
func TestSlowConsumer(t *testing.T) {
	server := start(t, func(o *server.Options) { o.MaxPending = 1 << 20 })
	a, b := connect(t, server.ClientURL(), nats.Options{}), connect(t, server.ClientURL(), nats.Options{})
	seen := adaptertest.Watch(b)
	release := make(chan struct{})
	l := b.Listen("flood", func([]byte) { <-release })
	<-l.Active()
	adaptertest.Eventually(t, "NATS cuts it off", func() bool {
		for range 100 {
			_ = a.Publish("flood", make([]byte, 60<<10))
		}
		return server.NumSlowConsumersClients() > 0
	})
	close(release)
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
