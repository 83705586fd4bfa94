package address_test

import (
	"net/netip"
	"testing"

	"github.com/parley-go/parley/internal/address"
)

func TestClient(t *testing.T) {
	for s, want := range map[string]string{
		"192.0.2.1:5000":             "192.0.2.1",
		"192.0.2.1":                  "192.0.2.1",
		"[::ffff:192.0.2.1]:5000":    "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:500": "2001:db8:1:2::/64",
		"[2001:db8:1:2::1]:5000":     "2001:db8:1:2::/64",
		"[2001:db8:1:2::1]":          "2001:db8:1:2::/64",
		"2001:db8:1:2::1":            "2001:db8:1:2::/64",
		"2001:db8:1:3::1":            "2001:db8:1:3::/64",
		"[fe80::1%eth0]:5000":        "fe80::/64",
		"localhost:5000":             "localhost",
		"localhost":                  "localhost",
		"@":                          "@",
		"":                           "",
	} {
		if got := address.Client(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestLimited(t *testing.T) {
	exempt := append(address.Loopback, netip.MustParsePrefix("10.0.0.0/8"))
	for s, want := range map[string]string{
		"127.0.0.1:5000":          "",
		"[::1]:5000":              "",
		"[::ffff:127.0.0.1]:5000": "",
		"10.1.2.3":                "",
		"192.0.2.1:5000":          "192.0.2.1",
		"[2001:db8::1]:5000":      "2001:db8::/64",
		"localhost:5000":          "localhost",
		"@":                       "",
		"":                        "",
		"/run/parley.sock":        "",
	} {
		if got := address.Limited(s, exempt); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := address.Limited("127.0.0.1:5000", nil); got != "127.0.0.1" {
		t.Errorf("none exempt: %q", got)
	}
}
