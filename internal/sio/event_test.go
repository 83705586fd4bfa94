package sio_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sio"
)

func TestEventNameAndArgs(t *testing.T) {
	tests := []struct {
		data, name string
		args       []string
	}{
		{`["a"]`, "a", nil},
		{`[ "a" , 1 , "b" ] `, "a", []string{`1`, `"b"`}},
		{`["chat message",{"x":[1,2,"]"]},[[],{}],"a,b","\"",null,-1.5e3,true]`, "chat message",
			[]string{`{"x":[1,2,"]"]}`, `[[],{}]`, `"a,b"`, `"\""`, `null`, `-1.5e3`, `true`}},
		{`["\"\\\/\b\f\n\r\t\u00e9\u20AC"]`, "\"\\/\b\f\n\r\té€", nil},
		{`["\ud83d\ude00\ud83d\ude00"]`, "😀😀", nil},
		{`["\ud83dx\ude00\ud83d\ud83d\ude00\ud83d\n"]`, "\ufffdx\ufffd\ufffd😀\ufffd\n", nil},
		{`["é"]`, "é", nil},
		{`[""]`, "", nil},
		// Numbers name events as they do in JavaScript.
		{`[1,2]`, "1", []string{"2"}},
		{`[0]`, "0", nil},
		{`[-0]`, "0", nil},
		{`[-7]`, "-7", nil},
		{`[1.0]`, "1", nil},
		{`[1.5e1]`, "15", nil},
		{`[1e21]`, "1e+21", nil},
		{`[1e-7]`, "1e-7", nil},
		{`[12345678901234567890]`, "12345678901234567000", nil},
		{`[1e999]`, "Infinity", nil},
		{`[-1e999]`, "-Infinity", nil},
	}
	for _, test := range tests {
		data := []byte(test.data)
		if got := string(sio.EventName(data)); got != test.name {
			t.Errorf("%s: name %q, want %q", data, got, test.name)
		}
		var args []string
		for _, a := range sio.EventArgs(nil, data) {
			args = append(args, string(a))
		}
		if !slices.Equal(args, test.args) {
			t.Errorf("%s: arguments %q, want %q", data, args, test.args)
		}
	}
	if sio.EventName(nil) != nil || sio.EventArgs(nil, nil) != nil || sio.SplitArgs(nil, nil) != nil {
		t.Error("an event without data has no name and no arguments")
	}
}

func TestSplitArgs(t *testing.T) {
	data := []byte(`[1, [2,{"a":3}] ,"4"]`)
	args := sio.SplitArgs([][]byte{[]byte("kept")}, data)
	want := []string{"kept", "1", `[2,{"a":3}]`, `"4"`}
	if len(args) != len(want) {
		t.Fatalf("got %q", args)
	}
	for i, a := range args {
		if string(a) != want[i] {
			t.Errorf("argument %d is %s, want %s", i, a, want[i])
		}
	}
	if _ = append(args[1], 'x'); string(data) != `[1, [2,{"a":3}] ,"4"]` {
		t.Error("appending to an argument changed the data")
	}
	for _, empty := range []string{`[]`, `[ ]`} {
		if got := sio.SplitArgs(nil, []byte(empty)); len(got) != 0 {
			t.Errorf("%s: %q", empty, got)
		}
	}
}

func TestAppendEvent(t *testing.T) {
	if got := string(sio.AppendEvent([]byte("2"), `say "hi"`, []byte(`1`), []byte(`{}`))); got != `2["say \"hi\"",1,{}]` {
		t.Error(got)
	}
	if got := string(sio.AppendAck([]byte("31"))); got != `31[]` {
		t.Error(got)
	}
	if got := string(sio.AppendAck(nil, []byte(`1`), []byte(`"x"`))); got != `[1,"x"]` {
		t.Error(got)
	}
}

// Results of JSON.stringify for the same strings, recorded under Node 20. The last row is not one
// of them, since Go strings have no lone surrogates.
func TestAppendString(t *testing.T) {
	tests := []struct{ s, want string }{
		{"", `""`},
		{"<a href='&'>", `"<a href='&'>"`},
		{"\"\\/", `"\"\\/"`},
		{"\x00\b\t\n\v\f\r\x1b\x1f\x7f", `"\u0000\b\t\n\u000b\f\r\u001b\u001f` + "\x7f" + `"`},
		{"é€😀", `"é€😀"`},
		{"\u2028\u2029\ufeff\ufffd", "\"\u2028\u2029\ufeff\ufffd\""},
		{"a\xffb\xc3", "\"a\ufffdb\ufffd\""},
	}
	for _, test := range tests {
		if got := string(sio.AppendString(nil, test.s)); got != test.want {
			t.Errorf("%q: got %s, want %s", test.s, got, test.want)
		}
		if got := string(sio.AppendString([]byte("kept:"), []byte(test.s))); got != "kept:"+test.want {
			t.Errorf("%q as bytes: got %s, want %s", test.s, got, test.want)
		}
	}
}

// Results of JSON.stringify for the same numbers, recorded under Node 20.
func TestAppendFloat(t *testing.T) {
	tests := []struct {
		f    float64
		want string
	}{
		{0, "0"}, {math.Copysign(0, -1), "0"}, {1, "1"}, {-1.5, "-1.5"}, {0.1, "0.1"},
		{1e20, "100000000000000000000"}, {1e21, "1e+21"}, {-1e21, "-1e+21"}, {1.5e300, "1.5e+300"},
		{1e-6, "0.000001"}, {1e-7, "1e-7"}, {1.5e-10, "1.5e-10"},
		{math.MaxFloat64, "1.7976931348623157e+308"}, {math.SmallestNonzeroFloat64, "5e-324"},
		{math.NaN(), "null"}, {math.Inf(1), "null"}, {math.Inf(-1), "null"},
	}
	for _, test := range tests {
		if got := string(sio.AppendFloat(nil, test.f)); got != test.want {
			t.Errorf("%v: got %s, want %s", test.f, got, test.want)
		}
	}
}

func TestReserved(t *testing.T) {
	for _, name := range strings.Fields("connect connect_error disconnect disconnecting newListener removeListener") {
		if !sio.Reserved(name) {
			t.Error(name)
		}
	}
	if sio.Reserved("message") || sio.Reserved("") {
		t.Error("message is not reserved")
	}
}

// The functions for validated data must survive any other data.
func TestAccessDoesNotPanic(t *testing.T) {
	for _, s := range slices.Concat(validJSON, invalidJSON) {
		for _, data := range []string{s, "[" + s, "[" + s + "]", `["a",` + s, `["\` + s} {
			sio.EventName([]byte(data))
			sio.EventArgs(nil, []byte(data))
			sio.SplitArgs(nil, []byte(data))
			var v any
			_ = sio.Decode([]byte(data), [][]byte{{1}}, &v)
		}
	}
}

func TestNamesRoundTrip(t *testing.T) {
	for c := range rune(0x3000) {
		if c >= 0xd800 && c < 0xe000 {
			continue
		}
		name := "a" + string(c) + "b"
		data := sio.AppendEvent(nil, name)
		if got := string(sio.EventName(data)); got != name {
			t.Fatalf("%q became %q", name, got)
		}
		var names []string
		if err := json.Unmarshal(data, &names); err != nil || names[0] != name {
			t.Fatalf("%q: encoding/json reads %q, %v", name, names, err)
		}
	}
}
