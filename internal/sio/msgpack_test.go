package sio_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sio"
)

// unhex reads hexadecimal with strings in quotes: 82 a1 "x".
func unhex(t *testing.T, s string) []byte {
	t.Helper()
	var out []byte
	for i, part := range strings.Split(s, `"`) {
		if i%2 == 1 {
			out = append(out, part...)
			continue
		}
		b, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		out = append(out, b...)
	}
	return out
}

func binary(t *testing.T, d sio.Decoder, message []byte) string {
	t.Helper()
	p, ok, err := d.Binary(message)
	if err != nil {
		var fault *sio.Error
		if !errors.As(err, &fault) || ok {
			t.Fatalf("%x: %v, %v", message, ok, err)
		}
		return "refused: " + fault.Reason
	}
	if !ok || d.Waiting() {
		t.Fatalf("%x: a binary message is a whole packet", message)
	}
	return describe(p)
}

// Members of a packet as socket.io-msgpack-parser 3.0.2 writes them.
const (
	event = ` a4 "type" 02 a3 "nsp" a1 "/" `
	data  = event + ` a4 "data" `
)

func TestMsgpackDecode(t *testing.T) {
	const (
		p0 = `{"_placeholder":true,"num":0}`
		p1 = `{"_placeholder":true,"num":1}`
	)
	arg := func(hex string) string { return `83` + data + `92 a1 "e" ` + hex }
	tests := []struct{ message, want string }{
		// Packets that the reference wrote.
		{`83 a4"type"00 a3"nsp"a1"/" a4"data" 81 a5"token" a3"abc"`, `CONNECT / {"token":"abc"}`},
		{`82 a4"type"00 a3"nsp"a4"/adm"`, `CONNECT /adm`},
		{`82 a4"type"01 a3"nsp"a1"/"`, `DISCONNECT /`},
		{`84 a4"type"02 a3"nsp"a1"/" a4"data" 92 a1"e" 01 a2"id" 0c`, `EVENT / #12 ["e",1]`},
		{`84 a4"type"03 a3"nsp"a1"/" a4"data" 90 a2"id" 0c`, `ACK / #12 []`},
		{`83 a4"type"04 a3"nsp"a1"/" a4"data" 81 a7"message" a2"no"`, `CONNECT_ERROR / {"message":"no"}`},
		{`84 a4"type"02 a3"nsp"a1"/" a4"data" 91 a1"e" a7"options" 81 a8"compress" c3`, `EVENT / ["e"]`},
		{`84 a4"type"02 a3"nsp"a1"/" a4"data" 91 a1"e" a2"id" d40000`, `EVENT / ["e"]`}, // id: undefined
		{`83 a4"type"00 a3"nsp"a1"/" a4"data" d40000`, `CONNECT /`},                     // data: undefined

		// Other orders, forms and members.
		{`83 a4"data" 91 a1"e" a3"nsp"a1"/" a4"type"02`, `EVENT / ["e"]`},
		{`de0003 d904"type" cc02 da0003"nsp" db00000001"/" c7`, `refused: invalid MessagePack`},
		{`de0003 d904"type" cc02 da0003"nsp" db00000001"/" a4"data" dc0001 a1"e"`, `EVENT / ["e"]`},
		{`df00000003 a4"type" d302 a3"nsp"a1"/" a4"data" 90`, `refused: unknown packet type`},
		{`83 a4"type" d30000000000000002 a3"nsp"a1"/" a4"data" dd00000001 a1"e"`, `EVENT / ["e"]`},
		{`83 a4"type" cb4000000000000000 a3"nsp"a1"/" a4"data" 91 a1"e"`, `EVENT / ["e"]`},
		{`84` + event + `a1"x" 93 c4 01 ff 80 c0 a4"data" 92 a1"e" c40101`, `EVENT / ["e",` + p0 + `] <01>`},
		{`84` + event + `a2"id" cf001fffffffffffff a4"data" 91 a1"e"`, `EVENT / #9007199254740991 ["e"]`},

		// Values.
		{arg(`c0`), `EVENT / ["e",null]`},
		{arg(`c2`), `EVENT / ["e",false]`},
		{arg(`c3`), `EVENT / ["e",true]`},
		{arg(`7f`), `EVENT / ["e",127]`},
		{arg(`e0`), `EVENT / ["e",-32]`},
		{arg(`ff`), `EVENT / ["e",-1]`},
		{arg(`ccff`), `EVENT / ["e",255]`},
		{arg(`cdffff`), `EVENT / ["e",65535]`},
		{arg(`ceffffffff`), `EVENT / ["e",4294967295]`},
		{arg(`cfffffffffffffffff`), `EVENT / ["e",18446744073709551615]`},
		{arg(`d080`), `EVENT / ["e",-128]`},
		{arg(`d18000`), `EVENT / ["e",-32768]`},
		{arg(`d280000000`), `EVENT / ["e",-2147483648]`},
		{arg(`d38000000000000000`), `EVENT / ["e",-9223372036854775808]`},
		{arg(`ca3fc00000`), `EVENT / ["e",1.5]`},
		{arg(`ca7fc00000`), `EVENT / ["e",null]`},
		{arg(`cb3ff8000000000000`), `EVENT / ["e",1.5]`},
		{arg(`cb7ff0000000000000`), `EVENT / ["e",null]`},
		{arg(`cbfff0000000000000`), `EVENT / ["e",null]`},
		{arg(`cb7ff8000000000000`), `EVENT / ["e",null]`},
		{arg(`cb8000000000000000`), `EVENT / ["e",0]`},
		{arg(`a0`), `EVENT / ["e",""]`},
		{arg(`a6 220a5c 00 c3a9`), `EVENT / ["e","\"\n\\\u0000é"]`},
		{arg(`a2 ff41`), `EVENT / ["e","` + "\ufffd" + `A"]`}, // as the reference reads it
		{arg(`d9024142`), `EVENT / ["e","AB"]`},
		{arg(`da00024142`), `EVENT / ["e","AB"]`},
		{arg(`db000000024142`), `EVENT / ["e","AB"]`},
		{arg(`92 90 80`), `EVENT / ["e",[[],{}]]`},
		{arg(`dc0001 de0001 a1"k" dd00000001 df00000000`), `EVENT / ["e",[{"k":[{}]}]]`},
		{arg(`83 a1"a" d40000 a1"b" 01 a1"c" d40000`), `EVENT / ["e",{"b":1}]`}, // undefined members
		{arg(`92 d40000 01`), `EVENT / ["e",[null,1]]`},                         // undefined elements
		{arg(`92 c40101 c500020203`), `EVENT / ["e",[` + p0 + `,` + p1 + `]] <01> <0203>`},
		{arg(`92 c60000000101 c400`), `EVENT / ["e",[` + p0 + `,` + p1 + `]] <01> <>`},
		{arg(`92 c7010001 c800010002`), `EVENT / ["e",[` + p0 + `,` + p1 + `]] <01> <02>`}, // ArrayBuffer
		{arg(`c9000000010001`), `EVENT / ["e",` + p0 + `] <01>`},

		// Dates: of notepack.io, then of MessagePack.
		{arg(`d700000000000000007b`), `EVENT / ["e","1970-01-01T00:00:00.123Z"]`},
		{arg(`d700ffffffffffffffff`), `EVENT / ["e","1969-12-31T23:59:59.999Z"]`},
		{arg(`d7000000e677d21fdbff`), `EVENT / ["e","9999-12-31T23:59:59.999Z"]`},
		{arg(`d7000000e677d21fdc00`), `EVENT / ["e","+010000-01-01T00:00:00.000Z"]`},
		{arg(`d700001eb208c2dc0000`), `EVENT / ["e","+275760-09-13T00:00:00.000Z"]`},
		{arg(`d700ffe14df73d240000`), `EVENT / ["e","-271821-04-20T00:00:00.000Z"]`},
		{arg(`d700001eb208c2dc0001`), `EVENT / ["e",null]`},
		{arg(`d7007fffffffffffffff`), `EVENT / ["e",null]`},
		{arg(`d6ff00000001`), `EVENT / ["e","1970-01-01T00:00:01.000Z"]`},
		{arg(`d7ff773593fc00000001`), `EVENT / ["e","1970-01-01T00:00:01.499Z"]`},
		{arg(`c70cff0000000affffffffffffffff`), `EVENT / ["e","1969-12-31T23:59:59.000Z"]`},
		{arg(`c70cff000000007fffffffffffffff`), `EVENT / ["e",null]`},

		// An object that looks like a placeholder is one only if this package wrote it.
		{arg(`82 ac"_placeholder" c3 a3"num" 00`), `EVENT / ["e",` + p0 + `]`},
		{`83` + data + `93 a1"e" c40101 81 ac"_placeholder" c2`, `EVENT / ["e",` + p0 + `,{"_placeholder":false}] <01>`},

		// The reference refuses these too.
		{``, `refused: invalid MessagePack`},
		{`c0`, `refused: invalid MessagePack`},
		{`01`, `refused: invalid MessagePack`},
		{`80`, `refused: unknown packet type`},
		{`82 00 00 a3"nsp"a1"/"`, `refused: invalid MessagePack`},
		{`81 a4"type"02`, `refused: invalid namespace`},
		{`81 a3"nsp"a1"/"`, `refused: unknown packet type`},
		{`82 a4"type"05 a3"nsp"a1"/"`, `refused: unknown packet type`},
		{`82 a4"type"ff a3"nsp"a1"/"`, `refused: unknown packet type`},
		{`82 a4"type"a1"0" a3"nsp"a1"/"`, `refused: unknown packet type`},
		{`82 a4"type"c0 a3"nsp"a1"/"`, `refused: unknown packet type`},
		{`82 a4"type"cb3fe0000000000000 a3"nsp"a1"/"`, `refused: unknown packet type`},
		{`82 a4"type"00 a3"nsp"00`, `refused: invalid namespace`},
		{`82` + event, `refused: invalid payload`},
		{`82 a4"type"03 a3"nsp"a1"/"`, `refused: invalid payload`},
		{`83` + data + `c0`, `refused: invalid payload`},
		{`83` + data + `80`, `refused: invalid payload`},
		{`83 a4"type"00 a3"nsp"a1"/" a4"data" c0`, `refused: invalid payload`},
		{`83 a4"type"00 a3"nsp"a1"/" a4"data" 90`, `refused: invalid payload`},
		{`83 a4"type"04 a3"nsp"a1"/" a4"data" 01`, `refused: invalid payload`},
		{`83 a4"type"04 a3"nsp"a1"/" a4"data" ff`, `refused: invalid payload`},
		{`83 a4"type"01 a3"nsp"a1"/" a4"data" 80`, `refused: invalid payload`},
		{`83 a4"type"03 a3"nsp"a1"/" a4"data" a1"x"`, `refused: invalid payload`},
		{`84` + data + `91 a1"e" a2"id" c0`, `refused: invalid acknowledgement id`},
		{`84` + data + `91 a1"e" a2"id" cb3ff8000000000000`, `refused: invalid acknowledgement id`},
		{`83` + data + `91 a1"e" 00`, `refused: invalid MessagePack`}, // trailing bytes
		{arg(`c1`), `refused: invalid MessagePack`},

		// Only this package refuses these. The reference has no placeholders in this format,
		// accepts any count, and checks neither names nor extensions.
		{`83` + data + `93 a1"e" 82 ac"_placeholder" c3 a3"num" 00 c40101`, `refused: illegal attachment placeholder`},
		{`83` + data + `93 a1"e" c40101 82 ac"_placeholder" c3 a3"num" 05`, `refused: illegal attachment placeholder`},
		{`83` + data + `93 a1"e" c40101 81 ac"_placeholder" c3`, `refused: illegal attachment placeholder`},
		{`82 a4"type"00 a3"nsp"a0`, `refused: invalid namespace`},
		{`82 a4"type"00 a3"nsp"a1"x"`, `refused: invalid namespace`},
		{`82 a4"type"00 a3"nsp"a3"/,x"`, `refused: invalid namespace`},
		{`82 a4"type"00 a3"nsp"a2"/"ff`, `refused: invalid namespace`},
		{`83 a4"type"00 a3"nsp"a1"/" a4"type"00`, `refused: invalid MessagePack`},
		{`84` + data + `91 a1"e" a4"data" 91 a1"e"`, `refused: invalid MessagePack`},
		{`84` + data + `91 a1"e" a2"id" ff`, `refused: invalid acknowledgement id`},
		{`84` + data + `91 a1"e" a2"id" cf0020000000000000`, `refused: invalid acknowledgement id`},
		{`83` + data + `90`, `refused: invalid event name`},
		{`83` + data + `91 c0`, `refused: invalid event name`},
		{`83` + data + `91 c40101`, `refused: invalid event name`},
		{`83` + data + `91 a7"connect"`, `refused: reserved event name`},
		{`83` + data + `91 aa"disconnect"`, `refused: reserved event name`},
		{`83 a4"type"00 a3"nsp"a1"/" a4"data" 81 a1"x" c40101`, `refused: invalid payload`},
		{arg(`81 01 02`), `refused: invalid MessagePack`}, // a key that is not a string
		{arg(`d50000ff`), `refused: invalid MessagePack`}, // unknown extensions
		{arg(`d40101`), `refused: invalid MessagePack`},   //
		{arg(`d8ff` + strings.Repeat("00", 16)), `refused: invalid MessagePack`},
		{arg(`c701ff00`), `refused: invalid MessagePack`},
		{arg(`d7ffffffffff00000000`), `refused: invalid MessagePack`}, // 1,073,741,823 ns

		// Counts and lengths beyond the message.
		{`8f`, `refused: invalid MessagePack`},
		{`dfffffffff`, `refused: invalid MessagePack`},
		{`de00`, `refused: invalid MessagePack`},
		{arg(`9f`), `refused: invalid MessagePack`},
		{arg(`ddffffffff 00`), `refused: invalid MessagePack`},
		{arg(`dfffffffff 00`), `refused: invalid MessagePack`},
		{arg(`dbffffffff 00`), `refused: invalid MessagePack`},
		{arg(`c6ffffffff 00`), `refused: invalid MessagePack`},
		{arg(`c9ffffffff00 00`), `refused: invalid MessagePack`},
		{arg(`c6ffff`), `refused: invalid MessagePack`},
		{arg(`d800`), `refused: invalid MessagePack`},
		{arg(`bf`), `refused: invalid MessagePack`},
	}
	for _, test := range tests {
		if got := binary(t, sio.Msgpack.NewDecoder(nil), unhex(t, test.message)); got != test.want {
			t.Errorf("%s\n got %s\nwant %s", test.message, got, test.want)
		}
	}
	if got := feed(t, sio.Msgpack.NewDecoder(nil), `2["a"]`); got != "refused: unexpected text message" {
		t.Error("text:", got)
	}
}

// Every prefix is refused, and every changed byte is survived.
func TestMsgpackEveryByte(t *testing.T) {
	message := unhex(t, `84`+data+`96 a1"e" 82 a1"k" c403010203 a1"l" cb3ff8000000000000 d9024142 d700000000000000007b c7010001 d18000 a2"id" 0c`)
	d := sio.Msgpack.NewDecoder(nil)
	if got := binary(t, d, message); !strings.HasPrefix(got, "EVENT") {
		t.Fatal(got)
	}
	for i := range message {
		if got := binary(t, d, message[:i]); !strings.HasPrefix(got, "refused") {
			t.Errorf("%d bytes: %s", i, got)
		}
		for c := range 256 {
			b := bytes.Clone(message)
			b[i] = byte(c)
			binary(t, d, b)
		}
	}
}

func TestMsgpackLimits(t *testing.T) {
	head := unhex(t, `83`+data)
	nested := func(n int) []byte {
		b := append(bytes.Clone(head), 0x92, 0xa1, 'e')
		b = append(b, bytes.Repeat([]byte{0x91}, n-2)...)
		return append(b, 0x90)
	}
	attached := func(n int) []byte {
		b := append(bytes.Clone(head), 0xdc, 0, byte(n+1), 0xa1, 'e')
		return append(b, bytes.Repeat([]byte{0xc4, 2, 1, 2}, n)...)
	}
	tests := []struct {
		why     string
		limits  sio.Limits
		message []byte
		want    string
	}{
		{"deep by default", sio.Limits{}, nested(64), "EVENT"},
		{"too deep by default", sio.Limits{}, nested(65), "refused: payload nested too deeply"},
		{"deepest", sio.Limits{MaxDepth: -1}, nested(10_000), "EVENT"},
		{"deeper than deepest", sio.Limits{MaxDepth: -1}, nested(10_001), "refused: payload nested too deeply"},
		{"a million levels", sio.Limits{MaxDepth: -1}, nested(1_000_000), "refused: payload nested too deeply"},
		{"too deep in what is ignored", sio.Limits{}, unhex(t, `81 a1"x"`+strings.Repeat("91", 65)+"00"), "refused: payload nested too deeply"},
		{"ten by default", sio.Limits{}, attached(10), "EVENT"},
		{"eleven by default", sio.Limits{}, attached(11), "refused: too many attachments"},
		{"any number", sio.Limits{MaxAttachments: -1}, attached(200), "EVENT"},
		{"sizes add up to the limit", sio.Limits{MaxAttachmentBytes: 20}, attached(10), "EVENT"},
		{"sizes add up to more", sio.Limits{MaxAttachmentBytes: 19}, attached(10), "refused: attachments too large"},
	}
	for _, test := range tests {
		if got := binary(t, sio.Msgpack.NewDecoder(&test.limits), test.message); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: got %.80s, want %s", test.why, got, test.want)
		}
	}
}

// A length beyond the message must not be allocated.
func TestMsgpackBombs(t *testing.T) {
	d := sio.Msgpack.NewDecoder(&sio.Limits{MaxAttachments: -1, MaxAttachmentBytes: -1, MaxDepth: -1})
	for _, bomb := range []string{`ddffffffff`, `dfffffffff`, `dbffffffff`, `c6ffffffff`, `c9ffffffff00`} {
		message := unhex(t, `83`+data+`92 a1"e" `+bomb)
		const runs = 100
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			if _, _, err := d.Binary(message); err == nil {
				t.Errorf("%s: accepted", bomb)
			}
		}
		runtime.ReadMemStats(&after)
		if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > 1024 {
			t.Errorf("%s: %d bytes allocated", bomb, got)
		}
	}
}

// The bytes that socket.io-msgpack-parser 3.0.2 writes, except for the order of the packet's
// members.
func TestMsgpackEncode(t *testing.T) {
	attachments := [][]byte{{1}, bytes.Repeat([]byte{2}, 256)}
	tests := []struct {
		p    sio.Packet
		want string
	}{
		{sio.Packet{Type: sio.Connect, ID: -1}, `82 a4"type"00 a3"nsp"a1"/"`},
		{sio.Packet{Type: sio.Connect, Namespace: "/adm", ID: -1, Data: []byte(`{"sid":"x"}`)}, `83 a4"type"00 a3"nsp"a4"/adm" a4"data" 81 a3"sid" a1"x"`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: 12, Data: []byte(`["e"]`)}, `84` + data + `91 a1"e" a2"id" 0c`},
		{sio.Packet{Type: sio.Ack, Namespace: "/", ID: 0}, `84 a4"type"03 a3"nsp"a1"/" a4"data" 90 a2"id" 00`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: []byte(` [ "e" , [ ] , { } , [ 1 , [ 2 ] ] , { "a" : { "b" : [ null , true , false ] } , "c" : 1 } ] `)},
			`83` + data + `95 a1"e" 90 80 92 01 91 02 82 a1"a" 81 a1"b" 93 c0 c3 c2 a1"c" 01`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: []byte(`["e","\"\u0041\ud83d\ude00"]`)}, `83` + data + `92 a1"e" a6 22 41 f09f9880`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1,
			Data: []byte(`[0,127,128,255,256,65535,65536,4294967295,4294967296,-1,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649]`)},
			`83` + data + `dc0012 00 7f cc80 ccff cd0100 cdffff ce00010000 ceffffffff cf0000000100000000` +
				`ff e0 d0df d080 d1ff7f d18000 d2ffff7fff d280000000 d3ffffffff7fffffff`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: []byte(`[1,1.5,-0,-0.0,1e2,1.0,18446744073709551615,-9223372036854775808,1e999]`)},
			`83` + data + `99 01 cb3ff8000000000000 00 00 64 01 cfffffffffffffffff d38000000000000000 cb7ff0000000000000`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Attachments: attachments,
			Data: []byte(`["e",{"_placeholder":true,"num":1},{"a":[{ "num" : 0 , "_placeholder" : true }, [1]]}]`)},
			`83` + data + `93 a1"e" c50100` + strings.Repeat("02", 256) + ` 81 a1"a" 92 c40101 91 01`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: []byte(`["e",{"_placeholder":true,"num":1}]`)},
			`83` + data + `92 a1"e" 82 ac"_placeholder" c3 a3"num" 01`},
	}
	for _, test := range tests {
		got, err := sio.Msgpack.Append([]byte("kept:"), &test.p)
		if want := append([]byte("kept:"), unhex(t, test.want)...); !bytes.Equal(got, want) || err != nil {
			t.Errorf("%s\n got %x, %v\nwant %x", describe(test.p), got, err, want)
		}
	}
	if !sio.Msgpack.Binary() {
		t.Error("the MessagePack parser makes binary messages")
	}
}

func TestMsgpackEncodeErrors(t *testing.T) {
	for _, p := range []sio.Packet{
		{},
		{Data: []byte(`[`)},
		{Data: []byte(strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001))},
		{Data: []byte(`["e"]`), Attachments: [][]byte{{1}}},
		{Data: []byte(`["e",{"_placeholder":true,"num":1}]`), Attachments: [][]byte{{1}}},
		{Data: []byte(`["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}},
	} {
		p.Type, p.Namespace, p.ID = sio.Event, "/", -1
		got, err := sio.Msgpack.Append([]byte("kept:"), &p)
		if err == nil || string(got) != "kept:" {
			t.Errorf("%.80s: got %x, %v", p.Data, got, err)
		}
	}
}

func TestMsgpackLinearTime(t *testing.T) {
	tests := []struct {
		name    string
		n       int
		payload func(n int) string
	}{
		// The depth is limited, so each level is long.
		{"nested lists", 9_000, func(n int) string {
			return strings.Repeat("["+strings.Repeat("0,", 2000/slowness), n) + "0" + strings.Repeat("]", n)
		}},
		{"nested objects", 9_000, func(n int) string {
			return strings.Repeat("{"+strings.Repeat(`"a":1,`, 700/slowness)+`"b":`, n) + "0" + strings.Repeat("}", n)
		}},
		{"elements", 4 << 20 / slowness, func(n int) string { return "[0" + strings.Repeat(",0", n) + "]" }},
		{"escapes", 4 << 20 / slowness, func(n int) string { return `["` + strings.Repeat(`\u0001`, n) + `"]` }},
	}
	for _, test := range tests {
		wantLinear(t, test.name, test.n, test.payload, func(data []byte) {
			transfer(t, sio.Msgpack, sio.Packet{Type: sio.ConnectError, Namespace: "/", ID: -1, Data: data})
		})
	}
}
