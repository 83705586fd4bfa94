package admin

import (
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

// Kinds of keys.
const (
	APIKey     = "apiKey"     // a program's
	VisitorKey = "visitorKey" // signs the tokens of visitors
)

// Key is a key of a program, or one that signs the tokens of visitors. It has no secret.
type Key struct {
	Type  string `json:"type"`
	Name  string `json:"name"`            // of a VisitorKey: its kid
	Start string `json:"start,omitempty"` // the first characters of an APIKey
	Admin bool   `json:"admin,omitempty"`
	// Rooms has the rights by patterns. Nil: the key is for all rooms. Empty: for none.
	Rooms     map[string]string `json:"rooms,omitzero"`
	CreatedAt time.Time         `json:"createdAt"`
	ExpiresAt time.Time         `json:"expiresAt,omitzero"` // zero: never
	UsedAt    time.Time         `json:"usedAt,omitzero"`    // of an APIKey; zero: never
}

// NewKey is the body of POST /api/keys.
type NewKey struct {
	Name      string            `json:"name"`
	Admin     bool              `json:"admin,omitempty"`
	Rooms     map[string]string `json:"rooms,omitzero"`
	ExpiresAt time.Time         `json:"expiresAt,omitzero"`
}

// MadeKey is an answer with a key that nobody sees again.
type MadeKey struct {
	Key
	Secret string `json:"key"`
}

func (h *handler) handleKeys() {
	handle(h, "GET /api/keys", func(*http.Request, none) (List[Key], error) { return List[Key]{h.keys()}, nil })
	handle(h, "POST /api/keys", h.addKey)
	handle(h, "POST /api/keys/rotate", func(r *http.Request, _ none) (List[Key], error) {
		if err := h.Access.RotateKeys(r.Context()); err != nil {
			return List[Key]{}, err
		}
		return List[Key]{h.visitorKeys()}, nil
	})
	handle(h, "DELETE /api/keys/{key}", func(r *http.Request, _ none) (none, error) {
		name := r.PathValue("key")
		if slices.ContainsFunc(h.visitorKeys(), func(k Key) bool { return k.Name == name }) && !slices.ContainsFunc(h.Access.Keys(), func(k access.APIKey) bool { return k.Name == name }) {
			return none{}, h.Access.RemoveVisitorKey(r.Context(), name)
		}
		return none{}, h.Access.RemoveKey(r.Context(), name)
	})
}

func (h *handler) keys() []Key {
	keys := []Key{}
	for _, k := range h.Access.Keys() {
		keys = append(keys, ofProgram(k))
	}
	return append(keys, h.visitorKeys()...)
}

func ofProgram(k access.APIKey) Key {
	return Key{
		Type: APIKey, Name: k.Name, Start: k.Start, Admin: k.Admin, Rooms: rooms(k.Grants),
		CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, UsedAt: k.UsedAt,
	}
}

func (h *handler) visitorKeys() []Key {
	keys := []Key{}
	if ring := h.Access.Keyring(); ring != nil {
		for _, k := range ring.Keys {
			keys = append(keys, Key{
				Type: VisitorKey, Name: k.ID,
				CreatedAt: k.Made.UTC().Truncate(time.Millisecond), ExpiresAt: k.Until.UTC().Truncate(time.Millisecond),
			})
		}
	}
	return keys
}

func (h *handler) addKey(r *http.Request, in NewKey) (MadeKey, error) {
	grants, err := grants(in.Rooms)
	if err != nil {
		return MadeKey{}, err
	}
	secret, k, err := h.Access.AddKey(r.Context(), access.APIKey{Name: in.Name, Admin: in.Admin, Grants: grants, ExpiresAt: in.ExpiresAt})
	return MadeKey{ofProgram(k), string(secret)}, err
}

// grants converts rights by patterns; nil stays nil.
func grants(rooms map[string]string) (auth.Grants, error) {
	if rooms == nil {
		return nil, nil
	}
	all := auth.Grants{}
	for _, pattern := range slices.Sorted(maps.Keys(rooms)) {
		rights, err := auth.ParseRights(rooms[pattern])
		if err != nil || pattern == "" {
			return nil, refuse(conversation.BadPayload, "rights in rooms are a pattern and some of the letters rwpm")
		}
		all = append(all, auth.Grant{Pattern: pattern, Rights: rights})
	}
	return all, nil
}

// rooms is the reverse of grants.
func rooms(grants auth.Grants) map[string]string {
	if grants == nil {
		return nil
	}
	all := make(map[string]string, len(grants))
	for _, g := range grants {
		all[g.Pattern] = g.Rights.String()
	}
	return all
}
