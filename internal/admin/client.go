package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

// ErrUnreachable says that a server could not be reached, or has gone away.
var ErrUnreachable = errors.New("the server cannot be reached")

// A Client makes calls. It is safe for concurrent use.
type Client struct {
	http  http.Client
	close func()
}

// Connect returns a client of the server that listens on the socket at path. The error is
// ErrUnreachable if there is none.
func Connect(ctx context.Context, path string) (*Client, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	conn, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	conn.Close()
	return newClient(dial), nil
}

// Local returns a client of a handler in this process.
func Local(h http.Handler) *Client {
	l := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: h}
	var serving sync.WaitGroup
	serving.Go(func() { server.Serve(l) })
	c := newClient(l.dial)
	disconnect := c.close
	c.close = func() {
		disconnect()
		server.Close()
		serving.Wait()
	}
	return c
}

func newClient(dial func(context.Context) (net.Conn, error)) *Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
	return &Client{http: http.Client{Transport: transport}, close: transport.CloseIdleConnections}
}

// Close ends the client.
func (c *Client) Close() { c.close() }

// Path returns a path with an id in it: every segment that has no slash of its own is one argument.
func Path(format string, ids ...string) string {
	escaped := make([]any, len(ids))
	for i, id := range ids {
		escaped[i] = strings.ReplaceAll(url.PathEscape(id), ".", "%2E") // "..", too, is an id
	}
	return fmt.Sprintf(format, escaped...)
}

// Call makes a call with a body, nil for none, and reads the answer into out, unless it is nil. A refusal
// is an *access.Error.
func (c *Client) Call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%w: read the answer: %w", ErrUnreachable, err)
	}
	return nil
}

// Stream makes a call without a body, and copies the answer.
func (c *Client) Stream(ctx context.Context, w io.Writer, path string) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://parley"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	var p problem
	if json.NewDecoder(resp.Body).Decode(&p) != nil || p.Code == "" {
		return nil, refuse(conversation.Internal, "the server answers "+resp.Status)
	}
	return nil, &access.Error{Code: p.Code, Message: p.Detail}
}

// pipes is a listener within the process.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }
