package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
)

const signingKind = "key"

const (
	// VisitorIssuer is the issuer of the tokens that the server itself signs.
	VisitorIssuer = "parley"
	// VisitorPrefix begins the ids of visitors.
	VisitorPrefix = "v_"
	// VisitorLife is how long a visitor's token lives. It is renewed after half of that.
	VisitorLife = 180 * 24 * time.Hour

	signingKeySize = 32 // bytes, as the hash of HS256 (RFC 7518, section 3.2)
)

// A SigningKey signs and verifies visitors' tokens with HS256.
type SigningKey struct {
	ID        string    `json:"-"` // the kid
	Secret    []byte    `json:"secret"`
	CreatedAt time.Time `json:"createdAt"`
	// Retired is when a newer key took its place, zero if none has. For VisitorLife after that it still
	// verifies.
	Retired time.Time `json:"retired,omitzero"`
}

func (k *SigningKey) over(now time.Time) bool {
	return !k.Retired.IsZero() && !now.Before(k.Retired.Add(VisitorLife))
}

// String returns no secret.
func (k SigningKey) String() string { return "key " + k.ID }

// GoString returns no secret.
func (k SigningKey) GoString() string { return k.String() }

// LogValue implements [slog.LogValuer].
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// SigningKeys returns the keys that verify visitors' tokens. The first one signs, unless it is retired.
func (a *Access) SigningKeys() []SigningKey {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.signingKeysLocked(now())
}

func (a *Access) signingKeysLocked(now time.Time) (keys []SigningKey) {
	for id, r := range a.signing {
		if k := *r.value; !k.over(now) {
			k.ID = id
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y SigningKey) int {
		return cmp.Or(x.Retired.Compare(y.Retired), y.CreatedAt.Compare(x.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
	return keys
}

// RotateKeys makes a new key that signs from now on.
func (a *Access) RotateKeys(ctx context.Context) (SigningKey, error) {
	var key SigningKey
	err := a.change(ctx, func(now time.Time) (records []history.Record, err error) {
		key, records = a.newSigningKeyLocked(now)
		return records, nil
	})
	return key, err
}

func (a *Access) newSigningKeyLocked(now time.Time) (key SigningKey, records []history.Record) {
	key = SigningKey{ID: strings.ToLower(rand.Text()[:10]), Secret: make([]byte, signingKeySize), CreatedAt: now}
	rand.Read(key.Secret)
	records = append(records, a.signing.put(signingKind, key.ID, &key))
	for id, r := range a.signing {
		if old := *r.value; old.Retired.IsZero() {
			old.Retired = now
			records = append(records, a.signing.put(signingKind, id, &old))
		}
	}
	return key, records
}

// signingKey returns the key that signs. It makes the first one.
func (a *Access) signingKey(ctx context.Context) (key SigningKey, err error) {
	if keys := a.SigningKeys(); len(keys) > 0 && keys[0].Retired.IsZero() {
		return keys[0], nil
	}
	err = a.change(ctx, func(now time.Time) (records []history.Record, err error) {
		if keys := a.signingKeysLocked(now); len(keys) > 0 && keys[0].Retired.IsZero() {
			key = keys[0] // another one was faster
			return nil, nil
		}
		key, records = a.newSigningKeyLocked(now)
		return records, nil
	})
	return key, err
}

// A Visitor is a user that the server has made up.
type Visitor struct {
	Token    Secret
	Identity *auth.Identity
}

// NewVisitor makes up a user for somebody with an address, and signs its token. Nothing is stored but
// the first key. The error has the code forbidden if visitors are not allowed, not_ready if nobody
// could answer them yet, rate_limited, or banned.
func (a *Access) NewVisitor(ctx context.Context, client string) (*Visitor, error) {
	switch {
	case !a.opts.Visitors:
		return nil, refuse(conversation.Forbidden, "this server has no visitors without an account")
	case !a.opts.TokenKeys && !a.hasOperators():
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
// and otherwise nil.
func (a *Access) RenewVisitor(ctx context.Context, who *auth.Identity) (*Visitor, error) {
	if !a.opts.Visitors || who == nil || !who.Visitor || time.Until(who.Expires) > VisitorLife/2 {
		return nil, nil
	}
	return a.signVisitor(ctx, who.Subject)
}

func (a *Access) signVisitor(ctx context.Context, userID string) (*Visitor, error) {
	key, err := a.signingKey(ctx)
	if err != nil {
		return nil, err
	}
	issued := now().Truncate(time.Second) // as tokens have it
	who := &auth.Identity{
		Subject: userID, Role: auth.User, Visitor: true,
		Issuer: VisitorIssuer, IssuedAt: issued, Expires: issued.Add(VisitorLife),
	}
	token, err := a.opts.Sign(key, who)
	if err != nil {
		return nil, err
	}
	return &Visitor{Secret(token), who}, nil
}

func (a *Access) hasOperators() bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, r := range a.operators {
		if !r.value.Disabled {
			return true
		}
	}
	return false
}
