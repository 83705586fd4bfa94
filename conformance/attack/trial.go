package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// trial is an attack under way against a server of its own.
type trial struct {
	attack  *attack
	without bool // its defence is switched off
	server  *server
	probe   *probe
	idle    metrics // of the server before anybody came
	memory  int64   // that it used before the attack
}

// newTrial starts a server and lets the good clients work for a while, so that all is in place that
// is made once.
func (h *harness) newTrial(ctx context.Context, a *attack, without bool) (t *trial, err error) {
	t = &trial{attack: a, without: without}
	data, err := os.MkdirTemp(h.dir, "data")
	if err != nil {
		return nil, err
	}
	if a.prefill != nil {
		if err := a.prefill(ctx, data); err != nil {
			return nil, fmt.Errorf("prefill: %w", err)
		}
	}
	flags, err := a.serverFlags(without)
	if err != nil {
		return nil, err
	}
	if t.server, err = start(h.binary, data, a.closed, flags...); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.server.kill()
		}
	}()
	if t.idle, err = t.server.metrics(); err != nil {
		return nil, err
	}
	if t.probe, err = newProbe(ctx, t.server.target, a); err != nil {
		return nil, err
	}
	if calm := t.probe.run(ctx, warmUp, func() bool { return true }); len(calm.starved) > 0 || len(calm.failed) > 0 {
		_, failures := calm.failures()
		return nil, fmt.Errorf("the good clients are not served before the attack: %v%s", calm.starved, failures)
	}
	return t, nil
}

// run attacks until done says so, but long enough for the good clients to be served.
func (t *trial) run(ctx context.Context, h *harness, done func(r *result) bool) (*result, error) {
	r := &result{}
	var err error
	if r.before, err = t.server.metrics(); err != nil {
		return nil, err
	}
	if err := t.server.resetPeak(); err != nil {
		return nil, err
	}
	if t.memory, _, err = t.server.memory(); err != nil {
		return nil, err
	}
	p, err := h.attack(ctx, t.attack, t.server, t.without)
	if err != nil {
		return nil, err
	}
	r.probe = t.probe.run(ctx, enough, func() bool {
		r.report = p.report()
		return p.finished() || done(r)
	})
	_, peak, err := t.server.memory()
	if err != nil {
		return nil, err
	}
	r.memory = peak - t.memory
	if r.after, err = t.server.metrics(); err != nil {
		return nil, err
	}
	if r.report, err = p.stop(); err != nil {
		return nil, err
	}
	r.log = t.server.logged()
	return r, nil
}

// attackOnce runs an attack and checks all of its bounds.
func (h *harness) attackOnce(ctx context.Context, a *attack) (*result, error) {
	t, err := h.newTrial(ctx, a, false)
	if err != nil {
		return nil, err
	}
	r, err := t.run(ctx, h, func(r *result) bool {
		return !a.whole && r.count("attempts") > 0 && r.Seconds > span.Seconds() && (a.until == nil || a.until(r))
	})
	t.probe.close()
	if err != nil {
		t.server.kill()
		return nil, err
	}
	r.check(a)
	h.later(a.name, func() []bound { return t.afterwards(ctx) })
	return r, nil
}

// control runs an attack with its defence switched off, until its bound is broken.
func (h *harness) control(ctx context.Context, a *attack) (*result, error) {
	t, err := h.newTrial(ctx, a, true)
	if err != nil {
		return nil, err
	}
	defer t.server.kill()
	defer t.probe.close()
	r, err := t.run(ctx, h, func(r *result) bool {
		if r.Seconds < span.Seconds() {
			return false
		}
		now := &result{report: r.report, before: r.before}
		if now.after, err = t.server.metrics(); err != nil {
			return true
		}
		_, peak, _ := t.server.memory()
		now.memory = peak - t.memory
		now.check(a)
		return now.broken(a.broken)
	})
	if err != nil {
		return nil, err
	}
	r.check(a)
	return r, nil
}

// afterwards checks that the server has kept nothing, is well, and ends gracefully.
func (t *trial) afterwards(ctx context.Context) []bound {
	r := &result{}
	kept := func(m metrics) map[string]float64 {
		return map[string]float64{
			"connections": m.sum("parley_connections"),
			"sockets":     m.sum("parley_sockets"),
			"rooms":       m.sum("parley_rooms"),
			"feeds":       m.sum("parley_feeds"),
			"goroutines":  m.sum("go_goroutines") - t.idle.sum("go_goroutines") - spareGoroutines,
			"descriptors": m.sum("process_open_fds") - t.idle.sum("process_open_fds") - spareDescriptors,
		}
	}
	var rest map[string]float64
	deadline := time.Now().Add(settling)
	for done := false; !done; time.Sleep(200 * time.Millisecond) {
		m, err := t.server.metrics()
		if err != nil {
			r.most("metrics unreachable", 1, 0, err.Error())
			break
		}
		rest, done = kept(m), true
		for _, n := range rest {
			done = done && n <= 0
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			break
		}
	}
	for name, n := range rest {
		r.most("kept "+name, n, 0)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if t.attack.unwell && path == "/readyz" {
			continue
		}
		status, body, err := t.server.get(path)
		if err != nil || status != 200 {
			r.most(path, float64(status), 200, fmt.Sprintf("%.100q, %v", body, err))
			r.bounds[len(r.bounds)-1].least = status < 200
		}
	}
	if err := t.server.stop(); err != nil && !t.attack.unwell {
		r.most("end", 1, 0, err.Error())
	}
	bad := badLines(t.server.logged(), t.attack.unwell)
	r.most("log", float64(len(bad)), 0, first(bad))
	return r.bounds
}

const (
	// warmUp is how often members call both events before the attack.
	warmUp = 4

	// settling is how long a server may take to let everything go: much longer than ping-interval and
	// ping-timeout together, because a client that polls is only missed then.
	settling = 90 * time.Second

	// What a server may have more than before: 64 idle workers of package parley, and a few goroutines
	// and descriptors of net/http, QUIC and the store.
	spareGoroutines, spareDescriptors = 64 + 20, 10
)
