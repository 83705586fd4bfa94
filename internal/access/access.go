package access

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// Options configure an Access.
type Options struct {
	// TokenKeys says that keys are configured with which others sign tokens.
	TokenKeys bool
	// Visitors allows visitors' tokens.
	Visitors bool
	// Budgets are limits of the kinds SignIns, Logins and Visitors. Those that are zero are as in
	// DefaultBudgets.
	Budgets budget.Limits
	// Exempt are networks whose addresses have no limits.
	Exempt []netip.Prefix
	// RefreshEvery is how often Follow reads what other nodes have changed; a second at most if they are
	// to follow revocations within two. If zero, never.
	RefreshEvery time.Duration
	// Changed, if not nil, is called after this Access has changed records, so that other nodes are told
	// to read them at once; see Hint. It must not block.
	Changed func()

	// These are called in the order of the changes. They may ask the Access, but not change it.
	//
	// Revoked is called after identities have lost their access, so that the caller closes their
	// connections. Check refuses them already.
	Revoked func(auth.Match)
	// KeysChanged is called after the keys of visitors' tokens have changed.
	KeysChanged func(*jwtauth.Keyring)
	// Failed is called if Follow cannot read or write the store. It goes on.
	Failed func(doing string, err error)
}

// DefaultBudgets are the limits of sign-ins and visitors' tokens. A Ledger allows one more than the
// burst at once.
func DefaultBudgets() (l budget.Limits) {
	l[budget.SignIns] = budget.Limit{PerSecond: 5. / (5 * 60), Burst: 5 - 1}
	l[budget.Logins] = budget.Limit{PerSecond: 10. / (15 * 60), Burst: 10 - 1}
	l[budget.Visitors] = budget.Limit{PerSecond: 60. / (60 * 60), Burst: 60 - 1}
	return l
}

// Access is what the package is about. It is safe for concurrent use.
type Access struct {
	store history.Records
	opts  Options

	signIns, logins, visitors budget.Ledger
	hasher                    *hasher

	// turn has room for whoever reads or changes the store, so that memory follows in the order of
	// versions.
	turn      chan struct{}
	version   int64          // everything up to it is in memory; guarded by turn
	refreshed time.Time      // guarded by turn
	unknown   budget.Balance // of catchUps; guarded by turn

	mu          sync.RWMutex
	operators   table[operator]
	met         table[met]
	arrived     map[string]*met // of whom the store does not know yet
	sessions    table[Session]
	keyrings    table[jwtauth.Keyring]
	apiKeys     table[APIKey]
	revocations table[Revocation]
	bans        table[Ban]
	networks    map[int]int       // number of banned networks by the length of their prefix
	keyNames    map[string]string // of API keys, by their digest

	closed atomic.Bool
	seen   seen
	hints  chan struct{} // has room for one
}

// New returns an Access with what the store has. A nil opt means no tokens and no visitors.
func New(ctx context.Context, store history.Records, opt *Options) (*Access, error) {
	a := &Access{
		store: store, turn: make(chan struct{}, 1), hasher: newHasher(), hints: make(chan struct{}, 1),
		operators: table[operator]{}, met: table[met]{}, arrived: make(map[string]*met), sessions: table[Session]{}, keyrings: table[jwtauth.Keyring]{},
		apiKeys: table[APIKey]{}, revocations: table[Revocation]{}, bans: table[Ban]{},
		networks: make(map[int]int), keyNames: make(map[string]string),
	}
	if opt != nil {
		a.opts = *opt
	}
	for kind, l := range DefaultBudgets() {
		if a.opts.Budgets[kind] == (budget.Limit{}) {
			a.opts.Budgets[kind] = l
		}
	}
	if a.opts.Failed == nil {
		a.opts.Failed = func(string, error) {}
	}
	if a.opts.Changed == nil {
		a.opts.Changed = func() {}
	}
	records, err := store.RecordsSince(ctx, "", 0)
	if err != nil {
		return nil, storeError("read the records", err)
	}
	var n news
	if err := a.apply(records, &n); err != nil {
		return nil, err
	}
	a.caughtUp(records)
	return a, nil
}

// news is what others must hear of a change.
type news struct {
	revoked []auth.Match
	keys    *jwtauth.Keyring // nil: as before
}

func (n *news) end(m auth.Match) { n.revoked = append(n.revoked, m) }

// tell is called with the turn, so that others hear of changes in their order, and without locks.
func (a *Access) tell(n *news) {
	if n.keys != nil && a.opts.KeysChanged != nil {
		a.opts.KeysChanged(n.keys)
	}
	for _, m := range n.revoked {
		if a.opts.Revoked != nil {
			a.opts.Revoked(m)
		}
	}
}

// take takes the turn. The caller gives it back by receiving.
func (a *Access) take(ctx context.Context) error {
	select {
	case a.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Refresh reads what has changed in the store, for example by other nodes.
func (a *Access) Refresh(ctx context.Context) error {
	if err := a.take(ctx); err != nil {
		return err
	}
	var n news
	err := a.refresh(ctx, &n)
	a.tell(&n)
	<-a.turn
	return err
}

// refresh is Refresh for whoever has the turn.
func (a *Access) refresh(ctx context.Context, n *news) error {
	since := a.version
	if time.Since(a.refreshed) > history.KeepRemoved/2 {
		since = 0 // the store may have forgotten what was removed
	}
	records, err := a.store.RecordsSince(ctx, "", since)
	if err != nil {
		return storeError("read the records", err)
	}
	if since == 0 { // what was removed is not listed
		records = append(a.missing(records), records...)
	}
	if err := a.apply(records, n); err != nil {
		return err
	}
	a.caughtUp(records)
	return nil
}

func (a *Access) caughtUp(records []history.Record) {
	if len(records) > 0 {
		a.version = max(a.version, records[len(records)-1].Version)
	}
	a.refreshed = time.Now()
}

// missing returns removals of what is in memory and not among all records.
func (a *Access) missing(records []history.Record) (removed []history.Record) {
	type key struct{ kind, id string }
	exists := make(map[key]bool, len(records))
	for _, r := range records {
		exists[key{r.Kind, r.ID}] = true
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for kind, ids := range map[string]func(func(string, int64)){
		operatorKind: a.operators.each, metKind: a.met.each, sessionKind: a.sessions.each, keyKind: a.keyrings.each,
		apiKeyKind: a.apiKeys.each, revocationKind: a.revocations.each, banKind: a.bans.each,
	} {
		ids(func(id string, version int64) {
			if !exists[key{kind, id}] {
				removed = append(removed, history.Record{Kind: kind, ID: id, Version: version + 1})
			}
		})
	}
	return removed
}

// change changes records in one commit. build returns the changes; it reads the state, and is called
// again if another node was faster. What it refuses is refused.
func (a *Access) change(ctx context.Context, build func(now time.Time) ([]history.Record, error)) error {
	if err := a.take(ctx); err != nil {
		return err
	}
	var n news
	err := a.attempt(ctx, build, &n)
	a.tell(&n)
	<-a.turn
	return err
}

func (a *Access) attempt(ctx context.Context, build func(now time.Time) ([]history.Record, error), n *news) error {
	const attempts = 5
	for i := 1; ; i++ {
		a.mu.RLock()
		records, err := build(now())
		a.mu.RUnlock()
		if err != nil || len(records) == 0 {
			return err
		}
		records, err = a.store.PutRecords(ctx, records...)
		if err == nil || errors.Is(err, history.ErrUnknownOutcome) {
			a.opts.Changed()
		}
		if err == nil {
			return a.apply(records, n)
		}
		conflict := errors.Is(err, history.ErrConflict)
		if conflict || errors.Is(err, history.ErrUnknownOutcome) {
			if e := a.refresh(ctx, n); e != nil {
				conflict = false
			}
		}
		if !conflict || i == attempts {
			return storeError("change the records", err)
		}
	}
}

// apply brings changes into memory.
func (a *Access) apply(records []history.Record, n *news) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range records {
		var err error
		switch r.Kind {
		case operatorKind:
			err = a.operators.follow(r, func(was, is *operator) { operatorChanged(r.ID, was, is, n) })
		case metKind:
			err = a.met.follow(r, func(_, is *met) { a.metChangedLocked(r.ID, is) })
		case sessionKind:
			err = a.sessions.follow(r, func(_, is *Session) { a.sessionChanged(r.ID, is, n) })
		case keyKind:
			err = a.keyrings.follow(r, func(was, is *jwtauth.Keyring) { keyringChanged(was, is, n) })
		case apiKeyKind:
			err = a.apiKeys.follow(r, func(was, is *APIKey) { a.apiKeyChangedLocked(was, is, n) })
		case revocationKind:
			err = a.revocations.follow(r, func(_, is *Revocation) { revocationChanged(is, n) })
		case banKind:
			err = a.bans.follow(r, func(was, is *Ban) { a.banChangedLocked(was, is, n) })
		}
		if err != nil {
			return err
		}
	}
	if !a.closed.Load() && a.mustCloseLocked() {
		a.closed.Store(true)
		n.end(auth.Match{}) // whoever is connected has proved nothing
	}
	return nil
}

// now is the time as records keep it.
func now() time.Time { return time.UnixMicro(time.Now().UnixMicro()).UTC() }
