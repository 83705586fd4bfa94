package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/bench"
)

// versus compares with --json.
func versus(t *testing.T, ctx context.Context, args ...string) (c bench.Comparison, code int) {
	t.Helper()
	var out bytes.Buffer
	var errs bytes.Buffer
	code = bench.Main(ctx, append([]string{"--json"}, args...), &out, &errs)
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		t.Fatalf("exit code %d, and the output is no comparison: %v: %s", code, err, &errs)
	}
	return c, code
}

// pair holds the flags of a short comparison.
var pair = []string{"--warmup", "0", "--duration", "30ms", "--connections", "4", "--timeout", "1m"}

// Two servers are measured in turns, and compared.
func TestCompare(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	turn := func(name string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			if len(order) == 0 || order[len(order)-1] != name {
				order = append(order, name)
			}
			return true
		}
	}
	a, b := application(t, "/", turn("A")), application(t, "/", turn("B"))
	c, code := versus(t, t.Context(), with(pair, "--scenario", "echo", "--rounds", "3", a, b)...)
	if code != 0 || c.Rounds != 3 || c.Interrupted || len(c.Ratios) != 1 || len(c.A.Results) != 1 || len(c.B.Results) != 1 {
		t.Fatalf("exit code %d, %+v", code, c)
	}
	if got := strings.Join(order, ""); got != "ABAB" { // A, B, B, A, A, B
		t.Errorf("the turns are %s", got)
	}
	for i, r := range []*bench.Report{c.A, c.B} {
		if r.URL != []string{a, b}[i]+"/socket.io/" || r.Results[0].Count == 0 || r.Results[0].PerSecond <= 0 || r.Results[0].Latency.P50 > r.Results[0].Latency.P99 {
			t.Errorf("%+v", r)
		}
	}
	for _, ratio := range []*bench.Ratio{c.Ratios[0].PerSecond, c.Ratios[0].P50, c.Ratios[0].P99} {
		if ratio == nil || ratio.Min <= 0 || ratio.Min > ratio.Median || ratio.Median > ratio.Max {
			t.Errorf("ratio %+v", ratio)
		}
	}
}

// A scenario that one of them lacks is left out; one that they answer differently has no ratio.
func TestCompareWhatCannotBe(t *testing.T) {
	t.Parallel()
	a, b := application(t, "/", nil), binary(t)
	c, code := versus(t, t.Context(), with(pair, "--scenario", "history,ack,rooms", "--rounds", "1", a, b)...)
	if code != 0 || len(c.Ratios) != 1 || c.Ratios[0].Scenario != "rooms" {
		t.Fatalf("exit code %d, %+v", code, c)
	}
	if r := c.A.Results[0]; r.Scenario != "history" || r.NotOffered == "" {
		t.Errorf("%+v", r)
	}
	if len(c.A.Results) != 3 || len(c.B.Results) != 2 || c.A.Results[1].Via != "" || c.B.Results[0].Via == "" {
		t.Errorf("%+v, %+v", c.A.Results, c.B.Results)
	}
	var table strings.Builder
	if err := c.WriteTable(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"A: " + a, "B: " + b + "/socket.io/ (parley ", "\nrooms A ", "\nrooms B ", "\nB ÷ A ", "\nrooms  ", "\nack B: the server lacks the event", "rounds (1, in turns)", "history A  not offered"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
}

// Ctrl-C prints the rounds that are complete.
func TestCompareInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	a := application(t, "/", nil)
	b := application(t, "/", func() bool { cancel(); return true })
	c, code := versus(t, ctx, with(pair, "--scenario", "ack,echo", "--rounds", "1", a, b)...)
	if code != 0 || !c.Interrupted || len(c.Ratios) != 1 || c.Ratios[0].Scenario != "ack" {
		t.Errorf("exit code %d, %+v", code, c)
	}
	if err := c.WriteTable(io.Discard); err != nil {
		t.Error(err)
	}
}

// Ratios are those of the same round, and the figures are medians.
func TestMedians(t *testing.T) {
	round := func(perSecond float64, p50 int64, cpu float64, bytes int64, lost int64) bench.Result {
		return bench.Result{Scenario: "idle", PerSecond: perSecond, Lost: lost, Latency: &bench.Latency{P50: p50},
			Server: &bench.Use{CPUPerUnit: cpu, BytesPerConnection: bytes}}
	}
	a := []bench.Result{round(100, 10, 4, 5000, 1), round(300, 30, 8, 0, 0), round(200, 20, 6, 0, 2)}
	b := []bench.Result{round(200, 10, 0, 10000, 0), round(300, 60, 4, 0, 0), round(800, 10, 6, 0, 0)}
	c := bench.Compare(a, b)
	got := c.Ratios[0]
	for name, test := range map[string]struct {
		ratio *bench.Ratio
		want  bench.Ratio
	}{
		"per second": {got.PerSecond, bench.Ratio{Median: 2, Min: 1, Max: 4}},
		"p50":        {got.P50, bench.Ratio{Median: 1, Min: 0.5, Max: 2}},
		"CPU":        {got.CPU, bench.Ratio{Median: 0.75, Min: 0.5, Max: 1}}, // without the round in which it is 0
		"memory":     {got.Memory, bench.Ratio{Median: 2, Min: 2, Max: 2}},
	} {
		if test.ratio == nil || *test.ratio != test.want {
			t.Errorf("%s: %+v, want %+v", name, test.ratio, test.want)
		}
	}
	if got.P99 != nil {
		t.Errorf("p99: %+v", got.P99)
	}
	if r := c.A.Results[0]; r.PerSecond != 200 || r.Latency.P50 != 20 || r.Server.CPUPerUnit != 6 || r.Server.BytesPerConnection != 5000 || r.Lost != 3 {
		t.Errorf("medians: %+v", r)
	}
	if c.Faultless() {
		t.Error("losses are no fault")
	}
}
