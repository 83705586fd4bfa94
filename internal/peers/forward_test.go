package peers_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/notice"
	"github.com/parley-go/parley/internal/peers"
)

// patience limits every wait in these tests. Nothing that works comes close to it.
const patience = 2 * time.Minute

// random is the first part of a session's id.
const random = "abcdefghijklmnopqrst."

// pair is two servers: clients talk to front, which passes requests on to owner.
type pair struct {
	t            testing.TB
	front, owner *peers.Peers
	fleet        *fleet // as front sees it
	node         adapter.Node
	sid          string
	url          string // of front
	internal     string // of owner: host:port
	log          *lines
	asked        atomic.Int64 // requests at the owner's internal address
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// connect starts a pair. next is what the owner does. changeFront may be nil.
func connect(t testing.TB, next http.HandlerFunc, changeFront func(*peers.Options)) *pair {
	t.Helper()
	p := &pair{t: t, node: node("owner"), log: &lines{}}
	change := func(o *peers.Options) {
		o.Notices = notice.New(slog.New(slog.NewTextHandler(p.log, nil)))
		if changeFront != nil && o.Cluster.Self().Name == "front" {
			changeFront(o)
		}
	}
	p.owner, _ = newPeers(t, "owner", change)
	p.front, p.fleet = newPeers(t, "front", change)
	p.sid = random + p.node.Tag
	handler := p.owner.Handler(next)
	internal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.asked.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(internal.Close)
	p.internal = internal.Listener.Addr().String()
	p.node.Address = p.internal
	p.fleet.meet(adapter.Joined, p.node)
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "as the front says")
		w.Header().Set("X-Middleware", "front")
		w.Header().Set("Vary", "Cookie")
		if served, why := p.front.Serve(w, r, r.URL.Query().Get("sid"), r.Header.Get("Upgrade") != ""); !served {
			w.WriteHeader(http.StatusTeapot)
			io.WriteString(w, why)
		}
	}))
	t.Cleanup(func() {
		p.front.Close(t.Context())
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		public.Close()
	})
	p.url = public.URL
	return p
}

func (p *pair) request(method, body string) *http.Request {
	p.t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, p.url+"/socket.io/?transport=polling&sid="+p.sid, r)
	if err != nil {
		p.t.Fatal(err)
	}
	return req
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (p *pair) do(r *http.Request) answer {
	p.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// wantWhy makes a request that cannot be passed on.
func (p *pair) wantWhy(method, body, want string, logs ...string) {
	p.t.Helper()
	if a := p.do(p.request(method, body)); a.status != http.StatusTeapot || a.body != want {
		p.t.Errorf("%s: %d %q, want %q", method, a.status, a.body, want)
	}
	for _, l := range logs {
		if got := p.log.String(); !strings.Contains(got, l) {
			p.t.Errorf("the log has no %q:\n%s", l, got)
		}
	}
}

// echo answers with what it gets.
func echo(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s %v %q %v", r.Method, r.RequestURI, r.Host, r.RemoteAddr != "", b, err)
}

func TestForward(t *testing.T) {
	p := connect(t, echo, nil)
	host := strings.TrimPrefix(p.url, "http://")
	for i, tt := range []struct {
		method, body, want string
		asked              int64
	}{
		{"POST", "4hello", "POST %s " + host + ` true "4hello" <nil>`, 2}, // and the time
		{"POST", "4again", "POST %s " + host + ` true "4again" <nil>`, 1},
		{"GET", "", "GET %s " + host + ` true "" <nil>`, 1},
		{"PUT", "x", "PUT %s " + host + ` true "" <nil>`, 1}, // refused without its body
		{"POST", "", "POST %s " + host + ` true "" <nil>`, 1},
	} {
		before := p.asked.Load()
		a := p.do(p.request(tt.method, tt.body))
		if want := fmt.Sprintf(tt.want, "/socket.io/?transport=polling&sid="+p.sid); a.status != 200 || a.body != want {
			t.Errorf("%d: %d %s, want %s", i, a.status, a.body, want)
		}
		if n := p.asked.Load() - before; n != tt.asked {
			t.Errorf("%d: %d requests, want %d", i, n, tt.asked)
		}
	}
	if s := p.front.Stats(); s.Forwarded.Load() != 5 || s.Failed.Load() != 0 {
		t.Errorf("%d forwarded, %d failed", s.Forwarded.Load(), s.Failed.Load())
	}
	if n := p.owner.Stats().Accepted.Load(); n != 5 {
		t.Errorf("%d accepted", n)
	}
}

func TestFirstContact(t *testing.T) {
	p := connect(t, echo, nil)
	p.do(p.request("GET", ""))
	if n := p.asked.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	// The server restarts under its name.
	again, _ := newPeers(t, "again", nil)
	internal := httptest.NewServer(again.Handler(http.HandlerFunc(echo)))
	defer internal.Close()
	restarted := p.node
	restarted.ID, restarted.Address = node("again").ID, internal.Listener.Addr().String()
	p.fleet.meet(adapter.Joined, restarted)
	p.fleet.meet(adapter.Left, p.node)
	for _, method := range []string{"POST", "GET", "POST"} {
		if a := p.do(p.request(method, "")); a.status != 200 {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
}

func TestHeaders(t *testing.T) {
	got := make(chan http.Header, 1)
	client := make(chan peers.Client, 1)
	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		c, _ := peers.ClientOf(r)
		got <- r.Header
		client <- c
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "as the owner says")
		h["Vary"] = []string{"Origin", "Cookie", "Accept-Encoding"}
		h.Set("Set-Cookie", "c=d")
		h.Set("X-Of-The-Connection", "x")
		h.Set("Keep-Alive", "timeout=5")
		w.WriteHeader(http.StatusAccepted)
	}, func(front *peers.Options) {
		front.ClientAddress = func(*http.Request) string { return "2001:db8::1 \"%zone" }
		front.ClientSecure = func(*http.Request) bool { return true }
	})
	r := p.request("GET", "")
	r.Host = "chat.example.com:8443"
	for name, values := range map[string][]string{
		"Origin": {"https://page.example"}, "Cookie": {"a=b", "c=d"}, "Accept-Encoding": {"gzip"}, "X-Forwarded-For": {"127.0.0.1"},
		"Connection": {"X-Of-The-Connection"}, "X-Of-The-Connection": {"1"}, "Te": {"trailers"}, "Proxy-Authorization": {"secret"},
	} {
		r.Header[name] = values
	}
	a := p.do(r)
	h := await(t, "request", got)
	for name, want := range map[string]string{
		"Origin": "[https://page.example]", "Cookie": "[a=b c=d]", "Accept-Encoding": "[gzip]", "X-Forwarded-For": "[127.0.0.1]",
		"X-Of-The-Connection": "[]", "Te": "[]", "Proxy-Authorization": "[]", "User-Agent": "[Go-http-client/1.1]",
	} {
		if got := fmt.Sprint(h[name]); got != want {
			t.Errorf("the owner has %s: %s, want %s", name, got, want)
		}
	}
	if c := <-client; c != (peers.Client{Address: "2001:db8::1 \"%zone", Secure: true}) {
		t.Errorf("client %+v", c)
	}
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "[as the owner says]", "Vary": "[Cookie Origin Accept-Encoding]", "X-Middleware": "[front]",
		"Set-Cookie": "[c=d]", "Keep-Alive": "[]", "Parley-Forward": "[]",
	} {
		if got := fmt.Sprint(a.header[name]); got != want {
			t.Errorf("the client has %s: %s, want %s", name, got, want)
		}
	}
	if a.status != http.StatusAccepted || len(a.header["Date"]) != 1 {
		t.Errorf("status %d, Date %q", a.status, a.header["Date"])
	}
}

// The owner refuses bodies that are too large; nobody sends much more than it reads.
func TestBodies(t *testing.T) {
	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 1000 {
			if r.Header.Get("Expect") != "100-continue" {
				t.Error("the body is sent before the refusal")
			}
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1000))
		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			if more, err := io.Copy(io.Discard, r.Body); more > 0 || err != nil {
				t.Errorf("%d bytes more than the owner reads, %v", more, err)
			}
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case err != nil:
			t.Error(err)
		}
		fmt.Fprint(w, len(b))
	}, nil)
	for _, chunked := range []bool{false, true} {
		for _, size := range []int{1, 999, 1000, 1001, 5000, 10 << 20} {
			r := p.request("POST", "x")
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", size))), int64(size)
			r.GetBody = nil
			if chunked {
				r.ContentLength = -1
			}
			a := p.do(r)
			if want := map[bool]int{true: 200, false: 413}[size <= 1000]; a.status != want || want == 200 && a.body != fmt.Sprint(size) {
				t.Errorf("chunked %v, %d bytes: %d %s", chunked, size, a.status, a.body)
			}
		}
	}
	if got := p.log.String(); got != "" {
		t.Errorf("logged %s", got)
	}
}

// A client that sends only a part of a body is answered, and nobody is blamed for it.
func TestTruncatedBody(t *testing.T) {
	read := make(chan error, 1)
	p := connect(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	}, nil)
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /socket.io/?sid=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n4hello", p.sid)
	conn.(*net.TCPConn).CloseWrite()
	if err := await(t, "end of the body", read); err == nil {
		t.Error("the owner has the whole body")
	}
	answer, _ := io.ReadAll(conn)
	if len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 400 ")) {
		t.Errorf("answer %q", answer)
	}
	if got := p.log.String(); got != "" {
		t.Errorf("logged %s", got)
	}
}

func TestLargeAnswers(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 1<<16)
	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Length") != "" {
			w.Header().Set("Content-Length", fmt.Sprint(len(large)))
		}
		io.WriteString(w, large)
	}, nil)
	for _, length := range []string{"", "known"} {
		r := p.request("GET", "")
		r.Header.Set("X-Length", length)
		if a := p.do(r); a.body != large {
			t.Errorf("%d bytes", len(a.body))
		}
	}
}

// Each part of a stream arrives before the next one is sent, and the stream ends with its client.
func TestStreams(t *testing.T) {
	next, gone := make(chan string), make(chan struct{})
	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for {
			select {
			case s := <-next:
				io.WriteString(w, s)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				close(gone)
				return
			}
		}
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	resp, err := http.DefaultClient.Do(p.request("GET", "").WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for i := range 5 {
		want := fmt.Sprintf("data: %d\n\n", i)
		next <- want
		got := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	cancel()
	await(t, "end", gone)
}

// A stream ends if its client takes nothing.
func TestClientDoesNotRead(t *testing.T) {
	gone := make(chan struct{})
	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
		close(gone)
	}, func(front *peers.Options) { front.WriteTimeout = 100 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /socket.io/?sid=%s HTTP/1.1\r\nHost: x\r\n\r\n", p.sid)
	await(t, "end", gone)
}

func TestOwnerDiesMeanwhile(t *testing.T) {
	began := make(chan struct{}, 2)
	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") == "text/event-stream" {
			w.(http.Flusher).Flush()
		}
		began <- struct{}{}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
		}
	}, nil)
	p.wantWhy("GET", "", "its server does not answer", "does not answer at its address", "node=owner")
	r := p.request("GET", "")
	r.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Logf("read: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Run("another secret", func(t *testing.T) {
		p := connect(t, echo, func(front *peers.Options) { front.Secret = "another secret!!" })
		for _, method := range []string{"POST", "GET"} {
			p.wantWhy(method, "", "its server does not accept requests from here",
				"refuses requests that are passed on to it", "cluster-secret", "request to the address for other servers is refused")
		}
		if strings.Contains(p.log.String(), secret) || strings.Contains(p.log.String(), "another secret") {
			t.Error("the log has the secret")
		}
	})
	t.Run("no such server", func(t *testing.T) {
		p := connect(t, echo, nil)
		p.sid = random + "none"
		p.wantWhy("GET", "", "no server of this cluster has it: its server is gone, or it is of another cluster")
	})
	t.Run("no session of a cluster", func(t *testing.T) {
		p := connect(t, echo, nil)
		for _, sid := range []string{"", "x", "abcdefghijklmnopqrst", random + node("front").Tag, random + "a/b."} {
			p.sid = sid
			p.wantWhy("GET", "", "")
		}
	})
	t.Run("no address", func(t *testing.T) {
		p := connect(t, echo, nil)
		p.node.Address = ""
		p.fleet.meet(adapter.Changed, p.node)
		p.wantWhy("GET", "", "its server cannot be reached from here", "has no address for others", "cluster-addr")
	})
	t.Run("nobody listens", func(t *testing.T) {
		p := connect(t, echo, nil)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p.node.Address = l.Addr().String()
		l.Close()
		p.fleet.meet(adapter.Changed, p.node)
		for _, method := range []string{"POST", "GET"} {
			p.wantWhy(method, "", "its server does not answer", "does not answer at its address", "node=owner", p.node.Address)
		}
	})
	t.Run("another server of the cluster", func(t *testing.T) {
		p := connect(t, echo, nil)
		p.do(p.request("GET", ""))
		p.node.ID = node("successor").ID // of which the address is not known yet
		p.fleet.meet(adapter.Joined, p.node)
		p.wantWhy("GET", "", "its server is gone")
	})
	t.Run("a stranger", func(t *testing.T) {
		p := connect(t, echo, nil)
		stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
		defer stranger.Close()
		p.node.Address = stranger.Listener.Addr().String()
		p.fleet.meet(adapter.Changed, p.node)
		for _, method := range []string{"POST", "GET"} {
			p.wantWhy(method, "", "its server does not answer", "is no server of a cluster")
		}
	})
	t.Run("passed on before", func(t *testing.T) {
		p := connect(t, echo, nil)
		for _, seal := range []string{"", "1", "1 x y"} {
			r := p.request("GET", "")
			r.Header.Set("Parley-Forward", seal)
			if a := p.do(r); a.status != http.StatusTeapot || a.body != "" || p.asked.Load() > 0 {
				t.Errorf("%q: %d %q, %d requests", seal, a.status, a.body, p.asked.Load())
			}
		}
	})
	t.Run("too many", func(t *testing.T) {
		release := make(chan struct{})
		p := connect(t, func(http.ResponseWriter, *http.Request) { <-release }, func(front *peers.Options) { front.MaxForwards = 3 })
		done := make(chan answer, 3)
		for range 3 {
			go func() { done <- p.do(p.request("GET", "")) }()
		}
		eventually(t, "3 requests", func() bool { return p.owner.Stats().Accepted.Load() == 3 })
		p.wantWhy("GET", "", "too many requests of other servers are here", "limit=3")
		close(release)
		for range 3 {
			if a := await(t, "answer", done); a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if a := p.do(p.request("GET", "")); a.status != 200 {
			t.Errorf("afterwards: %d %s", a.status, a.body)
		}
	})
	t.Run("closed", func(t *testing.T) {
		began := make(chan struct{}, 1)
		p := connect(t, func(_ http.ResponseWriter, r *http.Request) {
			began <- struct{}{}
			<-r.Context().Done()
		}, nil)
		done := make(chan answer, 1)
		go func() { done <- p.do(p.request("GET", "")) }()
		await(t, "request", began)
		if err := p.front.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if a := await(t, "answer", done); a.body != "this server is about to leave" {
			t.Errorf("%d %q", a.status, a.body)
		}
	})
}

// Waiting requests are given back before Close cuts what remains.
func TestGiveBack(t *testing.T) {
	released := make(chan struct{})
	p := connect(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			<-released
		}
	}, nil)
	times := 0
	p.fleet.asked = func(to adapter.NodeID, sids string) error {
		if times++; to != p.node.ID || sids != p.sid+"\n" {
			t.Errorf("asked %s about %q", to, sids)
		}
		if times == 3 { // an answer may be late
			close(released)
		}
		return nil
	}
	done := make(chan answer, 1)
	go func() { done <- p.do(p.request("GET", "")) }()
	eventually(t, "request", func() bool { return p.owner.Stats().Accepted.Load() == 1 })
	if err := p.front.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if a := await(t, "answer", done); a.status != 200 {
		t.Errorf("%d %q", a.status, a.body)
	}
	if times < 3 {
		t.Errorf("asked %d times", times)
	}
}

// A server that does not answer does not keep others from giving back what waits for them.
func TestGiveBackOfTwo(t *testing.T) {
	release := map[bool]chan struct{}{false: make(chan struct{}), true: make(chan struct{})} // by whether it is the second
	second, _ := newPeers(t, "second", nil)
	waits := func(i bool) http.HandlerFunc { return func(http.ResponseWriter, *http.Request) { <-release[i] } }
	p := connect(t, waits(false), nil)
	internal := httptest.NewServer(second.Handler(waits(true)))
	defer internal.Close()
	other := node("second")
	other.Address = internal.Listener.Addr().String()
	p.fleet.meet(adapter.Joined, other)
	asked := make(chan bool, 1000)
	both := make(chan struct{})
	p.fleet.asked = func(to adapter.NodeID, _ string) error { // whoever is asked first does not answer
		asked <- to == other.ID
		<-both
		return nil
	}
	done := make(chan answer, 2)
	for _, tag := range []string{p.node.Tag, other.Tag} {
		r := p.request("GET", "")
		r.URL.RawQuery = "sid=" + random + tag
		go func() { done <- p.do(r) }()
	}
	eventually(t, "requests", func() bool { return p.owner.Stats().Accepted.Load()+second.Stats().Accepted.Load() == 2 })
	closed := make(chan error, 1)
	go func() { closed <- p.front.Close(t.Context()) }()
	for range 2 {
		close(release[await(t, "question", asked)])
	}
	close(both)
	for range 2 {
		if a := await(t, "answer", done); a.status != 200 {
			t.Errorf("%d %q", a.status, a.body)
		}
	}
	if err := await(t, "end", closed); err != nil {
		t.Error(err)
	}
}

// A server that is stopped still accepts connections.
func TestOwnerIsStopped(t *testing.T) {
	stopped := make(chan struct{})
	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			w.(http.Flusher).Flush() // and it stops after that
		}
		select {
		case <-stopped:
		case <-r.Context().Done():
		}
	}, func(front *peers.Options) { front.Silence = 100 * time.Millisecond })
	t.Cleanup(func() { close(stopped) }) // first
	p.wantWhy("GET", "", "its server does not answer", "does not answer at its address", "node=owner")
	if a := p.do(p.request("POST", "")); a.status != 200 || a.body != "" {
		t.Errorf("%d %q", a.status, a.body)
	}
}

// Clocks drift apart, so what is known of one is not believed for long: a body can be sent only once.
func TestClocksDrift(t *testing.T) {
	p := connect(t, echo, nil)
	for _, method := range []string{"GET", "POST"} {
		if a := p.do(p.request(method, "")); a.status != 200 {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
		p.front.Drift(p.node.Tag, -time.Minute, 2*time.Hour)
	}
	for _, method := range []string{"POST", "POST"} {
		if a := p.do(p.request(method, "4hello")); a.status != 200 {
			t.Errorf("%s: %d %s", method, a.status, a.body)
		}
	}
}

// A server that has left is still tried for a while: perhaps only the bus is down.
func TestServerThatLeft(t *testing.T) {
	p := connect(t, echo, nil)
	p.fleet.meet(adapter.Left, p.node)
	if a := p.do(p.request("GET", "")); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	other := p.node
	other.ID = node("other").ID
	p.fleet.meet(adapter.Left, other) // its predecessor
	if a := p.do(p.request("GET", "")); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	p.fleet.meet(adapter.Joined, p.node)
	if a := p.do(p.request("GET", "")); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestServersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, f := newPeers(t, "front", nil)
		n := node("owner")
		f.meet(adapter.Joined, n)
		f.meet(adapter.Left, n)
		r := httptest.NewRequest("GET", "/", nil)
		for _, tt := range []struct {
			after time.Duration
			why   string
		}{
			{2 * time.Minute, "its server cannot be reached from here"}, // it has no address
			{time.Nanosecond, "no server of this cluster has it: its server is gone, or it is of another cluster"},
		} {
			time.Sleep(tt.after)
			if served, why := p.Serve(httptest.NewRecorder(), r, random+n.Tag, false); served || why != tt.why {
				t.Errorf("%v %q, want %q", served, why, tt.why)
			}
		}
	})
}

func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("no %s", what)
		}
	}
}
