package app

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"unicode"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
)

// What clients send. Members that are not listed are ignored.

type joinRequest struct {
	RoomID     string `json:"roomId"`
	UserID     string `json:"userId"`
	OperatorID string `json:"operatorId"`
	Name       string `json:"name"`
	After      *int64 `json:"after"`
	Epoch      string `json:"epoch"`
	Limit      int    `json:"limit"`
}

type sendRequest struct {
	RoomID     string          `json:"roomId"`
	UserID     string          `json:"userId"`
	OperatorID string          `json:"operatorId"`
	ClientID   string          `json:"clientId"`
	Message    json.RawMessage `json:"message"`
}

type historyRequest struct {
	RoomID string `json:"roomId"`
	Before *int64 `json:"before"`
	After  *int64 `json:"after"`
	Limit  int    `json:"limit"`
}

type typingRequest struct {
	RoomID string `json:"roomId"`
	Typing *bool  `json:"typing"`
}

type roomRequest struct {
	RoomID string `json:"roomId"`
}

// What the server sends, besides history.Message.

// page is a part of a room's history.
type page struct {
	RoomID   string            `json:"roomId"`
	Messages []history.Message `json:"messages"`
	HasMore  bool              `json:"hasMore"`
	LastSeq  int64             `json:"lastSeq"`
	Epoch    string            `json:"epoch"`
}

type joinAnswer struct {
	page
	Reset   bool     `json:"reset,omitempty"`
	Member  member   `json:"member"` // the client itself
	Members []member `json:"members"`
	Count   int      `json:"count"`
}

type presenceNotice struct {
	RoomID string       `json:"roomId"`
	Type   presenceType `json:"type"`
	Member *member      `json:"member,omitempty"`
	Count  int          `json:"count"`
}

type typingNotice struct {
	RoomID string `json:"roomId"`
	identity
	Typing bool `json:"typing"`
}

type errorNotice struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Event   string `json:"event"`
}

// identity is who somebody says they are.
type identity struct {
	UserID     string `json:"userId,omitempty"`
	OperatorID string `json:"operatorId,omitempty"`
	Name       string `json:"name,omitempty"`
}

// member is a socket in a room.
type member struct {
	ID string `json:"id"` // what the others know the socket by
	identity
	socket string // its id
}

// newMember returns what others may know of a socket. Its id, that is, unless it is the
// secret of its connection, as with clients of Socket.IO 2: then it is made of that.
func newMember(s *parley.Socket, who identity) member {
	m := member{ID: s.ID(), socket: s.ID()}
	if m.ID == s.SessionID() {
		sum := sha256.Sum256([]byte(m.ID))
		m.ID = base64.RawURLEncoding.EncodeToString(sum[:])[:len(m.ID)]
	}
	m.identity = who.orGuest(m.ID)
	return m
}

const (
	maxName  = 200 // bytes
	maxDepth = 64  // of the arrays and objects in a message
)

// encode encodes a message that is stored.
func encode(m *history.Message) json.RawMessage {
	const envelope = 250 // bytes of the other members, about
	return m.AppendJSON(make([]byte, 0, envelope+len(m.Message)))
}

// decode decodes an event's first argument and says what is wrong with it.
func decode(p *parley.Packet, into any) error {
	err := p.Decode(into)
	var mistyped *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mistyped) && mistyped.Field != "":
		return refuse(codeBadPayload, "%s cannot be a JSON %s", mistyped.Field, mistyped.Value)
	}
	return refuse(codeBadPayload, "the argument must be an object")
}

func checkRoom(room string) error {
	if room == "" {
		return refuse(codeBadPayload, "roomId is missing")
	}
	if history.CheckRoom(room) != nil {
		return refuse(codeBadRoom, "roomId must have at most %d bytes and no control characters", history.MaxRoomID)
	}
	return nil
}

func (i identity) check() error {
	for _, f := range []struct {
		field, value string
		limit        int
	}{
		{"userId", i.UserID, history.MaxMemberID},
		{"operatorId", i.OperatorID, history.MaxMemberID},
		{"name", i.Name, maxName},
	} {
		if err := checkText(f.field, f.value, f.limit); err != nil {
			return err
		}
	}
	return nil
}

func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return refuse(codeBadPayload, "%s must have at most %d bytes", field, limit)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return refuse(codeBadPayload, "%s must not have control characters", field)
		}
	}
	return nil
}

// depth returns how deeply arrays and objects nest in valid JSON.
func depth(data json.RawMessage) int {
	deepest, now := 0, 0
	inString := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			inString = !inString
		case inString:
			if c == '\\' {
				i++
			}
		case c == '[', c == '{':
			now++
			deepest = max(deepest, now)
		case c == ']', c == '}':
			now--
		}
	}
	return deepest
}

// complete returns i with what other adds. It fails if other says something else.
func (i identity) complete(other identity) (identity, error) {
	for _, f := range []struct {
		field string
		ours  *string
		other string
	}{
		{"userId", &i.UserID, other.UserID},
		{"operatorId", &i.OperatorID, other.OperatorID},
	} {
		if f.other == "" {
			continue
		}
		if *f.ours != "" && *f.ours != f.other {
			return i, refuse(codeIdentityMismatch, "%s is not the one that joined the room", f.field)
		}
		*f.ours = f.other
	}
	return i, i.check()
}

// orGuest returns i, or a guest's identity made of the member's id if i says nothing.
// Without it two anonymous clients could not be told apart when one repeats a message.
func (i identity) orGuest(id string) identity {
	if i.UserID == "" && i.OperatorID == "" {
		i.UserID = "guest-" + id[:8]
	}
	return i
}
