package history

import (
	"encoding/json"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/jsonscan"
)

// Limits that every store enforces. You can give a [Log] a smaller limit for messages.
const (
	MaxRoomID   = 200     // bytes of a room id
	MaxMemberID = 200     // bytes of a user or operator id
	MaxClientID = 128     // bytes of a client id
	MaxMessage  = 1 << 20 // bytes of a message as compact JSON

	DefaultLimit = 50      // messages per page if no limit is given
	MaxLimit     = 500     // maximum number of messages per page; larger limits are reduced to this
	DefaultBytes = 1 << 19 // bytes of the messages of a page if no limit is given
)

// A Message is one stored message. It is a value whose Message bytes are shared, so you must not
// change them.
//
// In JSON, empty members are omitted, except id, roomId, seq, message and timestamp.
type Message struct {
	// ID identifies the message. The store makes it; it is unique in the store and never reused.
	ID     string `json:"id"`
	RoomID string `json:"roomId"`
	// Seq is the number of the append among all changes of the room, from 1.
	Seq int64 `json:"seq" doc:"its number in the room, by which messages are ordered"`
	// Rev is the number of the last change of the message; 0 if it was never changed.
	Rev int64 `json:"rev,omitempty" doc:"the number of its last change; absent if there was none"`
	// OperatorID, if set, is the author of the message. Otherwise UserID is. In a conversation (a
	// room that belongs to a user), an operator's message also carries that user's id.
	UserID     string `json:"userId,omitempty" doc:"the author, unless operatorId is present; otherwise the user whose conversation it is"`
	OperatorID string `json:"operatorId,omitempty" doc:"the author, if it is an operator"`
	// Message is the content: any JSON, without insignificant white space. An escape of half a
	// surrogate pair, which is not a character, has been replaced by \ufffd.
	Message   json.RawMessage `json:"message" ts:"any" doc:"any JSON; null if the message was deleted"`
	Timestamp Time            `json:"timestamp"`
	// ClientID is the sender's own id of the message, by which the sender recognizes it.
	ClientID string `json:"clientId,omitempty" doc:"the sender's own id of the message"`
	// EditedAt is the time of the last change; zero if there was none.
	EditedAt Time `json:"editedAt,omitzero" doc:"the time of the last change"`
	// Deleted says that the message is a tombstone: Message is null, and will stay so.
	Deleted bool `json:"deleted,omitempty" doc:"the message is a tombstone"`
}

// Author returns who wrote m.
func (m *Message) Author() Member { return author(m.UserID, m.OperatorID) }

// Number is the number of the message's last change in the room's order of changes.
func (m *Message) Number() int64 { return max(m.Seq, m.Rev) }

// isHint reports whether m is not a message, but says that there is one; see [Bus].
func (m *Message) isHint() bool { return m.ID == "" }

// AppendJSON appends m as json.Marshal encodes it, but several times as fast.
func (m *Message) AppendJSON(dst []byte) []byte {
	dst = appendString(append(dst, `{"id":`...), m.ID)
	dst = appendString(append(dst, `,"roomId":`...), m.RoomID)
	dst = strconv.AppendInt(append(dst, `,"seq":`...), m.Seq, 10)
	if m.Rev != 0 {
		dst = strconv.AppendInt(append(dst, `,"rev":`...), m.Rev, 10)
	}
	if m.UserID != "" {
		dst = appendString(append(dst, `,"userId":`...), m.UserID)
	}
	if m.OperatorID != "" {
		dst = appendString(append(dst, `,"operatorId":`...), m.OperatorID)
	}
	dst = append(dst, `,"message":`...)
	if m.Message == nil {
		dst = append(dst, "null"...)
	}
	dst = append(dst, m.Message...)
	mendSurrogates(dst[len(dst)-len(m.Message):]) // for stores written by older versions
	dst = m.Timestamp.UTC().AppendFormat(append(dst, `,"timestamp":`...), timeLayout)
	if m.ClientID != "" {
		dst = appendString(append(dst, `,"clientId":`...), m.ClientID)
	}
	if !m.EditedAt.IsZero() {
		dst = m.EditedAt.UTC().AppendFormat(append(dst, `,"editedAt":`...), timeLayout)
	}
	if m.Deleted {
		dst = append(dst, `,"deleted":true`...)
	}
	return append(dst, '}')
}

// Size returns the approximate number of bytes that m takes as JSON. It is cheap.
func (m *Message) Size() int {
	const others = 200 // bytes of names, numbers and quotes
	return others + len(m.Message) + len(m.RoomID) + len(m.UserID) + len(m.OperatorID) + len(m.ClientID)
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // cannot fail
			return append(dst, quoted...)
		}
	}
	dst = append(append(dst, '"'), s...)
	return append(dst, '"')
}

// A Time is a UTC time in milliseconds. In JSON it looks like the result of JavaScript's
// Date.prototype.toJSON, "2006-01-02T15:04:05.000Z". It always has 24 characters, so strings sort
// in the order of time, and new Date(x) reads it.
type Time struct{ time.Time }

// TimeMilli returns the Time for a number of milliseconds since 1970.
func TimeMilli(ms int64) Time { return Time{time.UnixMilli(ms).UTC()} }

const timeLayout = `"2006-01-02T15:04:05.000Z"`

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(make([]byte, 0, len(timeLayout)), timeLayout), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. It reads any RFC 3339 time and truncates it to
// milliseconds.
func (t *Time) UnmarshalJSON(data []byte) error {
	var parsed time.Time
	if err := parsed.UnmarshalJSON(data); err != nil {
		return err
	}
	*t = TimeMilli(parsed.UnixMilli())
	return nil
}

// A Draft is a message to append. The store adds its number, id and time.
type Draft struct {
	RoomID     string
	UserID     string // one of UserID and OperatorID is required; see Message
	OperatorID string
	// ClientID makes it safe to repeat the append: the same id from the same author in the same
	// room is stored once. If empty, each append is a new message.
	ClientID string
	// Message is any JSON. The store keeps a copy.
	Message json.RawMessage

	// Conversation, if not nil, makes the room a conversation if it does not exist yet; see
	// [CheckConversation]. Stores that are not Rooms ignore this and the next field.
	Conversation *Conversation
	// KeepOperator is asked if the message reopens a closed conversation that has an operator. If it
	// returns false, the conversation loses its operator. Nil keeps it. It must not block.
	KeepOperator func(operatorID string) bool

	prepared bool
}

// Author returns who the author of the message will be.
func (d *Draft) Author() Member { return author(d.UserID, d.OperatorID) }

func author(userID, operatorID string) Member {
	if operatorID != "" {
		return Member{OperatorID: operatorID}
	}
	return Member{UserID: userID}
}

// Prepare checks the draft against the limits. It returns the draft with a compacted copy of its
// message, in which \ufffd replaces each escape of half a surrogate pair. This form is stored, and
// compared when a client id is repeated. Two messages are equal if these bytes are equal; the order
// of members and the way of escaping characters matter.
//
// Stores prepare every draft that they receive. For a prepared draft this costs nothing. You must
// not change a prepared draft.
func (d Draft) Prepare() (Draft, error) {
	if d.prepared {
		return d, nil
	}
	if err := CheckRoom(d.RoomID); err != nil {
		return d, err
	}
	switch {
	case d.UserID == "" && d.OperatorID == "":
		return d, ErrBadDraft.because("neither userId nor operatorId")
	case !validID(d.UserID, MaxMemberID):
		return d, ErrBadDraft.because("userId")
	case !validID(d.OperatorID, MaxMemberID):
		return d, ErrBadDraft.because("operatorId")
	case !validID(d.ClientID, MaxClientID):
		return d, ErrBadDraft.because("clientId")
	}
	if d.Conversation != nil {
		if err := CheckConversation(d.RoomID); err != nil {
			return d, err
		}
		c, err := d.Conversation.Prepare()
		if err != nil {
			return d, err
		}
		d.Conversation = &c
	}
	var err error
	if d.Message, err = prepareContent(d.Message); err != nil {
		return d, err
	}
	d.prepared = true
	return d, nil
}

// prepareContent returns the form in which the content of a message is stored; see [Draft.Prepare].
func prepareContent(content json.RawMessage) (json.RawMessage, error) {
	const depth = 10_000 // what encoding/json can read
	switch {
	case jsonscan.Check(content, depth) == nil:
	case !utf8.Valid(content):
		return nil, ErrBadDraft.because("message is not UTF-8")
	default:
		return nil, ErrBadDraft.because("message is not JSON")
	}
	content = jsonscan.AppendCompact(make([]byte, 0, len(content)), content)
	if len(content) > MaxMessage {
		return nil, ErrTooLarge.because(strconv.Itoa(len(content)) + " bytes")
	}
	mendSurrogates(content)
	return content, nil
}

// CheckRoom returns [ErrBadRoom] unless room is a valid room id: 1 to [MaxRoomID] bytes of UTF-8
// without control characters.
func CheckRoom(room string) error {
	if room == "" || !validID(room, MaxRoomID) {
		return ErrBadRoom
	}
	return nil
}

func validID(id string, limit int) bool {
	if len(id) > limit || !utf8.ValidString(id) {
		return false
	}
	for _, r := range id {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// Appended is the outcome of one draft.
type Appended struct {
	Message Message
	// Dup says that the client id had been stored before; Message is the original.
	Dup bool
	// Err says why this draft was not stored. It does not affect others of the same batch.
	Err error
}
