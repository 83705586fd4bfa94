package embedded_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/nats/embedded"
	"github.com/parley-go/parley/internal/proxytest"
	"github.com/parley-go/parley/internal/soak"
)

const beat = 200 * time.Millisecond

// fail starts three servers that send to each other all the time. Between any two of them is a proxy: "01",
// "02" and "12".
func fail(t *testing.T) (f *adaptertest.Faulty, between map[string]*proxytest.Proxy) {
	t.Helper()
	between = map[string]*proxytest.Proxy{}
	var buses []*embedded.Bus
	return adaptertest.Fail(t, adapter.Options{Logger: quiet, Beat: beat}, func(server int, _ *proxytest.Proxy) adapter.Bus {
		// Nobody finds another way around the proxies.
		o := embedded.Options{Advertise: "127.0.0.1:1"}
		for i, other := range buses {
			p := proxytest.New(t)
			between[fmt.Sprintf("%d%d", i, server)] = p
			o.Peers = append(o.Peers, p.To(other.Addr()))
		}
		buses = append(buses, startWith(t, o))
		return buses[server]
	}), between
}

// A connection between two servers is lost. The third one goes on with both; the two learn of the hole, even
// if it is shorter than their heartbeat.
func TestConnectionLost(t *testing.T) {
	f, between := fail(t)
	for range soak.Times(1, 20) {
		before := []int{f.Gaps(0), f.Gaps(1)}
		between["01"].Cut()
		for i, n := range before {
			adaptertest.Eventually(t, "the two know of a gap", func() bool { return f.Gaps(i) > n })
		}
	}
	f.Over()
}

// Two servers no longer hear the third one, and it does not hear them. Then they do again.
func TestPartition(t *testing.T) {
	f, between := fail(t)
	between["02"].Swallow(true)
	between["12"].Swallow(true)
	f.Sees(0, 2)
	f.Sees(1, 2)
	f.Sees(2, 1)
	f.Sends()
	time.Sleep(soak.Time(0, 20*time.Second))
	between["02"].Swallow(false)
	between["12"].Swallow(false)
	f.Gapped()
	f.Over()
}

// A server that ends is missed by nobody, and nobody takes it for a hole.
func TestLeaving(t *testing.T) {
	a := start(t)
	b := start(t, a.Addr())
	c := start(t, a.Addr(), b.Addr())
	seen := adaptertest.Watch(a)
	heard := make(chan string, 1000)
	<-a.Listen("topic", func(data []byte) { heard <- string(data) }).Active()
	for n := range 1000 {
		if err := c.Publish("topic", fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for n := range 1000 {
		if got := <-heard; got != fmt.Sprint(n) {
			t.Fatalf("heard %s, not %d", got, n)
		}
	}
	adaptertest.Eventually(t, "it is gone", func() bool { return a.Servers() == 1 && b.Servers() == 1 })
	adaptertest.Hears(t, b, a, "another")
	if seen.Saw(adapter.Lost)() || seen.Saw(adapter.Down)() {
		t.Error("it told of a hole")
	}
}

// Without the secret, nobody gets in. It takes 2 s because the stranger tries for so long.
func TestSecret(t *testing.T) {
	if _, err := embedded.New(&embedded.Options{Addr: "127.0.0.1:0"}); err == nil {
		t.Error("a server without a secret was started")
	}
	a := start(t)
	stranger, err := embedded.New(&embedded.Options{Addr: "127.0.0.1:0", Peers: []string{a.Addr()}, Secret: "another", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	heard := make(chan struct{}, 10)
	<-a.Listen("topic", func([]byte) { heard <- struct{}{} }).Active()
	for range 10 {
		if err := stranger.Publish("topic", nil); err != nil {
			t.Fatal(err)
		}
	}
	adaptertest.Hears(t, stranger, stranger, "topic")
	adaptertest.Hears(t, a, a, "another")
	if len(heard) > 0 || a.Servers() > 0 || stranger.Servers() > 0 {
		t.Errorf("a stranger was let in: %d messages", len(heard))
	}
}

// Addresses are checked, and a port that is taken is an error. It takes 2 s because a peer is not there.
func TestAddresses(t *testing.T) {
	a := start(t)
	for _, o := range []embedded.Options{{Addr: a.Addr()}, {Addr: "127.0.0.1:http"}, {Addr: "127.0.0.1:70000"}, {Addr: "127.0.0.1:0", Peers: []string{"host:port"}}} {
		o.Secret, o.Logger = "secret", quiet
		if b, err := embedded.New(&o); err == nil {
			b.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
	b := start(t, "127.0.0.1", a.Addr()) // the first one is not there
	adaptertest.Hears(t, b, a, "topic")
	if most := b.Caps().MaxMessage; most < 7<<20 {
		t.Errorf("the largest message has %d bytes", most)
	}
}

// lines are what a server logs.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// has reports whether a line of this level contains the text.
func (l *lines) has(level slog.Level, text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, "level="+level.String()) && strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// The log names a server that is away once, however often it is tried, and warns of nothing that nobody can
// change. It takes 2 s because there is one attempt a second.
func TestLogWhileOneIsAway(t *testing.T) {
	var log lines
	b := start(t)
	a := startWith(t, embedded.Options{Peers: []string{b.Addr()}, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	adaptertest.Eventually(t, "they are connected", func() bool { return a.Servers() == 1 })
	b.Close()
	adaptertest.Eventually(t, "a second attempt", func() bool {
		return log.has(slog.LevelDebug, "attempt 2)") || log.has(slog.LevelWarn, "attempt 2)")
	})
	if !log.has(slog.LevelWarn, "attempt 1)") {
		t.Error("the log does not say that the server is away")
	}
	for _, noise := range []string{"attempt 2)", "Plaintext"} {
		if log.has(slog.LevelWarn, noise) {
			t.Errorf("the log warns: %s", noise)
		}
	}
}
