package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/internal/postgrestest"
)

// nodes are servers in processes of their own, over one database and one engine.
type nodes struct {
	t      *testing.T
	data   string
	engine string
	flags  []string
	dir    string // of their own directories
}

func newNodes(t *testing.T, flags ...string) *nodes {
	return &nodes{t: t, data: postgrestest.Database(t), engine: "redis://" + redistest.Start(t).Addr, flags: flags, dir: shortDir(t)}
}

// command returns a command with the settings of a server.
func (n *nodes) command(name string, args ...string) *exec.Cmd {
	args = append(args, "--data", n.data, "--state-dir", n.dir+"/"+name)
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asServer+"=1")
	return cmd
}

// start starts a server and waits until it serves.
func (n *nodes) start(name string) *child {
	n.t.Helper()
	return launch(n.t, n.server(name), os.Stderr)
}

func (n *nodes) server(name string) *exec.Cmd {
	args := []string{"serve", "--addr", "127.0.0.1:0", "--cluster", n.engine, "--cluster-name", name, "--events-per-second", "0", "--bytes-per-second", "0", "--log-level", "error"}
	return n.command(name, append(args, n.flags...)...)
}

// run runs a command as on the machine of a server, and returns what it prints.
func (n *nodes) run(name, stdin string, args ...string) string {
	n.t.Helper()
	cmd := n.command(name, args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		n.t.Fatalf("%s: %v\n%s", args, err, &stderr)
	}
	return string(out)
}

// at returns a server as the helpers of other tests know it.
func (n *nodes) at(url string) *closed {
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	n.t.Cleanup(transport.CloseIdleConnections)
	return &closed{instance: &instance{url: url}, t: n.t, http: &http.Client{Transport: transport}}
}

// stop ends a server gracefully.
func (c *child) stop(t *testing.T) {
	t.Helper()
	c.cmd.Process.Signal(syscall.SIGTERM)
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// roundRobin is a proxy that sends each request to another server, except to those that do not take it.
type roundRobin struct {
	*httptest.Server
	turn atomic.Uint64

	mu   sync.Mutex
	urls []*url.URL
}

func newRoundRobin(t *testing.T, servers ...*child) *roundRobin {
	p := &roundRobin{}
	for _, c := range servers {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		p.urls = append(p.urls, u)
	}
	p.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.URL.Scheme, r.Out.URL.Host = "http", "any"
		},
		Transport: p, FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) { w.WriteHeader(http.StatusBadGateway) },
	})
	t.Cleanup(p.Close)
	return p
}

// put replaces a server.
func (p *roundRobin) put(i int, c *child) {
	u, _ := url.Parse(c.url)
	p.mu.Lock()
	p.urls[i] = u
	p.mu.Unlock()
}

// RoundTrip implements http.RoundTripper.
func (p *roundRobin) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	for tries := 0; ; tries++ {
		p.mu.Lock()
		u, others := p.urls[p.turn.Add(1)%uint64(len(p.urls))], len(p.urls)
		p.mu.Unlock()
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host, out.Host, out.Body = u.Scheme, u.Host, u.Host, io.NopCloser(bytes.NewReader(body))
		resp, err := http.DefaultTransport.RoundTrip(out)
		var op *net.OpError
		switch refused := errors.As(err, &op) && op.Op == "dial"; {
		case tries >= others || err != nil && !refused:
			return resp, err
		case err != nil:
		case resp.StatusCode == http.StatusServiceUnavailable:
			resp.Body.Close()
		default:
			return resp, nil
		}
	}
}

// traveller sends messages one after the other, each again until it is acknowledged, wherever its
// connection leads.
type traveller struct {
	user, transport string
	acked           []message
	breaks          int           // of its connection
	longest         time.Duration // between two acknowledgements
	lost            error         // an answer that no client must see
}

// run sends until ctx ends.
func (v *traveller) run(ctx context.Context, d *closed, progress func()) {
	last := time.Now()
	for ctx.Err() == nil {
		c, err := d.connect(v.transport, shows{})
		v.see(err)
		if err != nil {
			time.Sleep(20 * time.Millisecond) // as clients do
			continue
		}
		_, code := c.ask("joinRoom", object{"roomId": "r", "userId": v.user, "limit": 1})
		for code == "" && ctx.Err() == nil {
			id := len(v.acked)
			var kept json.RawMessage
			if kept, code = c.ask("sendMessage", object{"roomId": "r", "message": id, "clientId": fmt.Sprint(id)}); code == "" {
				var m message
				json.Unmarshal(kept, &m)
				v.acked = append(v.acked, m)
				v.longest, last = max(v.longest, time.Since(last)), time.Now()
				progress()
			}
		}
		if code != "" {
			v.breaks++
		}
		c.close()
		<-c.done
		v.see(c.failed)
	}
}

// see notes what no client must see.
func (v *traveller) see(err error) {
	var e *httpError
	if errors.As(err, &e) && e.status == http.StatusBadRequest {
		v.lost = err // "Session ID unknown"
	}
}

// travel lets travellers send while change runs. Acked says how many messages were acknowledged so far.
func (n *nodes) travel(proxy *roundRobin, change func(acked func() int)) []*traveller {
	n.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	d := n.at(proxy.URL)
	var all []*traveller
	var wg sync.WaitGroup
	var acked atomic.Int64
	for i, transport := range []string{"websocket", "polling", "websocket", "polling"} {
		v := &traveller{user: fmt.Sprint("u", i), transport: transport}
		all = append(all, v)
		wg.Go(func() { v.run(ctx, d, func() { acked.Add(1) }) })
	}
	change(func() int { return int(acked.Load()) })
	cancel()
	wg.Wait()
	for _, v := range all {
		n.t.Logf("%s, over %s: interrupted %d times, %v at most between two acknowledgements", v.user, v.transport, v.breaks, v.longest.Round(time.Millisecond))
	}
	return all
}

// complete checks that the room has all acknowledged messages, each once, in order, without gaps.
func complete(t *testing.T, url string, all []*traveller) {
	t.Helper()
	reader := (&instance{url: url}).dial(t)
	join(t, reader, object{"roomId": "r", "limit": 1})
	var log []message
	for more := true; more; {
		var page answer
		reader.Ask("history", object{"roomId": "r", "after": len(log), "limit": 500}, &page)
		log, more = append(log, page.Messages...), page.HasMore
	}
	if i := slices.IndexFunc(log, func(m message) bool { return m.Seq < 1 || m.Seq > int64(len(log)) || log[m.Seq-1].ID != m.ID }); i >= 0 {
		t.Fatalf("message %d has seq %d", i+1, log[i].Seq)
	}
	sent := 0
	for _, v := range all {
		for i, m := range v.acked {
			if kept := log[m.Seq-1]; kept.ID != m.ID || kept.UserID != v.user || kept.ClientID != fmt.Sprint(i) {
				t.Fatalf("acknowledged %+v, kept %+v", m, kept)
			}
		}
		sent += len(v.acked)
	}
	if len(log) < sent || len(log) > sent+len(all) { // the last one of each may be stored and not acknowledged
		t.Errorf("%d messages, want %d", len(log), sent)
	}
}
