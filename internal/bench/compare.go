package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Comparison holds the results of two servers that were measured in turns. The results in A and B are medians
// of the rounds; what was lost or failed is the sum.
type Comparison struct {
	A           *Report  `json:"a"`
	B           *Report  `json:"b"`
	Rounds      int      `json:"rounds"`
	Interrupted bool     `json:"interrupted,omitempty"`
	Ratios      []Ratios `json:"ratios"` // of B to A
}

// Ratios compares the results of a scenario. Each figure of B is divided by the one of A in the same round. A
// ratio is nil if one of the figures is 0 or unknown.
type Ratios struct {
	Scenario  string `json:"scenario"`
	PerSecond *Ratio `json:"perSecond,omitempty"`
	P50       *Ratio `json:"p50,omitempty"`
	P99       *Ratio `json:"p99,omitempty"`
	CPU       *Ratio `json:"cpuPerUnit,omitempty"`
	Memory    *Ratio `json:"bytesPerConnection,omitempty"`
}

// Ratio is a ratio of several rounds.
type Ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// rounds has the results of both servers, by scenario: for history it has two, one after the other.
type rounds struct {
	name string
	of   [2][]Result
}

// compare measures two servers in turns: A, B, then B, A, and so on, so that what happens on the machine
// meanwhile concerns both. If it returns an error, there is nothing to report.
func compare(ctx context.Context, a, b *options, p *progress) (*Comparison, error) {
	for _, s := range a.scenarios {
		if err := checkFiles(s, a); err != nil {
			return nil, err
		}
	}
	var targets [2]*target
	for i, o := range []*options{a, b} {
		t, err := open(ctx, o)
		if err != nil {
			return nil, err
		}
		defer t.close()
		targets[i] = t
	}
	c := &Comparison{A: targets[0].report, B: targets[1].report, Rounds: a.rounds, Ratios: []Ratios{}}
	for i, s := range a.scenarios {
		measured, missing, err := inTurns(ctx, targets, s, a.rounds, i > 0, p)
		for _, r := range measured {
			c.add(r)
		}
		switch {
		case ctx.Err() != nil:
			c.Interrupted = true
			return c, nil
		case missing != [2]string{}:
			for k, why := range missing {
				if why != "" {
					targets[k].report.Results = append(targets[k].report.Results, Result{Scenario: s.name, NotOffered: why})
				}
			}
		case err != nil:
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return c, nil
}

// inTurns runs the rounds of a scenario. missing says why a server does not offer it; it is then measured on
// neither.
func inTurns(ctx context.Context, targets [2]*target, s scenario, n int, rest bool, p *progress) (measured []*rounds, missing [2]string, err error) {
	for round := range n {
		for turn := range 2 {
			if rest || round+turn > 0 {
				sleep(ctx, pause)
			}
			i := (round + turn) % 2
			results, err := targets[i].measure(ctx, s, p)
			switch {
			case ctx.Err() != nil:
				return measured, missing, ctx.Err()
			case errors.Is(err, errNotOffered):
				missing[i] = err.Error()
				continue // the other one may lack it, too
			case err != nil:
				return nil, missing, fmt.Errorf("%s: %w", targets[i].report.URL, err)
			}
			for k, r := range results {
				if k == len(measured) {
					measured = append(measured, &rounds{name: r.Scenario})
				}
				if round > 0 && r.Server != nil {
					r.Server.BytesPerConnection = 0 // the server reuses memory of the round before
				}
				measured[k].of[i] = append(measured[k].of[i], r)
			}
		}
		if missing != [2]string{} {
			return nil, missing, nil
		}
	}
	return measured, missing, nil
}

// add adds the results of a scenario, and their ratios.
func (c *Comparison) add(r *rounds) {
	n := min(len(r.of[0]), len(r.of[1])) // a round may be incomplete
	if n == 0 {
		return
	}
	a, b := r.of[0][:n], r.of[1][:n]
	c.A.Results = append(c.A.Results, median(a))
	c.B.Results = append(c.B.Results, median(b))
	if a[0].Via != b[0].Via {
		return // they did different things
	}
	ratio := func(figure func(*Result) float64) *Ratio {
		var ratios []float64
		for i := range n {
			if x, y := figure(&a[i]), figure(&b[i]); x > 0 && y > 0 {
				ratios = append(ratios, y/x)
			}
		}
		if len(ratios) == 0 {
			return nil
		}
		return &Ratio{middle(ratios), slices.Min(ratios), slices.Max(ratios)}
	}
	c.Ratios = append(c.Ratios, Ratios{
		Scenario:  r.name,
		PerSecond: ratio(func(r *Result) float64 { return r.PerSecond }),
		P50:       ratio(func(r *Result) float64 { return float64(r.percentiles().P50) }),
		P99:       ratio(func(r *Result) float64 { return float64(r.percentiles().P99) }),
		CPU:       ratio(func(r *Result) float64 { return r.use().CPUPerUnit }),
		Memory:    ratio(func(r *Result) float64 { return float64(r.use().BytesPerConnection) }),
	})
}

func (r *Result) percentiles() Latency {
	if r.Latency == nil {
		return Latency{}
	}
	return *r.Latency
}

func (r *Result) use() Use {
	if r.Server == nil {
		return Use{}
	}
	return *r.Server
}

// median returns a result with the medians of all figures, and with all losses and failures.
func median(rounds []Result) Result {
	m := rounds[0]
	figure := func(of func(*Result) float64) float64 {
		values := make([]float64, len(rounds))
		for i := range rounds {
			values[i] = of(&rounds[i])
		}
		return middle(values)
	}
	m.PerSecond = figure(func(r *Result) float64 { return r.PerSecond })
	m.Seconds = figure(func(r *Result) float64 { return r.Seconds })
	m.ClientCPU = figure(func(r *Result) float64 { return r.ClientCPU })
	if m.Latency != nil {
		percentile := func(of func(Latency) int64) int64 {
			return int64(figure(func(r *Result) float64 { return float64(of(r.percentiles())) }))
		}
		m.Latency = &Latency{
			P50: percentile(func(l Latency) int64 { return l.P50 }), P90: percentile(func(l Latency) int64 { return l.P90 }),
			P99: percentile(func(l Latency) int64 { return l.P99 }), P999: percentile(func(l Latency) int64 { return l.P999 }),
			Max: percentile(func(l Latency) int64 { return l.Max }),
		}
	}
	if m.Server != nil {
		m.Server = &Use{
			CPUPerUnit:         figure(func(r *Result) float64 { return r.use().CPUPerUnit }),
			CPUPercent:         figure(func(r *Result) float64 { return r.use().CPUPercent }),
			RSS:                int64(figure(func(r *Result) float64 { return float64(r.use().RSS) })),
			BytesPerConnection: m.Server.BytesPerConnection,
		}
	}
	m.Count, m.Sent, m.Lost, m.Failed, m.Failures, m.Budgets = 0, 0, 0, 0, nil, nil
	for _, r := range rounds {
		m.Count, m.Sent, m.Lost = m.Count+r.Count, m.Sent+r.Sent, m.Lost+r.Lost
		m.addFailures(r.Failures)
		for kind, n := range r.Budgets {
			if m.Budgets == nil {
				m.Budgets = make(map[string]int64)
			}
			m.Budgets[kind] += n
		}
	}
	return m
}

// middle returns the median.
func middle(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Faultless reports whether nothing was lost and nothing failed.
func (c *Comparison) Faultless() bool { return c.A.Faultless() && c.B.Faultless() }

var ratioHead = []string{"B ÷ A", "per second", "p50", "p99", "CPU each", "memory each"}

// WriteTable writes a text table of both servers, and one of the ratios.
func (c *Comparison) WriteTable(w io.Writer) error {
	rows, ratios := [][]string{tableHead}, [][]string{ratioHead}
	var notes []string
	for _, side := range []struct {
		name   string
		report *Report
	}{{"A", c.A}, {"B", c.B}} {
		for _, r := range side.report.Results {
			r.Scenario += " " + side.name
			rows = append(rows, r.row())
			notes = append(notes, r.notes()...)
		}
		if side.report.Server == nil {
			notes = append(notes, side.name+": CPU and memory are unknown: its process does not run here, or under another user")
		}
	}
	for _, r := range c.Ratios {
		ratios = append(ratios, []string{r.Scenario, r.PerSecond.text(), r.P50.text(), r.P99.text(), r.CPU.text(), r.Memory.text()})
	}
	notes = append(notes, fmt.Sprintf("figures are medians of the rounds (%d, in turns); ratios, too, with the lowest and the highest one", c.Rounds))
	if c.Interrupted {
		notes = append(notes, "interrupted: these are the results so far")
	}
	_, err := fmt.Fprintf(w, "A: %s\nB: %s\nby %s\n\n%s\n%s\n%s\n", c.A.name(), c.B.name(), c.A.conditions(), align(rows), align(ratios), strings.Join(notes, "\n"))
	return err
}

func (r *Ratio) text() string {
	if r == nil {
		return "–"
	}
	return fmt.Sprintf("%.2f × (%.2f–%.2f)", r.Median, r.Min, r.Max)
}
