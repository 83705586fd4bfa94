package parley_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

func TestConnecting(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Of("static") // without the slash
	srv.Of("/refused").Use(func(_ context.Context, s *parley.Socket) error {
		var auth struct{ Token string }
		if err := s.DecodeAuth(&auth); err != nil {
			return err
		}
		switch auth.Token {
		case "good":
			return nil
		case "panic":
			panic("in middleware")
		case "odd":
			return &parley.ConnectError{Message: "odd", Data: func() {}}
		case "odder":
			return &parley.ConnectError{Message: "odder", Data: panicsEncoded{}}
		case "nil":
			return (*parley.ConnectError)(nil)
		case "coded":
			return fmt.Errorf("wrapped: %w", &parley.Error{Code: "expired", Message: "The token has expired", Data: 3})
		case "coded oddly":
			return &parley.Error{Code: "odd", Message: "odd", Data: func() {}}
		case "plain":
			return errors.New("the reason is a secret")
		}
		return &parley.ConnectError{Message: "Not authorized", Data: map[string]any{"code": 7}}
	})
	c := dial(t, url)
	for _, tt := range []struct{ send, want string }{
		{`40/unknown,`, `44/unknown,{"message":"Invalid namespace"}`},
		{`40/refused,`, `44/refused,{"message":"Not authorized","data":{"code":7}}`},
		{`40/refused,{"token":"bad"}`, `44/refused,{"message":"Not authorized","data":{"code":7}}`},
		{`40/refused,{"token":"panic"}`, `44/refused,{"message":"Connection refused","data":{"code":"internal","message":"Connection refused"}}`},
		{`40/refused,{"token":"coded"}`, `44/refused,{"message":"The token has expired","data":{"code":"expired","message":"The token has expired","data":3}}`},
		{`40/refused,{"token":"coded oddly"}`, `44/refused,{"message":"odd","data":{"code":"odd","message":"odd"}}`},
		{`40/refused,{"token":"odd"}`, `44/refused,{"message":"odd"}`},
		{`40/refused,{"token":"odder"}`, `44/refused,{"message":"odder"}`},
		{`40/refused,{"token":"nil"}`, `44/refused,{"message":"Connection refused","data":{"code":"internal","message":"Connection refused"}}`},
		{`40/refused,{"token":"plain"}`, `44/refused,{"message":"Connection refused","data":{"code":"internal","message":"Connection refused"}}`},
		{`40/refused,{"token":5}`, `44/refused,{"message":"Connection refused","data":{"code":"internal","message":"Connection refused"}}`},
	} {
		c.send(tt.send)
		c.expect(tt.want)
	}
	root := c.connect("", "")
	static := c.connect("/static", "")
	admitted := c.connect("/refused", `{"token":"good"}`)
	ids := []string{root.SID, static.SID, admitted.SID, c.open.SID}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != 4 || len(root.SID) != 20 {
		t.Errorf("ids %q are not four different ones", ids)
	}
	if s := srv.Of("/refused").Socket(admitted.SID); s == nil || string(s.Handshake().Auth) != `{"token":"good"}` {
		t.Error("the admitted socket is not there with what it authenticated with")
	}
}

func TestWhatClosesTheConnection(t *testing.T) {
	for name, messages := range map[string][]string{
		"event before joining":             {`42["x"]`},
		"acknowledgement before joining":   {`431[]`},
		"event to another namespace":       {`40`, `42/other,["x"]`},
		"joined twice":                     {`40`, `40`},
		"event before the answer":          {`40/slow,`, `42/slow,["x"]`},
		"CONNECT_ERROR from a client":      {`40`, `44{"message":"x"}`},
		"not a packet":                     {`40`, `4z`},
		"malformed JSON":                   {`40`, `42["x"`},
		"reserved event name":              {`40`, `42["disconnect"]`},
		"text while attachments are due":   {`40`, `451-["x",{"_placeholder":true,"num":0}]`, `42["x"]`},
		"attachments without end":          {`40`, `4511-["x"]`},
		"CONNECT payload is not an object": {`40[]`},
	} {
		t.Run(name, func(t *testing.T) {
			srv, url := serve(t, nil)
			srv.Of("/other")
			release := make(chan struct{})
			defer close(release)
			srv.Of("/slow").Use(func(ctx context.Context, _ *parley.Socket) error {
				select {
				case <-ctx.Done():
				case <-release:
				}
				return nil
			})
			c := dial(t, url)
			for _, m := range messages {
				c.send(m)
			}
			c.expectClosed()
		})
	}
}

func TestMaxNamespaces(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxNamespaces: 2})
	srv.OfPattern(regexp.MustCompile(`/n\d`))
	c := dial(t, url)
	c.connect("/n1", "")
	c.connect("/n2", "")
	c.send("40/n3,")
	c.expect(`44/n3,{"message":"Too many namespaces","data":{"code":"too_many_namespaces","message":"Too many namespaces"}}`)
	c.send("41/n1,")
	c.connect("/n3", "")
}

func TestDynamicNamespaces(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxDynamicNamespaces: 3})
	made := make(chan string, 8)
	srv.OnNewNamespace(func(n *parley.Namespace) { made <- n.Name() })
	parent := srv.OfPattern(regexp.MustCompile(`/dyn-\d+`))
	parent.On("where", func(p *parley.Packet) error { return p.Ack(p.Socket().Namespace().Name()) })
	srv.OfFunc(func(_ context.Context, name string, auth json.RawMessage) bool {
		if name == "/panic" {
			panic("in the rule")
		}
		return name == "/secret" && string(auth) == `{"key":1}`
	})
	a, b := dial(t, url), dial(t, url)
	a.connect("/dyn-1", "")
	b.connect("/dyn-2", "")
	if one, two := await(t, "namespace", made), await(t, "namespace", made); one != "/dyn-1" || two != "/dyn-2" {
		t.Errorf("made %q, %q", one, two)
	}
	a.send(`42/dyn-1,1["where"]`)
	a.expect(`43/dyn-1,1["/dyn-1"]`)
	if err := parent.Emit("all", 1); err != nil {
		t.Fatal(err)
	}
	a.expect(`42/dyn-1,["all",1]`)
	b.expect(`42/dyn-2,["all",1]`)

	for _, refused := range []string{`/dyn-x`, `/x/dyn-1`, `/dyn-1/x`, `/secret`, `/panic`} {
		a.send("40" + refused + ",")
		a.expect("44" + refused + `,{"message":"Invalid namespace"}`)
	}
	a.connect("/secret", `{"key":1}`)
	b.send("40/dyn-3,") // a fourth one exceeds the limit
	b.expect(`44/dyn-3,{"message":"Invalid namespace"}`)

	left := make(chan struct{}, 16)
	parent.OnDisconnect(func(*parley.Socket, parley.Reason) { left <- struct{}{} })
	a.send("41/dyn-1,")
	await(t, "disconnect", left)
	for srv.Stats().Namespaces > 3 { // "/", dyn-2, secret
		time.Sleep(time.Millisecond)
	}
	b.connect("/dyn-3", "") // dyn-1 was removed with its last socket
	srv.Of("/dyn-3")        // this one stays
	b.send("41/dyn-3,")
	await(t, "disconnect", left)
	if n := srv.Stats().Namespaces; n != 4 { // "/", dyn-2, secret, dyn-3
		t.Errorf("%d namespaces, want 4", n)
	}
}

// A namespace's middleware is in place before anyone can join.
func TestOnNewNamespaceComesFirst(t *testing.T) {
	srv, url := serve(t, nil)
	srv.OfPattern(regexp.MustCompile(`/dyn-\d+`))
	begun, release := make(chan struct{}), make(chan struct{})
	srv.OnNewNamespace(func(n *parley.Namespace) {
		close(begun)
		<-release // for example, it loads settings
		n.Use(func(context.Context, *parley.Socket) error { return &parley.ConnectError{Message: "no"} })
	})
	first, second, third := dial(t, url), dial(t, url), dial(t, url)
	first.send("40/dyn-1,")
	await(t, "OnNewNamespace", begun)
	second.send("40/dyn-1,")
	third.send("40/dyn-1,")
	third.send("41/dyn-1,") // gives up
	third.connect("", "")
	if n := srv.Of("/dyn-1"); howMany(t, n) != 0 { // does not wait
		t.Errorf("%d sockets are there", howMany(t, n))
	}
	close(release)
	first.expect(`44/dyn-1,{"message":"no"}`)
	second.expect(`44/dyn-1,{"message":"no"}`)
}

// What you register on one namespace of a pattern applies only to that one, and is lost with it.
func TestSiblingsShareOnlyTheirParent(t *testing.T) {
	srv, url := serve(t, nil)
	parent := srv.OfPattern(regexp.MustCompile(`/dyn-\d+`))
	parent.On("who", func(p *parley.Packet) error { return p.Socket().Emit("who", "parent", p.Socket().Namespace().Name()) })
	gone := make(chan struct{}, 8)
	srv.OnNewNamespace(func(n *parley.Namespace) {
		n.On("who", func(p *parley.Packet) error { return p.Socket().Emit("who", n.Name(), p.Socket().Namespace().Name()) })
		n.OnDisconnect(func(*parley.Socket, parley.Reason) { gone <- struct{}{} })
	})
	srv.On("echo", func(p *parley.Packet) error { return p.Ack() })
	c, _ := join(t, url, "")
	for range 2 {
		c.connect("/dyn-1", "")
		c.connect("/dyn-2", "")
		c.send(`42/dyn-2,["who"]`)
		c.expect(`42/dyn-2,["who","parent","/dyn-2"]`, `42/dyn-2,["who","/dyn-2","/dyn-2"]`)
		c.send(`421["echo"]`)
		c.expect("431[]")
		c.send("41/dyn-1,")
		c.send("41/dyn-2,")
		await(t, "disconnect", gone)
		await(t, "disconnect", gone)
		for srv.Stats().Namespaces > 1 {
			time.Sleep(time.Millisecond)
		}
	}
}

// A client that asks for a namespace while its last socket leaves is not refused: the namespace
// stays, or is made again.
func TestJoiningWhileTheLastSocketLeaves(t *testing.T) {
	srv, url := serve(t, nil)
	srv.OfPattern(regexp.MustCompile("/dyn"))
	var wg sync.WaitGroup
	for range 4 {
		c := dial(t, url)
		wg.Go(func() {
			for range 200 {
				c.send("40/dyn,")
				if got := c.recv(); !strings.HasPrefix(got, "40/dyn,") {
					t.Errorf("answer to CONNECT: %q", got)
					return
				}
				c.send("41/dyn,")
			}
		})
	}
	wg.Wait()
	eventually(t, "end of the namespace", func() bool { return srv.Stats().Namespaces == 1 })
}

// If the server uses a namespace before its first client arrives, the rule's middleware still
// applies.
func TestNamespacesThatTheServerNames(t *testing.T) {
	srv, url := serve(t, nil)
	refuse := func(context.Context, *parley.Socket) error { return &parley.ConnectError{Message: "no"} }
	srv.OfPattern(regexp.MustCompile(`/tenant-\d+`)).Use(refuse)
	srv.Of("/room-1").Emit("news") // even before the rule exists
	srv.OfFunc(func(_ context.Context, name string, auth json.RawMessage) bool {
		return strings.HasPrefix(name, "/room-") && string(auth) == `{"key":1}`
	}).Use(refuse)
	srv.Of("/own").On("x", func(*parley.Packet) error { return nil })
	made := 0
	srv.OnNewNamespace(func(*parley.Namespace) { made++ })
	for _, name := range []string{"/tenant-7", "/room-1", "/room-2", "/own"} {
		if err := srv.Of(name).Emit("news", "for members only"); err != nil {
			t.Fatal(err)
		}
	}
	if made != 1 {
		t.Errorf("OnNewNamespace was told of %d, want /tenant-7 alone", made)
	}
	c := dial(t, url)
	for range 2 {
		c.send("40/tenant-7,")
		c.expect(`44/tenant-7,{"message":"no"}`)
		for _, name := range []string{"/room-1", "/room-2"} {
			c.send("40" + name + ",")
			c.expect("44" + name + `,{"message":"Invalid namespace"}`)
		}
	}
	for _, name := range []string{"/room-1", "/room-2"} {
		c.send("40" + name + `,{"key":1}`)
		c.expect("44" + name + `,{"message":"no"}`)
	}
	c.connect("/own", "")
}

func TestDisconnectReasons(t *testing.T) {
	srv, url := serve(t, nil)
	type end struct {
		id     string
		reason parley.Reason
		rooms  []string
	}
	ends := make(chan end, 1)
	srv.OnDisconnect(func(s *parley.Socket, reason parley.Reason) {
		if err := s.Context().Err(); err != context.Canceled {
			t.Errorf("context of a disconnected socket: %v", err)
		}
		rooms := s.Rooms()
		slices.Sort(rooms)
		ends <- end{s.ID(), reason, rooms}
	})
	srv.On("join", func(p *parley.Packet) error {
		if err := p.Socket().Join("a", "b"); err != nil {
			return err
		}
		return p.Ack()
	})
	for _, tt := range []struct {
		reason parley.Reason
		end    func(*client, *parley.Socket)
		expect string // what the client receives
		closed bool
	}{
		{parley.ClientNamespaceDisconnect, func(c *client, _ *parley.Socket) { c.send("41") }, "", false},
		{parley.ServerNamespaceDisconnect, func(_ *client, s *parley.Socket) { s.Disconnect(false) }, "41", false},
		{parley.ServerNamespaceDisconnect, func(_ *client, s *parley.Socket) { s.Disconnect(true) }, "41", true},
		{parley.ForcedClose, func(_ *client, s *parley.Socket) { s.CloseConnection() }, "", true},
		{parley.ForcedClose, func(c *client, _ *parley.Socket) { c.send("4nonsense") }, "", true},
		{parley.ParseError, func(c *client, _ *parley.Socket) { c.send("nonsense") }, "", true},
		{parley.TransportClose, func(c *client, _ *parley.Socket) { c.cut() }, "", false},
		{parley.TransportClose, func(c *client, _ *parley.Socket) { c.send("1") }, "", true},
		{parley.TransportError, func(c *client, _ *parley.Socket) { c.send("2") }, "", true},
	} {
		c, id := join(t, url, "")
		c.send(`421["join"]`)
		c.expect("431[]")
		tt.end(c, srv.Socket(id))
		got := await(t, "disconnect", ends)
		want := []string{"a", "b", id}
		slices.Sort(want)
		if got.reason != tt.reason || got.id != id || !slices.Equal(got.rooms, want) {
			t.Errorf("%q: got %+v", tt.reason, got)
		}
		if tt.expect != "" {
			c.expect(tt.expect)
		}
		if tt.closed {
			c.expectClosed()
		}
		if srv.Socket(id) != nil || srv.To(id).Emit("x") != nil {
			t.Errorf("%q: the socket is still there", tt.reason)
		}
	}
	if n := howMany(t, srv); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
}

// The sockets of one client in several namespaces are independent.
// A pattern also applies to namespaces that the server named before the pattern existed.
func TestPatternAfterItsNamespaces(t *testing.T) {
	srv, url := serve(t, nil)
	n := srv.Of("/tenant-7")
	n.On("ask", func(p *parley.Packet) error { return p.Ack("own") })
	var made []string
	srv.OnNewNamespace(func(n *parley.Namespace) { made = append(made, n.Name()) })
	srv.OfPattern(regexp.MustCompile(`/|/tenant-\d+`)).Use(func(_ context.Context, s *parley.Socket) error {
		if len(s.Handshake().Auth) == 0 {
			return &parley.ConnectError{Message: "no"}
		}
		return nil
	})
	srv.OfPattern(regexp.MustCompile(`/tenant-7`)) // the first pattern that matches decides
	if !slices.Equal(made, []string{"/tenant-7"}) {
		t.Errorf("OnNewNamespace was told of %q", made)
	}
	c := dial(t, url)
	c.connect("", "") // patterns do not apply to the main namespace
	c.send("40/tenant-7,")
	c.expect(`44/tenant-7,{"message":"no"}`)
	c.connect("/tenant-7", `{"token":1}`)
	c.send(`42/tenant-7,1["ask"]`)
	c.expect(`43/tenant-7,1["own"]`)
}

// A client that the server has disconnected may ask again as soon as it learns of that.
func TestJoiningAgainAtOnce(t *testing.T) {
	srv, url := serve(t, nil)
	srv.On("leave", func(p *parley.Packet) error { p.Socket().Disconnect(false); return nil })
	var wg sync.WaitGroup
	for range 8 {
		c := dial(t, url)
		wg.Go(func() {
			for range 500 {
				c.connect("", "")
				c.send(`42["leave"]`)
				c.expect("41")
			}
		})
	}
	wg.Wait()
}

func TestDisconnectOfAllSockets(t *testing.T) {
	srv, url := serve(t, nil)
	reasons := make(chan parley.Reason, 2)
	other := srv.Of("/other")
	for _, n := range []*parley.Namespace{srv.Of("/"), other} {
		n.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { reasons <- r })
	}
	c, id := join(t, url, "")
	c.connect("/other", "")
	srv.Socket(id).Disconnect(true)
	// Without its own packet the socket in /other would reconnect by itself.
	c.expect("41", "41/other,")
	c.expectClosed()
	for range 2 {
		if r := await(t, "disconnect", reasons); r != parley.ServerNamespaceDisconnect {
			t.Errorf("reason %q", r)
		}
	}
}

func TestMultiplexing(t *testing.T) {
	srv, url := serve(t, nil)
	for _, name := range []string{"/", "/a"} {
		n := srv.Of(name)
		n.On("who", func(p *parley.Packet) error { return p.Ack(n.Name()) })
	}
	c := dial(t, url)
	c.connect("", "")
	c.connect("/a", "")
	c.send(`421["who"]`)
	c.expect(`431["/"]`)
	c.send("41")
	c.send(`42/a,2["who"]`)
	c.expect(`43/a,2["/a"]`)
	again := c.connect("", "")
	if srv.Socket(again.SID) == nil {
		t.Error("joined again, but not there")
	}
}

func TestHandshake(t *testing.T) {
	srv, url := serve(t, nil)
	_, id := join(t, url, "")
	h := srv.Socket(id).Handshake()
	if h.Query.Get("EIO") != "4" || !strings.HasPrefix(h.URL, "/socket.io/?") || h.Secure || h.CrossOrigin ||
		h.Auth != nil || h.Headers.Get("Host") == "" || !strings.HasPrefix(h.Address, "127.0.0.1:") || h.Time.IsZero() {
		t.Errorf("handshake %+v", h)
	}
}

// A Server has the methods of its main namespace, and nobody can remove that namespace.
func TestServerIsItsMainNamespace(t *testing.T) {
	server, namespace := reflect.TypeFor[*parley.Server](), reflect.TypeFor[*parley.Namespace]()
	for i := range namespace.NumMethod() {
		m := namespace.Method(i)
		own, found := server.MethodByName(m.Name)
		if m.Name == "Name" {
			continue // a server has several namespaces
		}
		if !found {
			t.Errorf("Server lacks %s", m.Name)
			continue
		}
		for k := 1; k < m.Type.NumIn(); k++ {
			if own.Type.NumIn() != m.Type.NumIn() || own.Type.In(k) != m.Type.In(k) {
				t.Errorf("%s of Server is a %v, and of Namespace a %v", m.Name, own.Type, m.Type)
				break
			}
		}
	}
	for _, s := range []reflect.Type{server, namespace, reflect.TypeFor[*parley.ParentNamespace]()} {
		for f := range s.Elem().Fields() {
			if f.IsExported() {
				t.Errorf("%v has the field %s", s, f.Name)
			}
		}
	}
}
