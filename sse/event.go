package sse

import (
	"bytes"
	"errors"
	"strings"
)

// ErrIllegal is returned for an id or a name that would end its line, or be ignored.
var ErrIllegal = errors.New("sse: id or event has a line break or NUL")

// An Event is one event of a stream, in the terms of the HTML standard, 9.2.
type Event struct {
	ID   string // what the client says when it comes back; empty leaves it as it was
	Name string // of the event; empty is "message"
	// Data is UTF-8. CRLF, CR and LF each end a line, and arrive as LF. Nil, and not only
	// empty, is an event that is not dispatched and sets the id only.
	Data []byte
}

// Append appends the event as it goes over the wire.
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

// cutLine cuts b after its first line; more is whether there was a line break.
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
