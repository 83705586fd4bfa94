package auth_test

import (
	"testing"

	"github.com/parley-go/parley/auth"
)

func TestGrants(t *testing.T) {
	g := auth.Grants{
		{Pattern: "*", Rights: auth.Read}, {Pattern: "order-*", Rights: auth.Read | auth.Write}, {Pattern: "order-7"},
		{Pattern: "mine-{sub}-*", Rights: auth.Manage},
	}
	for room, want := range map[string]auth.Rights{
		"a": auth.Read, "order-": auth.Read | auth.Write, "order-6": auth.Read | auth.Write, "order-7": 0, "order-77": auth.Read | auth.Write, "mine-u*-a": auth.Manage, "mine-ux-a": auth.Read,
	} {
		if got, ok := g.In(room, "u*"); got != want || !ok { // the star of a subject is no pattern
			t.Errorf("%s: %v, %v", room, got, ok)
		}
	}
	if _, ok := g[1:].In("a", "u"); ok {
		t.Error("a room without a grant has one")
	}
	for letters, ok := range map[string]bool{"": true, "rwpm": true, "wr": true, "rr": false, "x": false, "R": false} {
		r, err := auth.ParseRights(letters)
		if back, _ := auth.ParseRights(r.String()); (err == nil) != ok || back != r {
			t.Errorf("%q: %v, %v", letters, r, err)
		}
	}
}
