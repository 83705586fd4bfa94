package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/parley-go/parley/bench/bar"
)

const (
	rounds   = 3
	measured = 60 // calls of both events in a span: 3 s

	// slower is the bar on the 99th percentile of what others wait for an answer.
	slower = 1.2
	// floor is added to both figures of a ratio: a millisecond more or less is no harm.
	floor = time.Millisecond
)

// compare measures how long good clients wait with and without the attack, in turn, against one
// server. The figures are medians of several rounds.
func (h *harness) compare(ctx context.Context, a *attack) {
	bars, err := h.measure(ctx, a)
	if err != nil {
		h.print(a.name, false, err, nil)
		return
	}
	for _, b := range bars {
		fmt.Println(b)
		if !b.Holds() {
			h.failed = append(h.failed, b.Name)
		}
	}
}

func (h *harness) measure(ctx context.Context, a *attack) ([]bar.Bar, error) {
	t, err := h.newTrial(ctx, a, false)
	if err != nil {
		return nil, err
	}
	defer t.server.kill()
	defer t.probe.close()
	var calm, attacked []tally
	for range rounds {
		calm = append(calm, t.probe.run(ctx, measured, func() bool { return true }))
		p, err := h.attack(ctx, a, t.server, false)
		if err != nil {
			return nil, err
		}
		attacked = append(attacked, t.probe.run(ctx, measured, func() bool { return p.report().Counts["attempts"] > 0 }))
		if _, err := p.stop(); err != nil {
			return nil, err
		}
	}
	var bars []bar.Bar
	for _, event := range []string{"typing", "sendMessage", "joinRoom"} {
		bars = append(bars, bar.Bar{
			Name: "p99 of " + event + " beside " + a.name, Value: median(attacked, event), Unit: "ms",
			Reference: "without", Base: median(calm, event), Most: slower,
		})
	}
	due, done := 0, 0
	for _, t := range attacked {
		due, done = due+t.due+t.missed, done+t.done
	}
	return append(bars, bar.Bar{
		Name: "answers beside " + a.name, Value: float64(done), Reference: "due", Base: float64(due), Least: 0.99,
	}), nil
}

// median returns the median of the 99th percentiles of several spans, in milliseconds.
func median(spans []tally, event string) float64 {
	var all []float64
	for _, t := range spans {
		all = append(all, float64(t.quantile(event, 0.99)+floor)/float64(time.Millisecond))
	}
	slices.Sort(all)
	return all[len(all)/2]
}
