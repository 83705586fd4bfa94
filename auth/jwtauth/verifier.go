package jwtauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/parley-go/parley/auth"
)

// Options configure a Verifier.
type Options struct {
	Keys []Key // secrets and public keys; the first secret signs, see Verifier.Sign
	Sets []Set // key sets of issuers
	// Visitors are keys of this server for visitors that it made up. Their tokens have the issuer
	// VisitorIssuer, any lifetime, and the role user. See Verifier.SetVisitors.
	Visitors *Keyring
	// Audience is what aud has to contain; "parley". Tokens that are signed with a secret may omit aud.
	Audience string
	// Type is the typ that tokens must have, such as "at+jwt". Any, if it is empty.
	Type string
	// MaxAge is how far exp may be away; 24 h. It does not apply to Visitors.
	MaxAge time.Duration
	// Logger logs that keys of a set could not be fetched; slog.Default() if nil.
	Logger *slog.Logger
}

// maxToken is the greatest length of a token, and leeway what the clocks of others may be off. Exp has
// no leeway: a connection has IdentityGrace.
const (
	maxToken = 8 << 10
	leeway   = time.Minute
)

// Verifier verifies tokens. It is an auth.Authorizer, and safe for concurrent use.
type Verifier struct {
	o      Options
	rings  map[string]*ring // by issuer; "" for all that have none of their own
	own    atomic.Pointer[ring]
	cancel context.CancelFunc
}

// ring is the keys of an issuer.
type ring struct {
	keys     []Key
	remote   *remote // may be nil
	visitors bool
}

// New returns a verifier. It fetches the sets, which takes at most 5 s. A set that cannot be fetched
// is tried again later. Call Close when you no longer need the verifier.
func New(o *Options) (*Verifier, error) { return newVerifier(o, fetcher()) }

func newVerifier(o *Options, client *http.Client) (*Verifier, error) {
	v := &Verifier{rings: map[string]*ring{}}
	if o != nil {
		v.o = *o
	}
	if v.o.Audience == "" {
		v.o.Audience = "parley"
	}
	if v.o.MaxAge == 0 {
		v.o.MaxAge = 24 * time.Hour
	}
	if v.o.MaxAge < 0 {
		return nil, errors.New("parley: jwtauth: MaxAge is negative")
	}
	if v.o.Logger == nil {
		v.o.Logger = slog.Default()
	}
	v.o.Keys = slices.Clone(v.o.Keys)
	for i := range v.o.Keys {
		k, err := v.o.Keys[i].check()
		if err != nil {
			return nil, err
		}
		if k.Issuer == VisitorIssuer {
			return nil, fmt.Errorf("parley: jwtauth: the issuer %q is this server", VisitorIssuer)
		}
		v.o.Keys[i] = k
		r := v.ring(k.Issuer)
		r.keys = append(r.keys, k)
	}
	if err := v.SetVisitors(v.o.Visitors); err != nil {
		return nil, err
	}
	return v, v.follow(client)
}

func (v *Verifier) ring(issuer string) *ring {
	if v.rings[issuer] == nil {
		v.rings[issuer] = &ring{}
	}
	return v.rings[issuer]
}

// follow begins to fetch the sets, all at once.
func (v *Verifier) follow(client *http.Client) error {
	for i := range v.o.Sets {
		if err := v.o.Sets[i].check(); err != nil {
			return err
		}
		if s := v.o.Sets[i]; s.Issuer == VisitorIssuer || v.ring(s.Issuer).remote != nil {
			return fmt.Errorf("parley: jwtauth: the issuer %q has keys already", s.Issuer)
		}
		v.ring(v.o.Sets[i].Issuer).remote = &remote{} // is replaced below
	}
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	errs := make([]error, len(v.o.Sets))
	var fetching sync.WaitGroup
	for i := range v.o.Sets {
		r := v.ring(v.o.Sets[i].Issuer)
		fetching.Go(func() { r.remote, errs[i] = v.o.Sets[i].follow(ctx, client, v.o.Logger) })
	}
	fetching.Wait()
	err := errors.Join(errs...)
	if err != nil {
		cancel()
	}
	return err
}

// Close ends the fetching of sets.
func (v *Verifier) Close() { v.cancel() }

// SetVisitors replaces Options.Visitors, for example after a rotation. Nil accepts no more visitors.
func (v *Verifier) SetVisitors(k *Keyring) error {
	if k == nil {
		v.own.Store(nil)
		return nil
	}
	r := &ring{visitors: true}
	for _, secret := range k.Keys {
		key, err := Key{ID: secret.ID, Secret: secret.Secret, Until: secret.Until}.check()
		if err != nil {
			return err
		}
		r.keys = append(r.keys, key)
	}
	v.own.Store(r)
	return nil
}

// Verify returns the identity that a token proves. The error is an *Error. Verify may fetch a key set,
// for at most 5 s.
func (v *Verifier) Verify(ctx context.Context, token string) (*auth.Identity, error) {
	id, err := v.verify(ctx, token, time.Now())
	if err != nil { // not a nil *Error in an error
		return nil, err
	}
	return id, nil
}

func (v *Verifier) verify(ctx context.Context, token string, now time.Time) (*auth.Identity, *Error) {
	if len(token) > maxToken {
		return nil, refuse(Size, "it is longer than 8 KiB")
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil, refuse(Parts, "it does not have three parts: it is no signed JWT")
	}
	var decoded [3][]byte
	for i, part := range parts {
		var ok bool
		if decoded[i], ok = segment(part); !ok {
			return nil, refuse(Parts, "part %d is not strict base64url", i+1)
		}
	}
	header, ok := parseObject(decoded[0])
	if !ok {
		return nil, refuse(JSON, "the header is not a JSON object, or has a member twice")
	}
	claims, ok := parseObject(decoded[1])
	if !ok {
		return nil, refuse(JSON, "the claims are not a JSON object, or have a member twice")
	}
	alg, ok := header.str("alg")
	if !ok || !slices.Contains(supported, alg) {
		return nil, refuse(Algorithm, "want one of %s", strings.Join(supported, ", "))
	}
	for _, name := range []string{"jwk", "jku", "x5u", "x5c", "crit"} {
		if header[name] != nil {
			return nil, refuse(Header, "the header has %q, which is not allowed", name)
		}
	}
	kid, ok := header.str("kid")
	if !ok {
		return nil, refuse(KeyID, "it is not a string")
	}
	iss, ok := claims.str("iss")
	if !ok {
		return nil, refuse(Issuer, "it is not a string")
	}
	r := v.ringOf(iss)
	if r == nil {
		return nil, refuse(Issuer, "this server has no keys of this issuer")
	}
	candidates, err := r.candidates(ctx, kid, alg, now)
	if err != nil {
		return nil, err
	}
	text := token[:len(parts[0])+1+len(parts[1])]
	method := jwt.GetSigningMethod(alg)
	i := slices.IndexFunc(candidates, func(k Key) bool { return method.Verify(text, decoded[2], k.material()) == nil })
	if i < 0 {
		return nil, refuse(Signature, "it is wrong for the key")
	}
	id := &auth.Identity{Issuer: iss, Visitor: r.visitors}
	if err := v.claims(id, claims, r, candidates[i].Secret == nil, now); err != nil {
		return nil, err
	}
	if typ, ok := header.str("typ"); !ok || v.o.Type != "" && !sameType(typ, v.o.Type) {
		return nil, refuse(Type, "want %q", v.o.Type)
	}
	return id, nil
}

var supported = []string{"HS256", "RS256", "PS256", "ES256", "EdDSA"}

// sameType compares types as RFC 7515, section 4.1.9 asks for: "application/" may be left out.
func sameType(a, b string) bool {
	return strings.EqualFold(strings.TrimPrefix(strings.ToLower(a), "application/"), strings.TrimPrefix(strings.ToLower(b), "application/"))
}

// ringOf returns the keys of an issuer. Of the unverified iss, it is all that is used.
func (v *Verifier) ringOf(iss string) *ring {
	if iss == VisitorIssuer {
		return v.own.Load()
	}
	if r := v.rings[iss]; r != nil {
		return r
	}
	return v.rings[""]
}

// candidates returns the keys that may have signed a token. Keys without an id are asked whatever the
// kid. A token without kid needs such a key, or an issuer that has only one.
func (r *ring) candidates(ctx context.Context, kid, alg string, now time.Time) ([]Key, *Error) {
	var named, suitable []Key
	known := r.keys
	if r.remote != nil {
		more, err := r.remote.find(ctx, kid)
		if err != nil && len(r.keys) == 0 {
			return nil, err
		}
		known = append(slices.Clip(known), more...)
	}
	for _, k := range known {
		if (k.ID == "" || k.ID == kid || kid == "" && len(known) == 1) && (k.Until.IsZero() || now.Before(k.Until)) {
			named = append(named, k)
		}
	}
	for _, k := range named {
		if slices.Contains(k.Algorithms, alg) {
			suitable = append(suitable, k)
		}
	}
	switch {
	case len(named) == 0 && kid == "":
		return nil, refuse(KeyID, "it is missing, and the issuer has several keys")
	case len(named) == 0 && r.remote != nil:
		return nil, refuse(KeyID, "the issuer has no such key; its keys are read again at most once in %v", unknownKeyPer)
	case len(named) == 0:
		return nil, refuse(KeyID, "there is no such key for this issuer")
	case len(suitable) == 0:
		return nil, refuse(Algorithm, "the key is not for %s", alg)
	}
	return suitable, nil
}

// Authorize implements auth.Authorizer: it verifies the token of a request; see Token.
func (v *Verifier) Authorize(ctx context.Context, r *auth.Request) (*auth.Identity, error) {
	token, err := Token(r)
	if err != nil {
		return nil, err
	}
	return v.Verify(ctx, token)
}

// Token returns the token of a request: the member "token" of the auth payload, or else that of the
// header "Authorization: Bearer …". A token in the query is refused, because addresses are written to
// logs and histories (RFC 9700, section 4.3.2). The error is an *Error.
func Token(r *auth.Request) (string, error) {
	for name, values := range r.Query {
		if slices.Contains(queryNames, strings.ToLower(name)) || slices.ContainsFunc(values, looksLikeToken) {
			return "", refuse(Missing, "a token in the query is not accepted, because addresses are logged; send it as auth: {token} of the Socket.IO client, or in the header Authorization: Bearer")
		}
	}
	var payload struct{ Token any }
	if r.Payload != nil && json.Unmarshal(r.Payload, &payload) != nil {
		return "", refuse(Missing, "auth is not an object")
	}
	switch token := payload.Token.(type) {
	case nil:
	case string:
		if token != "" {
			return token, nil
		}
	default:
		return "", refuse(Missing, "token is not a string")
	}
	if token := r.Bearer(); token != "" {
		return token, nil
	}
	return "", refuse(Missing, "there is none; send it as auth: {token} of the Socket.IO client, or in the header Authorization: Bearer")
}

// queryNames are parameters in which clients put tokens.
var queryNames = []string{"token", "access_token", "id_token", "auth_token", "jwt", "bearer", "authorization", "auth[token]"}

func looksLikeToken(s string) bool { return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2 }
