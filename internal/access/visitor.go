package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
)

// The keys of visitors' tokens are one record.
const (
	keyKind  = "key"
	visitors = "visitors"
)

const (
	// VisitorPrefix begins the ids of visitors.
	VisitorPrefix = "v_"
	// VisitorLife is how long a visitor's token lives. It is renewed after half of that.
	VisitorLife = 180 * 24 * time.Hour
)

// Keyring returns the keys of visitors' tokens; nil if there are none yet. Do not show it to anybody.
func (a *Access) Keyring() *jwtauth.Keyring {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.keyrings.get(visitors)
}

// RotateKeys makes a new key, which signs from now on. The old one goes on verifying for VisitorLife.
func (a *Access) RotateKeys(ctx context.Context) error {
	return a.change(ctx, func(time.Time) ([]history.Record, error) {
		next := a.keyrings.get(visitors).Rotate(VisitorLife)
		return []history.Record{a.keyrings.put(keyKind, visitors, next)}, nil
	})
}

// RemoveVisitorKey removes a key that no longer signs, and disconnects visitors: their tokens may be
// signed with it. If there is none with this id, the error has the code not_found; if it signs, conflict.
func (a *Access) RemoveVisitorKey(ctx context.Context, kid string) error {
	return a.change(ctx, func(time.Time) ([]history.Record, error) {
		ring := a.keyrings.get(visitors)
		if ring == nil {
			return nil, refuse(conversation.NotFound, "there is no key %q", kid)
		}
		i := slices.IndexFunc(ring.Keys, func(k jwtauth.RingKey) bool { return k.ID == kid })
		switch i {
		case -1:
			return nil, refuse(conversation.NotFound, "there is no key %q", kid)
		case 0:
			return nil, refuse(conversation.Conflicted, "the key %q signs: rotate the keys first", kid)
		}
		next := &jwtauth.Keyring{Keys: slices.Delete(slices.Clone(ring.Keys), i, i+1)}
		return []history.Record{a.keyrings.put(keyKind, visitors, next)}, nil
	})
}

// keyringChanged ends what was signed with a key that was removed before its time.
func keyringChanged(was, is *jwtauth.Keyring, n *news) {
	n.keys = cmp.Or(is, n.keys)
	if was == nil || is == nil {
		return
	}
	for _, k := range was.Keys {
		if (k.Until.IsZero() || time.Now().Before(k.Until)) && !slices.ContainsFunc(is.Keys, func(other jwtauth.RingKey) bool { return other.ID == k.ID }) {
			n.end(auth.Match{Issuer: jwtauth.VisitorIssuer})
			return
		}
	}
}

// keyring is Keyring, and makes the first key.
func (a *Access) keyring(ctx context.Context) (*jwtauth.Keyring, error) {
	if k := a.Keyring(); k != nil {
		return k, nil
	}
	err := a.change(ctx, func(time.Time) ([]history.Record, error) {
		if a.keyrings.get(visitors) != nil {
			return nil, nil // another one was faster
		}
		return []history.Record{a.keyrings.put(keyKind, visitors, (*jwtauth.Keyring)(nil).Rotate(VisitorLife))}, nil
	})
	return a.Keyring(), err
}

// A Visitor is a user that the server has made up.
type Visitor struct {
	Token    Secret
	Identity *auth.Identity
}

// NewVisitor makes up a user for somebody with an address, and signs its token. Nothing is stored but
// the first key. The error has the code forbidden if visitors are not allowed, not_ready if nobody
// could answer them yet (see Answers), rate_limited, or banned.
func (a *Access) NewVisitor(ctx context.Context, client string) (*Visitor, error) {
	switch {
	case !a.opts.Visitors:
		return nil, refuse(conversation.Forbidden, "this server has no visitors without an account")
	case !a.Answers():
		return nil, refuse(conversation.NotReady, "nobody could answer yet: the server has no operators")
	}
	if err := a.Check(nil, client); err != nil {
		return nil, err
	}
	if payer := address.Limited(client, a.opts.Exempt); payer != "" {
		if wait := a.visitors.Allow(payer, a.opts.Budgets[budget.Visitors], 1); wait > 0 {
			return nil, tooOften("too many new visitors from this address", wait)
		}
	}
	return a.signVisitor(ctx, VisitorPrefix+strings.ToLower(rand.Text()))
}

// RenewVisitor returns a new token for a visitor of whose token more than half of the time has passed,
// and otherwise nil. The error is that of Check if the visitor has lost its access.
func (a *Access) RenewVisitor(ctx context.Context, who *auth.Identity) (*Visitor, error) {
	if !a.opts.Visitors || who == nil || !who.Visitor || time.Until(who.Expires) > VisitorLife/2 {
		return nil, nil
	}
	v, err := a.signVisitor(ctx, who.Subject)
	if err == nil {
		err = a.Check(who, "") // a revocation before this moment refuses the old token, and a later one the new token
	}
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (a *Access) signVisitor(ctx context.Context, userID string) (*Visitor, error) {
	keys, err := a.keyring(ctx)
	if err != nil {
		return nil, err
	}
	who := &auth.Identity{
		Subject: userID, Role: auth.User, Visitor: true,
		Issuer: jwtauth.VisitorIssuer, IssuedAt: IssueTime(), Expires: now().Truncate(time.Second).Add(VisitorLife), // as tokens have it
	}
	token, err := keys.Sign(who)
	if err != nil {
		return nil, err
	}
	return &Visitor{Secret(token), who}, nil
}
