package ws_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

var ctx = context.Background()

// serve runs a server that calls f with every connection.
func serve(t *testing.T, o *ws.AcceptOptions, f func(*ws.Conn)) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := ws.Accept(r, o)
		if refused := (*ws.HandshakeError)(nil); errors.As(err, &refused) {
			refused.Respond(w)
			return
		}
		c, err := ws.Upgrade(w, a, nil)
		if err != nil {
			t.Errorf("Upgrade: %v", err)
			return
		}
		defer c.CloseNow()
		f(c)
	}))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func echo(c *ws.Conn) {
	for {
		op, payload, err := c.ReadMessage(ctx)
		if err != nil || c.WriteMessage(ctx, op, payload) != nil {
			return
		}
	}
}

func TestEcho(t *testing.T) {
	for _, side := range []struct {
		name           string
		server, client *ws.Compression
	}{
		{"plain", nil, nil},
		{"declined", nil, &ws.Compression{}},
		{"not offered", &ws.Compression{}, nil},
		{"compressed", &ws.Compression{}, &ws.Compression{Threshold: -1}},
		{"no takeover", &ws.Compression{NoServerContextTakeover: true, Threshold: -1}, &ws.Compression{NoClientContextTakeover: true}},
		{"client's windows", &ws.Compression{}, &ws.Compression{ServerMaxWindowBits: 9, ClientMaxWindowBits: 10, Threshold: -1}},
		{"server's windows", &ws.Compression{ServerMaxWindowBits: 11, ClientMaxWindowBits: 8, Threshold: -1}, &ws.Compression{}},
	} {
		t.Run(side.name, func(t *testing.T) {
			c, resp, err := ws.Dial(ctx, serve(t, &ws.AcceptOptions{Compression: side.server}, echo), &ws.DialOptions{Compression: side.client})
			if err != nil {
				t.Fatal(err)
			}
			compressed := side.server != nil && side.client != nil
			if got := resp.Header.Get("Sec-WebSocket-Extensions") != ""; got != compressed {
				t.Errorf("compression is %v, want %v", got, compressed)
			}
			for _, m := range testMessages() {
				if err := c.WriteMessage(ctx, ws.OpBinary, []byte(m)); err != nil {
					t.Fatal(err)
				}
				op, payload, err := c.ReadMessage(ctx)
				if err != nil || op != ws.OpBinary || string(payload) != m {
					t.Fatalf("echo of %d bytes: %d bytes, opcode %d, %v", len(m), len(payload), op, err)
				}
			}
			if err := c.Close(ws.CloseNormal, "done"); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// pipe returns both ends of a connection in memory.
func pipe(server, client ws.ConnOptions) (*ws.Conn, *ws.Conn) {
	a, b := net.Pipe()
	server.Side, client.Side = ws.Server, ws.Client
	return ws.NewConn(a, server), ws.NewConn(b, client)
}

func TestClosingHandshake(t *testing.T) {
	for _, code := range []int{ws.CloseNormal, ws.CloseGoingAway, 4999, ws.CloseNoStatus} {
		for _, first := range []string{"server", "client"} {
			t.Run(fmt.Sprintf("%d from %s", code, first), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := pipe(ws.ConnOptions{}, ws.ConnOptions{})
					if first == "client" {
						a, b = b, a
					}
					var group sync.WaitGroup
					group.Go(func() {
						_, _, err := b.ReadMessage(ctx)
						wantCode(t, err, code)
						if err := b.WriteMessage(ctx, ws.OpText, nil); err != ws.ErrClosed {
							t.Errorf("WriteMessage after the peer's Close: %v", err)
						}
						if _, _, again := b.ReadMessage(ctx); again != err {
							t.Errorf("ReadMessage after the end: %v", again)
						}
						if err := b.Close(code, ""); err != nil {
							t.Errorf("Close after the peer's: %v", err)
						}
					})
					if err := a.Close(code, "bye"); err != nil {
						t.Errorf("Close: %v", err)
					}
					if err := a.WriteMessage(ctx, ws.OpText, nil); err != ws.ErrClosed {
						t.Errorf("WriteMessage after Close: %v", err)
					}
					group.Wait()
				})
			})
		}
	}
}

func TestCloseAtOnceFromBothSides(t *testing.T) {
	c, _, err := ws.Dial(ctx, serve(t, nil, func(c *ws.Conn) {
		if err := c.Close(ws.CloseGoingAway, ""); err != nil {
			t.Errorf("server's Close: %v", err)
		}
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(ws.CloseGoingAway, ""); err != nil {
		t.Errorf("client's Close: %v", err)
	}
}

func TestCloseWhileReading(t *testing.T) {
	c, _, err := ws.Dial(ctx, serve(t, nil, echo), nil)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	group.Go(func() {
		_, _, err := c.ReadMessage(ctx)
		wantCode(t, err, ws.CloseNormal) // the peer echoes our code
	})
	if err := c.Close(ws.CloseNormal, ""); err != nil {
		t.Errorf("Close: %v", err)
	}
	group.Wait()
}

// The server must end the TCP connection, since a client may wait for that (RFC 6455, 7.1.1).
func TestServerEndsTCP(t *testing.T) {
	for name, in := range map[string][]byte{"close": masked(fin|cls, ""), "fault": masked(fin|3, "")} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				nc, peer := net.Pipe()
				c := ws.NewConn(nc, ws.ConnOptions{Side: ws.Server})
				go func() {
					defer c.CloseNow()
					echo(c)
				}()
				start := time.Now()
				if _, err := peer.Write(in); err != nil {
					t.Fatal(err)
				}
				if got, err := io.ReadAll(peer); err != nil || len(got) < 2 || got[0] != fin|cls {
					t.Errorf("got %q, %v, want a Close frame and the end", got, err)
				}
				if took := time.Since(start); took > 0 {
					t.Errorf("the end came after %v", took)
				}
			})
		})
	}
}

func TestCloseTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		defer peer.Close()
		c := ws.NewConn(nc, ws.ConnOptions{CloseTimeout: 3 * time.Second})
		go io.Copy(io.Discard, peer) // reads, never answers
		start := time.Now()
		if err := c.Close(ws.CloseNormal, ""); err == nil {
			t.Error("Close without an answer succeeds")
		}
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("Close took %v", got)
		}
	})
}

func TestCloseRefusesCodes(t *testing.T) {
	nc, peer := net.Pipe()
	defer peer.Close()
	c := ws.NewConn(nc, ws.ConnOptions{})
	defer c.CloseNow()
	if err := c.Close(ws.CloseAbnormal, ""); err == nil {
		t.Error("code 1006 was sent")
	}
	if err := c.WriteMessage(ctx, ws.OpPing, nil); err == nil {
		t.Error("a ping was sent as a message")
	}
	if err := c.Ping(ctx, make([]byte, 126)); err == nil {
		t.Error("a ping of 126 bytes was sent")
	}
}

// The reader gets the messages before a protocol error and can reply to them. Then the Conn tells the
// peer about the error.
func TestFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		c := ws.NewConn(nc, ws.ConnOptions{})
		var group sync.WaitGroup
		group.Go(func() { peer.Write(join(masked(fin|ping, "p"), masked(fin|text, "before"), masked(fin|3, ""))) })
		group.Go(func() { echo(c) })
		got, err := io.ReadAll(peer)
		want := join(plain(fin|pong, "p"), plain(fin|text, "before"), plain(fin|cls, closeBody(1002, "reserved opcode")))
		if !bytes.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		group.Wait()
	})
}

func TestLostConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		c := ws.NewConn(nc, ws.ConnOptions{})
		go func() {
			peer.Write(masked(fin|text, "half a message")[:10])
			peer.Close()
		}()
		if _, _, err := c.ReadMessage(ctx); err != io.ErrUnexpectedEOF {
			t.Errorf("got %v", err)
		}
	})
}

func TestContextEndsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, call := range []func(context.Context, *ws.Conn) error{
			func(ctx context.Context, c *ws.Conn) error { _, _, err := c.ReadMessage(ctx); return err },
			func(ctx context.Context, c *ws.Conn) error { return c.WriteMessage(ctx, ws.OpText, nil) },
			func(ctx context.Context, c *ws.Conn) error { return c.Ping(ctx, nil) },
		} {
			nc, peer := net.Pipe()
			c := ws.NewConn(nc, ws.ConnOptions{})
			short, cancel := context.WithTimeout(ctx, time.Second)
			if err := call(short, c); err != context.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
			cancel()
			c.CloseNow()
			peer.Close()
		}
	})
}

// A reader does not wait for a writer that is stuck; only its pongs wait.
func TestPongsWaitForWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc, peer := net.Pipe()
		c := ws.NewConn(nc, ws.ConnOptions{})
		var group sync.WaitGroup
		group.Go(func() { c.WriteMessage(ctx, ws.OpText, []byte("stuck")) })
		synctest.Wait()
		group.Go(func() { c.ReadMessage(ctx) })
		var want []byte
		for i := range 100 {
			p := fmt.Sprint(i)
			if _, err := peer.Write(masked(fin|ping, p)); err != nil {
				t.Fatal(err)
			}
			if i >= 40 { // only the last 60 get an answer
				want = append(want, plain(fin|pong, p)...)
			}
		}
		synctest.Wait()
		want = append(plain(fin|text, "stuck"), want...)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
		peer.Close()
		group.Wait()
	})
}

func TestBufferedBytes(t *testing.T) {
	nc, peer := net.Pipe()
	defer peer.Close()
	c := ws.NewConn(nc, ws.ConnOptions{Buffered: masked(fin|text, "early")})
	defer c.CloseNow()
	if _, payload, err := c.ReadMessage(ctx); err != nil || string(payload) != "early" {
		t.Errorf("got %q, %v", payload, err)
	}
}
