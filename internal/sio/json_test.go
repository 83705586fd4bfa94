package sio_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sio"
)

// describe writes a packet on one line and leaves out absent parts.
func describe(p sio.Packet) string {
	names := []string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR"}
	s := names[p.Type] + " " + p.Namespace
	if p.ID >= 0 {
		s += fmt.Sprint(" #", p.ID)
	}
	if p.Data != nil {
		s += " " + string(p.Data)
	}
	for _, a := range p.Attachments {
		s += fmt.Sprintf(" <%x>", a)
	}
	return s
}

// feed gives messages to a decoder ("b:" and text stand for a binary one) and describes the outcome
// of the last: a packet, "waiting" or "refused: <reason>".
func feed(t *testing.T, d sio.Decoder, messages ...string) string {
	t.Helper()
	for i, m := range messages {
		var p sio.Packet
		var ok bool
		var err error
		if b, binary := strings.CutPrefix(m, "b:"); binary {
			p, ok, err = d.Binary([]byte(b))
		} else {
			p, ok, err = d.Text([]byte(m))
		}
		if err != nil {
			var fault *sio.Error
			if !errors.As(err, &fault) {
				t.Fatalf("%q: the error is %T, want *sio.Error", m, err)
			}
			if ok {
				t.Fatalf("%q: both a packet and an error", m)
			}
			return "refused: " + fault.Reason
		}
		if i == len(messages)-1 {
			if ok {
				return describe(p)
			}
			if !d.Waiting() {
				t.Fatalf("%q: no packet, and none awaited", m)
			}
		}
	}
	return "waiting"
}

// The expected results were recorded by running socket.io-parser 4.2.7 under Node 20.
func TestJSONDecodeAgreesWithReference(t *testing.T) {
	tests := []struct{ messages, want string }{
		// Connect.
		{`0`, `CONNECT /`},
		{`0{}`, `CONNECT / {}`},
		{`0{"a":1}`, `CONNECT / {"a":1}`},
		{`0/adm`, `CONNECT /adm`},
		{`0/adm,`, `CONNECT /adm`},
		{`0/adm,{}`, `CONNECT /adm {}`},
		{`0/adm?x=1,{}`, `CONNECT /adm?x=1 {}`},
		{`05`, `CONNECT / #5`},
		{`05{}`, `CONNECT / #5 {}`},
		{`0[]`, `refused: invalid payload`},
		{`0null`, `refused: invalid payload`},
		{`0"x"`, `refused: invalid payload`},
		{`0false`, `refused: invalid payload`},
		{`0{"a":01}`, `refused: invalid payload`},

		// Disconnect.
		{`1`, `DISCONNECT /`},
		{`1/adm`, `DISCONNECT /adm`},
		{`1/adm,`, `DISCONNECT /adm`},
		{`12`, `DISCONNECT / #2`},
		{`1{}`, `refused: invalid payload`},

		// Event.
		{`2["a"]`, `EVENT / ["a"]`},
		{`2[1]`, `EVENT / [1]`},
		{`2[-0]`, `EVENT / [-0]`},
		{`2[1.5,2]`, `EVENT / [1.5,2]`},
		{`2[""]`, `EVENT / [""]`},
		{`2["__proto__"]`, `EVENT / ["__proto__"]`},
		{`2["a",{"__proto__":1}]`, `EVENT / ["a",{"__proto__":1}]`},
		{`2["a",1e999]`, `EVENT / ["a",1e999]`},
		{`2["a","\ud800"]`, `EVENT / ["a","\ud800"]`},
		{`2["a"] `, `EVENT / ["a"] `},
		{`2`, `EVENT /`},
		{`21`, `EVENT / #1`},
		{`2/adm`, `EVENT /adm`},
		{`2/adm,`, `EVENT /adm`},
		{`2/adm,1`, `EVENT /adm #1`},
		{`2/adm,1["a"]`, `EVENT /adm #1 ["a"]`},
		{`2/,["a"]`, `EVENT / ["a"]`},
		{`2/a?b,["a"]`, `EVENT /a?b ["a"]`},
		{`2/["a"]`, `EVENT /["a"]`}, // the whole text is the namespace
		{`212["a"]`, `EVENT / #12 ["a"]`},
		{`20["a"]`, `EVENT / #0 ["a"]`},
		{`200012["a"]`, `EVENT / #12 ["a"]`},
		{`29007199254740991["a"]`, `EVENT / #9007199254740991 ["a"]`},
		{`2[]`, `refused: invalid event name`},
		{`2[null]`, `refused: invalid event name`},
		{`2[true]`, `refused: invalid event name`},
		{`2[["a"]]`, `refused: invalid event name`},
		{`2[{"_placeholder":true,"num":0}]`, `refused: invalid event name`},
		{`2["connect"]`, `refused: reserved event name`},
		{`2[ "connect" ]`, `refused: reserved event name`},
		{`2["c\u006fnnect"]`, `refused: reserved event name`},
		{`2["\u0063\u006f\u006e\u006e\u0065\u0063\u0074"]`, `refused: reserved event name`},
		{`2["connect_error"]`, `refused: reserved event name`},
		{`2["disconnect"]`, `refused: reserved event name`},
		{`2["disconnecting"]`, `refused: reserved event name`},
		{`2["newListener"]`, `refused: reserved event name`},
		{`2["removeListener"]`, `refused: reserved event name`},
		{`2["Connect"]`, `EVENT / ["Connect"]`},
		{`2["connect\u0000"]`, `EVENT / ["connect\u0000"]`},
		{`2{}`, `refused: invalid payload`},
		{`2"a"`, `refused: invalid payload`},
		{`2null`, `refused: invalid payload`},
		{`2false`, `refused: invalid payload`},
		{`2["a"`, `refused: invalid payload`},
		{`2["a"]x`, `refused: invalid payload`},
		{"2[\"\t\"]", `refused: invalid payload`},
		{`2[01]`, `refused: invalid payload`},
		{`2-1["a"]`, `refused: invalid payload`},
		{`21.5["a"]`, `refused: invalid payload`},
		{`251-["a"]`, `refused: invalid payload`},

		// Ack.
		{`3`, `ACK /`},
		{`31`, `ACK / #1`},
		{`3[]`, `ACK / []`},
		{`31[]`, `ACK / #1 []`},
		{`31["connect",null]`, `ACK / #1 ["connect",null]`},
		{`3{}`, `refused: invalid payload`},

		// ConnectError.
		{`4`, `CONNECT_ERROR /`},
		{`44`, `CONNECT_ERROR / #4`},
		{`4"x"`, `CONNECT_ERROR / "x"`},
		{`4/mw,{"message":"no"}`, `CONNECT_ERROR /mw {"message":"no"}`},
		{`450-`, `refused: invalid payload`},
		{`4-1`, `refused: invalid payload`},

		// Attachments.
		{`51-["a",{"_placeholder":true,"num":0}]`, `waiting`},
		{`51-["a",{"_placeholder":true,"num":0}]|b:x`, `EVENT / ["a",{"_placeholder":true,"num":0}] <78>`},
		{`51-["a",{"_placeholder":true,"num":0}]|b:`, `EVENT / ["a",{"_placeholder":true,"num":0}] <>`},
		{`51-["a",{"num":0,"_placeholder":true}]|b:x`, `EVENT / ["a",{"num":0,"_placeholder":true}] <78>`},
		{`51-["a", { "_placeholder" : true , "num" : 0 } ]|b:x`, `EVENT / ["a", { "_placeholder" : true , "num" : 0 } ] <78>`},
		{`51-["a",{"\u005fplaceholder":true,"n\u0075m":0}]|b:x`, `EVENT / ["a",{"\u005fplaceholder":true,"n\u0075m":0}] <78>`},
		{`52-["a",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]]|b:x|b:y`, `EVENT / ["a",{"_placeholder":true,"num":1},[{"_placeholder":true,"num":0}]] <78> <79>`},
		{`51-["a",{"_placeholder":true,"num":0},{"_placeholder":false,"num":9}]|b:x`, `EVENT / ["a",{"_placeholder":true,"num":0},{"_placeholder":false,"num":9}] <78>`},
		{`51-["a",{"_placeholder":true,"num":0},{"_placeholder":1}]|b:x`, `EVENT / ["a",{"_placeholder":true,"num":0},{"_placeholder":1}] <78>`},
		{`51-["a",{"_placeholder":true,"num":0},"_placeholder"]|b:x`, `EVENT / ["a",{"_placeholder":true,"num":0},"_placeholder"] <78>`},
		{`51-/adm,7["a",{"_placeholder":true,"num":0}]|b:x`, `EVENT /adm #7 ["a",{"_placeholder":true,"num":0}] <78>`},
		{`61-1[{"_placeholder":true,"num":0}]|b:x`, `ACK / #1 [{"_placeholder":true,"num":0}] <78>`},
		{`501-["a",{"_placeholder":true,"num":0}]|b:x`, `EVENT / ["a",{"_placeholder":true,"num":0}] <78>`},
		{`2["a",{"_placeholder":true,"num":0}]`, `EVENT / ["a",{"_placeholder":true,"num":0}]`}, // ordinary data
		{`2["a",{"_placeholder":true,"num":"x"}]`, `EVENT / ["a",{"_placeholder":true,"num":"x"}]`},
		{`5`, `refused: illegal attachment count`},
		{`5["a"]`, `refused: illegal attachment count`},
		{`5-["a"]`, `refused: illegal attachment count`},
		{`51["a"]`, `refused: illegal attachment count`},
		{`5-1-["a"]`, `refused: illegal attachment count`},
		{`51.5-["a"]`, `refused: illegal attachment count`},
		{`50-["a"]`, `refused: illegal attachment count`},
		{`50-[]`, `refused: illegal attachment count`},
		{`60-[]`, `refused: illegal attachment count`},
		{`511-["a"]`, `refused: too many attachments`},
		{`5011-["a"]`, `refused: too many attachments`},
		{`5123456789012345678901234567890-["a"]`, `refused: too many attachments`},
		{`51-[{"_placeholder":true,"num":0}]|b:x`, `refused: invalid event name`},
		{`51-["connect",{"_placeholder":true,"num":0}]`, `refused: reserved event name`},
		{`51-["a",{"_placeholder":true,"num":1}]|b:x`, `refused: illegal attachment placeholder`},
		{`51-["a",{"_placeholder":true,"num":-1}]|b:x`, `refused: illegal attachment placeholder`},
		{`51-["a",{"_placeholder":true,"num":"0"}]|b:x`, `refused: illegal attachment placeholder`},
		{`51-["a",{"_placeholder":true,"num":1e0}]|b:x`, `refused: illegal attachment placeholder`},
		{`51-["a",{"_placeholder":true,"num":99999999999999999999}]|b:x`, `refused: illegal attachment placeholder`},
		{`51-["a",{"_placeholder":true}]|b:x`, `refused: illegal attachment placeholder`},
		{`51-["a",{"_placeholder":true,"num":null}]|b:x`, `refused: illegal attachment placeholder`},
		{`51-["a",{"_placeholder":true,"num":0}]|2["b"]`, `refused: text while attachments are awaited`},
		{`2["a"]|b:x`, `refused: unexpected binary message`},
		{`b:x`, `refused: unexpected binary message`},

		{`7`, `refused: unknown packet type`},
		{`9`, `refused: unknown packet type`},
		{`x`, `refused: unknown packet type`},
	}
	for _, test := range tests {
		got := feed(t, sio.JSON.NewDecoder(nil), strings.Split(test.messages, "|")...)
		if got != test.want {
			t.Errorf("%s\n got %s\nwant %s", test.messages, got, test.want)
		}
	}
}

// Input that the reference accepts and this package refuses. No known encoder produces any of it.
// why says what would go wrong.
func TestJSONDecodeStricterThanReference(t *testing.T) {
	const x = `{"_placeholder":true,"num":0}`
	tests := []struct{ messages, want, reference, why string }{
		{``, `empty message`, `CONNECT /`, `Number("") is 0`},
		{` /adm`, `unknown packet type`, `CONNECT /adm`, `Number(" ") is 0`},
		{`1 `, `invalid payload`, `DISCONNECT / #0`, `Number(" ") is 0`},
		{`2 ["a"]`, `invalid payload`, `EVENT / #0 ["a"]`, `Number(" ") is 0`},
		{`2 1["a"]`, `invalid payload`, `EVENT / #1 ["a"]`, `Number(" 1") is 1`},
		{`21 ["a"]`, `invalid payload`, `EVENT / #1 ["a"]`, `Number("1 ") is 1`},
		{"2\t[\"a\"]", `invalid payload`, `EVENT / #0 ["a"]`, `Number("\t") is 0`},
		{`29007199254740993["a"]`, `invalid acknowledgement id`, `EVENT / #9007199254740992 ["a"]`, `the answer would have another id`},
		{`2123456789012345678901234567890["a"]`, `invalid acknowledgement id`, `EVENT / #1.2345678901234568e+29 ["a"]`, `no integer of ours`},
		{`5 1-["a",` + x + `]|b:x`, `illegal attachment count`, `EVENT`, `Number(" 1") is 1`},
		{`5+1-["a",` + x + `]|b:x`, `illegal attachment count`, `EVENT`, `Number("+1") is 1`},
		{`51e0-["a",` + x + `]|b:x`, `illegal attachment count`, `EVENT`, `Number("1e0") is 1`},
		{`50x1-["a",` + x + `]|b:x`, `illegal attachment count`, `EVENT`, `Number("0x1") is 1`},
		{`51.0-["a",` + x + `]|b:x`, `illegal attachment count`, `EVENT`, `Number("1.0") is 1`},
		{`51-`, `illegal attachment placeholder`, `waiting`, `nothing refers to the attachment`},
		{`61-`, `illegal attachment placeholder`, `waiting`, `nothing refers to the attachment`},
		{`51-/adm`, `illegal attachment placeholder`, `waiting`, `nothing refers to the attachment`},
		{`51-["a"]`, `illegal attachment placeholder`, `waiting`, `nothing refers to the attachment`},
		{`510-["a"]`, `illegal attachment placeholder`, `waiting`, `nothing refers to the attachments`},
		{`52-["a",` + x + `,"long enough for two placeholders"]`, `illegal attachment placeholder`, `waiting`, `nothing refers to one attachment`},
		{`51-["a",` + x + `,` + x + `]`, `illegal attachment placeholder`, `waiting`, `copies multiply when binary is written inline`},
		{`51-["a",{"_placeholder":true,"num":0.5}]`, `illegal attachment placeholder`, `waiting`, `becomes undefined`},
		{`51-["a",{"_placeholder":true,"num":0.0}]`, `illegal attachment placeholder`, `waiting`, `integers have one spelling`},
		{`51-["a",{"_placeholder":true,"num":0,"x":1}]`, `illegal attachment placeholder`, `waiting`, `x would be lost`},
		{`51-["a",{"x":[{}],"_placeholder":true,"num":0}]`, `illegal attachment placeholder`, `waiting`, `x would be lost`},
		{`51-["a",{"_placeholder":true,"_placeholder":false,"num":7}]`, `illegal attachment placeholder`, `waiting`, `parsers disagree on duplicates`},
		{`51-["a",{"_placeholder":true,"num":7,"num":0}]`, `illegal attachment placeholder`, `waiting`, `parsers disagree on duplicates`},
		{"2[\"a\",\"\xff\"]", `invalid payload`, `U+FFFD`, `not UTF-8: a WebSocket peer it is sent on to would close`},
		{"2/\xff,[\"a\"]", `invalid namespace`, `U+FFFD`, `not UTF-8`},
		{`2["a",` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `]`, `payload nested too deeply`, `EVENT`, `handlers may recurse`},
	}
	for _, test := range tests {
		got := feed(t, sio.JSON.NewDecoder(nil), strings.Split(test.messages, "|")...)
		if got != "refused: "+test.want {
			t.Errorf("%s (%s)\n got %s\nwant %s, where the reference has %s", test.messages, test.why, got, test.want, test.reference)
		}
	}
}

// Input that the reference refuses and this package accepts.
func TestJSONDecodeLaxerThanReference(t *testing.T) {
	// A server of revision 4 sends any value as the reason of a refusal.
	for _, m := range []string{`4[]`, `4null`, `4/mw,true`} {
		want := "CONNECT_ERROR"
		if got := feed(t, sio.JSON.NewDecoder(nil), m); !strings.HasPrefix(got, want) {
			t.Errorf("%s\n got %s\nwant %s", m, got, want)
		}
	}
}

func TestJSONLimits(t *testing.T) {
	const two = `52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`
	nested := func(n int) string { return `2["a",` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `]` }
	many := func(n int) string {
		s := fmt.Sprintf(`5%d-["a"`, n)
		for i := range n {
			s += fmt.Sprintf(`,{"_placeholder":true,"num":%d}`, n-1-i)
		}
		return s + "]"
	}
	tests := []struct {
		why      string
		limits   sio.Limits
		messages []string
		want     string
	}{
		{"the count is at the limit", sio.Limits{MaxAttachments: 2}, []string{two}, "waiting"},
		{"the count is over the limit", sio.Limits{MaxAttachments: 1}, []string{two}, "refused: too many attachments"},
		{"ten by default", sio.Limits{}, []string{many(10)}, "waiting"},
		{"no limit", sio.Limits{MaxAttachments: -1}, []string{many(200)}, "waiting"},
		{"no limit, but no placeholders", sio.Limits{MaxAttachments: -1}, []string{`52147483647-["a"]`}, "refused: illegal attachment placeholder"},
		{"no limit, but a limit", sio.Limits{MaxAttachments: -1}, []string{`52147483648-["a"]`}, "refused: too many attachments"},
		{"sizes add up to the limit", sio.Limits{MaxAttachmentBytes: 4}, []string{two, "b:xx", "b:yy"}, `EVENT / ["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}] <7878> <7979>`},
		{"sizes add up to more", sio.Limits{MaxAttachmentBytes: 4}, []string{two, "b:xxx", "b:yy"}, "refused: attachments too large"},
		{"the first is too large", sio.Limits{MaxAttachmentBytes: 4}, []string{two, "b:xxxxx"}, "refused: attachments too large"},
		{"any size", sio.Limits{MaxAttachmentBytes: -1}, []string{two, "b:" + strings.Repeat("x", 17<<20)}, "waiting"},
		{"over 16 MiB by default", sio.Limits{}, []string{two, "b:" + strings.Repeat("x", 17<<20)}, "refused: attachments too large"},
		{"deep by default", sio.Limits{}, []string{nested(64)}, "EVENT / " + nested(64)[1:]},
		{"too deep by default", sio.Limits{}, []string{nested(65)}, "refused: payload nested too deeply"},
		{"deep", sio.Limits{MaxDepth: 300}, []string{nested(300)}, "EVENT / " + nested(300)[1:]},
		{"too deep", sio.Limits{MaxDepth: 300}, []string{nested(301)}, "refused: payload nested too deeply"},
		{"deepest", sio.Limits{MaxDepth: -1}, []string{nested(10_000)}, "EVENT / " + nested(10_000)[1:]},
		{"deeper than deepest", sio.Limits{MaxDepth: 1 << 30}, []string{nested(10_001)}, "refused: payload nested too deeply"},
	}
	for _, test := range tests {
		if got := feed(t, sio.JSON.NewDecoder(&test.limits), test.messages...); got != test.want {
			t.Errorf("%s: got %.80s, want %.80s", test.why, got, test.want)
		}
	}
}

// A decoder handles one packet after another, and keeps copies of what it needs.
func TestJSONDecoderKeepsNothing(t *testing.T) {
	d := sio.JSON.NewDecoder(nil)
	text := []byte(`51-/adm,["a",{"_placeholder":true,"num":0}]`)
	binary := []byte("first")
	if _, ok, err := d.Text(text); ok || err != nil || !d.Waiting() {
		t.Fatal("not waiting:", ok, err)
	}
	clear(text)
	first, ok, err := d.Binary(binary)
	if !ok || err != nil || d.Waiting() {
		t.Fatal("no packet:", ok, err)
	}
	clear(binary)
	if got := feed(t, d, `51-/other,["b",{"_placeholder":true,"num":0}]`, "b:second"); got != `EVENT /other ["b",{"_placeholder":true,"num":0}] <7365636f6e64>` {
		t.Error("second packet:", got)
	}
	if got := describe(first); got != `EVENT /adm ["a",{"_placeholder":true,"num":0}] <6669727374>` {
		t.Error("first packet changed:", got)
	}
}

func TestJSONEncode(t *testing.T) {
	tests := []struct {
		p    sio.Packet
		want string
	}{
		{sio.Packet{Type: sio.Connect, Namespace: "/", ID: -1}, `0`},
		{sio.Packet{Type: sio.Connect, ID: -1, Data: []byte(`{"sid":"x"}`)}, `0{"sid":"x"}`},
		{sio.Packet{Type: sio.Connect, Namespace: "/adm", ID: -1}, `0/adm,`},
		{sio.Packet{Type: sio.Disconnect, Namespace: "/adm", ID: -1}, `1/adm,`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: 0, Data: []byte(`["a"]`)}, `20["a"]`},
		{sio.Packet{Type: sio.Event, Namespace: "/adm", ID: 12, Data: []byte(`["a"]`)}, `2/adm,12["a"]`},
		{sio.Packet{Type: sio.Ack, Namespace: "/", ID: sio.MaxID, Data: []byte(`[]`)}, `39007199254740991[]`},
		{sio.Packet{Type: sio.ConnectError, Namespace: "/mw", ID: -1, Data: []byte(`{"message":"no"}`)}, `4/mw,{"message":"no"}`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: []byte(`["a",{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}}, `51-["a",{"_placeholder":true,"num":0}]`},
		{sio.Packet{Type: sio.Ack, Namespace: "/adm", ID: 3, Data: []byte(`[{"_placeholder":true,"num":0}]`), Attachments: [][]byte{{1}}}, `61-/adm,3[{"_placeholder":true,"num":0}]`},
		{sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: []byte(`["a"]`), Attachments: [][]byte{}}, `2["a"]`},
	}
	for _, test := range tests {
		got, err := sio.JSON.Append([]byte("kept:"), &test.p)
		if string(got) != "kept:"+test.want || err != nil {
			t.Errorf("%+v\n got %s, %v\nwant %s", test.p, got, err, test.want)
		}
	}
	if sio.JSON.Binary() {
		t.Error("the JSON parser makes text messages")
	}
}

func TestEncodeErrors(t *testing.T) {
	for _, parser := range []sio.Parser{sio.JSON, sio.Msgpack} {
		for _, p := range []sio.Packet{
			{Type: sio.BinaryEvent, Namespace: "/", ID: -1},
			{Type: 9, Namespace: "/", ID: -1},
			{Type: sio.Connect, Namespace: "/", ID: -1, Attachments: [][]byte{{1}}},
			{Type: sio.Event, Namespace: "adm", ID: -1, Data: []byte(`["a"]`)},
			{Type: sio.Event, Namespace: "/a,b", ID: -1, Data: []byte(`["a"]`)},
			{Type: sio.Event, Namespace: "/", ID: sio.MaxID + 1, Data: []byte(`["a"]`)},
			{Type: sio.ConnectError, Namespace: "/", ID: -1, Data: []byte(`12`)},
		} {
			got, err := parser.Append([]byte("kept:"), &p)
			var fault *sio.Error
			if err == nil || errors.As(err, &fault) || string(got) != "kept:" {
				t.Errorf("%T, %+v: got %q, %v", parser, p, got, err)
			}
		}
	}
}
