package app_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
)

// With too little free space nothing is stored, which clients and /readyz are told. Everything else
// continues.
func TestDiskNearlyFull(t *testing.T) {
	c := testConfig()
	c.Data, c.MinFreeDisk = t.TempDir(), 1<<50
	var logged lockedBuffer
	s, err := app.Open(c, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	i := run(t, s)
	a, b := i.dial(t), i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "a"})
	join(t, b, object{"roomId": "r", "userId": "b"})
	for range 3 {
		var refused answer
		a.Ask("sendMessage", object{"roomId": "r", "message": 1}, &refused)
		if refused.Error.Code != "unavailable" || !strings.Contains(refused.Error.Message, "nearly full") {
			t.Errorf("refused: %+v", refused)
		}
	}
	if resp, body := request(t, "GET", i.url+"/readyz"); resp.StatusCode != 503 || !strings.Contains(body, "nearly full") {
		t.Errorf("readyz: status %d, %q", resp.StatusCode, body)
	}
	a.Send("typing", object{"roomId": "r"})
	b.Expect("typing", new(object))
	b.Ask("history", object{"roomId": "r"}, new(answer))
	found := metrics(t, i.url)
	if n := found["parley_store_free_bytes"].value(t, ""); n <= 0 || n >= 1<<50 {
		t.Errorf("%v bytes are free", n)
	}
	if n := found["parley_messages_appended"].value(t, ""); n != 0 {
		t.Errorf("%v messages appended", n)
	}
	wantErrors(t, &logged, "the disk is nearly full")
}

// wantErrors compares the errors in a log.
func wantErrors(t *testing.T, logged *lockedBuffer, want ...string) {
	t.Helper()
	var errors []string
	for line := range strings.Lines(logged.String()) {
		if strings.Contains(line, "level=ERROR") {
			errors = append(errors, line)
		}
	}
	for n, text := range want {
		if len(errors) != len(want) || !strings.Contains(errors[n], text) {
			t.Errorf("logged the errors %q, want %q", errors, want)
			return
		}
	}
}
