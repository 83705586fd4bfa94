package app_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
)

// whole matches the escapes that a strict parser accepts but that look similar to broken ones.
var whole = regexp.MustCompile(`(?i)\\\\|\\ud[89ab]..\\ud[c-f]..`)

// strict fails the test if a strict JSON parser would reject data: because it is not UTF-8, or
// contains half a surrogate pair.
func strict(t *testing.T, what string, data []byte) {
	t.Helper()
	if !utf8.Valid(data) {
		t.Errorf("%s is not UTF-8: %q", what, data)
	}
	if rest := strings.ToLower(whole.ReplaceAllString(string(data), "")); regexp.MustCompile(`\\ud[89a-f]`).MatchString(rest) {
		t.Errorf("%s has half a surrogate pair: %s", what, data)
	}
}

// A client may send half a surrogate pair in any text. No other client receives it, because a
// strict parser would reject the whole text around it.
func TestHalfSurrogatePairs(t *testing.T) {
	const half = `\ud83d`
	raw := func(members string) json.RawMessage { return json.RawMessage("{" + members + "}") }
	store := history.NewMemory()
	s, err := app.NewServer(testConfig(), quiet, store)
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	a, b := i.dial(t), i.dial(t)
	feed := feedOf(t, i, "/rooms/r/events", "")
	feed.want(t, "live 0")
	join(t, b, object{"roomId": "r", "userId": "b"})

	// Everything that b and the feed receive because of a, and a's own answers.
	answers := func(event, members string) json.RawMessage {
		t.Helper()
		var answer json.RawMessage
		a.Ask(event, raw(members), &answer)
		strict(t, event+"'s answer", answer)
		return answer
	}
	answers("joinRoom", `"roomId":"r","userId":"u`+half+`","operatorId":"`+half+`o","name":"`+half+`"`)
	answers("typing", `"roomId":"r"`) // may be dropped; the end is not
	answers("typing", `"roomId":"r","typing":false`)
	stored := answers("sendMessage", `"roomId":"r","clientId":"c`+half+`","message":{"`+half+`":["a`+half+`b","`+half+`\ude00","\\ud83d"]}`)
	if want := `"userId":"u�","operatorId":"�o","message":{"\ufffd":["a\ufffdb","` + half + `\ude00","\\ud83d"]}`; !strings.Contains(string(stored), want) {
		t.Errorf("stored as %s, want %s", stored, want)
	}
	stored = answers("sendMessage", `"roomId":"r","clientId":"d`+half+`","message":"`+half+`"`)
	for _, event := range []string{"presence", "typing", "newMessage", "newMessage"} {
		var got json.RawMessage
		b.Expect(event, &got)
		strict(t, event, got)
	}
	for range 2 {
		e, _ := feed.next()
		strict(t, "the feed's "+e.name, []byte(e.data))
	}
	answers("history", `"roomId":"r"`)
	if again := answers("sendMessage", `"roomId":"r","clientId":"d`+half+`","message":"`+half+`"`); string(again) != string(stored) {
		t.Errorf("sent again: %s, want %s", again, stored)
	}
}

// Several invalid ids would become the same one, and a path cannot contain "." and "..".
func TestRoomsThatCannotBeNamed(t *testing.T) {
	i := start(t, testConfig())
	a := i.dial(t)
	for _, room := range []string{`"\ud83d"`, `"a\ude00b"`, `"\ufffd"`, `"."`, `".."`} {
		for _, event := range []string{"joinRoom", "sendMessage", "history", "typing", "leaveRoom"} {
			var got answer
			a.Ask(event, json.RawMessage(`{"roomId":`+room+`,"message":1}`), &got)
			if got.Error.Code != "bad_room" {
				t.Errorf("%s %s: %+v", event, room, got)
			}
		}
	}
	join(t, a, object{"roomId": "..."})
	join(t, a, object{"roomId": "😀"})
	for _, path := range []string{"%EF%BF%BD", "%FF", "%ED%A0%BD", "%2E", "%2E%2E"} {
		if resp, body := request(t, "GET", i.url+"/rooms/"+path+"/events"); resp.StatusCode == 200 {
			t.Errorf("feed of %s: status %d, %q", path, resp.StatusCode, body)
		}
	}
}
