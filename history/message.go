package history

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits that every store enforces. A [Log] can be given a smaller one for messages.
const (
	MaxRoomID   = 200     // bytes of a room id
	MaxMemberID = 200     // bytes of a user or operator id
	MaxClientID = 128     // bytes of a client id
	MaxMessage  = 1 << 20 // bytes of a message as compact JSON

	DefaultLimit = 50  // messages of a page when no limit is asked for
	MaxLimit     = 500 // messages of a page at most; more are cut to this
)

// A Message is one stored message. It is a value: whoever holds one must not change
// the bytes of Message, which are shared.
//
// In JSON the empty members are omitted, except id, roomId, seq, message and timestamp.
type Message struct {
	// ID names the message: unique in its store, never reused, made by the store.
	ID     string `json:"id"`
	RoomID string `json:"roomId"`
	// Seq is the number of the append among all changes of the room, from 1.
	Seq int64 `json:"seq"`
	// Rev is the number of the last change of the message; 0 if it was never changed.
	Rev int64 `json:"rev,omitempty"`
	// OperatorID, if set, wrote the message. Otherwise UserID did. In a conversation,
	// a room that belongs to a user, an operator's message carries that user's id too.
	UserID     string `json:"userId,omitempty"`
	OperatorID string `json:"operatorId,omitempty"`
	// Message is what was sent: any JSON, without insignificant white space. An escape of
	// half a surrogate pair, which is no character, became \ufffd.
	Message   json.RawMessage `json:"message"`
	Timestamp Time            `json:"timestamp"`
	// ClientID is the sender's own id of the message, by which it recognises it.
	ClientID string `json:"clientId,omitempty"`
}

// Number is the place of the message's last change in the room's order of changes.
func (m *Message) Number() int64 { return max(m.Seq, m.Rev) }

// AppendJSON appends m as json.Marshal encodes it, several times as fast.
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
	mendSurrogates(dst[len(dst)-len(m.Message):]) // of stores that older versions wrote
	dst = m.Timestamp.UTC().AppendFormat(append(dst, `,"timestamp":`...), timeLayout)
	if m.ClientID != "" {
		dst = appendString(append(dst, `,"clientId":`...), m.ClientID)
	}
	return append(dst, '}')
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

// A Time is a moment in milliseconds, UTC. Its JSON form is the one of JavaScript's
// Date.prototype.toJSON, "2006-01-02T15:04:05.000Z": always 24 bytes, so that strings
// sort as times do, and new Date(x) reads it.
type Time struct{ time.Time }

// TimeMilli returns the Time of a number of milliseconds since 1970.
func TimeMilli(ms int64) Time { return Time{time.UnixMilli(ms).UTC()} }

const timeLayout = `"2006-01-02T15:04:05.000Z"`

// MarshalJSON implements [json.Marshaler].
func (t Time) MarshalJSON() ([]byte, error) {
	return t.UTC().AppendFormat(make([]byte, 0, len(timeLayout)), timeLayout), nil
}

// UnmarshalJSON implements [json.Unmarshaler]. It reads any RFC 3339 time and cuts it
// to milliseconds.
func (t *Time) UnmarshalJSON(data []byte) error {
	var parsed time.Time
	if err := parsed.UnmarshalJSON(data); err != nil {
		return err
	}
	*t = TimeMilli(parsed.UnixMilli())
	return nil
}

// A Draft is a message to be appended. The store adds its number, id and time.
type Draft struct {
	RoomID     string
	UserID     string // one of UserID and OperatorID is required; see Message
	OperatorID string
	// ClientID makes the append repeatable: the same id from the same author in the
	// same room is stored once. Empty, each append is a new message.
	ClientID string
	// Message is any JSON. The store keeps a copy.
	Message json.RawMessage

	prepared bool
}

// Prepare checks the draft against the limits and returns it with a compacted copy of
// its message, in which \ufffd replaces each escape of half a surrogate pair. That is the
// form that is stored, and compared when a client id comes again.
// Two messages are the same if these bytes are; the order of members and the way
// characters are escaped count.
//
// Stores prepare every draft they are given; for one that is prepared already this
// costs nothing. Such a draft must not be changed.
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
	case !utf8.Valid(d.Message):
		return d, ErrBadDraft.because("message is not UTF-8")
	}
	var compact bytes.Buffer
	compact.Grow(len(d.Message))
	if err := json.Compact(&compact, d.Message); err != nil {
		return d, ErrBadDraft.because("message is not JSON")
	}
	if compact.Len() > MaxMessage {
		return d, ErrTooLarge.because(strconv.Itoa(compact.Len()) + " bytes")
	}
	d.Message = compact.Bytes()
	mendSurrogates(d.Message)
	d.prepared = true
	return d, nil
}

// CheckRoom reports with [ErrBadRoom] whether room can be the id of a room: 1 to
// [MaxRoomID] bytes of UTF-8 without control characters.
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
	// Dup says that the client id was stored before; Message is the original.
	Dup bool
	// Err says why this draft was not stored. Others of its batch are not affected.
	Err error
}

// A Page selects messages of a room. At most one of Before, After and Around is set;
// with none it is the newest page.
type Page struct {
	Before int64 // the last ones with a smaller seq
	After  int64 // the first ones with a larger seq; -1 from the very first
	Around int64 // half of them before this seq, the rest from it on
	Limit  int   // If zero, DefaultLimit; at most MaxLimit.
}

// Prepare checks the page and returns it with its Limit filled in. Stores call it.
func (p Page) Prepare() (Page, error) {
	set := 0
	for _, n := range [...]int64{p.Before, p.After, p.Around} {
		if n != 0 {
			set++
		}
	}
	if set > 1 || p.Before < 0 || p.After < -1 || p.Around < 0 {
		return p, ErrBadPage
	}
	p.Limit = ClampLimit(p.Limit)
	return p, nil
}

// ClampLimit turns the limit of a request into the one that is used.
func ClampLimit(limit int) int {
	if limit <= 0 {
		return DefaultLimit
	}
	return min(limit, MaxLimit)
}

// A Slice is a part of a room's history, with the state of the room at the same moment.
type Slice struct {
	// Messages ascend: by seq from History, by number of last change from Changes.
	// It is never nil.
	Messages []Message `json:"messages"`
	// Head is the room's newest number; 0 for a room that has no messages.
	Head int64 `json:"head"`
	// Floor is the largest number that was pruned: messages up to it may be gone.
	Floor int64 `json:"floor,omitempty"`
	// MoreBefore and MoreAfter say that there are messages on either side.
	MoreBefore bool `json:"moreBefore"`
	MoreAfter  bool `json:"moreAfter"`
	// UpTo, of Changes: every change with a number up to this one is in the slice or
	// superseded by a later change.
	UpTo int64 `json:"upTo,omitempty"`
}
