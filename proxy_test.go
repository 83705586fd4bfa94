package parley_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/parley-go/parley"
)

func TestForwardedFor(t *testing.T) {
	address := parley.ForwardedFor(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32"))
	for _, tt := range []struct {
		name, remote string
		forwarded    []string
		want         string
	}{
		{"no proxy", "192.0.2.1:5000", nil, "192.0.2.1:5000"},
		{"one that is not trusted", "192.0.2.1:5000", []string{"198.51.100.1"}, "192.0.2.1:5000"},
		{"a proxy", "10.0.0.1:5000", []string{"198.51.100.1"}, "198.51.100.1"},
		{"with a port", "10.0.0.1:5000", []string{"198.51.100.1:77"}, "198.51.100.1:77"},
		{"two proxies", "10.0.0.1:5000", []string{"198.51.100.1, 10.9.9.9"}, "198.51.100.1"},
		{"two lines", "10.0.0.1:5000", []string{"198.51.100.1", "10.9.9.9"}, "198.51.100.1"},
		{"a client that lies", "10.0.0.1:5000", []string{"203.0.113.7, 198.51.100.1"}, "198.51.100.1"},
		{"a client that claims to be a proxy", "10.0.0.1:5000", []string{"203.0.113.7, 10.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		{"proxies only", "10.0.0.1:5000", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a proxy that adds nothing", "10.0.0.1:5000", nil, "10.0.0.1:5000"},
		{"nonsense", "10.0.0.1:5000", []string{"198.51.100.1, unknown"}, "10.0.0.1:5000"},
		{"nonsense further on", "10.0.0.1:5000", []string{"<script>, 10.0.0.2"}, "10.0.0.2"},
		{"empty", "10.0.0.1:5000", []string{""}, "10.0.0.1:5000"},
		{"IPv6", "[2001:db8::1]:5000", []string{"2001:db9::5"}, "2001:db9::5"},
		{"IPv6 in brackets", "[2001:db8::1]:5000", []string{"[2001:db9::5]"}, "[2001:db9::5]"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5000", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a Unix socket", "@", []string{"198.51.100.1"}, "@"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{}}
		if tt.forwarded != nil {
			r.Header["X-Forwarded-For"] = tt.forwarded
		}
		if got := address(r); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
