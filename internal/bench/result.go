package bench

import (
	"fmt"
	"runtime"
	"time"
)

// Report holds the results of a run.
type Report struct {
	URL           string    `json:"url"`
	ServerVersion string    `json:"serverVersion,omitempty"` // if the server shows it, as the parley binary does
	Started       time.Time `json:"started"`
	Version       string    `json:"version"`  // of parley bench
	Platform      string    `json:"platform"` // of parley bench, such as linux/amd64
	Cores         int       `json:"cores"`    // that parley bench may use
	Transport     string    `json:"transport"`
	Size          int       `json:"size"`            // bytes of padding in each message
	Duration      float64   `json:"durationSeconds"` // of each measurement
	WarmUp        float64   `json:"warmUpSeconds"`

	Server      *Server  `json:"server,omitempty"` // nil if its process is unknown
	Interrupted bool     `json:"interrupted,omitempty"`
	Results     []Result `json:"results"`
}

// Server is the server's process.
type Server struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
}

// Result is the result of one scenario, or of one half of it.
type Result struct {
	Scenario    string    `json:"scenario"`
	NotOffered  string    `json:"notOffered,omitempty"` // why the server could not be measured; if set, the rest is empty
	Connections int       `json:"connections,omitempty"`
	Window      int       `json:"window,omitempty"` // in flight in each flow; closed loop
	Rate        float64   `json:"rate,omitempty"`   // due per second; open loop
	Seconds     float64   `json:"seconds,omitempty"`
	Via         string    `json:"via,omitempty"`  // the events of the parley binary that stood in for those of the scenario
	Unit        string    `json:"unit,omitempty"` // of Count and PerSecond
	Count       int64     `json:"count"`
	PerSecond   float64   `json:"perSecond"`
	Latency     *Latency  `json:"latency,omitempty"` // microseconds
	Server      *Use      `json:"server,omitempty"`
	ClientCPU   float64   `json:"clientCpuPercent"` // of all cores that the client may use
	Sent        int64     `json:"sent"`             // messages
	Lost        int64     `json:"lost"`             // expected arrivals that did not come
	Failed      int64     `json:"failed"`
	Failures    []Failure `json:"failures,omitempty"`

	// Budgets says how often a parley server slowed clients down, or refused events, by the kind of
	// budget; the warm-up included. If it is not empty, the result is what the server allows.
	Budgets map[string]int64 `json:"budgets,omitempty"`
}

// Use is the CPU time and memory that the server's process used.
type Use struct {
	CPUPerUnit float64 `json:"cpuMicrosPerUnit"`
	CPUPercent float64 `json:"cpuPercent"` // of one core; for idle: while connections were held
	RSS        int64   `json:"rss"`        // bytes, at the end

	// BytesPerConnection is the growth of RSS per connection; only for idle.
	BytesPerConnection int64 `json:"bytesPerConnection,omitempty"`
}

// result returns what the meter counted between two laps.
func (t *trial) result(name, unit string, from, to lap, lost int64) Result {
	elapsed := max(to.at.Sub(from.at), time.Microsecond)
	count := t.meter.done.Load()
	r := Result{
		Scenario: name, Unit: unit,
		Connections: len(t.fleet.clients), Window: t.window, Rate: t.options.rate,
		Seconds: elapsed.Seconds(), Count: count, PerSecond: float64(count) / elapsed.Seconds(),
		Latency:   t.meter.latency(),
		ClientCPU: percent(to.own-from.own, elapsed) / float64(runtime.GOMAXPROCS(0)),
		Sent:      t.meter.sent.Load(), Lost: lost, Via: t.via,
		Budgets: t.held(),
	}
	r.addFailures(t.meter.takeFailures())
	if r.Rate > 0 {
		r.Window = 0
	}
	if t.server != nil {
		cpu := to.server.cpu - from.server.cpu
		r.Server = &Use{
			CPUPerUnit: float64(cpu.Microseconds()) / float64(max(count, 1)),
			CPUPercent: percent(cpu, elapsed),
			RSS:        to.server.rss,
		}
	}
	return r
}

func (r *Result) addFailures(f []Failure) {
	r.Failures = append(r.Failures, f...)
	for _, f := range f {
		r.Failed += f.Count
	}
}

func percent(part, whole time.Duration) float64 {
	return 100 * part.Seconds() / whole.Seconds()
}

// Faultless reports whether nothing was lost and nothing failed.
func (r *Report) Faultless() bool {
	for _, result := range r.Results {
		if result.Lost > 0 || result.Failed > 0 {
			return false
		}
	}
	return true
}

// load describes the load for the table.
func (r *Result) load() string {
	switch {
	case r.Rate > 0:
		return fmt.Sprintf("%g/s", r.Rate)
	case r.Window > 0:
		return fmt.Sprintf("%d in flight", r.Window)
	}
	return "–"
}
