package history_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

func TestMessageJSON(t *testing.T) {
	full := history.Message{
		ID: "4294967298", RoomID: "r", Seq: 2, Rev: 5, UserID: "ann", OperatorID: "op",
		Message: json.RawMessage(`{"a":[1,"x"]}`), Timestamp: history.TimeMilli(1_700_000_000_120), ClientID: "c",
	}
	for _, test := range []struct {
		m    history.Message
		want string
	}{
		{full, `{"id":"4294967298","roomId":"r","seq":2,"rev":5,"userId":"ann","operatorId":"op",` +
			`"message":{"a":[1,"x"]},"timestamp":"2023-11-14T22:13:20.120Z","clientId":"c"}`},
		{history.Message{ID: "1", RoomID: "r", Seq: 1, UserID: "ann", Message: json.RawMessage(`null`), Timestamp: history.TimeMilli(0)},
			`{"id":"1","roomId":"r","seq":1,"userId":"ann","message":null,"timestamp":"1970-01-01T00:00:00.000Z"}`},
		{history.Message{ID: "1", RoomID: `a"\b`, Seq: 1, UserID: "zoë", ClientID: "\u2028", Timestamp: history.TimeMilli(0)},
			`{"id":"1","roomId":"a\"\\b","seq":1,"userId":"zoë","message":null,"timestamp":"1970-01-01T00:00:00.000Z","clientId":"\u2028"}`},
	} {
		got, err := json.Marshal(test.m)
		if err != nil || string(got) != test.want {
			t.Errorf("got  %s, %v\nwant %s", got, err, test.want)
		}
		if got := test.m.AppendJSON(nil); string(got) != test.want {
			t.Errorf("AppendJSON: got  %s\nwant %s", got, test.want)
		}
		var back history.Message
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatal(err)
		}
		if again, _ := json.Marshal(back); string(again) != test.want || back.Timestamp != test.m.Timestamp {
			t.Errorf("read back as %s", again)
		}
	}
	if n := full.Number(); n != 5 {
		t.Errorf("number %d of a message changed at 5", n)
	}
}

func TestTimeUnmarshal(t *testing.T) {
	for text, want := range map[string]int64{
		`"2023-11-14T22:13:20Z"`:             1_700_000_000_000,
		`"2023-11-14T23:13:20.123456+01:00"`: 1_700_000_000_123,
	} {
		var got history.Time
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != history.TimeMilli(want) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{`1700000000000`, `"yesterday"`, `{}`} {
		var got history.Time
		if err := json.Unmarshal([]byte(text), &got); err == nil {
			t.Errorf("%s: no error but %v", text, got)
		}
	}
	if got, _ := json.Marshal(history.Time{Time: time.Date(2024, 1, 2, 3, 4, 5, 6_000_000, time.FixedZone("", 3600))}); string(got) != `"2024-01-02T02:04:05.006Z"` {
		t.Errorf("in another zone: %s", got)
	}
}

func TestPrepare(t *testing.T) {
	text := []byte(` [ 1 ] `)
	d, err := history.Draft{RoomID: "r", UserID: "u", Message: text}.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	clear(text)
	again, err := d.Prepare()
	if err != nil || string(again.Message) != "[1]" || &again.Message[0] != &d.Message[0] {
		t.Errorf("prepared again: %s, %v", again.Message, err)
	}
}

// Half a surrogate pair is not a character. JSON can still express it, but strict parsers then
// reject the whole text.
func TestHalfSurrogatePairs(t *testing.T) {
	for said, stored := range map[string]string{
		`"\ud83d"`:                  `"\ufffd"`,
		`"\uDE00"`:                  `"\ufffd"`,
		`"a\ud83d\ud83d\ude00b"`:    `"a\ufffd\ud83d\ude00b"`,
		`"\ude00\ud83d"`:            `"\ufffd\ufffd"`,
		`{"\ud800":["\udfff",1]}`:   `{"\ufffd":["\ufffd",1]}`,
		`"\ud83d\\ude00"`:           `"\ufffd\\ude00"`,
		`"\\ud83d\\"`:               `"\\ud83d\\"`,
		`"\ud83d\n\u00e9 \ufffd 😀"`: `"\ufffd\n\u00e9 \ufffd 😀"`,
	} {
		kept := history.Message{Message: json.RawMessage(said)} // as an older version stored it
		if got := string(kept.AppendJSON(nil)); !strings.Contains(got, `"message":`+stored+`,`) {
			t.Errorf("%s is sent as %s", said, got)
		}
		if string(kept.Message) != said {
			t.Errorf("%s became %s in the store", said, kept.Message)
		}
		d, err := history.Draft{RoomID: "r", UserID: "u", Message: json.RawMessage(said)}.Prepare()
		if err != nil || string(d.Message) != stored {
			t.Errorf("%s is stored as %s, %v; want %s", said, d.Message, err, stored)
		}
	}
}

func TestError(t *testing.T) {
	err := fmt.Errorf("send: %w", history.ErrUnavailable.Wrap("commit", io.ErrUnexpectedEOF))
	if !errors.Is(err, history.ErrUnavailable) || !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, history.ErrUnknownOutcome) {
		t.Errorf("%v is not what it wraps", err)
	}
	if got, want := err.Error(), "send: parley: history: unavailable: commit: unexpected EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for code, err := range map[string]error{"unavailable": err, "internal": io.EOF, "": nil, "key_reuse": history.ErrKeyReuse} {
		if got := history.Code(err); got != code {
			t.Errorf("code of %v: %q", err, got)
		}
	}
}
