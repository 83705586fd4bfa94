package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/history"
)

const (
	maxName  = 200 // bytes
	maxDepth = 64  // of the arrays and objects in a message
)

// A Principal is who acts. The service believes it; to make sure is the binding's part.
type Principal struct {
	UserID     string `json:"userId,omitempty"`
	OperatorID string `json:"operatorId,omitempty"`
	Name       string `json:"name,omitempty"`
}

func (p Principal) check() error {
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
	return nil
}

// complete returns p with what a message adds. It fails if the message says something else.
func (p Principal) complete(userID, operatorID string) (Principal, error) {
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
		if *f.ours != "" && *f.ours != f.added {
			return p, Refuse(IdentityMismatch, "%s is not the one that joined the room", f.field)
		}
		*f.ours = f.added
	}
	return p, p.check()
}

// orGuest returns p, or a guest made of the member's id if p says nothing. Without it two
// anonymous clients could not be told apart when one repeats a message.
func (p Principal) orGuest(id string) Principal {
	if p.UserID == "" && p.OperatorID == "" {
		p.UserID = "guest-" + id[:8]
	}
	return p
}

// CheckRoom refuses what cannot be the id of a room: besides what a store refuses, "." and
// "..", which paths of URLs cannot have, and U+FFFD, which stands for bytes or escapes that
// were no characters, so that several ids would become one.
func CheckRoom(room string) error {
	switch {
	case room == "":
		return Refuse(BadPayload, "roomId is missing")
	case history.CheckRoom(room) != nil || strings.ContainsRune(room, utf8.RuneError):
		return Refuse(BadRoom, "roomId must have at most %d bytes of UTF-8 without control characters and U+FFFD", history.MaxRoomID)
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
