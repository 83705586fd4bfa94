package bench

import (
	"cmp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// meter counts what happens in one scenario. It is safe for concurrent use.
type meter struct {
	done atomic.Int64 // units: echoes, deliveries, connections …
	sent atomic.Int64 // messages

	shards []shard // latencies, sharded by client to avoid contention between loops

	mu       sync.Mutex
	failures map[string]int64
}

type shard struct {
	mu        sync.Mutex
	histogram *hdrhistogram.Histogram // of microseconds
}

// Latencies have three significant digits. Longer ones count as maxLatency.
const (
	maxLatency        = time.Hour
	significantDigits = 3
)

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, maxLatency.Microseconds(), significantDigits)
}

func newMeter() *meter {
	m := &meter{shards: make([]shard, runtime.GOMAXPROCS(0)), failures: make(map[string]int64)}
	for i := range m.shards {
		m.shards[i].histogram = newHistogram()
	}
	return m
}

// record counts a unit, and its latency as the client with that index has seen it.
func (m *meter) record(index int, latency time.Duration) {
	s := &m.shards[index%len(m.shards)]
	s.mu.Lock()
	s.histogram.RecordValue(min(max(latency, 0), maxLatency).Microseconds())
	s.mu.Unlock()
	m.done.Add(1)
}

// maxReasons limits the number of different failure reasons. All others count as "others".
const maxReasons = 20

// fail counts n failures for a reason.
func (m *meter) fail(why string, n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.failures[why]; !known && len(m.failures) >= maxReasons {
		why = "others"
	}
	m.failures[why] += n
}

// Failure is a reason for failures and how often it occurred.
type Failure struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// takeFailures returns the failures so far, the most frequent first, and resets them.
func (m *meter) takeFailures() []Failure {
	m.mu.Lock()
	defer m.mu.Unlock()
	failures := make([]Failure, 0, len(m.failures))
	for why, n := range m.failures {
		failures = append(failures, Failure{why, n})
	}
	slices.SortFunc(failures, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Reason, b.Reason))
	})
	clear(m.failures)
	return failures
}

// restart resets units and latencies, but not failures.
func (m *meter) restart() {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.histogram.Reset()
		s.mu.Unlock()
	}
	m.done.Store(0)
	m.sent.Store(0)
}

// Latency holds percentiles of the latencies, in microseconds.
type Latency struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

// latency returns the percentiles, or nil if there are no latencies.
func (m *meter) latency() *Latency {
	all := newHistogram()
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		all.Merge(s.histogram)
		s.mu.Unlock()
	}
	if all.TotalCount() == 0 {
		return nil
	}
	q := all.ValueAtQuantile
	return &Latency{P50: q(50), P90: q(90), P99: q(99), P999: q(99.9), Max: all.Max()}
}
