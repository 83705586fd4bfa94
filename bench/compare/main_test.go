package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/bench"
)

func TestCompare(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"parley/idle.json":  `{"results":[{"scenario":"idle","server":{"bytesPerConnection":4000}}]}`,
		"parley/echo.json":  `{"results":[{"scenario":"echo","window":4,"server":{"cpuMicrosPerUnit":5}}]}`,
		"parley/paced.json": `{"results":[{"scenario":"echo","rate":1000,"latency":{"p50":100,"p99":200}}]}`,
		"node/idle.json":    `{"results":[{"scenario":"idle","server":{"bytesPerConnection":18000},"lost":2,"failed":1}]}`,
		"node/paced.json":   `{"results":[{"scenario":"echo","rate":1000,"latency":{"p50":50,"p99":2500}}]}`,
	} {
		file := filepath.Join(dir, name)
		os.MkdirAll(filepath.Dir(file), 0o777)
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	var servers []server
	for _, name := range []string{"parley", "node"} {
		s, err := read(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	var b strings.Builder
	if err := compare(&b, servers); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"|  | parley | node |\n|---|---:|---:|\n",
		"| memory of an idle connection | 4000 B | 18000 B (4.5 ×) |\n",
		"| CPU of an echo, 4 in flight | 5.0 µs | – |\n",
		"| p50 of 1000 echoes a second | 100 µs | 50 µs (0.5 ×) |\n",
		"| p99 of 1000 echoes a second | 200 µs | 2500 µs (12 ×) |\n",
		"| lost or failed | 0 | 3 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestHold(t *testing.T) {
	one := func(scenario string, bytes int64, cpu float64, l bench.Latency) bench.Result {
		return bench.Result{Scenario: scenario, Server: &bench.Use{BytesPerConnection: bytes, CPUPerUnit: cpu}, Latency: &l}
	}
	all := func(bytes int64, cpu float64, l bench.Latency) (results []bench.Result) {
		for _, row := range rows {
			r := one(row.scenario, bytes, cpu, l)
			if r.Window = row.window; row.paced {
				r.Rate = 5000
			}
			results = append(results, r)
		}
		return results
	}
	reference := server{"node", all(18_000, 100, bench.Latency{P50: 100, P99: 200})}
	good := func() server { return server{"parley", all(4000, 10, bench.Latency{P50: 100, P99: 200})} }
	for name, test := range map[string]struct {
		change func(*server)
		want   string // the line that fails
	}{
		"all hold":     {func(*server) {}, ""},
		"costly":       {func(s *server) { s.results[2].Server.CPUPerUnit = 46 }, "FAIL  CPU of an echo, 4 in flight: 46 µs; node: 100 µs; 0.46 ×, ≤ 0.45 ×"},
		"slow":         {func(s *server) { s.results[6].Latency.P99 = 400 }, "FAIL  p99 of 5000 echoes a second: 400 µs; node: 200 µs; 2.00 ×, ≤ 1.50 ×"},
		"lossy":        {func(s *server) { s.results[0].Lost = 1 }, "FAIL  lost or failed: 1"},
		"not measured": {func(s *server) { s.results = s.results[1:] }, "FAIL  memory of an idle connection: -1.0 B"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			test.change(&s)
			var b strings.Builder
			if ok := hold(&b, s, reference); ok != (test.want == "") || !strings.Contains(b.String(), test.want) || strings.Contains(b.String(), "FAIL") == ok {
				t.Errorf("%v, want %q in\n%s", ok, test.want, b.String())
			}
		})
	}
}
