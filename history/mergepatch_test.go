package history_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
)

// The table of RFC 7396, appendix A, and what stores rely on.
func TestMergePatch(t *testing.T) {
	for _, test := range [][3]string{ // target, patch, result
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`["a","b"]`, `["c","d"]`, `["c","d"]`},
		{`{"a":"b"}`, `["c"]`, `["c"]`},
		{`{"a":"foo"}`, `null`, `null`},
		{`{"a":"foo"}`, `"bar"`, `"bar"`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},

		{``, `{"b":1,"a":{"x":null,"y":2}}`, `{"a":{"y":2},"b":1}`},
		{`{"n":12345678901234567890123}`, ` { "z" : "<&>" } `, `{"n":12345678901234567890123,"z":"<&>"}`},
		{`{"a":1}`, `{"a":2,"a":null}`, `{}`},
		{`{"a":1}`, `{"a":[null, {"b":null}]}`, `{"a":[null,{"b":null}]}`},
	} {
		var target json.RawMessage
		if test[0] != "" {
			target = json.RawMessage(test[0])
		}
		got, err := history.MergePatch(target, json.RawMessage(test[1]))
		if err != nil || string(got) != test[2] {
			t.Errorf("%s patched with %s: %s, %v; want %s", test[0], test[1], got, err, test[2])
		}
	}
	for _, bad := range []string{``, `{`, `{"a":}`, strings.Repeat(`{"a":`, 20_000)} {
		if got, err := history.MergePatch(json.RawMessage(`{}`), json.RawMessage(bad)); err == nil {
			t.Errorf("patched with %.20q: %s", bad, got)
		}
	}
}
