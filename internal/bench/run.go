package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pause lets the server recover from a scenario before the next one.
const pause = 500 * time.Millisecond

// run runs the scenarios one after the other. If it returns an error, the report holds the results
// before it. If ctx ends, the report holds the results so far, and there is no error.
func run(ctx context.Context, o *options, p *progress) (*Report, error) {
	for _, s := range o.scenarios {
		if err := checkFiles(s, o); err != nil {
			return &Report{}, err
		}
	}
	t, err := open(ctx, o)
	if err != nil {
		return t.report, err
	}
	defer t.close()
	report := t.report
	for i, s := range o.scenarios {
		if i > 0 {
			sleep(ctx, pause)
		}
		results, err := t.measure(ctx, s, p)
		report.Results = append(report.Results, results...)
		switch {
		case ctx.Err() != nil:
			report.Interrupted = true
			return report, nil
		case errors.Is(err, errNotOffered) && len(o.scenarios) > 1:
			report.Results = append(report.Results, Result{Scenario: s.name, NotOffered: err.Error()})
		case err != nil:
			return report, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return report, nil
}

// tryConnection makes a connection and closes it, so that errors show early and clearly.
func tryConnection(ctx context.Context, o *options) error {
	f := newFleet(o, newMeter())
	defer f.close()
	c, err := f.connect(ctx, 0)
	if err == nil {
		c.abort()
	}
	return err
}

// server returns the server's process, or nil if it is unknown and the user did not name it.
func (o *options) server() (*process, error) {
	if o.pid != 0 {
		return newProcess(o.pid)
	}
	p, _ := findServer(o.url.Hostname(), port(o.url)) // if unknown, the table says so
	return p, nil
}

// checkFiles fails if a scenario needs more file descriptors than the limit allows.
func checkFiles(s scenario, o *options) error {
	const reserve = 64
	n := o.parallel
	if s.connections > 0 {
		n = s.connections
		if o.connections > 0 {
			n = o.connections
		}
	}
	if o.transport == "polling" {
		n *= 2 // one connection polls while another one posts
	}
	if limit := maxFiles(); uint64(n+reserve) > limit {
		return fmt.Errorf("%s: %s connections need %s file descriptors, but the limit is %s: raise it with ulimit -n, or make fewer connections with --connections",
			s.name, integer(int64(n)), integer(int64(n+reserve)), integer(int64(limit)))
	}
	return nil
}
