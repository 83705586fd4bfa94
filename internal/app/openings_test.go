package app_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app"
)

// open begins a connection or a feed from an address, and ends it at once. tooSoon means that too
// many began.
func open(t *testing.T, url, path, from string, upgrade bool) (status int, tooSoon bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if from != "" {
		r.Header.Set("X-Forwarded-For", from)
	}
	if upgrade {
		for name, value := range map[string]string{
			"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
		} {
			r.Header.Set(name, value)
		}
	}
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests {
		return resp.StatusCode, false
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || n < 1 {
		t.Errorf("Retry-After: %q", resp.Header.Get("Retry-After"))
	}
	return resp.StatusCode, strings.Contains(string(body), "too many new connections")
}

// flood begins connections until one is refused, and returns how many were not.
func flood(t *testing.T, url, path, from string, upgrade bool) (opened int) {
	t.Helper()
	for range 1000 {
		status, tooSoon := open(t, url, path, from, upgrade)
		if tooSoon {
			return opened
		}
		if status < 400 {
			opened++
		}
	}
	t.Errorf("none of 1000 at %s was refused", path)
	return opened
}

// An address that begins feeds or joins without end is told to come back later, at each door. Others
// get in. Connections that nobody joins do not count, or they would keep their neighbors out.
func TestOpenings(t *testing.T) {
	const feed = "/rooms/r/events"
	doors := []struct {
		path    string
		upgrade bool
	}{
		{"/socket.io/?EIO=4&transport=polling", false},
		{"/socket.io/?EIO=3&transport=polling", false},
		{"/socket.io/?EIO=4&transport=polling&j=0", false},
		{"/socket.io/?EIO=4&transport=sse", false},
		{"/socket.io/?EIO=4&transport=websocket", true},
		{feed, false},
	}
	for _, door := range doors {
		t.Run(door.path, func(t *testing.T) {
			t.Parallel()
			c := app.Defaults()
			c.Data, c.MaxConnectionsPerAddress = "memory", 20 // 1 a second, 40 at once
			c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
			c.ShutdownTimeout = time.Second // nobody waits for the polling clients, which never come again
			var logged lockedBuffer
			s, err := app.Open(c, slog.New(slog.NewTextHandler(&logged, nil)))
			if err != nil {
				t.Fatal(err)
			}
			i := run(t, s)
			if door.path != feed {
				for range 100 {
					if status, _ := open(t, i.url, door.path, "192.0.2.1", door.upgrade); status >= 400 && status != http.StatusTooManyRequests {
						t.Fatalf("status %d", status)
					}
				}
				wantSample(t, i.url, "parley_over_budget_total", `kind="openings"`, 0)
			}
			if opened := flood(t, i.url, feed, "192.0.2.1", false); opened < 40 {
				t.Errorf("the first feed is refused after %d", opened)
			}
			if _, tooSoon := open(t, i.url, door.path, "192.0.2.1", door.upgrade); !tooSoon {
				t.Error("the address may still come")
			}
			for _, from := range []string{"192.0.2.2", ""} {
				if status, _ := open(t, i.url, door.path, from, door.upgrade); status >= 400 {
					t.Errorf("%q was refused with %d", from, status)
				}
			}
			if n := held(t, i)["openings"]; n < 2 {
				t.Errorf("%d were refused", n)
			}
			if !strings.Contains(logged.String(), "setting=max-connections-per-address") {
				t.Errorf("it is not in the log: %s", &logged)
			}
		})
	}
}

// How many connections may begin follows from how many there may be. It is off with either setting.
func TestOpeningsAreOff(t *testing.T) {
	for _, c := range []struct {
		events      float64
		connections int
		refused     bool
	}{{50, 3, true}, {0, 3, false}, {50, 0, false}} {
		config := app.Defaults()
		config.Data, config.EventsPerSecond, config.MaxConnectionsPerAddress = "memory", c.events, c.connections
		config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		config.ShutdownTimeout = time.Second
		i := start(t, config)
		for range 100 {
			open(t, i.url, "/rooms/r/events", "192.0.2.1", false)
		}
		if n := held(t, i)["openings"]; (n > 0) != c.refused {
			t.Errorf("%+v: %d were refused", c, n)
		}
	}
}
