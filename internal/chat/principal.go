package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history"
)

const (
	maxName  = 200 // bytes
	maxDepth = 64  // nesting of arrays and objects in a message
)

// A Principal says who acts. A client that has an identity is that, and otherwise what it says.
type Principal struct {
	UserID     string
	OperatorID string
	Name       string
}

// principalOf returns an identity as a principal. A service acts as an operator, unless it says as
// whom.
func principalOf(who *auth.Identity) (p Principal) {
	switch {
	case who == nil:
	case operates(who):
		p = Principal{OperatorID: who.Subject, Name: who.Name}
	default:
		p = Principal{UserID: who.Subject, Name: who.Name}
	}
	return p
}

// member returns an identity as the store knows it.
func member(who *auth.Identity) history.Member { return principalOf(who).reader() }

// reader returns the member whose marks are p's.
func (p Principal) reader() history.Member {
	if p.OperatorID != "" {
		return history.Member{OperatorID: p.OperatorID}
	}
	return history.Member{UserID: p.UserID}
}

// member returns p as a member of a room.
func (p Principal) member(id string) Member {
	return Member{ID: id, UserID: p.UserID, OperatorID: p.OperatorID, Name: p.Name}
}

// principal returns who the client is in a room that it joins, where it claims to be somebody. What
// its identity proves must agree with the claim. Its name comes from the identity; only visitors,
// about whom nobody knows more than they say, and those who prove nothing name themselves.
func (c *Client) principal(claimed Principal) (Principal, error) {
	who := c.who.Load()
	if err := claimed.check(c.peer.ID()); err != nil {
		return claimed, err
	}
	switch {
	case who == nil:
		return claimed.orGuest(c.peer.ID()), nil
	case who.Role == auth.Service && (claimed.UserID != "" || claimed.OperatorID != ""):
		return claimed, nil
	}
	p, err := principalOf(who).complete(c.peer.ID(), claimed.UserID, claimed.OperatorID, true)
	if p.Name == "" && (who.Visitor || !c.service.isClosed()) {
		p.Name = claimed.Name
	}
	return p, err
}

// actor returns the identity that decides what the client may do as who. In an open server, somebody
// without an identity is who it says.
func (c *Client) actor(who Principal) *auth.Identity {
	switch identity := c.who.Load(); {
	case identity != nil || c.service.isClosed():
		return identity
	case who.OperatorID != "":
		return &auth.Identity{Subject: who.OperatorID, Role: auth.Operator, Name: who.Name}
	}
	return &auth.Identity{Subject: who.UserID, Role: auth.User, Name: who.Name}
}

// check refuses what the client with the member id cannot be.
func (p Principal) check(id string) error {
	for _, f := range []struct {
		field, value string
		limit        int
	}{
		{"userId", p.UserID, history.MaxMemberID},
		{"operatorId", p.OperatorID, history.MaxMemberID},
		{"name", p.Name, maxName},
	} {
		if err := checkText(f.field, f.value, f.limit); err != nil {
			return err
		}
	}
	if claimsGuest(p.OperatorID) {
		return Refuse(IdentityMismatch, "an operatorId cannot be that of a guest")
	}
	// An operator may write in the conversation of a guest.
	if p.OperatorID == "" && p.UserID != guest(id) && claimsGuest(p.UserID) {
		return Refuse(IdentityMismatch, "this userId is that of another guest")
	}
	return nil
}

// complete returns p with the ids that a request of the client with the member id adds. It fails if
// they contradict p. If p is proved, only an operator may add one: that of the user to whom it writes.
func (p Principal) complete(id, userID, operatorID string, proved bool) (Principal, error) {
	for _, f := range []struct {
		field string
		ours  *string
		added string
	}{
		{"userId", &p.UserID, userID},
		{"operatorId", &p.OperatorID, operatorID},
	} {
		if f.added == "" {
			continue
		}
		mayAdd := !proved || f.field == "userId" && p.OperatorID != ""
		if *f.ours != f.added && (*f.ours != "" || !mayAdd) {
			return p, Refuse(IdentityMismatch, "%s is not the client's own", f.field)
		}
		*f.ours = f.added
	}
	return p, p.check(id)
}

// orGuest returns p, or if p is empty a guest named after the member's id. Otherwise two anonymous
// clients could not be told apart when one of them repeats a message.
func (p Principal) orGuest(id string) Principal {
	if p.UserID == "" && p.OperatorID == "" {
		p.UserID = guest(id)
	}
	return p
}

// guestPrefix begins the ids that only the service gives. So a guest's id and client ids are safe
// from others, although guests prove nothing.
const guestPrefix = "guest-"

// guest returns the user id of a guest with a member id.
func guest(id string) string { return guestPrefix + id[:8] }

// claimsGuest reports whether people could take an id for that of a guest: case, width, kinds of
// dashes and characters that are not seen make no difference. Letters of other scripts that look
// alike do, as in names, which prove nothing either.
func claimsGuest(id string) bool {
	rest := guestPrefix
	for _, r := range id {
		switch {
		case unicode.In(r, unicode.Cf, unicode.M, unicode.Z, unicode.Other_Default_Ignorable_Code_Point):
			continue
		case unicode.In(r, unicode.Pd):
			r = '-'
		case '\uff01' <= r && r <= '\uff5e': // wide forms of ASCII
			r -= '\uff01' - '!'
		}
		if unicode.ToLower(r) != rune(rest[0]) {
			return false
		}
		if rest = rest[1:]; rest == "" {
			return true
		}
	}
	return false
}

// CheckRoom refuses what cannot be a room id. In addition to what a store refuses, these are "."
// and "..", which URL paths cannot contain, and U+FFFD, which replaces invalid bytes or escapes, so
// that different ids would become the same one.
func CheckRoom(room string) error {
	switch {
	case room == "":
		return Refuse(BadPayload, "roomId is missing")
	case history.CheckRoom(room) != nil || strings.ContainsRune(room, utf8.RuneError):
		return Refuse(BadRoom, "roomId must have at most %d bytes of UTF-8 without control characters and U+FFFD", history.MaxRoomID)
	case strings.HasPrefix(room, reserved):
		return Refuse(BadRoom, "roomId cannot begin with %q", reserved)
	case room == "." || room == "..":
		return Refuse(BadRoom, "roomId cannot be %q, which no path of a URL can have", room)
	}
	return nil
}

func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return Refuse(BadPayload, "%s must have at most %d bytes", field, limit)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return Refuse(BadPayload, "%s must not have control characters", field)
		}
	}
	return nil
}
