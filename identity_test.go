package parley_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/wiretest"
	"github.com/parley-go/parley/internal/ws"
)

// door is an Authorizer whose tokens are the names of subjects. It takes a token from the payload or
// from the Authorization header.
type door struct {
	mu      sync.Mutex
	lasts   map[string]time.Duration // how long an identity lasts; absent: for ever
	banned  map[string]bool
	asked   []auth.Request
	waiting chan<- string   // gets the token before door answers
	answer  <-chan struct{} // door answers when it is closed
}

func (d *door) Authorize(ctx context.Context, r *auth.Request) (*auth.Identity, error) {
	var payload struct{ Token string }
	if r.Payload != nil {
		if err := json.Unmarshal(r.Payload, &payload); err != nil {
			return nil, err
		}
	}
	token := payload.Token
	if token == "" {
		token = r.Bearer()
	}
	d.mu.Lock()
	d.asked = append(d.asked, *r)
	waiting, answer := d.waiting, d.answer
	banned, lasts := d.banned[token], d.lasts[token]
	d.mu.Unlock()
	if waiting != nil {
		waiting <- token
		select {
		case <-answer:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch {
	case banned:
		return nil, &parley.Error{Code: "banned", Message: "You are banned"}
	case token == "nobody":
		return nil, nil
	case token == "broken":
		return nil, errors.New("the key server is down")
	case token == "panic":
		panic("oh")
	case token == "":
		return nil, &parley.Error{Code: "bad_token", Message: "Log in first"}
	}
	id := &auth.Identity{Subject: token, Role: auth.User, IssuedAt: time.Now()}
	if name, ok := strings.CutPrefix(token, "operator:"); ok {
		id.Subject, id.Role = name, auth.Operator
	}
	if lasts != 0 {
		id.Expires = time.Now().Add(lasts)
	}
	return id, nil
}

func (d *door) ban(token string, banned bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.banned[token] = banned
}

func (d *door) requests() []auth.Request {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.asked)
}

func token(name string) string { return `{"token":"` + name + `"}` }

func TestAuthorize(t *testing.T) {
	d := &door{banned: map[string]bool{"eve": true}, lasts: map[string]time.Duration{"late": -time.Second}}
	srv, url := serve(t, &parley.Options{Authorize: d})
	seen := make(chan [3]string, 100)
	srv.Use(func(ctx context.Context, s *parley.Socket) error {
		seen <- [3]string{s.Identity().Subject, parley.IdentityOf(ctx).Subject, parley.IdentityOf(s).Subject}
		return nil
	})
	srv.On("who", func(p *parley.Packet) error { return p.Ack(parley.IdentityOf(p.Context()).Subject) })

	refused := func(namespace, auth, want string) {
		t.Helper()
		c := dial(t, url)
		c.send("40" + namespace + auth)
		c.expect("44" + namespace + want)
		c.send("40" + namespace + token("ann")) // it may try again
		if got := c.recv(); !strings.HasPrefix(got, "40"+namespace+`{"sid"`) && namespace != "/none," {
			t.Errorf("after a refusal: %s", got)
		}
	}
	refused("", "", `{"message":"Log in first","data":{"code":"bad_token","message":"Log in first"}}`)
	refused("", token("eve"), `{"message":"You are banned","data":{"code":"banned","message":"You are banned"}}`)
	const internal = `{"message":"Connection refused","data":{"code":"internal","message":"Connection refused"}}`
	refused("", token("nobody"), internal)
	refused("", token("broken"), internal)
	refused("", token("panic"), internal)
	refused("", token("late"), `{"message":"Your token has expired","data":{"code":"token_expired","message":"Your token has expired"}}`)
	// Who is not known does not even learn that there is no such namespace.
	refused("/none,", token("eve"), `{"message":"You are banned","data":{"code":"banned","message":"You are banned"}}`)

	for len(seen) > 0 {
		<-seen
	}
	c := dial(t, url)
	c.connect("", token("bob"))
	c.send(`420["who"]`)
	c.expect(`430["bob"]`)
	if got := await(t, "middleware", seen); got != [3]string{"bob", "bob", "bob"} {
		t.Errorf("middleware saw %q", got)
	}
	infos, err := srv.FetchSockets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, i := range infos {
		if i.Identity.Subject == "bob" && parley.IdentityOf(i) == i.Identity {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d of %d sockets are Bob's", found, len(infos))
	}
	if n := srv.Stats().Unauthorized; n != 7 {
		t.Errorf("%d refusals are counted", n)
	}
}

// Without Options.Authorize there is no identity.
func TestNoAuthorizer(t *testing.T) {
	srv, url := serve(t, nil)
	srv.On("who", func(p *parley.Packet) error {
		_, err := p.Socket().Renew(p.Context(), nil)
		return p.Ack(p.Socket().Identity() == nil, parley.IdentityOf(p.Context()) == nil, err != nil)
	})
	c, _ := join(t, url, "")
	c.send(`420["who"]`)
	c.expect(`430[true,true,true]`)
	if err := srv.DisconnectIdentities(t.Context(), auth.Match{}); err != nil {
		t.Error(err)
	}
	c.send(`421["who"]`)
	c.expect(`431[true,true,true]`)
}

// opener takes every client until it closes. Then it takes only Ann.
type opener struct {
	door
	closed  atomic.Bool
	looking atomic.Pointer[func()] // runs before an answer
}

func (o *opener) Everybody() *auth.Identity {
	if look := o.looking.Load(); look != nil {
		(*look)()
	}
	if o.closed.Load() {
		return nil
	}
	return &auth.Identity{Name: "somebody"}
}

func TestOpener(t *testing.T) {
	o := new(opener)
	srv, url := serve(t, &parley.Options{Authorize: o})
	srv.On("who", func(p *parley.Packet) error {
		return p.Ack(p.Socket().Identity().Name, p.Socket().Handshake().Auth)
	})
	c := dial(t, url)
	c.connect("", token("eve"))
	c.send(`420["who"]`)
	c.expect(`430["somebody",{"token":"eve"}]`) // who it says it is stays known

	srv.Of("/screened").Use(func(context.Context, *parley.Socket) error { return nil })
	c.connect("/screened", "")
	if asked := o.requests(); len(asked) > 0 {
		t.Errorf("%d clients were asked", len(asked))
	}

	// A client that joins while all are disconnected is not forgotten.
	var looks atomic.Int32
	look := func() {
		if looks.Add(1) == 2 {
			o.closed.Store(true)
			if err := srv.DisconnectIdentities(t.Context(), auth.Match{}); err != nil {
				t.Error(err)
			}
			o.closed.Store(false) // or the second answer would refuse it
		}
	}
	o.looking.Store(&look)
	late := dial(t, url)
	late.send("40")
	late.expect(`44{"message":"Your access has been revoked","data":{"code":"bad_token","message":"Your access has been revoked"}}`)
	if got := c.recv(); !strings.HasPrefix(got, "41") {
		t.Errorf("who was there before got %s", got)
	}

	o.closed.Store(true)
	d := dial(t, url)
	d.connect("", token("ann"))
	d.send(`420["who"]`)
	d.expect(`430["",null]`)
	if asked := o.requests(); len(asked) != 1 {
		t.Errorf("%d clients were asked", len(asked))
	}
}

// The allocator rounds sizes up. One field more, and each idle connection takes 32 bytes more, also for
// servers without an authorizer.
func TestSocketSize(t *testing.T) {
	if parley.SocketSize > 288 {
		t.Errorf("a Socket has %d bytes", parley.SocketSize)
	}
}

// Each namespace asks, and none is created for a client that is not known.
func TestAuthorizeEachNamespace(t *testing.T) {
	d := &door{banned: map[string]bool{"eve": true}}
	srv, url := serve(t, &parley.Options{Authorize: d})
	var created atomic.Int32
	srv.OnNewNamespace(func(*parley.Namespace) { created.Add(1) })
	srv.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return name == "/room" })
	c := dial(t, url)
	c.connect("", token("ann"))
	c.send("40/room," + token("eve"))
	c.expect(`44/room,{"message":"You are banned","data":{"code":"banned","message":"You are banned"}}`)
	if created.Load() != 0 {
		t.Error("a namespace was created for a client that is banned")
	}
	c.connect("/room", token("bob"))
	for namespace, subject := range map[string]string{"/": "ann", "/room": "bob"} {
		infos, err := srv.Of(namespace).FetchSockets(t.Context())
		if err != nil || len(infos) != 1 || infos[0].Identity.Subject != subject {
			t.Errorf("%s: %+v, %v", namespace, infos, err)
		}
	}
	if asked := d.requests(); len(asked) != 3 || asked[0].Namespace != "/" || asked[1].Namespace != "/room" {
		t.Errorf("asked: %+v", asked)
	}
}

// What the Authorizer gets, with each kind of KeepHeaders, and what is kept.
func TestAuthorizeRequest(t *testing.T) {
	for name, keep := range map[string][]string{"all": nil, "none": {}, "some": {"X-A"}} {
		t.Run(name, func(t *testing.T) {
			d := &door{}
			srv, url := serve(t, &parley.Options{Authorize: d, KeepHeaders: keep})
			payloads := make(chan string, 10)
			srv.Use(func(_ context.Context, s *parley.Socket) error { payloads <- string(s.Handshake().Auth); return nil })
			srv.OnConnection(func(s *parley.Socket) { payloads <- string(s.Handshake().Auth) })
			srv.On("auth", func(p *parley.Packet) error { payloads <- string(p.Socket().Handshake().Auth); return nil })
			header := http.Header{"Authorization": {"Bearer carl"}, "X-A": {"a"}, "X-B": {"b"}}
			conn, _, err := ws.Dial(t.Context(), url+"/socket.io/?EIO=4&transport=websocket&q=1", &ws.DialOptions{Header: header})
			if err != nil {
				t.Fatal(err)
			}
			c := &client{t: t, conn: conn}
			defer c.cut()
			c.recv()
			c.connect("", `{"a":1}`)
			c.send(`42["auth"]`)
			for _, want := range []string{`{"a":1}`, `{"a":1}`, ""} {
				if got := await(t, "payload", payloads); got != want {
					t.Errorf("payload %q, want %q", got, want)
				}
			}
			r := d.requests()[0]
			h := http.Header(r.Header)
			if r.Bearer() != "carl" || (h.Get("X-A") == "a") != (name != "none") || (h.Get("X-B") == "b") != (name == "all") {
				t.Errorf("headers: %v", h)
			}
			if string(r.Payload) != `{"a":1}` || r.Query["q"][0] != "1" || r.Address == "" || r.Secure || r.CrossOrigin {
				t.Errorf("request: %+v", r)
			}
		})
	}
}

// An Authorizer that proves nothing leaves it to the handlers what to believe.
func TestPayloadOfNobodyStays(t *testing.T) {
	nobody := auth.AuthorizerFunc(func(context.Context, *auth.Request) (*auth.Identity, error) { return &auth.Identity{}, nil })
	srv, url := serve(t, &parley.Options{Authorize: nobody})
	payloads := make(chan string, 1)
	srv.On("auth", func(p *parley.Packet) error { payloads <- string(p.Socket().Handshake().Auth); return nil })
	c := dial(t, url)
	c.connect("", `{"userId":"ann"}`)
	c.send(`42["auth"]`)
	if got := await(t, "payload", payloads); got != `{"userId":"ann"}` {
		t.Errorf("payload %q", got)
	}
}

// A client of Socket.IO 2 cannot send a payload for the main namespace.
func TestAuthorizeEIO3(t *testing.T) {
	d := &door{}
	_, url := serve(t, &parley.Options{Authorize: d, AllowEIO3: true, KeepHeaders: []string{}})
	open := func(header http.Header) *client {
		conn, _, err := ws.Dial(t.Context(), url+"/socket.io/?EIO=3&transport=websocket", &ws.DialOptions{Header: header})
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, conn: conn}
		t.Cleanup(c.cut)
		c.recv()
		return c
	}
	open(nil).expect(`44{"code":"bad_token","message":"Log in first"}`)
	c := open(http.Header{"Authorization": {"Bearer carl"}})
	c.expect("40")
	c.send("40/adm?token=dora")
	c.expect(`44/adm,{"message":"Invalid namespace"}`) // Dora is known
}

// The client gives up, or disconnects, while the Authorizer is being asked.
func TestAuthorizeGivenUp(t *testing.T) {
	waiting := make(chan string, 10)
	d := &door{waiting: waiting, answer: make(chan struct{})}
	srv, url := serve(t, &parley.Options{Authorize: d})
	c := dial(t, url)
	c.send("40" + token("ann"))
	await(t, "question", waiting)
	c.send("41")
	other := dial(t, url)
	other.send("40" + token("bob"))
	await(t, "question", waiting)
	other.cut()
	d.mu.Lock()
	d.waiting = nil
	d.mu.Unlock()
	c.connect("", token("ann"))
	if n := srv.Stats().Unauthorized; n != 0 {
		t.Errorf("%d refusals are counted", n)
	}
	eventually(t, "end of the proofs", func() bool { return srv.ProofsForTest() == 1 })
}

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

// Each transport asks, and ends with the identity.
func TestAuthorizeOverHTTP(t *testing.T) {
	for _, transport := range []string{"polling", "sse"} {
		t.Run(transport, func(t *testing.T) {
			d := &door{banned: map[string]bool{"eve": true}}
			srv, url := serve(t, &parley.Options{Authorize: d})
			url += "/socket.io/?EIO=4&transport=" + transport
			p := &poller{t, url}
			next := p.get // returns what comes next
			if transport == "sse" {
				resp, err := http.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				defer http.DefaultClient.CloseIdleConnections()
				defer resp.Body.Close()
				lines := bufio.NewScanner(resp.Body)
				next = func() string {
					for lines.Scan() {
						if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
							return data
						}
					}
					return "the end"
				}
			}
			var open struct{ SID string }
			if err := json.Unmarshal([]byte(strings.TrimPrefix(next(), "0")), &open); err != nil {
				t.Fatal(err)
			}
			p.url += "&sid=" + open.SID
			p.post("40" + token("eve"))
			if got := next(); got != `44{"message":"You are banned","data":{"code":"banned","message":"You are banned"}}` {
				t.Errorf("received %q", got)
			}
			p.post("40" + token("ann"))
			if got := next(); !strings.HasPrefix(got, `40{"sid"`) {
				t.Errorf("received %q", got)
			}
			if err := srv.DisconnectIdentities(t.Context(), auth.Match{Subject: "ann"}); err != nil {
				t.Fatal(err)
			}
			if got := next(); got != "41" && got != "41\x1e1" {
				t.Errorf("received %q", got)
			}
			eventually(t, "end of the session", func() bool { return srv.Stats().Open[transport] == 0 })
		})
	}
}
