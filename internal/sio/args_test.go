package sio_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/sio"
)

type upload struct {
	Name string
	File sio.Binary `json:"file"`
}

type inner struct {
	Thumb sio.Binary
	Plain []byte
}

type embedded struct {
	inner   // unexported type, exported fields
	*upload // not reached when nil
	hidden  sio.Binary
	Skipped sio.Binary            `json:"-"`
	Empty   sio.Binary            `json:",omitempty"`
	Map     map[string]sio.Binary `json:",omitempty"`
	Next    *embedded             `json:",omitempty"`
	Any     any                   `json:",omitempty"`
	Array   [2]sio.Binary
}

// sealed encodes itself and leaves its Binary out.
type sealed struct{ Key sio.Binary }

func (s sealed) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int{"length": len(s.Key)})
}

// tagged encodes itself with its Binary unchanged.
type tagged struct {
	Name string
	File sio.Binary
	More any
}

func (m tagged) MarshalJSON() ([]byte, error) {
	type plain tagged
	return json.Marshal(struct {
		Kind string
		plain
	}{"tagged", plain(m)})
}

// measured encodes itself with its Binary and a property of its contents.
type measured struct{ File sio.Binary }

func (m *measured) MarshalJSON() ([]byte, error) {
	if m.File[0] != 'x' {
		panic("this is no file")
	}
	return json.Marshal([]any{m.File, len(m.File), m.File[:1]})
}

// cut encodes itself with a part of its Binary.
type cut struct{ File sio.Binary }

func (c cut) MarshalJSON() ([]byte, error) { return json.Marshal(c.File[:min(16, len(c.File))]) }

// locked encodes itself under a lock. A copy would have its own lock.
type locked struct {
	sync.Mutex
	File sio.Binary
}

func (l *locked) MarshalJSON() ([]byte, error) {
	l.Lock()
	defer l.Unlock()
	return json.Marshal(l.File)
}

// text encodes itself as text.
type text struct{ File sio.Binary }

func (t text) MarshalText() ([]byte, error) { return t.File, nil }

// closed encodes itself, and nobody else can reach its Binary.
type closed struct{ file sio.Binary }

func (c closed) MarshalJSON() ([]byte, error) { return json.Marshal(c.file) }

func TestAppendEventArgs(t *testing.T) {
	const p0, p1, p2 = `{"_placeholder":true,"num":0}`, `{"_placeholder":true,"num":1}`, `{"_placeholder":true,"num":2}`
	b := func(s string) sio.Binary { return sio.Binary(s) }
	tests := []struct {
		args        []any
		want        string
		attachments string // joined by spaces
	}{
		{nil, ``, ""},
		{[]any{nil, "a\n<b>", true, -1, int64(math.MinInt64), uint64(math.MaxUint64)}, `,null,"a\n<b>",true,-1,-9223372036854775808,18446744073709551615`, ""},
		{[]any{1.5, int8(3), []string{"<&>"}, map[string]int{"b": 1, "a": 2}}, `,1.5,3,["<&>"],{"a":2,"b":1}`, ""},
		{[]any{"\xff\u2028", []string{"\xff\u2028"}}, ",\"\ufffd\u2028\",[\"\\ufffd\\u2028\"]", ""},
		{[]any{json.RawMessage(` {"a": 1}`), json.RawMessage(nil)}, `, {"a": 1},null`, ""},
		{[]any{[]byte("x"), b("y"), []byte(nil), sio.Binary(nil), []byte{}}, `,` + p0 + `,` + p1 + `,null,null,` + p2, "x y "},
		{[]any{upload{"n", b("x")}, &upload{"m", nil}}, `,{"Name":"n","file":` + p0 + `},{"Name":"m","file":null}`, "x"},
		{[]any{"s", []any{b("x"), map[string]any{"b": b("z"), "a": b("y")}}}, `,"s",[` + p0 + `,{"a":` + p1 + `,"b":` + p2 + `}]`, "x y z"},
		{[]any{[]any{[]byte("x")}}, `,["eA=="]`, ""}, // deeper down only Binary is binary
		{[]any{sealed{b("abc")}, &sealed{b("abc")}}, `,{"length":3},{"length":3}`, ""},
		{[]any{embedded{inner: inner{b("t"), []byte("p")}, hidden: b("h"), Skipped: b("s"), Empty: b("")}},
			`,{"Thumb":` + p0 + `,"Plain":"cA==","Array":[null,null]}`, "t"},
		{[]any{embedded{Map: map[string]sio.Binary{"k": b("m")}, Next: &embedded{Any: &upload{"q", b("f")}}, Array: [2]sio.Binary{nil, b("a")}}},
			`,{"Thumb":null,"Plain":null,"Map":{"k":` + p0 + `},"Next":{"Thumb":null,"Plain":null,"Any":{"Name":"q","file":` + p1 + `},"Array":[null,null]},"Array":[null,` + p2 + `]}`, "m f a"},
		{[]any{embedded{upload: &upload{"u", b("f")}}}, `,{"Thumb":null,"Plain":null,"Name":"u","file":"Zg==","Array":[null,null]}`, ""}, // behind an unexported pointer
		{[]any{tagged{"n", b("x"), []any{b("y"), nil}}, &tagged{More: tagged{File: b("z")}}},
			`,{"Kind":"tagged","Name":"n","File":` + p0 + `,"More":[` + p1 + `,null]},{"Kind":"tagged","Name":"","File":null,"More":{"Kind":"tagged","Name":"","File":` + p2 + `,"More":null}}`, "x y z"},
		// Types that encode themselves and look into their binaries, or that cannot be copied.
		{[]any{&measured{b("xyz")}, cut{b("0123456789abcdefgh")}, &locked{File: b("x")}, text{b("x")}, closed{b("x")}},
			`,["eHl6",3,"eA=="],"MDEyMzQ1Njc4OWFiY2RlZg==","eA==","x","eA=="`, ""},
		{[]any{[]any{b("y"), &measured{b("x")}, tagged{File: b("z")}}}, // one such type affects the whole argument
			`,[` + p0 + `,["eA==",1,"eA=="],{"Kind":"tagged","Name":"","File":"eg==","More":null}]`, "y"},
		{[]any{json.RawMessage(p1)}, `,` + p1, ""}, // harmless without attachments
	}
	for _, test := range tests {
		data, attachments, err := sio.AppendEventArgs([]byte("2"), "e", test.args)
		if want := `2["e"` + test.want + `]`; string(data) != want || err != nil {
			t.Errorf("%+v\n got %s, %v\nwant %s", test.args, data, err, want)
		}
		if got := string(bytes.Join(attachments, []byte(" "))); got != test.attachments {
			t.Errorf("%+v: attachments %q, want %q", test.args, got, test.attachments)
		}
	}
	data, _, err := sio.AppendArgs([]byte("31"), []any{1, "x"})
	if string(data) != `31[1,"x"]` || err != nil {
		t.Errorf("acknowledgement: %s, %v", data, err)
	}
}

func TestAppendArgsErrors(t *testing.T) {
	loop := []any{nil, nil}
	loop[0], loop[1] = loop, loop
	for name, args := range map[string][]any{
		"raw message":           {json.RawMessage(`{`)},
		"raw message not UTF-8": {json.RawMessage("\"\xff\"")},
		"not a number":          {math.NaN()},
		"no encoding":           {func() {}},
		"contains itself":       {sio.Binary("x"), loop},
		"forged placeholder":    {[]byte("x"), json.RawMessage(`{"_placeholder":true,"num":0}`)},
		"forged in a map":       {[]byte("x"), map[string]any{"_placeholder": true, "num": "a"}},
	} {
		data, attachments, err := sio.AppendArgs([]byte("kept"), args)
		if err == nil || string(data) != "kept" || attachments != nil {
			t.Errorf("%s: got %s, %q, %v", name, data, attachments, err)
		} else if !strings.HasPrefix(err.Error(), "parley: encode argument") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The caller's value does not change.
func TestAppendArgsCopies(t *testing.T) {
	make := func() embedded {
		return embedded{
			inner: inner{Thumb: sio.Binary("t")},
			Map:   map[string]sio.Binary{"k": sio.Binary("m")},
			Next:  &embedded{Array: [2]sio.Binary{sio.Binary("a")}},
			Any:   []any{sio.Binary("x"), "y"},
		}
	}
	v := make()
	if _, attachments, err := sio.AppendArgs(nil, []any{&v}); len(attachments) != 4 || err != nil {
		t.Fatalf("%q, %v", attachments, err)
	}
	if !reflect.DeepEqual(v, make()) {
		t.Errorf("changed to %+v", v)
	}
}

// An error as an argument is a mistake: encoding/json turns most errors into {}.
func TestErrorsAreNoArguments(t *testing.T) {
	for _, err := range []error{errors.New("secret"), fmt.Errorf("wrapped: %w", io.EOF)} {
		if data, _, e := sio.AppendArgs([]byte("x"), []any{1, err}); e == nil || string(data) != "x" {
			t.Errorf("%v: %q, %v", err, data, e)
		}
	}
	if data, _, err := sio.AppendArgs(nil, []any{&net.AddrError{Err: "e", Addr: "a"}, struct{}{}}); err != nil || string(data) != `[{"Err":"e","Addr":"a"},{}]` {
		t.Errorf("%s, %v", data, err)
	}
}

func TestDecodeArgument(t *testing.T) {
	attachments := [][]byte{[]byte("zero"), []byte("one")}
	const p0, p1 = `{"_placeholder":true,"num":0}`, `{"num": 1, "_placeholder": true}`
	tests := []struct {
		raw  string
		v    any
		want any
	}{
		{`"plain"`, new(string), "plain"},
		{`"esc\u0061ped"`, new(string), "escaped"},
		{`12`, new(int), 12},
		{p0, new([]byte), []byte("zero")},
		{p1, new(sio.Binary), sio.Binary("one")},
		{p1, new(any), any(sio.Binary("one"))},
		{`{"a":[` + p1 + `,2]}`, new(any), any(map[string]any{"a": []any{sio.Binary("one"), 2.0}})},
		{p0, new(string), "emVybw=="},
		{p0, new(json.RawMessage), json.RawMessage(`"emVybw=="`)},
		{`{"a":[` + p1 + `,2]}`, new(json.RawMessage), json.RawMessage(`{"a":["b25l",2]}`)},
		{`[1,"a"]`, new(json.RawMessage), json.RawMessage(`[1,"a"]`)},
		{`{"Raw":` + p0 + `}`, new(struct{ Raw json.RawMessage }), struct{ Raw json.RawMessage }{json.RawMessage(`"emVybw=="`)}},
		{`{"Name":"n","file":` + p1 + `}`, new(upload), upload{"n", sio.Binary("one")}},
		{`{"Plain":` + p0 + `,"Thumb":` + p1 + `}`, new(inner), inner{sio.Binary("one"), []byte("zero")}},
		{`[` + p1 + `,` + p0 + `]`, new([][]byte), [][]byte{[]byte("one"), []byte("zero")}},
		{`[1,"a"]`, new([]any), []any{1.0, "a"}},
		{`"emVybw=="`, new([]byte), []byte("zero")},
	}
	for _, test := range tests {
		if err := sio.Decode([]byte(test.raw), attachments, test.v); err != nil {
			t.Errorf("%s into %T: %v", test.raw, test.v, err)
			continue
		}
		if got := reflect.ValueOf(test.v).Elem().Interface(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s into %T: got %v, want %v", test.raw, test.v, got, test.want)
		}
	}
	// In a packet without attachments, an object that looks like a placeholder is an ordinary
	// object.
	var object map[string]any
	if err := sio.Decode([]byte(p0), nil, &object); err != nil || object["num"] != 0.0 {
		t.Errorf("object: %v, %v", object, err)
	}
	var s string
	for _, raw := range []string{`12`, ``, `"a`, `{"_placeholder":true,"num":2}`, `[{"_placeholder":true}]`} {
		if err := sio.Decode([]byte(raw), attachments, &s); err == nil || !strings.HasPrefix(err.Error(), "parley: decode argument: ") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestArgumentsRoundTrip(t *testing.T) {
	sent := embedded{
		inner: inner{Thumb: sio.Binary("t"), Plain: []byte("p")},
		Map:   map[string]sio.Binary{"k": sio.Binary("m")},
		Next:  &embedded{Array: [2]sio.Binary{sio.Binary("a"), sio.Binary("b")}},
	}
	for _, parser := range []sio.Parser{sio.JSON, sio.Msgpack} {
		data, attachments, err := sio.AppendEventArgs(nil, "e", []any{sent})
		if err != nil {
			t.Fatal(err)
		}
		p := transfer(t, parser, sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: data, Attachments: attachments})
		var got embedded
		if err := sio.Decode(sio.EventArgs(nil, p.Data)[0], p.Attachments, &got); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, sent) {
			t.Errorf("%T: got %+v", parser, got)
		}
	}
}

// transfer encodes and decodes a packet.
func transfer(t *testing.T, parser sio.Parser, p sio.Packet) sio.Packet {
	t.Helper()
	message, err := parser.Append(nil, &p)
	if err != nil {
		t.Fatalf("%s: %v", describe(p), err)
	}
	d := parser.NewDecoder(&sio.Limits{MaxAttachments: -1, MaxAttachmentBytes: -1, MaxDepth: -1})
	if parser.Binary() {
		got, ok, err := d.Binary(message)
		if !ok || err != nil {
			t.Fatalf("%s: %v, %v", describe(p), ok, err)
		}
		return got
	}
	got, ok, err := d.Text(message)
	for _, a := range p.Attachments {
		if ok || err != nil {
			t.Fatalf("%s: %v, %v", describe(p), ok, err)
		}
		got, ok, err = d.Binary(a)
	}
	if !ok || err != nil {
		t.Fatalf("%s: %v, %v", describe(p), ok, err)
	}
	return got
}
