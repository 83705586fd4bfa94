package sio

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
)

var anyLimits = &Limits{MaxAttachments: -1, MaxAttachmentBytes: -1, MaxDepth: -1}

func TestMsgpackValue(t *testing.T) {
	for _, test := range []struct {
		data        string
		attachments [][]byte
	}{
		{`null`, nil}, {`"text"`, nil}, {`-7`, nil}, {`1.5`, nil}, {`[]`, nil}, {`{"a":{"b":[true,false]},"ü":"\u2028"}`, nil},
		{`["uid",{"type":2,"data":["event",{"_placeholder":true,"num":0}]},{"_placeholder":true,"num":1}]`, [][]byte{{1, 2}, {}}},
	} {
		packed, err := AppendMsgpack([]byte("x"), []byte(test.data), test.attachments)
		if err != nil || packed[0] != 'x' {
			t.Fatalf("%s: %q, %v", test.data, packed, err)
		}
		data, attachments, err := FromMsgpack(packed[1:], anyLimits)
		again, err2 := AppendMsgpack(nil, data, attachments)
		if err != nil || err2 != nil || !bytes.Equal(again, packed[1:]) || len(attachments) != len(test.attachments) {
			t.Errorf("%s became %s with %v, %v, %v", test.data, data, attachments, err, err2)
		}
		if _, _, err := FromMsgpack(append(packed[1:], 0), anyLimits); err == nil {
			t.Errorf("%s with one byte more was accepted", test.data)
		}
	}
	for _, data := range []string{"", "{", "[1,]", `{"_placeholder":true,"num":1}`} {
		if packed, err := AppendMsgpack(nil, []byte(data), [][]byte{{1}}); err == nil {
			t.Errorf("%q became %q", data, packed)
		}
	}
}

func FuzzMsgpackValue(f *testing.F) {
	for _, b := range []string{"\xc0", "\x93\xa1u\x80\xc4\x01x", "\xdd\xff\xff\xff\xff", "\xd6\xff\x00\x00\x00\x00", "\xd4\x00\x00"} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		data, attachments, err := FromMsgpack(b, anyLimits)
		if err != nil {
			return
		}
		if _, err := AppendMsgpack(nil, data, attachments); err != nil {
			t.Errorf("%q became %s, which is refused: %v", b, data, err)
		}
		Members(data, func(name, value []byte) { Text(value) })
	})
}

func TestMembers(t *testing.T) {
	for _, test := range []struct {
		data string
		want []string
	}{
		{`{}`, nil}, {` { "a" : 1 , "b\"" : {"c":[",}"]} , "":"x" } `, []string{`a=1`, `b"={"c":[",}"]}`, `="x"`}},
		{`[1]`, nil}, {``, nil}, {`{"a"`, nil}, {`{"a":`, nil}, {`{"a":1`, []string{"a=1"}},
	} {
		var got []string
		Members([]byte(test.data), func(name, value []byte) { got = append(got, fmt.Sprintf("%s=%s", name, value)) })
		if !slices.Equal(got, test.want) {
			t.Errorf("%s has %q", test.data, got)
		}
	}
	for value, want := range map[string]string{`"a\"b"`: `a"b`, `42`: "42", `1.50`: "1.5", `1e3`: "1000"} {
		if got := string(Text([]byte(value))); got != want {
			t.Errorf("the text of %s is %q", value, got)
		}
	}
}
