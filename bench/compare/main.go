// Command compare prints one table, as markdown, of what "parley bench --json" has written
// of several servers. Its arguments are directories, each named after a server and with a
// file for each run; the others are compared with the first.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-go/parley/internal/bench"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("compare: ")
	if len(os.Args) < 2 {
		log.Fatal("usage: compare DIRECTORY…")
	}
	var servers []server
	for _, dir := range os.Args[1:] {
		s, err := read(dir)
		if err != nil {
			log.Fatal(err)
		}
		servers = append(servers, s)
	}
	if err := compare(os.Stdout, servers); err != nil {
		log.Fatal(err)
	}
}

// server is what was found out about one.
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
	value    func(bench.Result) float64
}

var rows = []row{
	{"idle", 0, false, "memory of an idle connection", "B", func(r bench.Result) float64 { return float64(use(r).BytesPerConnection) }},
	{"churn", 0, false, "CPU of a connection that comes and goes", "µs", cpu},
	{"echo", 4, false, "CPU of an echo, 4 in flight", "µs", cpu},
	{"ack", 1, false, "CPU of an acknowledgement", "µs", cpu},
	{"broadcast", 1, false, "CPU of a delivery, room of %d", "µs", cpu},
	{"broadcast", 16, false, "CPU of a delivery, 16 messages in flight", "µs", cpu},
	{"echo", 0, true, "p50 of %g echoes a second", "µs", func(r bench.Result) float64 { return float64(latency(r).P50) }},
	{"echo", 0, true, "p99 of %g echoes a second", "µs", func(r bench.Result) float64 { return float64(latency(r).P99) }},
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

// of returns the result that a row is about.
func (row row) of(s server) (bench.Result, bool) {
	for _, r := range s.results {
		if r.Scenario == row.scenario && (r.Rate > 0) == row.paced && (row.window == 0 || r.Window == row.window) {
			return r, true
		}
	}
	return bench.Result{}, false
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
		name := strings.NewReplacer("%d", fmt.Sprint(first.Connections), "%g", fmt.Sprint(first.Rate)).Replace(row.name)
		reference := row.value(first)
		cells(name, func(s server) string {
			r, there := row.of(s)
			v := row.value(r)
			switch {
			case !there || v == 0:
				return "–"
			case s.name == servers[0].name || !ok || reference == 0:
				return number(v) + " " + row.unit
			}
			return fmt.Sprintf("%s %s (%s ×)", number(v), row.unit, number(v/reference))
		})
	}
	cells("lost or failed", func(s server) string {
		var n int64
		for _, r := range s.results {
			n += r.Lost + r.Failed
		}
		return fmt.Sprint(n)
	})
	_, err := io.WriteString(w, b.String())
	return err
}

// number writes v with two digits or more.
func number(v float64) string {
	if math.Abs(v) < 9.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
