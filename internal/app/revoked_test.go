package app_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/app"
)

// everywhere is somebody at all doors: with a socket on each transport and of Socket.IO 2, and a feed.
type everywhere struct {
	sockets map[string]*caller
	feed    *feedReader
}

// enter opens everything with the same proof.
func (d *closed) enter(who shows, header http.Header) *everywhere {
	d.t.Helper()
	e := &everywhere{sockets: map[string]*caller{}}
	for name := range transports {
		e.sockets[name] = d.mustConnect(name, who)
		e.sockets[name].mustAsk("joinRoom", object{"roomId": "lounge"})
	}
	e.sockets[oldClient] = d.mustConnect(oldClient, shows{header: header})
	e.sockets[oldClient].mustAsk("joinRoom", object{"roomId": "lounge"})
	var err error
	if e.feed, err = d.feed("/rooms/lounge/events", header); err != nil {
		d.t.Fatal(err)
	}
	if first, ok := e.feed.next(); !ok || first.name != "live" {
		d.t.Fatalf("feed: %+v", first)
	}
	return e
}

// ended waits until everything has ended.
func (e *everywhere) ended() {
	for _, c := range e.sockets {
		<-c.done
	}
	e.feed.rest()
}

// A revocation ends the sockets on every transport, the feeds and the API, and nobody comes back with
// what was revoked.
func TestRevocationAtEveryDoor(t *testing.T) {
	for name, tt := range map[string]struct {
		operator bool // by a session
		revoke   func(context.Context, *closed, string) error
		code     string // when it tries again
	}{
		"sign-out": {true, func(ctx context.Context, d *closed, cookie string) error {
			if status, body, _ := d.request("DELETE", "/api/session", withCookie(cookie).header, ""); status != 204 {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		}, "bad_token"},
		"disabled operator":         {true, func(ctx context.Context, d *closed, _ string) error { return d.access.SetDisabled(ctx, "ann", true) }, "bad_token"},
		"disabled operator's token": {false, func(ctx context.Context, d *closed, _ string) error { return d.access.SetDisabled(ctx, "ann", true) }, "forbidden"},
		"removed operator":          {true, func(ctx context.Context, d *closed, _ string) error { return d.access.RemoveOperator(ctx, "ann") }, "bad_token"},
		"password": {true, func(ctx context.Context, d *closed, _ string) error {
			return d.access.SetPassword(ctx, "ann", "another password")
		}, "bad_token"},
		"role": {true, func(ctx context.Context, d *closed, _ string) error {
			_, err := d.access.PutOperator(ctx, access.Operator{ID: "ann", Role: "admin"}, "")
			return err
		}, "bad_token"},
		"revoked operator": {true, func(ctx context.Context, d *closed, _ string) error {
			_, err := d.access.Revoke(ctx, access.Revocation{Subject: "operator:ann"})
			return err
		}, "bad_token"},
		"revoked user": {false, func(ctx context.Context, d *closed, _ string) error {
			_, err := d.access.Revoke(ctx, access.Revocation{Subject: "user:u7"})
			return err
		}, "bad_token"},
		"revoked token": {false, func(ctx context.Context, d *closed, _ string) error {
			_, err := d.access.Revoke(ctx, access.Revocation{Subject: "jti:t1"})
			return err
		}, "bad_token"},
		"everybody": {false, func(ctx context.Context, d *closed, _ string) error {
			_, err := d.access.Revoke(ctx, access.Revocation{Subject: access.Everybody})
			return err
		}, "bad_token"},
		"removed key": {false, func(ctx context.Context, d *closed, _ string) error { return d.access.RemoveKey(ctx, "bot") }, "bad_token"},
		"banned user": {false, func(ctx context.Context, d *closed, _ string) error {
			_, err := d.access.Ban(ctx, access.Ban{Subject: "user:u7"})
			return err
		}, "banned"},
		"banned network": {false, func(ctx context.Context, d *closed, _ string) error {
			_, err := d.access.Ban(ctx, access.Ban{Subject: "net:127.0.0.0/8"})
			return err
		}, "banned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startClosed(t)
			d.operators()
			// Of two who are here, one loses its access.
			cookie, proof := "", tokenAt("u7", -10, `,"jti":"t1"`)
			switch name {
			case "disabled operator's token":
				proof = tokenAt("ann", 5, asOperator)
			case "removed key":
				key, _, err := d.access.AddKey(t.Context(), access.APIKey{Name: "bot"})
				if err != nil {
					t.Fatal(err)
				}
				proof = string(key)
			}
			who, header := withToken(proof), withBearer(proof).header
			if tt.operator {
				cookie = d.signIn("ann")
				who = withCookie(cookie)
				header = who.header
			}
			other := d.mustConnect("websocket", withToken(tokenAt("root", 5, asAdmin)))
			here := d.enter(who, header)
			ticket := d.ticket(header, "/rooms/lounge/events")
			handshake := d.ticket(header, "/socket.io/")
			if err := tt.revoke(t.Context(), d, cookie); err != nil {
				t.Fatal(err)
			}
			here.ended()
			for transport := range transports {
				if _, err := d.connect(transport, who); codeOf(err) != tt.code {
					t.Errorf("%s again: %v", transport, err)
				}
			}
			if _, err := d.connect(oldClient, shows{header: header}); codeOf(err) != tt.code {
				t.Errorf("%s again: %v", oldClient, err)
			}
			if _, err := d.connect("websocket", shows{query: "&ticket=" + handshake}); codeOf(err) == "" {
				t.Errorf("a ticket from before: %v", err)
			}
			for _, path := range []string{"/rooms/lounge/events", "/rooms/lounge/events?ticket=" + ticket} {
				h := header
				if strings.Contains(path, "ticket") {
					h = nil
				}
				if _, err := d.feed(path, h); err == nil {
					t.Errorf("the feed opens again: %s", strings.SplitN(path, "=", 2)[0])
				}
			}
			for _, path := range []string{"/api/me", "/openapi.json"} {
				if status, body, _ := d.request("GET", path, header, ""); status != 401 && status != 403 {
					t.Errorf("%s: %d %s", path, status, body)
				}
			}
			if name != "everybody" {
				if _, code := other.ask("hello", object{}); code != "" {
					t.Errorf("somebody else: %s", code)
				}
			}
		})
	}
}

// The first operator closes an open server: who was there has proved nothing, and goes.
func TestFirstOperatorClosesTheServer(t *testing.T) {
	d := startClosed(t, func(c *app.Config) { c.TokenSecrets, c.Visitors = nil, false })
	if status, _, _ := d.request("GET", "/metrics", nil, ""); status != 200 {
		t.Errorf("metrics of an open server: %d", status)
	}
	here := d.enter(shows{auth: `{"userId":"u7"}`}, nil)
	anonymous := d.mustConnect("websocket", shows{})
	d.operators()
	here.ended()
	<-anonymous.done
	for transport := range transports {
		if _, err := d.connect(transport, shows{auth: `{"userId":"u7"}`}); codeOf(err) != "bad_token" {
			t.Errorf("%s again: %v", transport, err)
		}
	}
	if _, err := d.feed("/rooms/lounge/events", nil); err == nil {
		t.Error("the feed opens again")
	}
	if status, _, _ := d.request("GET", "/metrics", nil, ""); status != 401 {
		t.Errorf("metrics: %d", status)
	}
	d.mustConnect("websocket", withCookie(d.signIn("ann")))
}
