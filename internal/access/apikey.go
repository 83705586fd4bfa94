package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

const apiKeyKind = "apikey"

// KeyIssuer is the issuer of identities that an API key proves. Their TokenID is the key's id.
const KeyIssuer = "apikey"

const (
	// APIKeyPrefix begins every API key, so that it can be told from a token.
	APIKeyPrefix = "pk_"

	shownOfKey   = 7  // characters by which a person recognizes a key
	apiKeySize   = 20 // random bytes: 32 characters
	maxAPIKeys   = 1000
	maxGrants    = 100
	noteUseEvery = time.Hour // how exactly the store knows when a key was used
)

// An APIKey is a program's. Its name is the subject of its identity.
type APIKey struct {
	Name  string `json:"name"`
	ID    string `json:"sha256"` // of the key; another key with the same name has another one
	Start string `json:"start"`  // the first characters
	// Admin makes the identity an admin's; otherwise it is a service's.
	Admin bool `json:"admin,omitempty"`
	// Grants limits the rooms; nil does not, and empty is none.
	Grants    auth.Grants `json:"grants,omitzero"`
	ExpiresAt time.Time   `json:"expiresAt,omitzero"` // zero: never
	CreatedAt time.Time   `json:"createdAt"`
	UsedAt    time.Time   `json:"usedAt,omitzero"` // zero: never; exact to an hour
}

func (k *APIKey) over(now time.Time) bool { return !k.ExpiresAt.IsZero() && !now.Before(k.ExpiresAt) }

func (a *Access) apiKeyChangedLocked(was, is *APIKey, n *news) {
	if was != nil && (is == nil || is.ID != was.ID) {
		delete(a.keyNames, was.ID)
		a.seen.forget(was.ID)
		n.end(auth.Match{Issuer: KeyIssuer, TokenID: was.ID})
	}
	if is != nil {
		a.keyNames[is.ID] = is.Name
	}
}

// AddKey makes a key. Nobody sees it again. If the name is in use, the error has the code conflict.
func (a *Access) AddKey(ctx context.Context, k APIKey) (Secret, APIKey, error) {
	if k.Name == "" || !validText(k.Name, history.MaxMemberID) {
		return "", k, refuse(conversation.BadPayload, "a key needs a name of at most %d bytes without control characters", history.MaxMemberID)
	}
	if text, _ := json.Marshal(k.Grants); len(k.Grants) > maxGrants || len(text) > history.MaxRecord/2 {
		return "", k, refuse(conversation.BadPayload, "a key can have at most %d grants", maxGrants)
	}
	random := make([]byte, apiKeySize)
	rand.Read(random)
	key := Secret(APIKeyPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random)))
	k.ID, k.Start, k.UsedAt = key.digest(), string(key[:shownOfKey]), time.Time{}
	err := a.change(ctx, func(now time.Time) ([]history.Record, error) {
		if k.over(now) {
			return nil, refuse(conversation.BadPayload, "the key would have expired already")
		}
		if len(a.apiKeys) >= maxAPIKeys {
			return nil, refuse(conversation.BadPayload, "there can be at most %d keys", maxAPIKeys)
		}
		if a.apiKeys.get(k.Name) != nil {
			return nil, refuse(conversation.Conflicted, "there is a key %q already", k.Name)
		}
		k.CreatedAt = now
		return []history.Record{a.apiKeys.put(apiKeyKind, k.Name, &k)}, nil
	})
	if err != nil {
		return "", k, err
	}
	return key, k, nil
}

// Key returns the identity of whoever has an API key, and notes that it is used. If there is no such
// key, for other nodes neither, the error has the code bad_token.
func (a *Access) Key(ctx context.Context, key Secret) (*auth.Identity, error) {
	who, err := a.key(key)
	if err != nil && a.CatchUp(ctx) {
		who, err = a.key(key)
	}
	return who, err
}

func (a *Access) key(key Secret) (*auth.Identity, error) {
	id, now := key.digest(), now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	k := a.keyLocked(id)
	if k == nil {
		return nil, refuse(conversation.BadToken, "there is no such key")
	}
	who := &auth.Identity{
		Subject: k.Name, Role: auth.Service, Name: k.Name, Grants: k.Grants,
		Issuer: KeyIssuer, TokenID: id, IssuedAt: k.CreatedAt, Expires: k.ExpiresAt,
	}
	if k.Admin {
		who.Role = auth.Admin
	}
	if k.over(now) {
		return nil, refuse(conversation.TokenExpired, "the key has expired")
	}
	a.seen.note(id, now)
	return who, nil
}

// keyLocked returns the key with a digest, or nil.
func (a *Access) keyLocked(id string) *APIKey {
	if name, ok := a.keyNames[id]; ok {
		return a.apiKeys.get(name)
	}
	return nil
}

// Keys returns all API keys in the order of their names, those that have expired too.
func (a *Access) Keys() []APIKey {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]APIKey, 0, len(a.apiKeys))
	for _, r := range a.apiKeys {
		k := *r.value
		k.UsedAt = a.seen.last(k.ID, k.UsedAt)
		all = append(all, k)
	}
	slices.SortFunc(all, func(x, y APIKey) int { return cmp.Compare(x.Name, y.Name) })
	return all
}

// RemoveKey removes the API key with a name. If there is none, the error has the code not_found.
func (a *Access) RemoveKey(ctx context.Context, name string) error {
	return a.change(ctx, func(time.Time) ([]history.Record, error) {
		if a.apiKeys.get(name) == nil {
			return nil, refuse(conversation.NotFound, "there is no key %q", name)
		}
		return []history.Record{a.apiKeys.put(apiKeyKind, name, nil)}, nil
	})
}
