package access

import (
	"context"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// sweepEvery is how often Follow looks for what has expired, and notes what was used.
const sweepEvery = time.Minute

// sweepAtOnce limits the records that one commit of a sweep changes.
const sweepAtOnce = 100

// Follow reads what other nodes change, removes what has expired, and notes when sessions and keys
// were used, until ctx ends. It then notes that once more, because a session must not end for want
// of requests that were made.
func (a *Access) Follow(ctx context.Context) {
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	var refresh <-chan time.Time
	if a.opts.RefreshEvery > 0 {
		ticker := time.NewTicker(a.opts.RefreshEvery)
		defer ticker.Stop()
		refresh = ticker.C
	}
	for {
		var err error
		doing := "follow the records"
		select {
		case <-ctx.Done():
			const patience = 5 * time.Second
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
			defer cancel()
			if err := a.Sweep(last); err != nil {
				a.opts.Failed("note the use of sessions", err)
			}
			return
		case <-refresh:
			err = a.Refresh(ctx)
		case <-a.hints:
			err = a.Refresh(ctx)
		case <-sweep.C:
			doing = "remove what has expired"
			err = a.Sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			a.opts.Failed(doing, err)
		}
	}
}

// Hint says that another node has changed records. Follow reads them soon. Hint does not block.
func (a *Access) Hint() {
	select {
	case a.hints <- struct{}{}:
	default:
	}
}

// catchUps limits how often proofs that nobody here knows cause a read of the store, so that they cost
// whoever makes them up more than the server.
var catchUps = budget.Limit{PerSecond: 20, Burst: 100}

// CatchUp reads what other nodes have changed, if there are any. It reports whether it has: ask again
// whether a proof is good, which another node may have made a moment ago.
func (a *Access) CatchUp(ctx context.Context) bool {
	if a.opts.RefreshEvery <= 0 || a.take(ctx) != nil {
		return false
	}
	var n news
	defer func() {
		a.tell(&n)
		<-a.turn
	}()
	return a.unknown.Allow(catchUps, 1) == 0 && a.refresh(ctx, &n) == nil
}

// Sweep removes what has expired, and notes who has come and when sessions and keys were used.
func (a *Access) Sweep(ctx context.Context) error {
	for more := true; more; {
		err := a.change(ctx, func(now time.Time) (records []history.Record, _ error) {
			records = a.overLocked(now)
			more = len(records) > sweepAtOnce
			return records[:min(len(records), sweepAtOnce)], nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// overLocked returns the changes of a sweep.
func (a *Access) overLocked(now time.Time) (records []history.Record) {
	for id, r := range a.sessions {
		s := *r.value
		last := a.seen.last(id, s.SeenAt)
		switch {
		case !s.alive(last, now):
			records = append(records, a.sessions.put(sessionKind, id, nil))
		case last.Sub(s.SeenAt) >= noteSeenEvery:
			s.SeenAt = last
			records = append(records, a.sessions.put(sessionKind, id, &s))
		}
	}
	for id, m := range a.arrived {
		if a.operators.get(id) == nil {
			records = append(records, a.met.put(metKind, id, m))
		}
	}
	for name, r := range a.apiKeys { // one that has expired stays for people to see
		k := *r.value
		if last := a.seen.last(k.ID, k.UsedAt); last.Sub(k.UsedAt) >= noteUseEvery {
			k.UsedAt = last
			records = append(records, a.apiKeys.put(apiKeyKind, name, &k))
		}
	}
	for id, r := range a.revocations {
		if !now.Before(r.value.Until) {
			records = append(records, a.revocations.put(revocationKind, id, nil))
		}
	}
	for id, r := range a.bans {
		if r.value.over(now) {
			records = append(records, a.bans.put(banKind, id, nil))
		}
	}
	return records
}
