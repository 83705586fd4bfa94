package parley_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

// dial3 connects like a client of Socket.IO 2, which joins the main namespace without asking.
func dial3(t *testing.T, url string) *client {
	t.Helper()
	return dialEIO(t, url, "3")
}

func TestRevision4(t *testing.T) {
	srv, url := serve(t, &parley.Options{AllowEIO3: true})
	ids := make(chan string, 1)
	srv.OnConnection(func(s *parley.Socket) {
		if s.Handshake().Auth != nil {
			t.Errorf("auth %s", s.Handshake().Auth)
		}
		ids <- s.ID()
	})
	srv.On("echo", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		if p.WantsAck() {
			return p.Ack(v...)
		}
		return p.Socket().Emit("echoed", v...)
	})
	srv.On("ask", func(p *parley.Packet) error {
		reply, err := p.Socket().EmitWithAck(p.Context(), "question", parley.Binary{1})
		if err != nil {
			return err
		}
		v, err := reply.Values()
		if err != nil {
			return err
		}
		return p.Ack(v...)
	})
	c := dial3(t, url)
	c.expect("40")
	if id := await(t, "connection", ids); id != c.open.SID {
		t.Errorf("socket %q of session %q", id, c.open.SID)
	}
	c.send(`42["echo","é😀"]`)
	c.expect(`42["echoed","é😀"]`)
	c.send(`420["echo",1]`)
	c.expect(`430[1]`)
	c.send(`451-["echo",{"_placeholder":true,"num":0}]`)
	c.sendBinary([]byte{4, 1, 2})
	c.expect(`451-["echoed",{"_placeholder":true,"num":0}]`)
	if b := c.recvBinary(); !bytes.Equal(b, []byte{4, 1, 2}) {
		t.Errorf("binary came back as %v", b)
	}
	c.send(`421["ask"]`)
	question := c.recv()
	id, _, _ := strings.Cut(strings.TrimPrefix(question, "451-"), "[")
	if question != `451-`+id+`["question",{"_placeholder":true,"num":0}]` || !bytes.Equal(c.recvBinary(), []byte{4, 1}) {
		t.Fatalf("question %q", question)
	}
	c.send(`461-` + id + `[{"_placeholder":true,"num":0}]`)
	c.sendBinary([]byte{4, 7})
	c.expect(`461-1[{"_placeholder":true,"num":0}]`)
	if b := c.recvBinary(); !bytes.Equal(b, []byte{4, 7}) {
		t.Errorf("binary answer %v", b)
	}
	c.send("41")
	c.send(`42["echo"]`) // it has left, so this is ignored
	c.send("2probe")
	c.expect("3")
}

func TestNamespacesOfRevision4(t *testing.T) {
	srv, url := serve(t, &parley.Options{AllowEIO3: true, MaxNamespaces: 4})
	auths := make(chan string, 1)
	adm := srv.Of("/adm")
	adm.OnConnection(func(s *parley.Socket) { auths <- s.ID() + " " + string(s.Handshake().Auth) })
	adm.On("echo", func(p *parley.Packet) error { return p.Socket().Emit("echoed") })
	c := dial3(t, url)
	c.expect("40")
	c.send("40/adm?token=abc&x=1&x=%C3%A9&y,")
	c.expect("40/adm,")
	if got, want := await(t, "connection", auths), "/adm#"+c.open.SID+` {"token":"abc","x":"é","y":""}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	c.send(`42/adm,["echo"]`)
	c.expect(`42/adm,["echoed"]`)
	c.send(`41/adm`)
	c.send(`40/adm?token=%zz&a=b`) // without the comma, and partly malformed
	c.expect("40/adm,")
	if got := await(t, "connection", auths); !strings.HasSuffix(got, ` {"a":"b"}`) {
		t.Errorf("auth %s", got)
	}
	c.send("40/unk?a=b")
	c.expect(`44/unk,{"message":"Invalid namespace"}`)
	for i, tt := range []struct{ data, want string }{
		{`{"code":"E1"}`, `{"code":"E1"}`},
		{`["a"]`, `["a"]`},
		{`"text"`, `"text"`},
		{`true`, `true`},
		{`""`, `"no"`},
		{`0`, `"no"`},
		{`12`, `"no"`}, // would be read as an id
		{`false`, `"no"`},
		{``, `"no"`},
	} {
		name := "/mw" + strconv.Itoa(i)
		srv.Of(name).Use(func(context.Context, *parley.Socket) error {
			e := &parley.ConnectError{Message: "no"}
			if tt.data != "" {
				e.Data = json.RawMessage(tt.data)
			}
			return e
		})
		c.send("40" + name)
		c.expect("44" + name + "," + tt.want)
	}
	srv.Of("/broken").Use(func(context.Context, *parley.Socket) error { return errors.New("secret") })
	c.send("40/broken")
	c.expect(`44/broken,{"code":"internal","message":"Connection refused"}`)
	for _, name := range []string{"/one", "/two", "/three"} {
		srv.Of(name)
		c.send("40" + name + "?x=y")
		if name != "/three" {
			c.expect("40" + name + ",")
		}
	}
	c.expect(`44/three,{"code":"too_many_namespaces","message":"Too many namespaces"}`)
	c.send("40/adm?another=time")
	c.expectClosed()
}

func TestRevision4IsRefusedByMiddleware(t *testing.T) {
	srv, url := serve(t, &parley.Options{AllowEIO3: true, ConnectTimeout: time.Second})
	srv.Use(func(context.Context, *parley.Socket) error { return &parley.ConnectError{Message: "Not authorized"} })
	c := dial3(t, url)
	c.expect(`44"Not authorized"`)
	c.expectClosed() // it joined nothing in time
}

func TestMainNamespaceTwice(t *testing.T) {
	_, url := serve(t, &parley.Options{AllowEIO3: true})
	c := dial3(t, url)
	c.expect("40")
	c.send("40")
	c.expectClosed()
}

// With polling, what the server sends unasked comes with the first poll, not with the answer to the
// handshake.
func TestRevision4OverPolling(t *testing.T) {
	srv, url := serve(t, &parley.Options{AllowEIO3: true})
	srv.On("echo", func(p *parley.Packet) error { return p.Socket().Emit("echoed", parley.Binary{1}) })
	do := func(method, query, body string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url+"/socket.io/?EIO=3&transport=polling"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s %s: %d %q, %v", method, query, resp.StatusCode, b, err)
		}
		return string(b)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	_, packet, _ := strings.Cut(do("GET", "", ""), ":")
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(packet, "0")), &open); err != nil {
		t.Fatalf("OPEN %q: %v", packet, err)
	}
	if got := do("GET", "&sid="+open.SID, ""); got != "2:40" {
		t.Errorf("first poll %q", got)
	}
	do("POST", "&sid="+open.SID, `10:42["echo"]`)
	if got, want := do("GET", "&sid="+open.SID, ""), "\x00\x04\x04\xff"+`451-["echoed",{"_placeholder":true,"num":0}]`+"\x01\x02\xff\x04\x01"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// A client of revision 4 is not recovered, and cannot take over another client's socket.
func TestRevision4IsNotRecovered(t *testing.T) {
	srv, url := serve(t, &parley.Options{AllowEIO3: true, Recovery: &parley.Recovery{}})
	adm := srv.Of("/adm")
	recovered := make(chan bool, 4)
	adm.OnConnection(func(s *parley.Socket) { recovered <- s.Recovered() })
	adm.On("tell", func(p *parley.Packet) error { return p.Socket().Emit("told", "x") })

	five := dial(t, url)
	was := five.connect("/adm", "")
	five.cut()
	await(t, "connection", recovered)

	c := dial3(t, url)
	c.expect("40")
	c.send("40/adm?pid=" + was.PID)
	c.expect("40/adm,")
	if await(t, "connection", recovered) {
		t.Error("recovered another's socket")
	}
	c.send(`42/adm,["tell"]`)
	c.expect(`42/adm,["told","x"]`) // without an offset
	c.cut()
	c = dial3(t, url)
	c.expect("40")
	c.send("40/adm?pid=")
	c.expect("40/adm,")
	if await(t, "connection", recovered) {
		t.Error("recovered")
	}
}

// One broadcast reaches clients of both revisions, each in its own format.
func TestBroadcastToBothRevisions(t *testing.T) {
	srv, url := serve(t, &parley.Options{AllowEIO3: true})
	three := dial3(t, url)
	three.expect("40")
	five, _ := join(t, url, "")
	if err := srv.Emit("news", "é", parley.Binary{1, 2}); err != nil {
		t.Fatal(err)
	}
	const text = `451-["news","é",{"_placeholder":true,"num":0}]`
	three.expect(text)
	five.expect(text)
	if a, b := three.recvBinary(), five.recvBinary(); !bytes.Equal(a, []byte{4, 1, 2}) || !bytes.Equal(b, []byte{1, 2}) {
		t.Errorf("binary %v and %v", a, b)
	}
}
