package parley_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/soak"
	"github.com/parley-go/parley/internal/ws"
)

const secret = "0123456789abcdef"

// neighbour is a server of a cluster that passes requests on to others.
type neighbour struct {
	*parley.Server
	network  *adapter.Memory
	url      string // for clients
	internal string // for other servers: host:port
}

// neighbours starts n servers that pass requests on to each other. setUp may be nil.
func neighbours(t *testing.T, n int, setUp func(i int, o *parley.Options)) []*neighbour {
	t.Helper()
	network := adapter.NewMemory()
	all := make([]*neighbour, n)
	for i := range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ok(t, err)
		quiet, _ := logBuffer()
		c, err := adapter.New(network.Connect(), &adapter.Options{Name: fmt.Sprint("node ", i), Address: l.Addr().String(), Logger: quiet})
		ok(t, err)
		o := &parley.Options{Cluster: c, ClusterSecret: secret}
		if setUp != nil {
			setUp(i, o)
		}
		s, url := serve(t, o)
		s.On("echo", func(p *parley.Packet) error {
			values, err := p.Values()
			if err != nil {
				return err
			}
			return p.Ack(values...)
		})
		all[i] = &neighbour{s, network, url, l.Addr().String()}
		served := make(chan error, 1)
		go func() { served <- s.ServePeers(l) }()
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			if err := await(t, "end of ServePeers", served); err != parley.ErrServerClosed {
				t.Errorf("ServePeers: %v", err)
			}
		})
	}
	for _, s := range all {
		eventually(t, "acquaintance", func() bool { return len(s.Nodes()) == n })
	}
	return all
}

// at returns the same session, at another server.
func (p *poller) at(n *neighbour) *poller {
	_, rest, _ := strings.Cut(p.url, "/socket.io/")
	return &poller{p.t, n.url + "/socket.io/" + rest}
}

// join joins the main namespace, at these servers.
func (p *poller) join(all ...*neighbour) {
	p.t.Helper()
	p.at(all[0]).post("40")
	if got := p.at(all[len(all)-1]).get(); !strings.HasPrefix(got, `40{"sid":"`) {
		p.t.Fatalf("got %q", got)
	}
}

func TestForwardedPolling(t *testing.T) {
	all := neighbours(t, 3, nil)
	p := dialPolling(t, all[0].url)
	p.join(all[1], all[2])
	for i := range 10 {
		p.at(all[i%3]).post(fmt.Sprintf(`42%d["echo",%d]`, i, i))
		if got, want := p.at(all[(i+1)%3]).get(), fmt.Sprintf(`43%d[%d]`, i, i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// The largest messages go through, in both directions. Larger ones are refused as they are by the
// session's own server, and the session goes on.
func TestForwardedBodies(t *testing.T) {
	all := neighbours(t, 2, nil)
	p := dialPolling(t, all[0].url).at(all[1])
	p.join(all[1])
	for i, size := range []int{20, 1_000_000, 1_000_001, 1_300_000, 8_000_000} {
		for _, chunked := range []bool{false, true} {
			message := fmt.Sprintf(`42%d["echo",%q]`, i, strings.Repeat("x", size-len(`420["echo",""]`)))
			var body io.Reader = strings.NewReader(message)
			if chunked {
				body = struct{ io.Reader }{body}
			}
			r, err := http.NewRequestWithContext(t.Context(), "POST", p.url, body)
			ok(t, err)
			resp, err := http.DefaultClient.Do(r)
			ok(t, err)
			resp.Body.Close()
			want := http.StatusOK
			if size > 1_000_000 {
				want = http.StatusRequestEntityTooLarge
			}
			if resp.StatusCode != want {
				t.Errorf("%d bytes, chunked %v: status %d, want %d", size, chunked, resp.StatusCode, want)
			}
			if want == http.StatusOK {
				if got := len(p.get()); got != size-len(`"echo",`) {
					t.Errorf("%d bytes, chunked %v: got %d", size, chunked, got)
				}
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestForwardedUpgrade(t *testing.T) {
	for _, compression := range []*parley.Compression{nil, {Threshold: 1}} {
		all := neighbours(t, 2, func(_ int, o *parley.Options) { o.Compression = compression })
		p := dialPolling(t, all[0].url)
		p.join(all[1])
		conn, resp, err := ws.Dial(t.Context(), strings.Replace(p.at(all[1]).url, "transport=polling", "transport=websocket", 1),
			&ws.DialOptions{Compression: &ws.Compression{}})
		ok(t, err)
		if got := resp.Header.Get("Sec-Websocket-Extensions"); (got != "") != (compression != nil) {
			t.Errorf("extensions %q", got)
		}
		c := &client{t: t, conn: conn}
		t.Cleanup(func() { conn.CloseNow() })
		c.send("2probe")
		c.expect("3probe")
		if got := p.get(); got != "6" {
			t.Fatalf("got %q", got)
		}
		c.send("5")
		for i, size := range []int{1, 100, 4096, 70_000, 900_000} {
			text := strings.Repeat("é", size/2)
			c.send(fmt.Sprintf(`42%d["echo",%q]`, i, text))
			c.expect(fmt.Sprintf(`43%d[%q]`, i, text))
		}
		c.send(`451-9["echo",{"_placeholder":true,"num":0}]`)
		c.sendBinary([]byte{0, 1, 2})
		c.expect(`461-9[{"_placeholder":true,"num":0}]`)
		if got := c.recvBinary(); string(got) != "\x00\x01\x02" {
			t.Errorf("got %x", got)
		}
		if n := all[1].Stats().Tunnels; n != 1 {
			t.Errorf("%d tunnels", n)
		}
		// The session's own end reaches the client as if there were no other server.
		ok(t, all[0].DisconnectSockets(t.Context(), true))
		c.expect("41")
		c.expectClosed()
		eventually(t, "end of the tunnel", func() bool { return all[1].Stats().Tunnels == 0 })
	}
}

func TestForwardedUpgradeEnds(t *testing.T) {
	all := neighbours(t, 2, nil)
	upgraded := func() *client {
		p := dialPolling(t, all[0].url)
		p.join(all[0])
		conn, _, err := ws.Dial(t.Context(), strings.Replace(p.at(all[1]).url, "transport=polling", "transport=websocket", 1), nil)
		ok(t, err)
		c := &client{t: t, conn: conn}
		t.Cleanup(func() { conn.CloseNow() })
		c.send("2probe")
		c.expect("3probe")
		p.get()
		c.send("5")
		c.send(`420["echo"]`)
		c.expect(`430[]`)
		return c
	}
	reasons := make(chan parley.Reason, 1)
	all[0].OnConnection(func(s *parley.Socket) { s.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { reasons <- r }) })
	upgraded().cut()
	if got := await(t, "end", reasons); got != parley.TransportClose {
		t.Errorf("the client is gone: %q", got)
	}
	c := upgraded()
	var err error
	ok(t, c.conn.Close(ws.CloseNormal, ""))
	if got := await(t, "end", reasons); got != parley.TransportClose {
		t.Errorf("the client has closed: %q", got)
	}
	c = upgraded()
	ok(t, all[1].Close())
	for err == nil {
		_, _, err = c.read()
	}
	if got := await(t, "end", reasons); got != parley.TransportClose {
		t.Errorf("the server in between has shut down: %q", got)
	}
}

// events is a stream of Server-Sent Events.
type events struct {
	t    *testing.T
	resp *http.Response
	r    *bufio.Reader
	last string
	cut  func()
}

func stream(t *testing.T, at *neighbour, query string) *events {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", at.url+"/socket.io/?EIO=4&transport=sse"+query, nil)
	ok(t, err)
	resp, err := http.DefaultTransport.RoundTrip(r)
	ok(t, err)
	t.Cleanup(func() {
		resp.Body.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
	return &events{t: t, resp: resp, r: bufio.NewReader(resp.Body), cut: cancel}
}

// next returns the data of the next event.
func (e *events) next() (data string) {
	e.t.Helper()
	for {
		line, err := e.r.ReadString('\n')
		if err != nil {
			e.t.Fatal(err)
		}
		switch name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); name {
		case "id":
			e.last = value
		case "data":
			data = value
		case "":
			if data != "" {
				return data
			}
		}
	}
}

func TestForwardedSSE(t *testing.T) {
	all := neighbours(t, 3, nil)
	first := stream(t, all[0], "")
	var open struct{ SID string }
	ok(t, json.Unmarshal([]byte(first.next()[1:]), &open))
	p := &poller{t, all[0].url + "/socket.io/?EIO=4&transport=sse&sid=" + open.SID}
	p.at(all[1]).post("40")
	if got := first.next(); !strings.HasPrefix(got, "40{") {
		t.Fatalf("got %q", got)
	}
	// The stream breaks and continues elsewhere, without a gap.
	last := first.last
	for i := range 5 {
		first.cut()
		p.at(all[i%3]).post(fmt.Sprintf(`42%d["echo",%d]`, i, i))
		first = stream(t, all[(i+1)%3], "&sid="+open.SID+"&lastEventId="+last)
		if got, want := first.next(), fmt.Sprintf(`43%d[%d]`, i, i); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		last = first.last
	}
}

func TestForwardedEIO3(t *testing.T) {
	all := neighbours(t, 2, func(_ int, o *parley.Options) { o.AllowEIO3, o.JSONP = true, true })
	for _, query := range []string{"EIO=3&transport=polling", "EIO=3&transport=polling&j=0"} {
		p := &poller{t, all[0].url + "/socket.io/?" + query}
		_, rest, _ := strings.Cut(strings.ReplaceAll(p.get(), `\"`, `"`), "{")
		var open struct{ SID string }
		ok(t, json.NewDecoder(strings.NewReader("{"+rest)).Decode(&open))
		p.url += "&sid=" + open.SID
		if p = p.at(all[1]); strings.Contains(query, "j=0") {
			p.form(`13:420["echo",1]`)
		} else {
			p.post(`13:420["echo",1]`)
		}
		got := p.get()
		for !strings.Contains(got, "430[1]") {
			got = p.get()
		}
		if script := strings.HasPrefix(got, "/**/___eio[0]("); script != strings.Contains(query, "j=0") {
			t.Errorf("%s: got %q", query, got)
		}
		if strings.Contains(query, "j=0") {
			continue
		}
		conn, _, err := ws.Dial(t.Context(), strings.Replace(p.url, "transport=polling", "transport=websocket", 1), nil)
		ok(t, err)
		c := &client{t: t, conn: conn}
		t.Cleanup(func() { conn.CloseNow() })
		c.send("2probe")
		c.expect("3probe")
		p.get()
		c.send("5")
		c.send(`421["echo",2]`)
		c.expect(`431[2]`)
	}
}

// form posts a payload as pages with JSONP do.
func (p *poller) form(payload string) {
	p.t.Helper()
	resp, err := http.Post(p.url, "application/x-www-form-urlencoded", strings.NewReader("d="+url.QueryEscape(payload)))
	ok(p.t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("status %d", resp.StatusCode)
	}
}

// A client that has gone is noticed by its session's server.
func TestForwardedClientGone(t *testing.T) {
	all := neighbours(t, 2, nil)
	reasons := make(chan parley.Reason, 1)
	all[0].OnConnection(func(s *parley.Socket) { s.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { reasons <- r }) })
	p := dialPolling(t, all[0].url)
	p.join(all[1])
	ctx, cancel := context.WithCancel(t.Context())
	before := all[0].Stats().ForwardsAccepted
	polled := make(chan string, 1)
	go func() { polled <- p.at(all[1]).do(ctx, "GET", "") }()
	eventually(t, "poll", func() bool { return all[0].Stats().ForwardsAccepted > before })
	cancel()
	if got := await(t, "end", reasons); got != parley.TransportError {
		t.Errorf("reason %q", got)
	}
	await(t, "poll", polled)
}

// A server that shuts down says goodbye to its clients through other servers, too.
func TestForwardedGoodbye(t *testing.T) {
	all := neighbours(t, 2, nil)
	p := dialPolling(t, all[0].url)
	p.join(all[1])
	before := all[0].Stats().ForwardsAccepted
	polled := make(chan string, 1)
	go func() { polled <- p.at(all[1]).get() }()
	eventually(t, "poll", func() bool { return all[0].Stats().ForwardsAccepted > before })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- all[0].Shutdown(ctx) }()
	got := await(t, "poll", polled)
	for got == "41" { // the namespace first
		got = p.at(all[1]).get()
	}
	if got != "1" && got != "41\x1e1" {
		t.Errorf("got %q, want the end of the session", got)
	}
	ok(t, await(t, "end of Shutdown", ended))
	if got := p.at(all[1]).get(); !strings.HasPrefix(got, `{"code":1,"message":"Session ID unknown: its server `) {
		t.Errorf("afterwards: %s", got)
	}
}

// A server that shuts down gives clients of others their polls back: their sessions go on elsewhere.
func TestForwardedPollsAreGivenBack(t *testing.T) {
	for _, revision := range []string{"4", "3"} {
		all := neighbours(t, 3, func(_ int, o *parley.Options) { o.AllowEIO3 = true })
		p := dialPolling(t, all[0].url)
		noop, want := "6", `430[]`
		if revision == "4" {
			p.join(all[1])
			p.post(`420["echo"]`)
		} else {
			p = &poller{t, all[0].url + "/socket.io/?EIO=3&transport=polling"}
			_, rest, _ := strings.Cut(p.get(), "{")
			var open struct{ SID string }
			ok(t, json.NewDecoder(strings.NewReader("{"+rest)).Decode(&open))
			p.url += "&sid=" + open.SID
			p.post(`11:420["echo"]`)
			noop, want = "1:6", `5:430[]`
		}
		for got := ""; !strings.HasSuffix(got, want); {
			got = p.get()
		}
		before := all[0].Stats().ForwardsAccepted
		polled := make(chan string, 1)
		go func() { polled <- p.at(all[1]).get() }()
		eventually(t, "poll", func() bool { return all[0].Stats().ForwardsAccepted > before })
		ok(t, all[1].Shutdown(p.t.Context()))
		if got := await(t, "poll", polled); got != noop {
			t.Errorf("got %q, want %q", got, noop)
		}
		if revision == "4" {
			p.at(all[2]).post(`420["echo"]`)
		} else {
			p.at(all[2]).post(`11:420["echo"]`)
		}
		if got := p.at(all[2]).get(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The owner sees the client, not the server in between.
func TestForwardedClient(t *testing.T) {
	var mu sync.Mutex
	asked := map[int]string{}
	all := neighbours(t, 2, func(i int, o *parley.Options) {
		o.ClientAddress = func(r *http.Request) string { return r.Header.Get("X-Client") }
		o.ClientSecure = func(r *http.Request) bool { return r.Header.Get("X-Client") != "" }
		o.CORS.AllowOrigin = func(origin string, r *http.Request) bool {
			mu.Lock()
			defer mu.Unlock()
			asked[i] = origin + " " + r.RemoteAddr
			return true
		}
		o.CORS.Credentials = true
	})
	p := dialPolling(t, all[0].url)
	r, err := http.NewRequestWithContext(t.Context(), "POST", p.at(all[1]).url, strings.NewReader("40"))
	ok(t, err)
	r.Header.Set("X-Client", "192.0.2.1:99")
	r.Header.Set("Origin", "https://page.example")
	resp, err := http.DefaultClient.Do(r)
	ok(t, err)
	defer http.DefaultClient.CloseIdleConnections()
	resp.Body.Close()
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "[https://page.example]", "Access-Control-Allow-Credentials": "[true]", "Vary": "[Origin]",
	} {
		if got := fmt.Sprint(resp.Header[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if asked[0] != "https://page.example 192.0.2.1:99" {
		t.Errorf("the session's server was asked about %q", asked[0])
	}
}

// Clients cannot use the internal address, and their own seals mean nothing at the public one.
func TestForwardedForgeries(t *testing.T) {
	all := neighbours(t, 2, nil)
	p := dialPolling(t, all[0].url)
	p.join(all[0])
	internal := &poller{t, "http://" + all[0].internal + p.url[len(all[0].url):]}
	for _, seal := range []string{"", "1", "1 a 0 0 http x y"} {
		for _, base := range []string{internal.url, "http://" + all[0].internal + "/socket.io/?EIO=4&transport=polling"} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", base, nil)
			ok(t, err)
			if seal != "" {
				r.Header.Set("Parley-Forward", seal)
			}
			resp, err := http.DefaultClient.Do(r)
			ok(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%q: status %d", seal, resp.StatusCode)
			}
		}
		for i, n := range all {
			r, err := http.NewRequestWithContext(t.Context(), "POST", p.at(n).url, strings.NewReader(`420["echo",1]`))
			ok(t, err)
			r.Header["Parley-Forward"] = []string{seal}
			resp, err := http.DefaultClient.Do(r)
			ok(t, err)
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			want := []string{"ok", `{"code":1,"message":"Session ID unknown"}`}[i]
			if string(b) != want {
				t.Errorf("%q at server %d: %s, want %s", seal, i, b, want)
			}
			if i == 0 {
				p.get()
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if st := all[0].Stats(); st.ForwardsRejected != 6 || st.ForwardsAccepted != 0 {
		t.Errorf("%d rejected, %d accepted", st.ForwardsRejected, st.ForwardsAccepted)
	}
	// A handler without a secret lets nobody in.
	s, _ := serve(t, nil)
	w := httptest.NewRecorder()
	s.PeerHandler().ServeHTTP(w, httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil))
	if w.Code != http.StatusForbidden {
		t.Errorf("without a secret: status %d", w.Code)
	}
}

// Servers that take each other's public address for the internal one do not pass a request around.
func TestForwardedLoop(t *testing.T) {
	all := neighbours(t, 2, nil)
	quiet, _ := logBuffer()
	third, err := adapter.New(all[0].network.Connect(), &adapter.Options{Name: "third", Address: strings.TrimPrefix(all[0].url, "http://"), Logger: quiet})
	ok(t, err)
	defer third.Close()
	for _, n := range all {
		eventually(t, "third server", func() bool { return len(n.Nodes()) == 3 })
	}
	sid := "abcdefghijklmnopqrst." + third.Self().Tag
	for _, n := range all {
		p := &poller{t, n.url + "/socket.io/?EIO=4&transport=polling&sid=" + sid}
		if got := p.get(); got != `{"code":1,"message":"Session ID unknown: its server does not answer"}` {
			t.Errorf("got %s", got)
		}
	}
}

// Many requests at wrong servers are all answered.
func TestForwardedMany(t *testing.T) {
	all := neighbours(t, 3, nil)
	polls := soak.Times(300, 10_000)
	const clients = 20
	var all20 sync.WaitGroup
	for k := range clients {
		all20.Go(func() {
			p := dialPolling(t, all[k%3].url)
			wrong := func(i int) *poller { return p.at(all[(k+1+i%2)%3]) }
			wrong(0).post("40")
			if got := wrong(1).get(); !strings.HasPrefix(got, "40{") {
				t.Errorf("got %q", got)
				return
			}
			for i := range polls / clients {
				wrong(i).post(fmt.Sprintf(`42%d["echo"]`, i))
				if got, want := wrong(i+1).get(), fmt.Sprintf(`43%d[]`, i); got != want {
					t.Errorf("got %q, want %q", got, want)
					return
				}
			}
		})
	}
	all20.Wait()
	var forwarded uint64
	for _, n := range all {
		st := n.Stats()
		forwarded += st.Forwarded
		if st.NotForwarded != 0 || st.ForwardsRejected != 0 {
			t.Errorf("%d not forwarded, %d rejected", st.NotForwarded, st.ForwardsRejected)
		}
	}
	if want := uint64(2*(polls/clients)*clients + 2*clients); forwarded != want {
		t.Errorf("%d forwarded, want %d", forwarded, want)
	}
}

func TestClusterSecret(t *testing.T) {
	c, err := adapter.New(adapter.NewMemory().Connect(), nil)
	ok(t, err)
	defer c.Close()
	for _, tt := range []struct {
		o    parley.Options
		want string
	}{
		{parley.Options{ClusterSecret: secret}, "ClusterSecret needs a Cluster"},
		{parley.Options{ClusterSecret: secret, Cluster: struct{ adapter.Cluster }{c}}, "ClusterSecret needs a Cluster"},
		{parley.Options{ClusterSecret: secret[1:], Cluster: c}, "at least 16 bytes"},
	} {
		if _, err := parley.New(&tt.o); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), tt.o.ClusterSecret) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}
