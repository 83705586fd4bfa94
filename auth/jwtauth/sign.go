package jwtauth

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/parley-go/parley/auth"
)

// VisitorIssuer is the issuer of the tokens that this server makes for visitors.
const VisitorIssuer = "parley"

// Keyring are the keys with which a server signs tokens for itself. Its JSON form is for storing it,
// and is a secret. A Keyring is immutable.
type Keyring struct {
	// Keys: the first one signs. All verify.
	Keys []RingKey `json:"keys"`
}

// RingKey is a key of a Keyring.
type RingKey struct {
	ID     string    `json:"kid"`
	Secret []byte    `json:"secret"`
	Made   time.Time `json:"made"`
	Until  time.Time `json:"until,omitzero"` // it verifies until then; zero for the key that signs
}

// Rotate returns a keyring that signs with a new random key. The others go on verifying for as long as
// keep, if they are not to go before, so keep should be as long as tokens live. It drops those that no
// longer verify. k may be nil.
func (k *Keyring) Rotate(keep time.Duration) *Keyring {
	now := time.Now()
	secret, id := make([]byte, minSecret), make([]byte, 9)
	rand.Read(secret) // never fails
	rand.Read(id)
	id[0] &= 0x7f // so it begins with a letter: on a command line, "-" would begin a flag
	next := &Keyring{Keys: []RingKey{{ID: base64.RawURLEncoding.EncodeToString(id), Secret: secret, Made: now}}}
	if k == nil {
		return next
	}
	for _, old := range k.Keys {
		if old.Until.IsZero() {
			old.Until = now.Add(keep)
		}
		if now.Before(old.Until) {
			next.Keys = append(next.Keys, old)
		}
	}
	return next
}

// Sign makes a token for a visitor. Its issuer is VisitorIssuer, whatever id says; see Verifier.Sign.
func (k *Keyring) Sign(id *auth.Identity) (string, error) {
	if k == nil || len(k.Keys) == 0 {
		return "", errors.New("parley: jwtauth: the keyring has no keys")
	}
	visitor := *id
	visitor.Issuer = VisitorIssuer
	return sign(&visitor, jwt.SigningMethodHS256, k.Keys[0].Secret, k.Keys[0].ID, "")
}

// Sign makes a token with the first secret of Options.Keys. Verify returns the same identity for it,
// with Expires to the second and IssuedAt to the microsecond. The identity must have a Subject and
// Expires.
func (v *Verifier) Sign(id *auth.Identity) (string, error) {
	i := slices.IndexFunc(v.o.Keys, func(k Key) bool { return k.Secret != nil })
	if i < 0 {
		return "", errors.New("parley: jwtauth: there is no secret to sign with")
	}
	key := v.o.Keys[i]
	signed := *id
	if key.Issuer != "" {
		signed.Issuer = key.Issuer
	}
	token, err := sign(&signed, jwt.SigningMethodHS256, key.Secret, key.ID, v.o.Audience)
	if err != nil {
		return "", err
	}
	if _, refusal := v.verify(context.Background(), token, time.Now()); refusal != nil {
		return "", fmt.Errorf("parley: jwtauth: sign: the token would be refused: %w", refusal)
	}
	return token, nil
}

func sign(id *auth.Identity, method jwt.SigningMethod, key any, kid, audience string) (string, error) {
	if id.Subject == "" || id.Expires.IsZero() {
		return "", errors.New("parley: jwtauth: sign: the identity needs a Subject and Expires")
	}
	ours := map[string]any{"role": cmp.Or(id.Role, auth.User)}
	if id.Grants != nil {
		rooms := map[string]string{}
		for _, g := range id.Grants {
			rooms[g.Pattern] = g.Rights.String()
		}
		ours["rooms"] = rooms
	}
	if id.Attributes != nil {
		ours["attributes"] = json.RawMessage(id.Attributes)
	}
	claims := jwt.MapClaims{"sub": id.Subject, "exp": id.Expires.Unix(), "parley": ours}
	for name, value := range map[string]string{
		"iss": id.Issuer, "aud": audience, "jti": id.TokenID, "name": id.Name, "email": id.Email,
	} {
		if value != "" {
			claims[name] = value
		}
	}
	if !id.IssuedAt.IsZero() {
		claims["iat"] = json.Number(strconv.FormatFloat(float64(id.IssuedAt.UnixMicro())/1e6, 'f', -1, 64))
	}
	token := jwt.NewWithClaims(method, claims)
	if kid != "" {
		token.Header["kid"] = kid
	}
	signed, err := token.SignedString(key)
	if err != nil {
		return "", fmt.Errorf("parley: jwtauth: sign: %w", err)
	}
	return signed, nil
}

// String returns no secret.
func (k RingKey) String() string { return "key " + k.ID }

// GoString returns no secret.
func (k RingKey) GoString() string { return k.String() }

// LogValue implements [slog.LogValuer]. It has no secret.
func (k RingKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// String returns no secret.
func (k Keyring) String() string { return fmt.Sprint(k.Keys) }

// GoString returns no secret.
func (k Keyring) GoString() string { return k.String() }

// LogValue implements [slog.LogValuer]. It has no secret.
func (k Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// String returns the kid and the algorithms, and no secret.
func (k Key) String() string { return fmt.Sprint("key ", k.ID, " ", k.Algorithms) }

// GoString returns no secret either.
func (k Key) GoString() string { return k.String() }
