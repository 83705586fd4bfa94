package parley_test

import (
	"crypto/tls"
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

func TestForwardedProto(t *testing.T) {
	secure := parley.ForwardedProto(netip.MustParsePrefix("10.0.0.0/8"))
	for _, tt := range []struct {
		name, remote string
		tls          bool
		proto        []string
		want         bool
	}{
		{"no proxy", "192.0.2.1:5000", false, nil, false},
		{"no proxy, over TLS", "192.0.2.1:5000", true, nil, true},
		{"a client that lies", "192.0.2.1:5000", false, []string{"https"}, false},
		{"a client that denies it", "192.0.2.1:5000", true, []string{"http"}, true},
		{"a proxy without TLS", "10.0.0.1:5000", false, []string{"http"}, false},
		{"a proxy with TLS", "10.0.0.1:5000", false, []string{"https"}, true},
		{"in capitals", "10.0.0.1:5000", false, []string{"HTTPS"}, true},
		{"a proxy that says nothing", "10.0.0.1:5000", false, nil, false},
		{"a proxy that says nothing, over TLS", "10.0.0.1:5000", true, nil, true},
		{"a proxy without TLS, over TLS", "10.0.0.1:5000", true, []string{"http"}, false},
		{"two proxies", "10.0.0.1:5000", false, []string{"https, https"}, true},
		{"two proxies, one without TLS", "10.0.0.1:5000", false, []string{"https", "http"}, false},
		{"nonsense", "10.0.0.1:5000", false, []string{"https,"}, false},
		{"a Unix socket", "@", false, []string{"https"}, false},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{}}
		if tt.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if tt.proto != nil {
			r.Header["X-Forwarded-Proto"] = tt.proto
		}
		if got := secure(r); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
