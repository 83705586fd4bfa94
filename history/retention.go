package history

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// Retention says which messages are forgotten as time passes. Whoever has a room open is not told, and
// keeps what it has.
type Retention struct {
	Age    time.Duration      // of messages that go; zero: none
	Keep   int                // how many of the newest messages of a room stay; zero: all
	Closed bool               // only in conversations that are closed, and in rooms that belong to nobody
	Every  time.Duration      // from the end of a pass to the next one. If zero, an hour.
	Pause  time.Duration      // between two steps, in which others write. If zero, 10 ms.
	Logger *slog.Logger       // If nil, slog.Default().
	Pruned func(messages int) // If not nil, called after each step with the number of messages that it deleted.
}

// retryRetention is how long Run waits after a failure.
const retryRetention = time.Minute

// Run prunes until ctx ends or the store is closed, for the first time at once. After an error it tries
// again after a minute; of several errors in a row it logs the first.
func (r Retention) Run(ctx context.Context, store Pruner) {
	if r.Age <= 0 && r.Keep <= 0 {
		return
	}
	if r.Every <= 0 {
		r.Every = time.Hour
	}
	if r.Pause <= 0 {
		r.Pause = 10 * time.Millisecond
	}
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	for failing := false; ; {
		pruned, err := r.pass(ctx, store)
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		if pruned > 0 {
			r.Logger.Info("old messages were deleted", "messages", pruned)
		}
		pause := r.Every
		if err != nil {
			pause = retryRetention
			if !failing && !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrFull) { // the store logs those
				r.Logger.Error("old messages could not be deleted", "error", err)
			}
		}
		failing = err != nil
		if !wait(ctx, pause) {
			return
		}
	}
}

// pass applies the rule until nothing is left to prune.
func (r Retention) pass(ctx context.Context, store Pruner) (messages int, err error) {
	rule := PruneRule{Keep: r.Keep, Closed: r.Closed}
	if r.Age > 0 {
		rule.Before = time.Now().Add(-r.Age)
	}
	for {
		p, err := store.Prune(ctx, rule)
		messages += p.Messages
		if r.Pruned != nil && p.Messages > 0 {
			r.Pruned(p.Messages)
		}
		if err != nil || !p.More || !wait(ctx, r.Pause) {
			return messages, err
		}
	}
}

// wait waits, and reports false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
