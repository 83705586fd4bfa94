package bench

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// progress shows what the run is doing. On a terminal it rewrites one line. Elsewhere it writes a line
// every second, and only if the user wants it. It is safe for concurrent use. A nil progress shows
// nothing.
type progress struct {
	w        io.Writer
	terminal bool

	mu    sync.Mutex
	name  string
	doing string
	since time.Time
	meter *meter
	seen  int64 // units at the last line

	stop, stopped chan struct{}
}

// startProgress returns nil if there is nothing to show.
func startProgress(w io.Writer, wanted bool) *progress {
	p := &progress{w: w, terminal: isTerminal(w), stop: make(chan struct{}), stopped: make(chan struct{})}
	if !p.terminal && !wanted {
		return nil
	}
	every := time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	go p.run(every)
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// stage sets what a scenario is doing.
func (p *progress) stage(name, doing string, m *meter) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name, p.doing, p.meter, p.since, p.seen = name, doing, m, time.Now(), m.done.Load()
}

func (p *progress) run(every time.Duration) {
	defer close(p.stopped)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.show(every)
		case <-p.stop:
			if p.terminal {
				fmt.Fprint(p.w, "\r\x1b[K")
			}
			return
		}
	}
}

func (p *progress) show(every time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.meter == nil {
		return
	}
	done := p.meter.done.Load()
	perSecond := float64(max(done-p.seen, 0)) / every.Seconds()
	p.seen = done
	line := fmt.Sprintf("%s: %s for %.0f s, %s done, %s/s", p.name, p.doing, time.Since(p.since).Seconds(), integer(done), integer(int64(perSecond)))
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K"+line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

func (p *progress) close() {
	if p != nil {
		close(p.stop)
		<-p.stopped
	}
}
