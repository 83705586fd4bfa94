package origin_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/parley-go/parley/internal/origin"
)

// CORS middleware in front has already set Vary.
func TestVaryIsSaidOnce(t *testing.T) {
	p := origin.Policy{Origins: []string{"https://example.com"}}
	r := &http.Request{Host: "parley.test", Header: http.Header{"Origin": {"https://example.com"}}}
	for _, before := range [][]string{nil, {"Origin"}, {"Accept-Encoding", "Origin"}} {
		h := http.Header{"Vary": slices.Clone(before)}
		p.SetHeaders(h, r)
		n := 0
		for _, v := range h["Vary"] {
			if v == "Origin" {
				n++
			}
		}
		if n != 1 || h.Get("Access-Control-Allow-Origin") != "https://example.com" {
			t.Errorf("before %q: %v", before, h)
		}
	}
}

// What a page of another site loads without a script, such as an image, carries no Origin.
func TestAllows(t *testing.T) {
	none := origin.Policy{}
	listed := origin.Policy{Origins: []string{"https://friend.example"}}
	anyone := origin.Policy{Origins: []string{"*"}}
	for _, test := range []struct {
		policy  origin.Policy
		site    string // Sec-Fetch-Site
		origin  string
		allowed bool
	}{
		{none, "", "", true}, // a program, an old browser
		{none, "same-origin", "", true},
		{none, "none", "", true},
		{none, "from the future", "", true},
		{none, "cross-site", "", false},
		{none, "same-site", "", false},
		{none, "cross-site", "https://friend.example", false},
		{none, "cross-site", "null", false},
		{none, "same-origin", "https://chat.example", true},
		{none, "cross-site", "http://chat.example", true}, // this host over plain HTTP
		{listed, "cross-site", "", false},
		{listed, "same-site", "", false},
		{listed, "same-origin", "", true},
		{listed, "cross-site", "https://friend.example", true},
		{listed, "same-site", "https://friend.example", true},
		{listed, "cross-site", "https://evil.example", false},
		{anyone, "cross-site", "", true},
		{anyone, "same-site", "https://evil.example", true},
	} {
		r := &http.Request{Host: "chat.example", Header: http.Header{}}
		if test.site != "" {
			r.Header.Set("Sec-Fetch-Site", test.site)
		}
		if test.origin != "" {
			r.Header.Set("Origin", test.origin)
		}
		if got := test.policy.Allows(r); got != test.allowed {
			t.Errorf("%v, site %q, origin %q: %v", test.policy.Origins, test.site, test.origin, got)
		}
	}
}
