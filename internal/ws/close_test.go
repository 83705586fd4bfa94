package ws_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/ws"
)

func closeBody(code int, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(code))) + reason
}

func TestCloseFrames(t *testing.T) {
	tests := []struct {
		name    string
		payload string
		code    int // of our answer; 0 for none
	}{
		{"no payload", "", 0},
		{"one byte", "\x03", 1002},
		{"code only", closeBody(1000, ""), 0},
		{"reason", closeBody(1001, "going away"), 0},
		{"longest reason", closeBody(1000, strings.Repeat("x", 123)), 0},
		{"reason in UTF-8", closeBody(4000, "κόσμε"), 0},
		{"reason not UTF-8", closeBody(1000, "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"), 1007},
		{"reason cut within a rune", closeBody(1000, "\xe2\x82"), 1007},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			splits(masked(fin|cls, test.payload), func(how string, pieces ...[]byte) {
				got, err := feed(nil, ws.Server, nil, pieces...)
				wantCode(t, err, test.code)
				if test.code == 0 {
					wantEvents(t, got, event(ws.OpClose, test.payload))
				}
			})
		})
	}
}

// The test tries every code (RFC 6455, 7.4).
func TestCloseCodes(t *testing.T) {
	valid := map[int]bool{}
	for _, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014} {
		valid[code] = true
	}
	for code := 3000; code <= 4999; code++ {
		valid[code] = true
	}
	for code := range 1 << 16 {
		if ws.ValidCloseCode(code) != valid[code] {
			t.Errorf("ValidCloseCode(%d) = %v", code, !valid[code])
		}
		_, err := feed(nil, ws.Server, nil, masked(fin|cls, closeBody(code, "")))
		want := ws.CloseProtocolError
		if valid[code] {
			want = 0
		}
		wantCode(t, err, want)
	}
}

func TestParseClose(t *testing.T) {
	if code, reason := ws.ParseClose(nil); code != ws.CloseNoStatus || reason != "" {
		t.Errorf("empty payload: %d %q", code, reason)
	}
	if code, reason := ws.ParseClose([]byte(closeBody(4321, "why"))); code != 4321 || reason != "why" {
		t.Errorf("got %d %q", code, reason)
	}
}

func TestAppendClose(t *testing.T) {
	long := strings.Repeat("x", 122)
	tests := []struct {
		code         int
		reason, want string
	}{
		{1000, "", closeBody(1000, "")},
		{1011, "broken", closeBody(1011, "broken")},
		{ws.CloseNoStatus, "not sent", ""},
		{1000, long + "xyz", closeBody(1000, long+"x")},
		{1000, long + "é", closeBody(1000, long)},
		{1000, long[:121] + "é", closeBody(1000, long[:121]+"é")},
		{1000, long[:120] + "😀", closeBody(1000, long[:120])},
		{1000, "\xff!", closeBody(1000, "\uFFFD!")},
		{1000, strings.Repeat("\xff", 200), closeBody(1000, "\uFFFD")},
	}
	for _, test := range tests {
		if got, want := string(ws.AppendClose([]byte("dst"), ws.Server, test.code, test.reason)), "dst"+string(plain(fin|cls, test.want)); got != want {
			t.Errorf("%d %q: got %q, want %q", test.code, test.reason, got, want)
		}
		if !utf8.ValidString(test.want[min(2, len(test.want)):]) {
			t.Errorf("the test expects a reason that is not valid UTF-8")
		}
		got, err := feed(nil, ws.Server, nil, ws.AppendClose(nil, ws.Client, test.code, test.reason))
		wantCode(t, err, 0)
		wantEvents(t, got, event(ws.OpClose, test.want))
	}
}

func TestAppendCloseRefusesCodes(t *testing.T) {
	for _, code := range []int{-1, 0, 999, 1004, 1006, 1015, 1016, 2999, 5000, 65536 + 1000} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("code %d was sent", code)
				}
			}()
			ws.AppendClose(nil, ws.Server, code, "")
		}()
	}
}
