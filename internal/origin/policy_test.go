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
