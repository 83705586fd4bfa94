package sse

import (
	"bytes"
	"errors"
	"strings"
)

// ErrIllegal is returned for an id or a name that contains a line break or NUL. Such a value would
// end its line or be ignored.
var ErrIllegal = errors.New("sse: id or event has a line break or NUL")

// An Event is one event of a stream, as defined by the HTML standard, section 9.2.
type Event struct {
	ID   string // the client sends it when it comes back; if empty, the client's last id stays
	Name string // name of the event; empty means "message"
	// Data is UTF-8. CRLF, CR and LF each end a line and arrive as LF. If Data is nil (not just
	// empty), the client does not dispatch the event and only stores the id.
	Data []byte
}

// Append appends the event in its wire format.
func (e *Event) Append(dst []byte) ([]byte, error) {
	if strings.ContainsAny(e.ID, "\r\n\x00") || strings.ContainsAny(e.Name, "\r\n\x00") {
		return dst, ErrIllegal
	}
	if e.ID != "" {
		dst = append(append(append(dst, "id: "...), e.ID...), '\n')
	}
	if e.Name != "" {
		dst = append(append(append(dst, "event: "...), e.Name...), '\n')
	}
	for rest, more := e.Data, e.Data != nil; more; {
		var line []byte
		line, rest, more = cutLine(rest)
		dst = append(append(append(dst, "data: "...), line...), '\n')
	}
	return append(dst, '\n'), nil
}

// cutLine splits b after its first line. more reports whether there was a line break.
func cutLine(b []byte) (line, rest []byte, more bool) {
	i := bytes.IndexAny(b, "\r\n")
	if i < 0 {
		return b, nil, false
	}
	next := i + 1
	if b[i] == '\r' && next < len(b) && b[next] == '\n' {
		next++
	}
	return b[:i], b[next:], true
}
