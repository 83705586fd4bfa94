package auth_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
)

func TestMatch(t *testing.T) {
	now := time.Now()
	ann := &auth.Identity{Subject: "ann", Role: auth.User, Issuer: "shop", TokenID: "t1", IssuedAt: now}
	admin := &auth.Identity{Subject: "ann", Role: auth.Admin}
	network := netip.MustParsePrefix("192.0.2.0/24")
	for name, tt := range map[string]struct {
		m    auth.Match
		i    *auth.Identity
		from string
		want bool
	}{
		"all":                  {auth.Match{}, ann, "", true},
		"nobody":               {auth.Match{}, nil, "", false},
		"subject":              {auth.Match{Subject: "ann"}, ann, "", true},
		"another subject":      {auth.Match{Subject: "bob"}, ann, "", false},
		"role":                 {auth.Match{Subject: "ann", Role: auth.User}, ann, "", true},
		"another role":         {auth.Match{Subject: "ann", Role: auth.Operator}, ann, "", false},
		"admins are operators": {auth.Match{Role: auth.Operator}, admin, "", true},
		"but not reversed":     {auth.Match{Role: auth.Admin}, &auth.Identity{Role: auth.Operator}, "", false},
		"issuer":               {auth.Match{Issuer: "other"}, ann, "", false},
		"token":                {auth.Match{TokenID: "t1"}, ann, "", true},
		"another token":        {auth.Match{TokenID: "t2"}, ann, "", false},
		"before":               {auth.Match{IssuedBefore: now.Add(time.Second)}, ann, "", true},
		"not before":           {auth.Match{IssuedBefore: now}, ann, "", false},
		"at no known time":     {auth.Match{IssuedBefore: now}, admin, "", true},
		"network":              {auth.Match{Network: network}, ann, "192.0.2.7:80", true},
		"mapped":               {auth.Match{Network: network}, ann, "[::ffff:192.0.2.7]:80", true},
		"another network":      {auth.Match{Network: network}, ann, "192.0.3.7", false},
		"no address":           {auth.Match{Network: network}, ann, "@", false},
	} {
		if got := tt.m.Matches(tt.i, tt.from); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSame(t *testing.T) {
	var none *auth.Identity
	ann, admin := &auth.Identity{Subject: "ann", Role: auth.User}, &auth.Identity{Subject: "ann", Role: auth.Admin}
	again := *ann
	again.Expires = time.Now()
	if !none.Same(nil) || none.Same(ann) || ann.Same(nil) || ann.Same(admin) || !ann.Same(&again) {
		t.Error("wrong")
	}
}

func TestBearer(t *testing.T) {
	for field, want := range map[string]string{"Bearer a.b": "a.b", "bearer  a": "a", "Bearer": "", "Basic a": "", "Bearera": "", "": ""} {
		r := auth.Request{Header: map[string][]string{"Authorization": {field}}}
		if got := r.Bearer(); got != want {
			t.Errorf("%q: %q", field, got)
		}
	}
}

func TestAuthorizerFunc(t *testing.T) {
	var a auth.Authorizer = auth.AuthorizerFunc(func(context.Context, *auth.Request) (*auth.Identity, error) {
		return &auth.Identity{Subject: "ann"}, nil
	})
	if id, err := a.Authorize(t.Context(), &auth.Request{}); err != nil || id.Subject != "ann" {
		t.Errorf("%+v, %v", id, err)
	}
}
