package nats_test

import (
	"context"
	"errors"
	"fmt"
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

// soakTime returns a time for "make test", or a longer one for "make soak".
func soakTime(short, long time.Duration) time.Duration {
	if soak.On() {
		return long
	}
	return short
}

// faulty is three servers that send to each other all the time. Each reaches NATS through a proxy of its own.
type faulty struct {
	*adaptertest.Traffic
	t       *testing.T
	servers []*adapter.Native
	proxies []*through
}

func fail(t *testing.T, nodes []*natsServer) *faulty {
	t.Helper()
	f := &faulty{t: t}
	var all []adapter.Cluster
	for i := range 3 {
		proxy := &through{Proxy: proxytest.New(t)}
		bus := connect(t, nodes[i%len(nodes)].ClientURL(), nats.Options{MaxAge: soakTime(time.Second, 5*time.Second), Connect: proxy.option()})
		n, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint("server ", i), Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		f.servers, f.proxies, all = append(f.servers, n), append(f.proxies, proxy), append(all, n)
	}
	f.Traffic = adaptertest.NewTraffic(t, all...)
	for _, n := range f.servers {
		adaptertest.Eventually(t, "the bus is up", func() bool { return n.Stats().Up })
	}
	return f
}

// gapped waits until each server has been told that it may have missed something.
func (f *faulty) gapped() {
	f.t.Helper()
	for i := range f.servers {
		adaptertest.Eventually(f.t, "a server knows of a gap", func() bool { return f.Gaps(i) > 0 })
	}
}

// down waits until a server knows that the bus is away, or does not hear the others.
func (f *faulty) down(server int) {
	f.t.Helper()
	n := f.servers[server]
	adaptertest.Eventually(f.t, "a server notices", func() bool { return !n.Stats().Up || len(n.Nodes()) < len(f.servers) })
}

// over waits until everybody hears everybody again, and ends the traffic. What was lost, they know.
func (f *faulty) over() {
	f.t.Helper()
	back := time.Now()
	f.Flows()
	f.t.Logf("everything flows again after %v", time.Since(back).Round(10*time.Millisecond))
	for _, n := range f.servers {
		adaptertest.Eventually(f.t, "each server knows the others", func() bool { return len(n.Nodes()) == len(f.servers) })
		adaptertest.Eventually(f.t, "the bus is up", func() bool { return n.Stats().Up })
	}
	f.t.Logf("%d messages were lost, and everybody knows", f.Stop())
}

// Each fault of NATS. These tests take seconds because the timeouts do.
func TestFaults(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, s *natsServer, f *faulty){
		"Killed": func(t *testing.T, s *natsServer, f *faulty) {
			s.stop()
			f.down(0)
			f.Sends()
			time.Sleep(soakTime(0, time.Minute))
			s.run()
			f.gapped()
		},
		"Frozen": func(t *testing.T, s *natsServer, f *faulty) {
			f.Late = true
			for _, p := range f.proxies {
				p.Freeze(true)
			}
			for i := range f.servers {
				f.down(i)
			}
			f.Sends()
			time.Sleep(soakTime(0, 30*time.Second))
			for _, p := range f.proxies {
				p.Freeze(false)
			}
			f.gapped()
		},
		"Kicked": func(t *testing.T, s *natsServer, f *faulty) {
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
			f.gapped()
		},
		"HalfOpen": func(t *testing.T, s *natsServer, f *faulty) {
			f.proxies[0].Swallow(true)
			f.down(0)
			f.Sends()
			time.Sleep(soakTime(0, 20*time.Second))
			f.proxies[0].Swallow(false)
			adaptertest.Eventually(t, "the others know that they may have missed something", func() bool { return f.Gaps(1) > 0 && f.Gaps(2) > 0 })
		},
		"Cut": func(t *testing.T, s *natsServer, f *faulty) {
			for range soak.Times(5, 100) {
				f.proxies[0].Cut()
				f.Flows()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil)
			f := fail(t, []*natsServer{s})
			run(t, s, f)
			f.over()
		})
	}
}

// When a server of a cluster of NATS ends, those that were connected to it go to another one, although nobody
// has told them its address.
func TestServerOfNATSLost(t *testing.T) {
	nodes := startCluster(t, 3)
	f := fail(t, nodes)
	nodes[2].stop()
	adaptertest.Eventually(t, "a gap", func() bool { return f.Gaps(2) > 0 })
	f.over()
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
