package bench_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/bench"
	"github.com/parley-go/parley/internal/budget"
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

// Each kind of budget names its own setting. Those of an address do not apply to this machine.
func TestSettingsOfBudgets(t *testing.T) {
	settings := map[string]string{
		"rooms": "rooms-per-hour", "stored": "stored-per-hour", "openings": "max-connections-per-address", "address_reads": "max-connections-per-address",
		"requests": "max-connections-per-address", "memberships": "max-connections-per-address", "address_events": "max-connections-per-address",
	}
	for kind := range budget.Kinds {
		name := budget.Kind(kind).String()
		setting := settings[name]
		switch {
		case setting != "":
		case name == "reads" || name == "inflated" || strings.HasSuffix(name, "bytes"):
			setting = "bytes-per-second"
		default:
			setting = "events-per-second"
		}
		r := bench.Report{Results: []bench.Result{{Scenario: "history", Budgets: map[string]int64{name: 3}}}}
		var table strings.Builder
		if err := r.WriteTable(&table); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(table.String(), "3 times ("+name+")") || !strings.Contains(table.String(), "raise --"+setting+", or") {
			t.Errorf("%s: want %s:\n%s", name, setting, &table)
		}
	}
}
