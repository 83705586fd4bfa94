// Command compare prints a markdown table that compares several servers. Its input is the output of
// "parley bench --json". Its arguments are directories, each with the name of a server and one file
// per run. It compares the other servers with the first.
//
// With -bars, it takes two servers and checks the first against its bars: ratios to the second, which
// ran before or after it on the same machine. It exits with 1 if a bar does not hold.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/internal/bench"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("compare: ")
	bars := flag.Bool("bars", false, "check the first of two servers against its bars")
	flag.Parse()
	if n := flag.NArg(); n == 0 || *bars && n != 2 {
		log.Fatal("usage: compare DIRECTORY… or compare -bars DIRECTORY REFERENCE")
	}
	var servers []server
	for _, dir := range flag.Args() {
		s, err := read(dir)
		if err != nil {
			log.Fatal(err)
		}
		servers = append(servers, s)
	}
	if *bars {
		if !hold(os.Stdout, servers[0], servers[1]) {
			os.Exit(1)
		}
		return
	}
	if err := compare(os.Stdout, servers); err != nil {
		log.Fatal(err)
	}
}

// server holds the results of one server.
type server struct {
	name    string
	results []bench.Result
}

func read(dir string) (server, error) {
	s := server{name: filepath.Base(dir)}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return s, err
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return s, err
		}
		var report bench.Report
		if err := json.Unmarshal(content, &report); err != nil {
			return s, fmt.Errorf("%s: %w", file, err)
		}
		s.results = append(s.results, report.Results...)
	}
	return s, nil
}

// row is a line of the table.
type row struct {
	scenario string
	window   int // 0: any
	paced    bool
	name     string // %d is the number of connections, %g the rate
	unit     string
	most     float64 // the bar: the largest ratio to socket.io on Node.js
	value    func(bench.Result) float64
}

// Each bar is the ratio measured on two busy cores plus a third.
var rows = []row{
	{"idle", 0, false, "memory of an idle connection", "B", 0.25, func(r bench.Result) float64 { return float64(use(r).BytesPerConnection) }},
	{"churn", 0, false, "CPU of a connection that comes and goes", "µs", 0.5, cpu},
	{"echo", 4, false, "CPU of an echo, 4 in flight", "µs", 0.45, cpu},
	{"ack", 1, false, "CPU of an acknowledgement", "µs", 0.65, cpu},
	{"broadcast", 1, false, "CPU of a delivery, room of %d", "µs", 0.75, cpu},
	{"broadcast", 16, false, "CPU of a delivery, 16 messages in flight", "µs", 0.15, cpu},
	{"echo", 0, true, "p50 of %g echoes a second", "µs", 1.5, func(r bench.Result) float64 { return float64(latency(r).P50) }},
	{"echo", 0, true, "p99 of %g echoes a second", "µs", 1.5, func(r bench.Result) float64 { return float64(latency(r).P99) }},
}

func cpu(r bench.Result) float64 { return use(r).CPUPerUnit }

func use(r bench.Result) bench.Use {
	if r.Server == nil {
		return bench.Use{}
	}
	return *r.Server
}

func latency(r bench.Result) bench.Latency {
	if r.Latency == nil {
		return bench.Latency{}
	}
	return *r.Latency
}

// of returns the row's result for a server.
func (row row) of(s server) (bench.Result, bool) {
	for _, r := range s.results {
		if r.Scenario == row.scenario && (r.Rate > 0) == row.paced && (row.window == 0 || r.Window == row.window) {
			return r, true
		}
	}
	return bench.Result{}, false
}

// title returns the row's name with the numbers of a result.
func (row row) title(r bench.Result) string {
	return strings.NewReplacer("%d", fmt.Sprint(r.Connections), "%g", fmt.Sprint(r.Rate)).Replace(row.name)
}

// faults returns how much was lost or failed.
func (s server) faults() (n int64) {
	for _, r := range s.results {
		n += r.Lost + r.Failed
	}
	return n
}

// hold prints each figure of s next to the reference's, and reports whether all bars hold. A bar whose
// figure was not measured does not hold.
func hold(w io.Writer, s, reference server) bool {
	all := s.faults() == 0
	for _, row := range rows {
		r, _ := row.of(s)
		base, _ := row.of(reference)
		b := bar.Bar{Name: row.title(r), Value: row.value(r), Unit: row.unit, Reference: reference.name, Base: row.value(base), Most: row.most}
		if b.Value == 0 {
			b.Value = -1 // not measured
		}
		all = all && b.Holds()
		fmt.Fprintln(w, b)
	}
	if n := s.faults(); n > 0 {
		fmt.Fprintf(w, "FAIL  lost or failed: %d\n", n)
	}
	return all
}

func compare(w io.Writer, servers []server) error {
	var b strings.Builder
	cells := func(first string, cell func(server) string) {
		b.WriteString("| " + first + " |")
		for _, s := range servers {
			b.WriteString(" " + cell(s) + " |")
		}
		b.WriteByte('\n')
	}
	cells("", func(s server) string { return s.name })
	b.WriteString("|---|" + strings.Repeat("---:|", len(servers)) + "\n")
	for _, row := range rows {
		first, ok := row.of(servers[0])
		reference := row.value(first)
		cells(row.title(first), func(s server) string {
			r, there := row.of(s)
			v := row.value(r)
			switch {
			case !there || v == 0:
				return "–"
			case s.name == servers[0].name || !ok || reference == 0:
				return bar.Number(v) + " " + row.unit
			}
			return fmt.Sprintf("%s %s (%s ×)", bar.Number(v), row.unit, bar.Number(v/reference))
		})
	}
	cells("lost or failed", func(s server) string { return fmt.Sprint(s.faults()) })
	_, err := io.WriteString(w, b.String())
	return err
}
