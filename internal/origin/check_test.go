package origin_test

import (
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/origin"
)

func TestCheck(t *testing.T) {
	for _, s := range []string{
		"*", "null", "file://",
		"https://example.com", "https://EXAMPLE.com", "http://localhost:5173", "http://dev_1.test",
		"https://example.com:8443", "http://example.com:443", "https://example.com:80",
		"http://127.0.0.1:3000", "http://[::1]:3000", "https://[2001:DB8::1]",
		"https://xn--bcher-kva.example", "capacitor://localhost", "chrome-extension://abcdef",
	} {
		if err := origin.Check(s); err != nil {
			t.Errorf("%q is refused: %v", s, err)
		}
	}
	for s, says := range map[string]string{
		"":                             "needs a scheme",
		"localhost:5173":               "needs a scheme",
		"example.com":                  "needs a scheme",
		"//example.com":                "needs a scheme",
		"http//example.com":            "needs a scheme",
		"ht tp://example.com":          "needs a scheme",
		"http://localhost:5173/":       "write http://localhost:5173",
		"https://example.com/chat?a=b": "write https://example.com",
		"https://example.com#top":      "write https://example.com",
		"https://*.example.com":        "AllowOrigin",
		"https://bücher.example":       "xn--",
		"https://":                     "comes a host",
		"https://:8080":                "comes a host",
		"https://user@example.com":     "comes a host",
		"https://exa mple.com":         "comes a host",
		"https://ex%61mple.com":        "comes a host",
		" https://example.com":         "needs a scheme",
		"https://example.com ":         "comes a host",
		"https://example.com:":         "comes a host",
		"https://example.com:443":      "write https://example.com",
		"http://example.com:80":        "write http://example.com",
		"http://example.com:08080":     "is not a port",
		"http://example.com:65536":     "is not a port",
		"http://[1:2]":                 "is not an IPv6 address",
		"http://[0:0::1]":              "[::1]",
	} {
		err := origin.Check(s)
		if err == nil {
			t.Errorf("%q is accepted", s)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q does not say %q", s, err, says)
		}
	}
}

func TestPolicyCheck(t *testing.T) {
	for _, p := range []origin.Policy{
		{Origins: []string{"https://example.com", "localhost"}},
		{Origins: []string{"https://example.com", "*"}, Credentials: true},
		{Origins: []string{"null"}, Credentials: true},
	} {
		if p.Check() == nil {
			t.Errorf("%q, credentials %v: accepted", p.Origins, p.Credentials)
		}
	}
	for _, p := range []origin.Policy{{}, {Credentials: true}, {Origins: []string{"*"}}, {Origins: []string{"https://example.com"}, Credentials: true}} {
		if err := p.Check(); err != nil {
			t.Errorf("%q, credentials %v: %v", p.Origins, p.Credentials, err)
		}
	}
}
