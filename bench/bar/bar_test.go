package bar_test

import (
	"testing"

	"github.com/parley-go/parley/bench/bar"
)

func TestBar(t *testing.T) {
	for _, test := range []struct {
		bar   bar.Bar
		holds bool
		text  string
	}{
		{bar.Bar{Name: "echo", Value: 4.1, Unit: "µs", Reference: "node", Base: 14, Most: 0.3}, true, "PASS  echo: 4.1 µs; node: 14 µs; 0.29 ×, ≤ 0.30 ×"},
		{bar.Bar{Name: "echo", Value: 4.3, Unit: "µs", Reference: "node", Base: 14, Most: 0.3}, false, "FAIL  echo: 4.3 µs; node: 14 µs; 0.31 ×, ≤ 0.30 ×"},
		{bar.Bar{Name: "rate", Value: 60, Reference: "store", Base: 100, Least: 0.5}, true, "PASS  rate: 60; store: 100; 0.60 ×, ≥ 0.50 ×"},
		{bar.Bar{Name: "rate", Value: 40, Reference: "store", Base: 100, Least: 0.5}, false, "FAIL  rate: 40; store: 100; 0.40 ×, ≥ 0.50 ×"},
		{bar.Bar{Name: "echo", Value: 4, Reference: "nothing", Most: 1}, false, "FAIL  echo: 4.0; nothing: 0.0; NaN ×, ≤ 1.00 ×"},
		{bar.Bar{Name: "echo", Value: -1, Reference: "node", Base: 1, Most: 1}, false, "FAIL  echo: -1.0; node: 1.0; NaN ×, ≤ 1.00 ×"},
	} {
		if test.bar.Holds() != test.holds || test.bar.String() != test.text {
			t.Errorf("%v, %q, want %v, %q", test.bar.Holds(), test.bar, test.holds, test.text)
		}
	}
}
