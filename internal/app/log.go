package app

import (
	"log/slog"
	"strings"
	"unicode"
)

// Limits of the texts in a log line, in bytes. A stack needs more than what clients may put there.
const (
	maxLogged = 1 << 10
	maxStack  = 64 << 10
)

// tame limits the texts in a log line, which clients may have made up, and replaces what could
// act on a terminal or mislead whoever reads it: control characters above ASCII, and marks that change
// the direction of text. The handlers escape those of ASCII, so a line stays one line.
func tame(_ []string, a slog.Attr) slog.Attr {
	text := a.Value.String()
	switch v := a.Value.Any().(type) {
	case string:
	case error:
		text = v.Error()
	default:
		return a
	}
	most := maxLogged
	if a.Key == slog.MessageKey || a.Key == "stack" {
		most = maxStack
	}
	text = text[:min(len(text), most)]
	a.Value = slog.StringValue(strings.Map(func(r rune) rune {
		if r < 0x7f || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text))
	return a
}
