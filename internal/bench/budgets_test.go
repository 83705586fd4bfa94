package bench_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// When the load exceeds what the server allows, the result says so and names the setting.
func TestBudgetsAreNamed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name           string
		events         float64
		bytes          int64
		size           string
		kind, says, no string
	}{
		{"events", 10, 0, "10", "messages", "raise --events-per-second, or", "--bytes"},
		{"bytes", 0, 10_000, "3000", "message_bytes", "raise --bytes-per-second, or", "--events"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			flags := with(short, "--scenario", "history", "--duration", "2s", "--connections", "2", "--members", "2", "--window", "30",
				"--size", test.size, binaryWith(t, test.events, test.bytes))
			r, _ := measure(t, t.Context(), flags...)
			if r.Results[0].Budgets[test.kind] == 0 {
				t.Errorf("budgets %v, want %s", r.Results[0].Budgets, test.kind)
			}
			var table strings.Builder
			if err := r.WriteTable(&table); err != nil {
				t.Fatal(err)
			}
			if text := table.String(); !strings.Contains(text, test.says) || strings.Contains(text, test.no) {
				t.Errorf("want %q, and nothing of %s:\n%s", test.says, test.no, text)
			}
		})
	}
}

// Of a server without budgets, and of one that has other metrics or none, it says nothing.
func TestNoBudgets(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"binary": binary(t), "library": application(t, "/", nil)} {
		r, code := measure(t, t.Context(), with(short, "--scenario", "rooms", url)...)
		if code != 0 || len(r.Results[0].Budgets) > 0 {
			t.Errorf("%s: exit code %d, budgets %v", name, code, slices.Collect(maps.Keys(r.Results[0].Budgets)))
		}
		var table strings.Builder
		if err := r.WriteTable(&table); err != nil || strings.Contains(table.String(), "budget") {
			t.Errorf("%s: %v\n%s", name, err, table.String())
		}
	}
}
