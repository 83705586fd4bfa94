package sio_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sio"
)

func FuzzValidate(f *testing.F) {
	for _, s := range slices.Concat(validJSON, invalidJSON) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := sio.Validate(b, 10_000)
		if err != nil && err.Error() == "parley: bad packet: payload nested too deeply" {
			return
		}
		if want := json.Valid(b) && utf8.Valid(b); (err == nil) != want {
			t.Errorf("%q: %v, but encoding/json and UTF-8 say %v", b, err, want)
		}
	})
}

func FuzzJSONDecode(f *testing.F) {
	for _, s := range []string{
		`0{"token":"x"}`, `1/adm,`, `2/adm,12["a",{"b":[1,2]},"c"]`, `31[]`, `4/mw,"no"`, `2["\ud83d\ude00",-1.5e3]`, `2[1e21]`,
		`51-["a",{"_placeholder":true,"num":0}]`, `62-/adm,3[{"num":1,"_placeholder":true},{"_placeholder":true,"num":0}]`,
	} {
		f.Add([]byte(s), []byte("attachment"))
	}
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		d := sio.JSON.NewDecoder(nil)
		p, ok, err := d.Text(bytes.Clone(text))
		for n := 0; d.Waiting(); n++ {
			if ok || err != nil || n == 10 {
				t.Fatalf("waiting after %v, %v, %d attachments", ok, err, n)
			}
			p, ok, err = d.Binary(attachment)
		}
		if ok == (err != nil) {
			t.Fatalf("packet %v, error %v", ok, err)
		}
		if ok {
			checkPacket(t, p)
		}
	})
}

func FuzzMsgpackDecode(f *testing.F) {
	for _, s := range []string{
		`82 a4"type"00 a3"nsp"a4"/adm"`,
		`84 a4"type"02 a3"nsp"a1"/" a4"data" 92 a1"e" 01 a2"id" 0c`,
		`83 a4"type"03 a3"nsp"a1"/" a4"data" 93 c40101 c701000a d700000000000000007b`,
		`84 a4"type"04 a3"nsp"a1"/" a4"data" 81 a1"k" cb3ff8000000000000 a1"x" 90`,
		`83 a4"data" dc0003 a1"e" d40000 81 a1"u" d40000 a3"nsp" da0001"/" a4"type" d10002`,
	} {
		var t testing.T
		f.Add(unhex(&t, s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, ok, err := sio.Msgpack.NewDecoder(nil).Binary(bytes.Clone(b))
		if ok == (err != nil) {
			t.Fatalf("packet %v, error %v", ok, err)
		}
		if ok {
			checkPacket(t, p)
		}
	})
}

// checkPacket checks what must hold for every decoded packet.
func checkPacket(t *testing.T, p sio.Packet) {
	t.Helper()
	if p.Data != nil && (!json.Valid(p.Data) || !utf8.Valid(p.Data)) {
		t.Fatalf("%s: data is not JSON", describe(p))
	}
	if got := transfer(t, sio.JSON, p); !reflect.DeepEqual(got, p) {
		t.Fatalf("%s came back as %s", describe(p), describe(got))
	}
	if p.Type == sio.Event && p.Data == nil {
		return // MessagePack cannot express it
	}
	// MessagePack normalizes, so only the first round trip may change the bytes of the JSON.
	first := transfer(t, sio.Msgpack, p)
	if first.Type != p.Type || first.ID != p.ID || first.Namespace != p.Namespace || len(first.Attachments) != len(p.Attachments) {
		t.Fatalf("%s came back as %s", describe(p), describe(first))
	}
	if second := transfer(t, sio.Msgpack, first); !reflect.DeepEqual(second, first) {
		t.Fatalf("%s came back as %s", describe(first), describe(second))
	}
	checkAccess(t, p)
}

// checkAccess compares the arguments with those that encoding/json decodes.
func checkAccess(t *testing.T, p sio.Packet) {
	t.Helper()
	if p.Type != sio.Event && p.Type != sio.Ack || p.Data == nil {
		return
	}
	var want []json.RawMessage
	if err := json.Unmarshal(p.Data, &want); err != nil {
		t.Fatal(err)
	}
	args := sio.SplitArgs(nil, p.Data)
	if p.Type == sio.Event {
		var name string
		if json.Unmarshal(want[0], &name) == nil && string(sio.EventName(p.Data)) != name {
			t.Fatalf("%s: name %q, want %q", p.Data, sio.EventName(p.Data), name)
		}
		args = slices.Concat(args[:1], sio.EventArgs(nil, p.Data))
	}
	if len(args) != len(want) {
		t.Fatalf("%s: %d arguments, want %d", p.Data, len(args), len(want))
	}
	for i := range args {
		if !bytes.Equal(args[i], want[i]) {
			t.Fatalf("%s: argument %d is %s, want %s", p.Data, i, args[i], want[i])
		}
		var v any
		_ = sio.Decode(args[i], p.Attachments, &v) // a number may be out of range
	}
}
