package parley_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
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
