package bench

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The parley binary limits what a client may send, and counts in its metrics how often it has slowed
// clients down or refused events. A load that exceeds a limit measures the limit. Of other servers
// nothing is known.

// budgetMetrics matches the counters, with the kind of budget and the value.
var budgetMetrics = regexp.MustCompile(`^parley_(?:slowed|over_budget)_total\{kind="(\w+)"\} ([0-9.e+]+)$`)

// budgetSettings are the settings from which the kinds of budgets follow. The other kinds follow from
// events-per-second.
var budgetSettings = map[string]string{
	"bytes": "bytes-per-second", "inflated": "bytes-per-second", "reads": "bytes-per-second",
	"message_bytes": "bytes-per-second", "room_message_bytes": "bytes-per-second",
	"rooms": "rooms-per-hour", "stored": "stored-per-hour",
	"address_events": "max-connections-per-address",
	"address_reads":  "max-connections-per-address", "openings": "max-connections-per-address",
	"requests": "max-connections-per-address", "memberships": "max-connections-per-address",
}

// budgets returns how often the server has held clients to each kind of budget. The map is nil if
// the server does not say.
func (f *fleet) budgets() (held map[string]int64) {
	f.metrics(func(line string) {
		if m := budgetMetrics.FindStringSubmatch(line); m != nil {
			if held == nil {
				held = make(map[string]int64)
			}
			n, _ := strconv.ParseFloat(m[2], 64)
			held[m[1]] += int64(n)
		}
	})
	return held
}

// held returns how often the server has held clients to its budgets since the previous call. It does
// not ask in scenarios that only connect: the answer takes memory, which idle measures.
func (t *trial) held() map[string]int64 {
	if t.window == 0 {
		return nil
	}
	before := t.budgets
	t.budgets = t.fleet.budgets()
	since := make(map[string]int64)
	for kind, n := range t.budgets {
		if n > before[kind] {
			since[kind] = n - before[kind]
		}
	}
	return since
}

// budgetNote says which settings of the server to change, or nothing.
func (r *Result) budgetNote() string {
	if len(r.Budgets) == 0 {
		return ""
	}
	settings, times := make(map[string]bool), int64(0)
	for kind, n := range r.Budgets {
		times += n
		settings["--"+cmp.Or(budgetSettings[kind], "events-per-second")] = true
	}
	return fmt.Sprintf("%s: the server held its clients to their budgets %s times (%s), so this is what it allows, not what it can do: raise %s, or turn limits off with 0",
		r.Scenario, integer(times), strings.Join(slices.Sorted(maps.Keys(r.Budgets)), ", "), strings.Join(slices.Sorted(maps.Keys(settings)), " and "))
}
