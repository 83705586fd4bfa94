package address_test

import (
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
