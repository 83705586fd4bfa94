package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

var tableHead = []string{
	"scenario", "conns", "load", "per second", "p50", "p99", "p99.9", "max", "CPU each", "CPU", "memory each", "lost", "failed",
}

// WriteTable writes the report as a text table with notes, after a line that says what was measured and how.
func (r *Report) WriteTable(w io.Writer) error {
	rows := [][]string{tableHead}
	var notes []string
	for i := range r.Results {
		result := &r.Results[i]
		rows = append(rows, result.row())
		notes = append(notes, result.notes()...)
	}
	switch {
	case r.Server != nil:
		notes = append(notes, fmt.Sprintf("server: process %d (%s)", r.Server.PID, r.Server.Name))
	default:
		notes = append(notes, "server: CPU and memory are unknown; see --pid")
	}
	if r.Interrupted {
		notes = append(notes, "interrupted: these are the results so far")
	}
	_, err := io.WriteString(w, r.name()+" by "+r.conditions()+"\n\n"+align(rows)+"\n"+strings.Join(notes, "\n")+"\n")
	return err
}

func (r *Result) row() []string {
	row := []string{r.Scenario}
	if r.NotOffered != "" {
		return append(row, "not offered by the server")
	}
	row = append(row, integer(int64(r.Connections)), r.load(), integer(int64(r.PerSecond+0.5))+" "+r.Unit)
	if l := r.Latency; l != nil {
		row = append(row, micros(l.P50), micros(l.P99), micros(l.P999), micros(l.Max))
	} else {
		row = append(row, "–", "–", "–", "–")
	}
	memory := "–"
	if s := r.Server; s != nil {
		if s.BytesPerConnection != 0 {
			memory = integer(s.BytesPerConnection) + " B"
		}
		row = append(row, fmt.Sprintf("%.1f µs", s.CPUPerUnit), fmt.Sprintf("%.1f %%", s.CPUPercent), memory)
	} else {
		row = append(row, "–", "–", memory)
	}
	return append(row, integer(r.Lost), integer(r.Failed))
}

// saturated is the CPU share of the client in percent above which the client limits the results.
const saturated = 90

func (r *Result) notes() []string {
	var notes []string
	if r.NotOffered != "" {
		notes = append(notes, fmt.Sprintf("%s: %s", r.Scenario, r.NotOffered))
	}
	if r.Via != "" {
		notes = append(notes, fmt.Sprintf("%s: the server lacks the event, so this is %s", r.Scenario, r.Via))
	}
	for _, f := range r.Failures {
		notes = append(notes, fmt.Sprintf("%s: %s times: %s", r.Scenario, integer(f.Count), f.Reason))
	}
	if note := r.budgetNote(); note != "" {
		notes = append(notes, note)
	}
	if r.ClientCPU > saturated {
		notes = append(notes, fmt.Sprintf("%s: this client used %.0f %% of its CPU: rate and latencies are its own limit, too", r.Scenario, r.ClientCPU))
	}
	return notes
}

// align pads the cells: the first column is flush left, the others are flush right. A short row ends
// with its last cell, which may have any length.
func align(rows [][]string) string {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		if len(row) == len(width) {
			for i, cell := range row {
				width[i] = max(width[i], utf8.RuneCountInString(cell))
			}
		}
		width[0] = max(width[0], utf8.RuneCountInString(row[0]))
	}
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			space := strings.Repeat(" ", max(width[i]-utf8.RuneCountInString(cell), 0))
			switch {
			case i == 0:
				b.WriteString(cell + space)
			case len(row) < len(width):
				b.WriteString("  " + cell)
			default:
				b.WriteString("  " + space + cell)
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// integer formats n with commas between groups of three digits.
func integer(n int64) string {
	if n < 0 {
		return "-" + integer(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// micros formats a number of microseconds with about three digits.
func micros(n int64) string {
	switch d := time.Duration(n) * time.Microsecond; {
	case n < 1000:
		return fmt.Sprintf("%d µs", n)
	case n < 10_000:
		return fmt.Sprintf("%.2f ms", float64(n)/1000)
	case n < 100_000:
		return fmt.Sprintf("%.1f ms", float64(n)/1000)
	case n < 1_000_000:
		return fmt.Sprintf("%.0f ms", float64(n)/1000)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
}
