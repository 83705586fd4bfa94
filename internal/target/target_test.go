package target_test

import (
	"net/url"
	"testing"

	"github.com/parley-go/parley/internal/target"
)

func TestHosts(t *testing.T) {
	for _, test := range []struct {
		host, name      string
		fixed, loopback bool
	}{
		{"localhost", "localhost", true, true},
		{"localhost:8080", "localhost", true, true},
		{"LocalHost.:8080", "localhost", true, true},
		{"app.localhost", "app.localhost", true, true},
		{"127.0.0.1:8080", "127.0.0.1", true, true},
		{"127.9.9.9", "127.9.9.9", true, true},
		{"[::1]:8080", "::1", true, true},
		{"[::1]", "::1", true, true},
		{"[::FFFF:127.0.0.1]:80", "::ffff:127.0.0.1", true, true},
		{"192.168.1.2:8080", "192.168.1.2", true, false},
		{"[2001:DB8::1]:443", "2001:db8::1", true, false},
		{"[fe80::1%eth0]", "fe80::1%eth0", true, false},

		{"example.com", "example.com", false, false},
		{"Example.COM.:443", "example.com", false, false},
		{"localhost.example.com", "localhost.example.com", false, false},
		{"evillocalhost", "evillocalhost", false, false},
		{"127.0.0.1.example.com", "127.0.0.1.example.com", false, false},
		{"localhost..", "localhost.", false, false},
		{"127.1", "127.1", false, false},
		{"2130706433", "2130706433", false, false},
		{"0x7f.0.0.1", "0x7f.0.0.1", false, false},
		{"::1", "", false, false}, // not in brackets
		{"[::1]example.com", "[", false, false},
		{"[::1", "[", false, false},
		{"[example.com]", "example.com", false, false},
		{"user@localhost", "user@localhost", false, false},
		{"", "", false, false},
		{":8080", "", false, false},
	} {
		name := target.Name(test.host)
		if name != test.name || target.IsFixed(name) != test.fixed || target.IsLoopback(name) != test.loopback {
			t.Errorf("%q: name %q, fixed %v, loopback %v", test.host, name, target.IsFixed(name), target.IsLoopback(name))
		}
	}
}

func TestIsPlain(t *testing.T) {
	for path, want := range map[string]bool{
		"/":                     true,
		"/metrics":              true,
		"/rooms/a%20b/events":   true,
		"/rooms/a%2Fb/events":   true,
		"/rooms/a%2fb/events":   true,
		"/rooms/%25/events":     true,
		"/rooms/%C3%BC/events":  true,
		"/rooms/%00/events":     true,
		"/rooms/~%7E!%21/event": true,
		"/rooms/ü(1)%2B/events": true,
		"/%6detrics":            false,
		"/%6Detrics":            false,
		"/metric%73":            false,
		"/socket%2Eio/":         false,
		"/socket.io/%2e%2e/":    false,
		"/rooms/%2D/events":     false,
		"/rooms/%5F/events":     false,
		"/rooms/%30/events":     false,
		"/rooms/%2F%61/events":  false,
	} {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := target.IsPlain(u); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	// http.StripPrefix and others set the fields themselves.
	for raw, want := range map[string]bool{"/%": false, "/%4": false, "/%zz": false, "/%2F": true} {
		if got := target.IsPlain(&url.URL{Path: "/", RawPath: raw}); got != want {
			t.Errorf("raw %s: %v", raw, got)
		}
	}
}
