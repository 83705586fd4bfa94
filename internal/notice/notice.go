// Package notice logs what may happen at any rate at most once a minute for each cause.
package notice

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// Every is how long a cause is not logged again.
	Every = time.Minute
	// maxCauses bounds how many causes are told apart: clients invent some of them. Those that
	// come on top, until older ones are forgotten, count as one.
	maxCauses = 100
)

// Board logs notices. It is safe for concurrent use, and no lock is held while it logs.
type Board struct {
	log *slog.Logger

	mu     sync.Mutex
	causes map[string]*cause
}

type cause struct {
	logged time.Time
	silent int // notices since
}

// New returns a Board that logs to log.
func New(log *slog.Logger) *Board {
	return &Board{log: log, causes: map[string]*cause{}}
}

// Post logs the message, with what args say as in slog.Logger.Log, unless that cause was logged
// within the last minute. Later it says how many notices of the cause were not logged.
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

// due reports whether to log now, and how many notices were not logged before.
func (b *Board) due(why string, now time.Time) (silent int, due bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.causes[why]
	if c == nil && len(b.causes) >= maxCauses {
		b.forgetLocked(now)
		if len(b.causes) >= maxCauses {
			why = ""
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

// forgetLocked removes the causes that would be logged again.
func (b *Board) forgetLocked(now time.Time) {
	for why, c := range b.causes {
		if now.Sub(c.logged) >= Every {
			delete(b.causes, why)
		}
	}
}
