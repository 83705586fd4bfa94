package postgres_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
	"github.com/parley-go/parley/internal/proxytest"
	"github.com/parley-go/parley/internal/soak"
)

// soakTime returns a time for "make test", or a longer one for "make soak".
func soakTime(short, long time.Duration) time.Duration {
	if soak.On() {
		return long
	}
	return short
}

// through returns the URL of a server behind a proxy.
func through(p *proxytest.Proxy, s *postgrestest.Server) string {
	return "postgres://postgres@" + p.To(s.Addr) + "/postgres?sslmode=disable"
}

// faulty is three servers that send to each other all the time. Each reaches PostgreSQL through a proxy of its
// own.
type faulty struct {
	*adaptertest.Traffic
	t       *testing.T
	servers []*adapter.Native
	proxies []*proxytest.Proxy
}

func fail(t *testing.T, s *postgrestest.Server) *faulty {
	t.Helper()
	f := &faulty{t: t}
	var all []adapter.Cluster
	for i := range 3 {
		proxy := proxytest.New(t)
		bus := connect(t, through(proxy, s), postgres.Options{MaxAge: soakTime(time.Second, 5*time.Second)})
		n, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint("server ", i), Logger: quiet, Beat: soakTime(200*time.Millisecond, 2*time.Second)})
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

// Each fault of PostgreSQL.
func TestFaults(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, s *postgrestest.Server, f *faulty){
		"Killed": func(t *testing.T, s *postgrestest.Server, f *faulty) {
			s.Crash()
			f.down(0)
			f.Sends()
			time.Sleep(soakTime(0, time.Minute))
			s.Restart(t)
			f.gapped()
		},
		"Paused": func(t *testing.T, s *postgrestest.Server, f *faulty) {
			s.Pause(t)
			for i := range f.servers {
				f.down(i)
			}
			f.Sends()
			time.Sleep(soakTime(0, 30*time.Second))
			s.Resume(t)
			f.gapped()
		},
		"Terminated": func(t *testing.T, s *postgrestest.Server, f *faulty) {
			for range soak.Times(3, 100) {
				s.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
				f.Flows()
			}
			f.gapped()
		},
		"HalfOpen": func(t *testing.T, s *postgrestest.Server, f *faulty) {
			f.proxies[0].Swallow(true)
			f.down(0)
			f.Sends()
			time.Sleep(soakTime(0, 20*time.Second))
			f.proxies[0].Swallow(false)
			adaptertest.Eventually(t, "the others know that they may have missed something", func() bool { return f.Gaps(1) > 0 && f.Gaps(2) > 0 })
		},
		"Cut": func(t *testing.T, s *postgrestest.Server, f *faulty) {
			for range soak.Times(5, 100) {
				f.proxies[0].Cut()
				f.Flows()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := postgrestest.Start(t, nil)
			f := fail(t, s)
			run(t, s, f)
			f.over()
		})
	}
}

// A database that hangs makes Publish neither wait nor pile up without bounds, and Close does not wait for it.
func TestPostgresHangs(t *testing.T) {
	s := postgrestest.Start(t, nil)
	proxy := proxytest.New(t)
	b := connect(t, through(proxy, s), postgres.Options{MaxQueue: 1 << 20, MaxAge: time.Second})
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
	adaptertest.Eventually(t, "all that was accepted is unsent", func() bool { return seen.Count(adapter.Unsent) >= sent })
	proxy.Freeze(false)
	adaptertest.Hears(t, b, b, "after")
	proxy.Freeze(true)
	if err := b.Publish("topic", nil); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// What is published before Close is sent.
func TestCloseSends(t *testing.T) {
	url := postgrestest.Database(t)
	b := connect(t, url, postgres.Options{})
	heard := make(chan struct{}, 1000)
	<-b.Listen("topic", func([]byte) { heard <- struct{}{} }).Active()
	a := connect(t, url, postgres.Options{})
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
