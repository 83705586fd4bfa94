// Package bar compares a figure with a reference from the same run. A ratio is the same on a fast
// machine and on a busy one. A limit in microseconds fits only one of them.
package bar

import (
	"fmt"
	"math"
)

// Bar is one figure, its reference, and the ratio that the two must keep. A Bar is a value, and
// safe to copy.
type Bar struct {
	Name      string  // what was measured
	Value     float64 // in Unit
	Unit      string  // such as "µs"; "" for a plain number
	Reference string  // what to compare it with
	Base      float64 // the reference, in Unit

	// The ratio Value / Base is at most Most. If Least is set, it is at least Least instead.
	Most, Least float64
}

// Ratio returns Value / Base. It is NaN if either is negative, or if there is no reference.
func (b Bar) Ratio() float64 {
	if b.Base <= 0 || b.Value < 0 {
		return math.NaN()
	}
	return b.Value / b.Base
}

// Holds reports whether the ratio keeps the bar. If there is no ratio, the bar does not hold.
func (b Bar) Holds() bool {
	r := b.Ratio()
	if b.Least > 0 {
		return r >= b.Least
	}
	return r <= b.Most
}

// String returns one line: the verdict, the figure, its reference, the ratio and the bar.
func (b Bar) String() string {
	verdict, sign, limit := "FAIL", "≤", b.Most
	if b.Holds() {
		verdict = "PASS"
	}
	if b.Least > 0 {
		sign, limit = "≥", b.Least
	}
	unit := b.Unit
	if unit != "" {
		unit = " " + unit
	}
	return fmt.Sprintf("%s  %s: %s%s; %s: %s%s; %.2f ×, %s %.2f ×",
		verdict, b.Name, Number(b.Value), unit, b.Reference, Number(b.Base), unit, b.Ratio(), sign, limit)
}

// Number formats v with at least two digits.
func Number(v float64) string {
	if math.Abs(v) < 9.95 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
