package postgres_test

import (
	"errors"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/postgres"
	"github.com/parley-go/parley/internal/postgrestest"
	"github.com/parley-go/parley/internal/proxytest"
	"github.com/parley-go/parley/internal/soak"
)

// through returns the URL of a server behind a proxy.
func through(p *proxytest.Proxy, s *postgrestest.Server) string {
	return "postgres://postgres@" + p.To(s.Addr) + "/postgres?sslmode=disable"
}

// Each fault of PostgreSQL.
func TestFaults(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, s *postgrestest.Server, f *adaptertest.Faulty){
		"Killed": func(t *testing.T, s *postgrestest.Server, f *adaptertest.Faulty) {
			f.Outage(s.Crash, func() { s.Restart(t) }, soak.Time(0, time.Minute))
		},
		"Paused": func(t *testing.T, s *postgrestest.Server, f *adaptertest.Faulty) {
			f.Outage(func() { s.Pause(t) }, func() { s.Resume(t) }, soak.Time(0, 30*time.Second))
		},
		"Terminated": func(t *testing.T, s *postgrestest.Server, f *adaptertest.Faulty) {
			for range soak.Times(3, 100) {
				s.Exec(t, "postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
				f.Flows()
			}
			f.Gapped()
		},
		"HalfOpen": func(_ *testing.T, _ *postgrestest.Server, f *adaptertest.Faulty) { f.HalfOpen() },
		"Cut":      func(_ *testing.T, _ *postgrestest.Server, f *adaptertest.Faulty) { f.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := postgrestest.Start(t, nil)
			o := adapter.Options{Logger: quiet, Beat: soak.Time(200*time.Millisecond, 2*time.Second)}
			f := adaptertest.Fail(t, o, func(_ int, p *proxytest.Proxy) adapter.Bus {
				return connect(t, through(p, s), postgres.Options{MaxAge: soak.Time(time.Second, 5*time.Second)})
			})
			run(t, s, f)
			f.Over()
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
