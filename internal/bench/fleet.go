package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/sio"
)

// fleet holds the connections of one scenario.
type fleet struct {
	options *options
	meter   *meter
	reactor *reactor.Reactor
	http    *http.Client
	tls     *tls.Config

	websocketURL, pollingURL string

	hello, farewell []byte // the packets CONNECT and DISCONNECT

	clients  []*client // connected clients; complete when connectAll has returned
	load     atomic.Pointer[load]
	received atomic.Int64 // Socket.IO packets
}

func newFleet(o *options, m *meter) *fleet {
	f := &fleet{
		options: o, meter: m,
		reactor:      reactor.New(runtime.GOMAXPROCS(0)),
		tls:          &tls.Config{InsecureSkipVerify: o.insecure},
		websocketURL: engineURL(o.url, "websocket"),
		pollingURL:   engineURL(o.url, "polling"),
	}
	f.http = &http.Client{Transport: &http.Transport{
		DialContext: f.dialer(0), TLSClientConfig: f.tls, DisableCompression: true, MaxIdleConnsPerHost: 1 << 20,
	}}
	message := []byte{byte(eio.Message)}
	f.hello = append(sio.AppendHeader(message, sio.Connect, 0, o.namespace, -1), o.auth...)
	f.farewell = sio.AppendHeader(message, sio.Disconnect, 0, o.namespace, -1)
	return f
}

// engineURL returns the URL of Engine.IO for a transport.
func engineURL(base *url.URL, transport string) string {
	u := *base
	q := u.Query()
	q.Set("EIO", "4")
	q.Set("transport", transport)
	u.RawQuery = q.Encode()
	return u.String()
}

// connect makes one connection and waits until it has joined the namespace.
func (f *fleet) connect(ctx context.Context, index int) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, f.options.timeout)
	defer cancel()
	c := &client{index: index, fleet: f, joined: make(chan error, 1), done: make(chan struct{})}
	open := openWebSocket
	if f.options.transport == "polling" {
		open = openPolling
	}
	if err := open(ctx, c); err != nil {
		return nil, err
	}
	if err := c.awaitJoined(ctx); err != nil {
		c.abort()
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v to the request to join namespace %s", f.options.timeout, f.options.namespace)
		}
		return nil, err
	}
	return c, nil
}

// connectAll makes n connections, --parallel at a time or at --rate. It records their latencies in
// the meter. It fails if it could not make any connection.
func (f *fleet) connectAll(ctx context.Context, n int) error {
	var mu sync.Mutex
	var first error
	f.spread(ctx, n, forever, func(i int, due time.Time) {
		c, err := f.connect(ctx, i)
		if err != nil {
			if ctx.Err() == nil {
				f.meter.fail(reason(err), 1)
			}
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
			return
		}
		f.meter.record(i, time.Since(due))
		mu.Lock()
		defer mu.Unlock()
		f.clients = append(f.clients, c)
	})
	if len(f.clients) == 0 {
		return first
	}
	return ctx.Err()
}

const forever = 1 << 62 * time.Nanosecond

// spread calls do up to n times within d. In a closed loop, --parallel goroutines call it one time
// after another. In an open loop, spread starts calls at --rate, of which at most maxAtOnce run at the
// same time. It returns when all calls have returned.
func (f *fleet) spread(ctx context.Context, n int, d time.Duration, do func(i int, due time.Time)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	start := time.Now()
	if rate := f.options.rate; rate > 0 {
		slots := make(chan struct{}, maxAtOnce)
		for i := range n {
			at := time.Duration(float64(i) / rate * float64(time.Second))
			due := start.Add(at)
			if at >= d || sleep(ctx, time.Until(due)) != nil {
				return
			}
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				defer func() { <-slots }()
				do(i, due)
			})
		}
		return
	}
	var next atomic.Int64
	for range f.options.parallel {
		wg.Go(func() {
			for ctx.Err() == nil && time.Since(start) < d {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				do(i, time.Now())
			}
		})
	}
}

// maxAtOnce limits the calls of spread that run at the same time in an open loop.
const maxAtOnce = 1024

// hear handles a packet that a client receives in its namespace.
func (f *fleet) hear(c *client, p packet) {
	f.received.Add(1)
	if l := f.load.Load(); l != nil {
		l.hear(c, p)
	}
}

// gone is called when a connection has ended. It counts a failure if the client did not want it.
func (f *fleet) gone(c *client) {
	if !c.leaving.Load() {
		f.meter.fail("connection lost: "+reason(c.err), 1)
	}
}

// settle waits until the server has sent nothing for a while. Until then it may send presence events,
// for example.
func (f *fleet) settle(ctx context.Context) {
	const quiet = 100 * time.Millisecond
	end := time.Now().Add(f.options.timeout)
	for seen := int64(-1); seen != f.received.Load() && time.Now().Before(end); {
		seen = f.received.Load()
		if sleep(ctx, quiet) != nil {
			return
		}
	}
}

// close closes all connections without sending DISCONNECT.
func (f *fleet) close() {
	for _, c := range f.clients {
		c.leaving.Store(true)
		c.wire.abort()
	}
	for _, c := range f.clients {
		<-c.done
	}
	f.reactor.Close()
	f.http.CloseIdleConnections()
}

// dialer returns the function that dials TCP connections for a client. On Linux, connections to a
// loopback address come from eight addresses in turn, since all of 127/8 is local. A single address
// has only about 28,000 ports.
func (f *fleet) dialer(index int) func(context.Context, string, string) (net.Conn, error) {
	var d net.Dialer
	if ip := net.ParseIP(f.options.url.Hostname()); runtime.GOOS == "linux" && ip.To4() != nil && ip.IsLoopback() {
		d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+index%8))}
	}
	return d.DialContext
}

// explain turns the error of a failed handshake into one that tells the user what to do. resp is the
// server's answer, if there is one.
func (f *fleet) explain(err error, resp *http.Response) error {
	where := f.options.url.Redacted()
	switch {
	case resp != nil && resp.StatusCode == http.StatusSwitchingProtocols:
		return err
	case resp != nil:
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("%s refused the handshake over %s with status %d %.100q: is it a Socket.IO server, is the path right, and does it allow this transport?",
			where, f.options.transport, resp.StatusCode, strings.TrimSpace(string(body)))
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: %w", where, syscall.ECONNREFUSED)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("too few file descriptors; raise the limit with ulimit -n: %w", syscall.EMFILE)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer from %s: %w", where, err)
	}
	return fmt.Errorf("connect to %s: %w", where, err)
}

// reason returns the message of err without details such as ports, so that the errors of many
// connections count together.
func reason(err error) string {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no connection in time"
	}
	return err.Error()
}

// sleep sleeps for d. It fails if ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
