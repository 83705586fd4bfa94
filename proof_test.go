package parley_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/wiretest"
	"github.com/parley-go/parley/internal/ws"
)

// inBubble runs a server over pipes, in a bubble with its own time.
func inBubble(t *testing.T, o parley.Options, f func(t *testing.T, srv *parley.Server, dial func() *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o.Logger, o.PingInterval = slog.New(slog.DiscardHandler), 24*time.Hour
		srv, err := parley.New(&o)
		if err != nil {
			t.Fatal(err)
		}
		l := wiretest.Listen()
		hs := &http.Server{Handler: srv}
		go hs.Serve(l)
		f(t, srv, func() *client {
			conn, _, err := ws.Dial(t.Context(), "http://parley.test/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{NetDial: l.Dial})
			if err != nil {
				t.Fatal(err)
			}
			c := &client{t: t, conn: conn}
			c.recv()
			return c
		})
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		hs.Close()
		if n := srv.ProofsForTest(); n != 0 {
			t.Errorf("%d proofs are left", n)
		}
	})
}

// closedAfter waits until the server closes the connection. It reports how long that took, and what
// came before.
func (c *client) closedAfter() (after time.Duration, before []string) {
	c.t.Helper()
	start := time.Now()
	for {
		_, b, err := c.conn.ReadMessage(c.t.Context())
		if err != nil {
			return time.Since(start).Round(time.Second), before
		}
		before = append(before, string(b))
	}
}

func TestIdentityExpires(t *testing.T) {
	for name, tt := range map[string]struct{ grace, want time.Duration }{
		"default": {0, 25 * time.Second}, "none": {-1, 0}, "a minute": {time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			d := &door{lasts: map[string]time.Duration{"ann": 2 * time.Minute, "bob": 10 * time.Second}}
			inBubble(t, parley.Options{Authorize: d, IdentityGrace: tt.grace}, func(t *testing.T, srv *parley.Server, dial func() *client) {
				start := time.Now()
				told, gone := make(chan time.Duration, 9), make(chan parley.Reason, 9)
				srv.OnExpiring(func(s *parley.Socket, expires time.Time) {
					told <- time.Until(expires)
					s.Emit("tokenExpiring", expires.Sub(start).Seconds())
				})
				srv.OnConnection(func(s *parley.Socket) { s.Emit("welcome") })
				srv.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { gone <- r })
				c := dial()
				c.connect("", token("ann"))
				after, got := c.closedAfter()
				if want := []string{`42["welcome"]`, `42["tokenExpiring",120]`}; !slices.Equal(got, want) || after != 2*time.Minute+tt.want {
					t.Errorf("closed after %v, received %q", after, got)
				}
				if left := await(t, "notice", told); left != time.Minute {
					t.Errorf("told %v before the end", left)
				}
				if r := await(t, "disconnect", gone); r != parley.ForcedClose {
					t.Errorf("reason %q", r)
				}
				// An identity that ends soon is announced at once, but after OnConnection.
				c = dial()
				c.connect("", token("bob"))
				after, got = c.closedAfter()
				if len(got) != 2 || got[0] != `42["welcome"]` || !strings.HasPrefix(got[1], `42["tokenExpiring",`) || after != 10*time.Second+tt.want {
					t.Errorf("closed after %v, received %q", after, got)
				}
				if n := srv.Stats().Expired; n != 2 {
					t.Errorf("%d expiries are counted", n)
				}
			})
		})
	}
}

// Other namespaces of the connection have identities of their own.
func TestIdentityExpiresInOneNamespace(t *testing.T) {
	d := &door{lasts: map[string]time.Duration{"ann": time.Minute, "bob": 2 * time.Minute, "zoe": 2 * time.Minute}}
	inBubble(t, parley.Options{Authorize: d}, func(t *testing.T, srv *parley.Server, dial func() *client) {
		srv.Of("/b")
		srv.Of("/z")
		c := dial()
		c.connect("", token("ann"))
		c.connect("/b", token("bob"))
		c.connect("/z", token("zoe"))
		start := time.Now()
		c.expect("41")
		if d := time.Since(start).Round(time.Second); d != 85*time.Second {
			t.Errorf("the first ended after %v", d)
		}
		c.send(`42["late"]`) // is ignored
		if after, got := c.closedAfter(); after != time.Minute || len(got) != 0 {
			t.Errorf("closed %v later, after %q", after, got)
		}
	})
}

func TestIdentityExpiresWhileConnecting(t *testing.T) {
	d := &door{lasts: map[string]time.Duration{"ann": time.Second}}
	inBubble(t, parley.Options{Authorize: d}, func(t *testing.T, srv *parley.Server, dial func() *client) {
		srv.Use(func(context.Context, *parley.Socket) error { time.Sleep(time.Minute); return nil })
		c := dial()
		start := time.Now()
		c.send("40" + token("ann"))
		c.expect(`44{"message":"Your token has expired","data":{"code":"token_expired","message":"Your token has expired"}}`)
		if d := time.Since(start); d.Round(time.Second) != 26*time.Second {
			t.Errorf("refused after %v", d)
		}
		time.Sleep(time.Minute)
		if n := howMany(t, srv); n != 0 {
			t.Errorf("%d sockets", n)
		}
	})
}

func TestRenew(t *testing.T) {
	d := &door{lasts: map[string]time.Duration{"ann": 2 * time.Minute, "operator:ann": time.Hour, "bob": time.Hour}, banned: map[string]bool{"eve": true}}
	inBubble(t, parley.Options{Authorize: d}, func(t *testing.T, srv *parley.Server, dial func() *client) {
		told := make(chan time.Time, 9)
		srv.OnExpiring(func(s *parley.Socket, expires time.Time) { told <- expires })
		srv.On("refresh", func(p *parley.Packet) error {
			var payload json.RawMessage
			if err := p.Decode(&payload); err != nil {
				return err
			}
			id, err := p.Socket().Renew(p.Context(), payload)
			if err != nil {
				return err
			}
			return p.Ack(id == p.Socket().Identity())
		})
		c := dial()
		c.connect("", token("ann"))
		for range 3 { // after the notice, and in the grace
			<-told
			time.Sleep(80 * time.Second)
			c.send(`420["refresh",{"token":"ann"}]`)
			c.expect(`430[true]`)
		}
		for who, want := range map[string]string{
			"bob":          `{"code":"forbidden","message":"The token is somebody else's"}`,
			"operator:ann": `{"code":"forbidden","message":"The token is somebody else's"}`,
			"eve":          `{"code":"banned","message":"You are banned"}`,
			"broken":       `{"code":"internal","message":"internal error"}`,
		} {
			c.send(`420["refresh",` + token(who) + `]`)
			c.expect(`430[{"error":` + want + `}]`)
		}
		if after, _ := c.closedAfter(); after != 145*time.Second {
			t.Errorf("closed %v after the last renewal", after)
		}
		if len(told) != 1 {
			t.Errorf("%d more notices", len(told))
		}
	})
}

// Nobody may be left after a revocation: whatever its client was doing.
func TestDisconnectIdentities(t *testing.T) {
	waiting, answer := make(chan string, 10), make(chan struct{})
	d := &door{banned: map[string]bool{}}
	srv, url := serve(t, &parley.Options{Authorize: d, Recovery: &parley.Recovery{}})
	srv.Of("/adm")
	screened, screen := make(chan bool, 10), make(chan struct{})
	srv.Of("/slow").Use(func(ctx context.Context, s *parley.Socket) error {
		screened <- true
		select {
		case <-screen:
		case <-ctx.Done():
		}
		return nil
	})
	v := watch(srv.Of("/"))

	connected, both, mixed, other, away := dial(t, url), dial(t, url), dial(t, url), dial(t, url), dial(t, url)
	connected.connect("", token("eve"))
	both.connect("", token("eve"))
	both.connect("/adm", token("eve"))
	mixed.connect("", token("eve"))
	mixed.connect("/adm", token("ann"))
	other.connect("", token("ann"))
	operator := dial(t, url)
	operator.connect("", token("operator:eve"))
	lost := away.connect("", token("eve"))
	away.cut()
	await(t, "disconnect", v.gone)

	inMiddleware := dial(t, url)
	inMiddleware.send("40/slow," + token("eve"))
	await(t, "middleware", screened)
	d.mu.Lock()
	d.waiting, d.answer = waiting, answer
	d.mu.Unlock()
	asked, asked2 := dial(t, url), dial(t, url)
	asked.send("40" + token("eve"))
	asked2.send("40" + token("ann"))
	await(t, "question", waiting)
	await(t, "question", waiting)

	d.mu.Lock()
	d.waiting, d.banned["eve"] = nil, true
	d.mu.Unlock()
	if err := srv.DisconnectIdentities(t.Context(), auth.Match{Subject: "eve", Role: auth.User}); err != nil {
		t.Fatal(err)
	}
	close(answer)
	const revoked = `{"message":"Your access has been revoked","data":{"code":"bad_token","message":"Your access has been revoked"}}`
	connected.expect("41")
	connected.expectClosed()
	for range 2 { // in any order
		if got := both.recv(); got != "41" && got != "41/adm," {
			t.Errorf("received %q", got)
		}
	}
	both.expectClosed()
	mixed.expect("41")
	mixed.connect("", token("ann"))
	inMiddleware.expect("44/slow," + revoked)
	asked.expect("44" + revoked)
	if got := asked2.recv(); !strings.HasPrefix(got, `40{"sid"`) {
		t.Errorf("Ann was asked at that moment and received %q", got)
	}
	close(screen)
	other.send("41")

	// She does not come back, even when she is no longer banned.
	d.ban("eve", false)
	again := dial(t, url)
	got := again.connect("", `{"token":"eve","pid":"`+lost.PID+`"}`)
	if got.SID == lost.SID || got.PID == lost.PID {
		t.Error("a revoked socket was recovered")
	}
	if n := howMany(t, srv); n != 4 { // mixed, operator, asked2, again
		t.Errorf("%d sockets", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := srv.DisconnectIdentities(ctx, auth.Match{}); err != context.Canceled {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// A client that comes back proves its identity again, and finds its socket only if it is the same.
func TestRecoveryNeedsTheSameIdentity(t *testing.T) {
	d := &door{banned: map[string]bool{}}
	srv, url := serve(t, &parley.Options{Authorize: d, Recovery: &parley.Recovery{}})
	v := watch(srv.Of("/"))
	c := dial(t, url)
	first := c.connect("", token("ann"))
	s := await(t, "socket", v.sockets)
	s.Join("room")
	s.SetData("kept")
	c.cut()
	await(t, "disconnect", v.gone)
	srv.To("room").Emit("missed")
	come := func(who string) (*client, string) {
		c := dial(t, url)
		c.send(`40{"token":"` + who + `","pid":"` + first.PID + `"}`)
		return c, c.recv()
	}
	for _, who := range []string{"bob", "operator:ann"} {
		if _, got := come(who); !strings.HasPrefix(got, `40{"sid"`) || strings.Contains(got, first.SID) || strings.Contains(got, first.PID) {
			t.Errorf("%s received %q", who, got)
		}
		if s := await(t, "socket", v.sockets); s.Recovered() || s.Data() != nil {
			t.Errorf("%s: recovered", who)
		}
	}
	d.ban("ann", true)
	if _, got := come("ann"); !strings.HasPrefix(got, `44{"message":"You are banned"`) {
		t.Errorf("banned: received %q", got)
	}
	d.ban("ann", false)
	back, got := come("ann")
	if !strings.HasPrefix(got, `42["missed",`) {
		t.Errorf("received %q", got)
	}
	back.expect(`40{"sid":"` + first.SID + `","pid":"` + first.PID + `"}`)
	if s := await(t, "socket", v.sockets); !s.Recovered() || s.Data() != "kept" || s.Identity().Subject != "ann" {
		t.Errorf("recovered %v, data %v", s.Recovered(), s.Data())
	}
}

// The deadline of a recovered socket is that of the identity with which it came back.
func TestRecoveredSocketExpires(t *testing.T) {
	d := &door{lasts: map[string]time.Duration{"ann": time.Hour}}
	inBubble(t, parley.Options{Authorize: d, Recovery: &parley.Recovery{}}, func(t *testing.T, srv *parley.Server, dial func() *client) {
		c := dial()
		first := c.connect("", token("ann"))
		c.cut()
		synctest.Wait()
		d.mu.Lock()
		d.lasts["ann"] = time.Minute
		d.mu.Unlock()
		c = dial()
		if again := c.connect("", `{"token":"ann","pid":"`+first.PID+`"}`); again != first {
			t.Fatalf("not recovered: %v, %v", first, again)
		}
		if after, _ := c.closedAfter(); after != 85*time.Second {
			t.Errorf("closed after %v", after)
		}
		// It may come back with a new token: nobody wanted to part.
		c = dial()
		if again := c.connect("", `{"token":"ann","pid":"`+first.PID+`"}`); again != first {
			t.Errorf("after it expired: %v, %v", first, again)
		}
	})
}

func TestDisconnectNetwork(t *testing.T) {
	srv, url := serve(t, &parley.Options{Authorize: &door{}, ClientAddress: func(r *http.Request) string { return r.Header.Get("X-From") }})
	open := func(from string) *client {
		conn, _, err := ws.Dial(t.Context(), url+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{Header: http.Header{"X-From": {from}}})
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, conn: conn}
		t.Cleanup(c.cut)
		c.recv()
		c.connect("", token("ann"))
		return c
	}
	banned := open("192.0.2.7:80")
	open("192.0.3.7:80")
	if err := srv.DisconnectIdentities(t.Context(), auth.Match{Network: netip.MustParsePrefix("192.0.2.0/24")}); err != nil {
		t.Fatal(err)
	}
	banned.expect("41")
	banned.expectClosed()
	if n := howMany(t, srv); n != 1 {
		t.Errorf("%d sockets", n)
	}
}
