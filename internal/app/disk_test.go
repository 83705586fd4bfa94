package app_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/app/apptest"
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
	typeIn(a, "r")
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

// What one address stores and the rooms that it creates are limited, whoever its clients say they are.
// They are told when to try again, and the operator what to do. Others are not affected.
func TestQuotas(t *testing.T) {
	for _, c := range []struct {
		quota, setting string
		set            func(*app.Config)
	}{
		{"rooms", "rooms-per-hour", func(c *app.Config) { c.RoomsPerHour = 3 }},
		{"stored", "stored-per-hour", func(c *app.Config) { c.StoredPerHour = 30_000 }},
	} {
		t.Run(c.quota, func(t *testing.T) {
			config := testConfig()
			config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			c.set(&config)
			var logged lockedBuffer
			s, err := app.Open(config, slog.New(slog.NewTextHandler(&logged, nil)))
			if err != nil {
				t.Fatal(err)
			}
			i := run(t, s)
			created := 0
			try := func(p *apptest.Peer) (retryAfter int) {
				t.Helper()
				created++
				room := fmt.Sprint("room ", created)
				join(t, p, object{"roomId": room, "userId": room})
				var answer struct {
					Seq   int64
					Error struct {
						Code string
						Data struct{ RetryAfter int }
					}
				}
				p.Ask("sendMessage", object{"roomId": room, "message": strings.Repeat("x", 10_000)}, &answer)
				switch e := answer.Error; {
				case e.Code == "" && answer.Seq == 1:
				case e.Code != "rate_limited" || e.Data.RetryAfter <= 0:
					t.Fatalf("%+v", answer)
				}
				return answer.Error.Data.RetryAfter
			}
			refused := 0
			for range 10 {
				if try(apptest.DialFrom(t, i.url, "192.0.2.1")) > 0 {
					refused++
				}
			}
			if refused < 6 || refused > 8 {
				t.Errorf("%d of 10 messages refused", refused)
			}
			if n := metrics(t, i.url)["parley_over_budget"].value(t, `{kind="`+c.quota+`"}`); n != float64(refused) {
				t.Errorf("%v refusals counted, want %d", n, refused)
			}
			for name, p := range map[string]*apptest.Peer{"another address": apptest.DialFrom(t, i.url, "192.0.2.2"), "this machine": i.dial(t)} {
				if try(p) > 0 {
					t.Errorf("%s was refused", name)
				}
			}
			if n := strings.Count(logged.String(), "setting="+c.setting); n != 1 {
				t.Errorf("logged %d times: %s", n, &logged)
			}
		})
	}
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
