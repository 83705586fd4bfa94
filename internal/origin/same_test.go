package origin_test

import (
	"net/http"
	"testing"

	"github.com/parley-go/parley/internal/origin"
)

func TestSame(t *testing.T) {
	tests := []struct {
		host, origin string
		want         bool
	}{
		{"example.com", "", true}, // not a browser
		{"example.com", "http://example.com", true},
		{"example.com", "https://example.com", true}, // TLS may end at a proxy
		{"example.com", "HTTPS://EXAMPLE.com", true},
		{"EXAMPLE.com", "https://example.com", true},
		{"example.com:80", "http://example.com", true},
		{"example.com:443", "https://example.com", true},
		{"example.com", "https://example.com:443", true},
		{"example.com:8080", "http://example.com:8080", true},
		{"127.0.0.1:3000", "http://127.0.0.1:3000", true},
		{"[::1]:3000", "http://[::1]:3000", true},

		{"example.com", "null", false},
		{"example.com", "file://", false},
		{"example.com", "example.com", false},
		{"example.com", "//example.com", false},
		{"example.com", "chrome-extension://example.com", false},
		{"example.com", "https://sub.example.com", false},
		{"sub.example.com", "https://example.com", false},
		{"example.com", "https://evilexample.com", false},
		{"example.com", "https://example.com.evil.org", false},
		{"example.com", "https://example.com@evil.org", false},
		{"example.com", "https://evil.org@example.com", false},
		{"example.com", "https://evil.org/example.com", false},
		{"example.com", "https://evil.org#example.com", false},
		{"example.com", "https://evil.org?example.com", false},
		{"example.com", "https://evil.org\\example.com", false},
		{"example.com", "https://ex%61mple.com", false},
		{"example.com", "https://example.com.", false},
		{"example.com", "https://", false},
		{"example.com", "https://example.com:8443", false},
		{"example.com:8080", "http://example.com", false},
		{"example.com:8080", "http://example.com:8081", false},
		{"example.com:80", "https://example.com", false},
		{"example.com:443", "http://example.com", false},
		{"example.com", "https://example.com https://evil.org", false},
		{"", "https://example.com", false},
	}
	for _, test := range tests {
		r := &http.Request{Host: test.host, Header: http.Header{}}
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		if got := origin.Same(r); got != test.want {
			t.Errorf("host %q, origin %q: %v, want %v", test.host, test.origin, got, test.want)
		}
	}
	twice := &http.Request{Host: "example.com", Header: http.Header{"Origin": {"http://example.com", "http://evil.org"}}}
	if origin.Same(twice) {
		t.Error("two origins are accepted")
	}
	if empty := (&http.Request{Host: "example.com", Header: http.Header{"Origin": {""}}}); origin.Same(empty) {
		t.Error("an empty origin is accepted")
	}
}
