// Package cell is how both databases keep in the cells of their tables what no column has a type for.
package cell

import (
	"strconv"

	"github.com/parley-go/parley/history"
)

// Member returns a member as it is in the index messages_client and in the table cursors.
func Member(m history.Member) string {
	if m.OperatorID != "" {
		return "o" + m.OperatorID
	}
	return "u" + m.UserID
}

// MemberOf returns the member of a cell.
func MemberOf(text string) history.Member {
	if text[0] == 'o' {
		return history.Member{OperatorID: text[1:]}
	}
	return history.Member{UserID: text[1:]}
}

// Asker returns the member for whom a query reads; nobody is empty.
func Asker(by history.Member) string {
	if by == (history.Member{}) {
		return ""
	}
	return Member(by)
}

// MessageID makes one number of the key of a message, by which it can be looked up.
func MessageID(room, seq int64) string { return strconv.FormatInt(room<<32|seq, 10) }

// Time returns the time of a number of milliseconds, of which 0 is no time.
func Time(ms int64) (t history.Time) {
	if ms != 0 {
		t = history.TimeMilli(ms)
	}
	return t
}

// Milli is the opposite of Time.
func Milli(t history.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Object returns attributes, of which nil is an empty object.
func Object(attributes []byte) string {
	if attributes == nil {
		return "{}"
	}
	return string(attributes)
}
