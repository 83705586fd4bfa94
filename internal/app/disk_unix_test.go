//go:build unix

package app_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
)

// If the data directory disappears, the server acknowledges nothing, and says so. What is not stored
// continues. If the directory comes back, everything is as before.
func TestDataMoved(t *testing.T) {
	c := testConfig()
	c.Data = filepath.Join(t.TempDir(), "data")
	var logged lockedBuffer
	s, err := app.Open(c, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	a, b := i.dial(t), i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "a"})
	join(t, b, object{"roomId": "r", "userId": "b"})
	send(t, a, object{"roomId": "r", "message": 1})
	b.Expect("newMessage", new(message))

	if err := os.Rename(c.Data, c.Data+"-away"); err != nil {
		t.Fatal(err)
	}
	request2 := object{"roomId": "r", "message": 2, "clientId": "c"}
	var refused answer
	a.Ask("sendMessage", request2, &refused)
	if refused.Error.Code != "unavailable" {
		t.Errorf("refused: %+v", refused)
	}
	if resp, body := request(t, "GET", i.url+"/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "removed or replaced") {
		t.Errorf("readyz: status %d, %q", resp.StatusCode, body)
	}
	for _, event := range []string{"history", "joinRoom"} {
		var refused answer
		b.Ask(event, object{"roomId": "r", "userId": "b"}, &refused)
		if refused.Error.Code != "unavailable" {
			t.Errorf("%s refused: %+v", event, refused)
		}
	}
	if resp, _ := request(t, "GET", i.url+"/rooms/r/events"); resp.StatusCode != 503 {
		t.Errorf("feed: status %d", resp.StatusCode)
	}
	typeIn(a, "r")
	b.Expect("typing", new(object))
	wantErrors(t, &logged, "removed or replaced")

	if err := os.Rename(c.Data+"-away", c.Data); err != nil {
		t.Fatal(err)
	}
	if m := send(t, a, request2); m.Seq != 2 {
		t.Errorf("stored %+v", m)
	}
	b.Expect("newMessage", new(message))
	if resp, _ := request(t, "GET", i.url+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("readyz: status %d", resp.StatusCode)
	}
	wantErrors(t, &logged, "removed or replaced")
}
