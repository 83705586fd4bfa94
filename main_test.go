package parley_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/ws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits every wait in these tests. Nothing that works comes close to it.
const patience = 2 * time.Minute

// quiet discards the log.
var quiet = slog.New(slog.DiscardHandler)

// serve starts a server with these options on a free port, and returns it with its URL. The end of
// the test shuts it down.
func serve(t *testing.T, o *parley.Options) (*parley.Server, string) {
	t.Helper()
	if o == nil {
		o = &parley.Options{}
	}
	if o.Logger == nil {
		o.Logger = quiet
	}
	srv, err := parley.New(o)
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewServer(srv)
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		hs.Close()
	})
	return srv, hs.URL
}

// client speaks the raw wire protocol over a WebSocket.
type client struct {
	t    *testing.T
	conn *ws.Conn
	open struct{ SID string }
}

// dial opens a connection without joining a namespace.
func dial(t *testing.T, url string) *client {
	t.Helper()
	return dialEIO(t, url, "4")
}

// tryDial is dial to a server that may refuse.
func tryDial(t *testing.T, url string) (*client, error) {
	conn, _, err := ws.Dial(t.Context(), url+"/socket.io/?transport=websocket&EIO=4", nil)
	if err != nil {
		return nil, err
	}
	c := &client{t: t, conn: conn}
	t.Cleanup(func() { conn.CloseNow() })
	_, err = c.tryRecv()
	return c, err
}

// tryRecv receives a message of a connection that may end.
func (c *client) tryRecv() (string, error) {
	_, b, err := c.read()
	return string(b), err
}

func (c *client) trySend(text string) error {
	return c.conn.WriteMessage(c.t.Context(), ws.OpText, []byte(text))
}

// dialEIO opens a connection with this revision of Engine.IO.
func dialEIO(t *testing.T, url, revision string) *client {
	t.Helper()
	conn, _, err := ws.Dial(t.Context(), url+"/socket.io/?transport=websocket&EIO="+revision, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn}
	t.Cleanup(func() { conn.CloseNow() })
	if err := json.Unmarshal([]byte(strings.TrimPrefix(c.recv(), "0")), &c.open); err != nil {
		t.Fatal(err)
	}
	return c
}

// join opens a connection and joins a namespace; an empty name means "/". It also returns the
// socket's id.
func join(t *testing.T, url, namespace string) (*client, string) {
	t.Helper()
	c := dial(t, url)
	return c, c.connect(namespace, "").SID
}

type connected struct{ SID, PID string }

// connect joins a namespace with the given payload and returns the answer.
func (c *client) connect(namespace, auth string) connected {
	c.t.Helper()
	prefix := "40"
	if namespace != "" {
		prefix += namespace + ","
	}
	c.send(prefix + auth)
	var answer connected
	got := c.recv()
	if !strings.HasPrefix(got, prefix) || json.Unmarshal([]byte(got[len(prefix):]), &answer) != nil {
		c.t.Fatalf("connect: got %q", got)
	}
	return answer
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.conn.WriteMessage(c.t.Context(), ws.OpText, []byte(text)); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

func (c *client) sendBinary(b []byte) {
	c.t.Helper()
	if err := c.conn.WriteMessage(c.t.Context(), ws.OpBinary, b); err != nil {
		c.t.Fatal(err)
	}
}

// read returns the next message that is not a ping.
func (c *client) read() (ws.Opcode, []byte, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		op, b, err := c.conn.ReadMessage(ctx)
		if err == nil && op == ws.OpText && string(b) == "2" {
			c.send("3")
			continue
		}
		return op, b, err
	}
}

func (c *client) recv() string {
	c.t.Helper()
	op, b, err := c.read()
	if err != nil || op != ws.OpText {
		c.t.Fatalf("receive: %v %q %v", op, b, err)
	}
	return string(b)
}

func (c *client) recvBinary() []byte {
	c.t.Helper()
	op, b, err := c.read()
	if err != nil || op != ws.OpBinary {
		c.t.Fatalf("receive: %v %q %v", op, b, err)
	}
	return b
}

// expect receives messages and compares them.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.recv(); got != w {
			c.t.Fatalf("received %q, want %q", got, w)
		}
	}
}

// expectClosed waits until the server closes the connection.
func (c *client) expectClosed() {
	c.t.Helper()
	for {
		op, b, err := c.read()
		var closed *ws.CloseError
		switch {
		case errors.As(err, &closed) || errors.Is(err, io.EOF):
			return
		case err != nil:
			c.t.Fatalf("waiting for the close: %v", err)
		}
		c.t.Logf("before the close: %v %q", op, b)
	}
}

// cut ends the connection like a network failure.
func (c *client) cut() { c.conn.CloseNow() }

// await receives from a channel, or fails the test.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s\n%s", what, stacks())
		panic("unreachable")
	}
}

// logBuffer returns a logger and the buffer that it writes to.
func logBuffer() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), &b
}

// stacks returns the stacks of all goroutines.
func stacks() []byte {
	buf := make([]byte, 1<<20)
	return buf[:runtime.Stack(buf, true)]
}

// poller speaks the raw wire protocol over HTTP long polling.
type poller struct {
	t   *testing.T
	url string // includes the session's id
}

func dialPolling(t *testing.T, url string) *poller {
	t.Helper()
	p := &poller{t, url + "/socket.io/?EIO=4&transport=polling"}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(p.get(), "0")), &open); err != nil {
		t.Fatal(err)
	}
	p.url += "&sid=" + open.SID
	return p
}

func (p *poller) get() string {
	p.t.Helper()
	return p.do(p.t.Context(), http.MethodGet, "")
}

func (p *poller) post(payload string) {
	p.t.Helper()
	if got := p.do(p.t.Context(), http.MethodPost, payload); got != "ok" {
		p.t.Fatalf("POST was answered with %q", got)
	}
}

func (p *poller) do(ctx context.Context, method, body string) string {
	p.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// eventually waits until is returns true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("no %s", what)
		}
	}
}

// howMany returns the number of connected sockets.
func howMany(t *testing.T, of interface {
	Count(context.Context) (int, error)
}) int {
	t.Helper()
	n, err := of.Count(t.Context())
	if err != nil {
		t.Error(err)
	}
	return n
}
