package sio_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sio"
)

var validJSON = []string{
	`null`, `true`, `false`, `0`, `-0`, `10`, `-1.5`, `1e5`, `1E+5`, `1.25e-10`, `123456789012345678901234567890`,
	`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"\u0000\uD800\udfff\uabCD"`, `"` + "\x7f" + `"`,
	`"é€😀"`, `"1234567é"`, `"12345678é"`, `"` + strings.Repeat("x", 100) + `"`,
	`[]`, `[ ]`, `{}`, `{ }`, `[1,2]`, "\t\r\n [ 1 , { \"a\" : [ ] } ] \n", `{"a":{"b":[]},"a":1}`, `[[],{},[{}]]`,
}

var invalidJSON = []string{
	``, ` `, `nul`, `nulll`, `True`, `NaN`, `Infinity`, `undefined`, `'a'`,
	`-`, `+1`, `01`, `-01`, `1.`, `.5`, `1e`, `1e+`, `1.e5`, `0x1`, `1_000`, `--1`, `1 2`,
	`"`, `"a`, `"\`, `"\"`, `"\x"`, `"\u"`, `"\u12"`, `"\u12g4"`, `"\u123`, `"\U0000"`, "\"\n\"", "\"\x00\"", "\"12345678\x1f\"", "\"1234567\x1f\"",
	"\"\xff\"", "\"\xc3\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xc0\x80\"", "\"12345678\x80\"", "[\xc2\xa0]", "\xef\xbb\xbf[]",
	`[`, `]`, `{`, `}`, `[,]`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{]`, `[]]`, `[] []`, `[]x`, `[[]`,
	`{1:2}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":1]`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{a:1}`, `{"a`,
	`// x`, `[1/**/]`,
}

func TestValidate(t *testing.T) {
	for _, s := range validJSON {
		if err := sio.Validate([]byte(s), 10); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range invalidJSON {
		if sio.Validate([]byte(s), 10) == nil {
			t.Errorf("%q: accepted", s)
		}
		if json.Valid([]byte(s)) && utf8.ValidString(s) {
			t.Errorf("%q: encoding/json has it valid", s)
		}
	}
}

// Nesting at and just over the limits where the scanner's stack grows.
func TestValidateDepth(t *testing.T) {
	for _, n := range []int{1, 2, 63, 64, 65, 127, 128, 129, 1000} {
		for _, pair := range [][2]string{{"[", "]"}, {`{"a":`, `}`}, {`[{"a":[],"b":`, `}]`}} {
			deep := strings.Repeat(pair[0], n) + "1" + strings.Repeat(pair[1], n)
			levels := n
			if strings.HasPrefix(pair[0], "[{") {
				levels = max(2*n, 3)
			}
			if levels == 2*n {
				levels++ // the empty array in the innermost object
			}
			if err := sio.Validate([]byte(deep), levels); err != nil {
				t.Errorf("%d × %s at its depth: %v", n, pair[0], err)
			}
			if sio.Validate([]byte(deep), levels-1) == nil {
				t.Errorf("%d × %s over the depth: accepted", n, pair[0])
			}
			if sio.Validate([]byte(deep[:len(deep)-1]), levels) == nil {
				t.Errorf("%d × %s, cut off: accepted", n, pair[0])
			}
		}
	}
}

// Every prefix of a packet, and every packet with one changed byte, gets the same verdict as from
// encoding/json.
func TestValidateEveryByte(t *testing.T) {
	const text = `["é",{"_placeholder":true,"num":0},"\u0041\n",-1.5e+3,[null,{}],false]`
	check := func(b []byte) {
		if got, want := sio.Validate(b, 64) == nil, json.Valid(b) && utf8.Valid(b); got != want {
			t.Errorf("%q: valid %v, want %v", b, got, want)
		}
	}
	for i := range text {
		check([]byte(text[:i]))
		for c := range 256 {
			b := []byte(text)
			b[i] = byte(c)
			check(b)
		}
	}
}

// hostile has payloads that took other implementations more than linear time.
var hostile = map[string]func(n int) string{
	"digits of a count": func(n int) string { return "5" + strings.Repeat("0", n) + `1-["a"]` },
	"digits of an id":   func(n int) string { return "2" + strings.Repeat("0", n) + `["a"]` },
	"namespace":         func(n int) string { return "2/" + strings.Repeat("a", n) + `,["a"]` },
	"name":              func(n int) string { return `2["` + strings.Repeat("a", n) + `"]` },
	"escapes":           func(n int) string { return `2["` + strings.Repeat(`\u0063`, n/6) + `"]` },
	"open brackets":     func(n int) string { return `2` + strings.Repeat("[", n) },
	"open braces":       func(n int) string { return `2["a"` + strings.Repeat(`,{"a":1`, n/7) },
	"space":             func(n int) string { return `2["a"` + strings.Repeat(" ", n) + `]` },
	"objects":           func(n int) string { return `51-["a"` + strings.Repeat(`,{"num":0}`, n/10) + `]` },
	"nested objects": func(n int) string {
		return `51-["a",` + strings.Repeat(`{"a":`, n/6) + `1` + strings.Repeat(`}`, n/6) + `]`
	},
	"half placeholders":   func(n int) string { return `51-["a"` + strings.Repeat(`,{"num":0,"a":{"num":1}}`, n/24) + `]` },
	"spaced placeholders": func(n int) string { return `51-["a",{` + strings.Repeat(" ", n) + `"num":0}]` },
	"long keys":           func(n int) string { return `51-["a",{"` + strings.Repeat("k", n) + `":true}]` },
	"many placeholders": func(n int) string {
		return `52147483647-["a"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, n/31) + `]`
	},
	"backslashes":          func(n int) string { return `2["a","` + strings.Repeat(`\\`, n/2) + `"]` },
	"wide characters":      func(n int) string { return `2["a","` + strings.Repeat("é", n/2) + `"]` },
	"elements":             func(n int) string { return `2["a"` + strings.Repeat(",0", n/2) + `]` },
	"almost a placeholder": func(n int) string { return `51-["a"` + strings.Repeat(`,{"_placeholder":false}`, n/23) + `]` },
}

// Any input is decoded or refused in linear time.
func TestLinearTime(t *testing.T) {
	limits := &sio.Limits{MaxAttachments: -1, MaxDepth: -1}
	args := make([][]byte, 0, 1<<20)
	for name, payload := range hostile {
		wantLinear(t, name, 16<<20/slowness, payload, func(message []byte) {
			if p, ok, err := sio.JSON.NewDecoder(limits).Text(message); ok && err == nil {
				sio.EventName(p.Data)
				sio.EventArgs(args[:0], p.Data)
			}
		})
	}
}

// wantLinear runs with the payload of size n. n is so large that linear time takes less than a
// minute on any machine, and quadratic time takes many minutes.
func wantLinear(t *testing.T, name string, n int, payload func(n int) string, run func([]byte)) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		run([]byte(payload(n)))
	}()
	select {
	case <-done:
	case <-time.After(4 * time.Minute):
		t.Fatalf("%s: size %d takes more than linear time", name, n)
	}
}
