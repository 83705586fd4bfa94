package jwtauth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/parley-go/parley/auth"
)

// Limits on claims, in bytes.
const (
	maxID         = 200 // of sub, jti, name, and a pattern of a room
	maxEmail      = 320
	maxAttributes = 4 << 10
	maxRooms      = 200 // patterns
)

// early is why a token is refused whose time begins later.
const early = "it is %v in the future: compare the clocks"

// claims checks the claims of a token and stores them in id. The key is public or a secret.
func (v *Verifier) claims(id *auth.Identity, c object, r *ring, public bool, now time.Time) *Error {
	if !v.audience(c, public) {
		return refuse(Audience, "it does not contain %q", v.o.Audience)
	}
	var ok bool
	switch id.Expires, ok = c.time("exp"); {
	case !ok:
		return refuse(Expiry, "it is not a number of seconds")
	case id.Expires.IsZero():
		return refuse(Expiry, "it is missing")
	case !now.Before(id.Expires):
		return &Error{TokenExpired, Expiry, fmt.Sprintf("it was %v ago", now.Sub(id.Expires).Round(time.Second))}
	case !r.visitors && id.Expires.After(now.Add(v.o.MaxAge+leeway)):
		return refuse(Expiry, "it is more than %v away", v.o.MaxAge)
	}
	switch nbf, ok := c.time("nbf"); {
	case !ok:
		return refuse(NotBefore, "it is not a number of seconds")
	case nbf.After(now.Add(leeway)):
		return refuse(NotBefore, early, nbf.Sub(now).Round(time.Second))
	}
	switch id.IssuedAt, ok = c.time("iat"); {
	case !ok:
		return refuse(IssuedAt, "it is not a number of seconds")
	case id.IssuedAt.After(now.Add(leeway)):
		return refuse(IssuedAt, early, id.IssuedAt.Sub(now).Round(time.Second))
	}
	if id.Subject, ok = c.str("sub"); !ok || id.Subject == "" || !plain(id.Subject, maxID) {
		return refuse(Subject, "want a string of 1 to 200 bytes without control characters")
	}
	return fill(id, c, r)
}

// fill stores the claims in id that say more than who it is.
func fill(id *auth.Identity, c object, r *ring) *Error {
	for _, s := range []struct {
		name string
		into *string
		max  int
	}{{"name", &id.Name, maxID}, {"email", &id.Email, maxEmail}, {"jti", &id.TokenID, maxID}} {
		var ok bool
		if *s.into, ok = c.str(s.name); !ok || !plain(*s.into, s.max) {
			return refuse(Claims, "%s: want a string of at most %d bytes without control characters", s.name, s.max)
		}
	}
	ours := object{}
	if raw := c["parley"]; raw != nil {
		var ok bool
		if ours, ok = parseObject(raw); !ok {
			return refuse(Claims, "parley: want an object")
		}
	}
	for name := range ours { // a misspelt "rooms" must not give more than was meant
		if name != "role" && name != "rooms" && name != "attributes" {
			return refuse(Claims, "parley: want only role, rooms and attributes")
		}
	}
	role, ok := ours.str("role")
	if id.Role = auth.Role(role); ours["role"] == nil {
		id.Role = auth.User
	}
	switch {
	case !ok || !slices.Contains([]auth.Role{auth.User, auth.Operator, auth.Admin, auth.Service}, id.Role):
		return refuse(Claims, "parley.role: want user, operator, admin or service")
	case r.visitors && id.Role != auth.User:
		return refuse(Claims, "parley.role: a visitor is a user")
	}
	if raw := ours["rooms"]; raw != nil {
		if id.Grants, ok = grants(raw); !ok {
			return refuse(Claims, "parley.rooms: want an object of at most %d patterns, each an id, or a prefix and *, with some of the letters rwpm", maxRooms)
		}
	}
	if raw := ours["attributes"]; raw != nil {
		var compact bytes.Buffer
		if raw[0] != '{' || json.Compact(&compact, raw) != nil || compact.Len() > maxAttributes {
			return refuse(Claims, "parley.attributes: want an object of at most 4 KiB")
		}
		id.Attributes = bytes.Clone(compact.Bytes())
	}
	return nil
}

// grants reads the rights for rooms, sorted by their patterns.
func grants(raw []byte) (auth.Grants, bool) {
	rooms, ok := parseObject(raw)
	if !ok || len(rooms) > maxRooms {
		return nil, false
	}
	all := make(auth.Grants, 0, len(rooms))
	for _, pattern := range slices.Sorted(maps.Keys(rooms)) {
		letters, ok := rooms.str(pattern)
		rights, err := auth.ParseRights(letters)
		stars := strings.Count(pattern, "*")
		if !ok || err != nil || pattern == "" || !plain(pattern, maxID) || stars > 1 || stars == 1 && !strings.HasSuffix(pattern, "*") {
			return nil, false
		}
		all = append(all, auth.Grant{Pattern: pattern, Rights: rights})
	}
	return all, true
}

// audience reports whether aud, a string or a list, contains ours. It may be absent if it is not
// required.
func (v *Verifier) audience(c object, required bool) bool {
	raw := c["aud"]
	switch {
	case raw == nil:
		return !required
	case raw[0] == '"':
		one, ok := c.str("aud")
		return ok && one == v.o.Audience
	}
	var list []any
	if json.Unmarshal(raw, &list) != nil {
		return false
	}
	for _, a := range list {
		if _, ok := a.(string); !ok {
			return false
		}
	}
	return slices.Contains(list, any(v.o.Audience))
}

// time returns a claim that is a NumericDate (RFC 7519, section 2); the zero time if it is absent.
func (c object) time(name string) (t time.Time, ok bool) {
	raw := c[name]
	if raw == nil {
		return t, true
	}
	const year9999 = 253402300799
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || !(seconds >= 1 && seconds <= year9999) {
		return t, false
	}
	whole, fraction := math.Modf(seconds)
	// A fraction is exact to a microsecond in a number of this size.
	return time.Unix(int64(whole), int64(math.Round(fraction*1e6))*1e3), true
}

// plain reports whether s has at most n bytes and no control characters.
func plain(s string, n int) bool { return len(s) <= n && !strings.ContainsFunc(s, unicode.IsControl) }
