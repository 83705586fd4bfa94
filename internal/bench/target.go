package bench

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"runtime/debug"
	"time"
)

// target is a server that is measured.
type target struct {
	options *options
	server  *process // nil if unknown
	report  *Report
}

// open checks that a server can be measured.
func open(ctx context.Context, o *options) (*target, error) {
	t := &target{options: o, report: &Report{
		URL: o.url.Redacted(), Transport: o.transport, Results: []Result{},
		Started: time.Now().UTC().Truncate(time.Second), Version: ownVersion(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(),
		Duration: o.duration.Seconds(), WarmUp: o.warmup.Seconds(), Size: len(o.pad),
	}}
	if err := tryConnection(ctx, o); err != nil {
		return t, err
	}
	server, err := o.server()
	if err != nil {
		return t, err
	}
	if t.server = server; server != nil {
		t.report.Server = &Server{server.pid, server.name}
	}
	return t, nil
}

// measure runs a scenario and returns its results, if any. It returns errNotOffered as it is.
func (t *target) measure(ctx context.Context, s scenario, p *progress) ([]Result, error) {
	trial := newTrial(s, t.options, t.server, p)
	defer trial.fleet.close()
	err := s.run(ctx, trial)
	return trial.results, err
}

// close completes the report. The server's version comes last, since the answer takes memory, which idle
// measures.
func (t *target) close() {
	f := newFleet(t.options, newMeter())
	defer f.close()
	f.metrics(func(line string) {
		if m := buildInfo.FindStringSubmatch(line); m != nil {
			t.report.ServerVersion = "parley " + m[1]
		}
	})
}

// buildInfo matches the metric with the version of the parley binary.
var buildInfo = regexp.MustCompile(`^parley_build_info\{.*version="([^"]+)"\} 1$`)

// metrics calls line with each line of the server's metrics. It returns false if the server does not
// show any.
func (f *fleet) metrics(line func(string)) bool {
	ctx, cancel := context.WithTimeout(context.Background(), min(f.options.timeout, 5*time.Second))
	defer cancel()
	at := url.URL{Scheme: f.options.url.Scheme, Host: f.options.url.Host, Path: "/metrics"}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return false
	}
	answer, err := f.http.Do(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return false
	}
	for lines := bufio.NewScanner(io.LimitReader(answer.Body, 1<<20)); lines.Scan(); {
		line(lines.Text())
	}
	return true
}

// ownVersion returns the version of this program, or the revision that it was built from.
func ownVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown)"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return s.Value[:12]
		}
	}
	return "(devel)"
}

// name describes the server.
func (r *Report) name() string {
	return fmt.Sprintf("%s (%s)", r.URL, cmp.Or(r.ServerVersion, "version unknown"))
}

// conditions describes how it was measured.
func (r *Report) conditions() string {
	return fmt.Sprintf("parley bench %s, %s: %s, %d B of padding, %g s after %g s of warm-up; %s, %d cores",
		r.Version, r.Started.Format("2006-01-02 15:04 UTC"), r.Transport, r.Size, r.Duration, r.WarmUp, r.Platform, r.Cores)
}
