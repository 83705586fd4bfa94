// Package notice logs events that may happen at any rate, at most once a minute for each cause.
package notice

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// Every is the shortest time between two log lines of one cause.
	Every = time.Minute
	// maxCauses limits how many causes are told apart, since clients invent details of some of them.
	// Further ones count without their details until older ones are forgotten.
	maxCauses = 100
)

// maxQuoted limits, in bytes, what a log line quotes from a client.
const maxQuoted = 100

// Quote returns the part of what a client has sent that a log line may have.
func Quote(s string) string { return s[:min(len(s), maxQuoted)] }

// Board logs notices. It is safe for concurrent use and holds no lock while it logs.
type Board struct {
	log *slog.Logger

	mu     sync.Mutex
	causes map[string]*cause
}

type cause struct {
	logged time.Time
	silent int // notices that were not logged since
}

// New returns a Board that logs to log.
func New(log *slog.Logger) *Board {
	return &Board{log: log, causes: map[string]*cause{}}
}

// Post logs the message with args, as slog.Logger.Log does, unless the cause why was logged within
// the last minute. The next line of that cause says how many notices were not logged. If clients
// choose a part of why, put it after a line feed. Then they cannot suppress notices of other causes.
func (b *Board) Post(level slog.Level, why, message string, args ...any) {
	if !b.log.Enabled(context.Background(), level) {
		return
	}
	silent, due := b.due(why, time.Now())
	if !due {
		return
	}
	if silent > 0 {
		args = append(args[:len(args):len(args)], "not_logged", silent)
	}
	b.log.Log(context.Background(), level, message, args...)
}

// due reports whether to log now, and how many notices of the cause were not logged before.
func (b *Board) due(why string, now time.Time) (silent int, due bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.causes[why]
	if c == nil && len(b.causes) >= maxCauses {
		b.forgetLocked(now)
		if len(b.causes) >= maxCauses {
			why, _, _ = strings.Cut(why, "\n")
			c = b.causes[why]
		}
	}
	switch {
	case c == nil:
		b.causes[why] = &cause{logged: now}
		return 0, true
	case now.Sub(c.logged) < Every:
		c.silent++
		return 0, false
	}
	silent = c.silent
	*c = cause{logged: now}
	return silent, true
}

// forgetLocked removes the causes whose minute is over.
func (b *Board) forgetLocked(now time.Time) {
	for why, c := range b.causes {
		if now.Sub(c.logged) >= Every {
			delete(b.causes, why)
		}
	}
}
