package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/parleytest"
)

// serveSite returns a site, its server in memory, and what logs in.
func serveSite(t *testing.T) (site *site, s *parleytest.Server, logIn func(name string) parleytest.Option) {
	site, err := newSite(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	srv, err := site.serve()
	if err != nil {
		t.Fatal(err)
	}
	return site, parleytest.NewServer(t, srv), func(name string) parleytest.Option {
		w := httptest.NewRecorder()
		form := url.Values{"name": {name}, "password": {name + "'s password"}}
		r := httptest.NewRequest("POST", "/login", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		site.logIn(w, r)
		token, _ := io.ReadAll(w.Result().Body)
		if w.Code != http.StatusOK {
			t.Fatalf("%s cannot log in: %s", name, token)
		}
		return parleytest.Auth(map[string]string{"token": string(token)})
	}
}

// refusedWith checks a refusal of a namespace.
func refusedWith(t *testing.T, err error, code string) {
	t.Helper()
	var refusal *client.ConnectError
	if !errors.As(err, &refusal) || !strings.Contains(string(refusal.Data), `"`+code+`"`) {
		t.Errorf("not refused with %s: %v", code, err)
	}
}

func TestNamespaces(t *testing.T) {
	_, s, logIn := serveSite(t)
	bob := s.MustDial(logIn("bob"))
	if name := parleytest.MustCall(bob, WhoAmI, parley.None{}); name != "bob" {
		t.Errorf("bob is %q", name)
	}
	_, err := s.Dial(logIn("bob"), parleytest.Namespace("/admin"))
	refusedWith(t, err, "forbidden")
	s.MustDial(logIn("ann"), parleytest.Namespace("/admin"))
	_, err = s.Dial()
	refusedWith(t, err, "bad_token")
}

func TestBlock(t *testing.T) {
	_, s, logIn := serveSite(t)
	bob := s.MustDial(logIn("bob"))
	admin := s.MustDial(logIn("ann"), parleytest.Namespace("/admin"))
	parleytest.MustCall(admin, Block, "bob")
	if why := bob.Disconnected(); !errors.Is(why, client.ErrServerDisconnect) {
		t.Errorf("bob is gone because of %v", why)
	}
	_, err := s.Dial(logIn("bob"))
	refusedWith(t, err, "blocked")
	if _, err := parleytest.Call(admin, Block, "nobody"); err == nil {
		t.Error("an account that does not exist was blocked")
	}
}

// A token that expires soon is asked for at once, and the new one is good for longer.
func TestRenewal(t *testing.T) {
	site, s, logIn := serveSite(t)
	soon := time.Now().Add(30 * time.Second)
	token, err := site.tokens.Sign(&auth.Identity{Subject: "bob", Role: auth.User, Expires: soon})
	if err != nil {
		t.Fatal(err)
	}
	bob := s.MustDial(parleytest.Auth(map[string]string{"token": token}))
	if at := parleytest.Next(bob, TokenExpiring); at.Unix() != soon.Unix() {
		t.Errorf("it expires at %v, not %v", at, soon)
	}
	token, err = site.tokens.Sign(&auth.Identity{Subject: "bob", Role: auth.User, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	proof, _ := json.Marshal(map[string]string{"token": token})
	if until := parleytest.MustCall(bob, Renew, proof); !until.After(soon) {
		t.Errorf("renewed until %v", until)
	}
	_ = logIn
}

func TestLogIn(t *testing.T) {
	site, _, _ := serveSite(t)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/login", strings.NewReader("name=ann&password=guess"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if site.logIn(w, r); w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
}
