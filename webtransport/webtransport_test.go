package webtransport_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/webtransport"
)

// echo answers every event "echo" with the same arguments, as an event and an acknowledgement.
func echo(s *server) {
	s.On("echo", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		if err := p.Socket().Emit("echo", v...); err != nil {
			return err
		}
		return p.Ack(v...)
	})
}

// disconnects returns a channel that receives the reason when a socket disconnects.
func disconnects(s *server) <-chan parley.Reason {
	reasons := make(chan parley.Reason, 100)
	s.OnDisconnect(func(_ *parley.Socket, reason parley.Reason) { reasons <- reason })
	return reasons
}

func TestSession(t *testing.T) {
	s := serve(t, nil, nil)
	echo(s)
	sockets := make(chan *parley.Socket, 1)
	s.OnConnection(func(socket *parley.Socket) { sockets <- socket })
	c := s.begin()
	if len(c.open.SID) != 20 || len(c.open.Upgrades) != 0 || c.open.MaxPayload != 1_000_000 {
		t.Errorf("OPEN: %+v", c.open)
	}
	c.send("40")
	c.recv()
	c.send(`420["echo","é",1]`)
	c.expect(`42["echo","é",1]`, `430["é",1]`)
	_, port, _ := net.SplitHostPort(c.session.LocalAddr().String())
	if socket := await(t, "connection", sockets); socket.Transport() != "webtransport" || socket.Handshake().Address != "127.0.0.1:"+port {
		t.Errorf("transport %q, address %q, want that of port %s", socket.Transport(), socket.Handshake().Address, port)
	}

	for _, data := range []string{strings.Repeat("\x00\xff7", 25_000), "x", ""} {
		c.send(`451-1["echo",{"_placeholder":true,"num":0}]`)
		c.sendBinary([]byte(data))
		for _, header := range []string{`451-["echo",{"_placeholder":true,"num":0}]`, `461-1[{"_placeholder":true,"num":0}]`} {
			c.expect(header)
			if data == "" {
				c.expect("b") // official clients treat a length of 0 as an error
			} else if got := c.recvBinary(); got != data {
				t.Errorf("%d bytes came back of %d", len(got), len(data))
			}
		}
	}
	if st := s.Stats(); st.Opened["webtransport"] != 1 || st.BytesIn < 75_000 || st.BytesOut < 150_000 {
		t.Errorf("stats: %+v", st)
	}
}

// Packets may be cut anywhere in transit.
func TestPacketsInPieces(t *testing.T) {
	s := serve(t, nil, nil)
	echo(s)
	c := s.join()
	packet := `420["echo","` + strings.Repeat("a", 300) + `"]`
	for _, b := range append(eio.AppendStreamHeader(nil, false, len(packet)), packet...) {
		c.write([]byte{b})
	}
	c.expect(strings.Replace(packet, "420", "42", 1))
}

func TestEndOfASession(t *testing.T) {
	s := serve(t, nil, nil)
	reasons := disconnects(s)
	for name, test := range map[string]struct {
		end  func(*client)
		want parley.Reason
	}{
		"the session is closed": {func(c *client) { c.session.CloseWithError(0, "") }, parley.TransportClose},
		"the stream is closed":  {func(c *client) { c.stream.Close() }, parley.TransportClose},
		"the stream is reset":   {func(c *client) { c.stream.CancelWrite(7) }, parley.TransportClose},
		"a close packet":        {func(c *client) { c.send("1") }, parley.TransportClose},
		"of the namespace":      {func(c *client) { c.send("41") }, parley.ClientNamespaceDisconnect},
	} {
		c := s.join()
		test.end(c)
		if reason := await(t, name, reasons); reason != test.want {
			t.Errorf("%s: %q, want %q", name, reason, test.want)
		}
	}
}

func TestMalformed(t *testing.T) {
	start := func(t *testing.T) (*client, <-chan parley.Reason) {
		t.Parallel()
		s := serve(t, &parley.Options{MaxPayload: 1000}, nil)
		return s.join(), disconnects(s)
	}
	for name, test := range map[string]struct {
		bytes   string
		reason  parley.Reason
		code    wt.SessionErrorCode
		message string
	}{
		"over the limit":      {"\x7e\x03\xe9", parley.TransportError, 413, "message too large"},
		"absurd":              {"\xff\xff\xff\xff\xff\xff\xff\xff\xff", parley.TransportError, 413, "message too large"},
		"length without need": {"\x7e\x00\x01a", parley.ParseError, 400, "malformed packet"},
		"empty text":          {"\x00", parley.ParseError, 400, "malformed packet"},
		"unknown type":        {"\x029x", parley.ParseError, 400, "malformed packet"},
		"no type":             {"\x02xx", parley.ParseError, 400, "malformed packet"},
		"a ping":              {"\x012", parley.TransportError, 0, ""},
		"a broken event":      {"\x0542[\"x", parley.ForcedClose, 0, ""},
		"unexpected binary":   {"\x82ab", parley.ForcedClose, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, reasons := start(t)
			c.write([]byte(test.bytes))
			if reason := await(t, "disconnect", reasons); reason != test.reason {
				t.Errorf("reason %q, want %q", reason, test.reason)
			}
			c.expectClosed(test.code, test.message)
		})
	}
	t.Run("cut off", func(t *testing.T) {
		c, reasons := start(t)
		c.write([]byte("\x7e\x01\x00abc"))
		c.stream.Close()
		if reason := await(t, "disconnect", reasons); reason != parley.TransportClose {
			t.Errorf("reason %q", reason)
		}
		c.expectClosed(0, "")
	})
	t.Run("a second open packet is ignored, as over WebSocket", func(t *testing.T) {
		c, _ := start(t)
		c.send("0", `0{"sid":"x"}`, "6", "5", "40/none,")
		c.expect(`44/none,{"message":"Invalid namespace"}`)
	})
}

// The server does not read further streams of a client, and their memory is limited.
func TestOtherStreamsAndDatagrams(t *testing.T) {
	s := serve(t, nil, nil)
	echo(s)
	c := s.join()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	streams, uni := 0, 0
	for {
		other, err := c.session.OpenStreamSync(ctx)
		if err != nil {
			break
		}
		streams++
		other.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		other.Write(make([]byte, 1<<20))
	}
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	for {
		other, err := c.session.OpenUniStreamSync(ctx)
		if err != nil {
			break
		}
		uni++
		other.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		other.Write(make([]byte, 1<<10))
	}
	for range 100 {
		if err := c.session.SendDatagram([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if streams > 2 || uni > 7 {
		t.Errorf("%d streams and %d unidirectional ones could be opened", streams, uni)
	}
}

func TestRefusedBeforeTheSession(t *testing.T) {
	s := serve(t, &parley.Options{CORS: parley.CORS{Origins: []string{"https://friend.example"}}}, nil)
	origin := func(o string) http.Header { return http.Header{"Origin": {o}} }
	from := func(site string) http.Header { return http.Header{"Sec-Fetch-Site": {site}} }
	for name, test := range map[string]struct {
		path   string
		header http.Header
		status int
	}{
		"another path":          {"/other/", nil, 404},
		"a longer path":         {"/socket.iofoo", nil, 404},
		"an escape":             {"/%73ocket.io/", nil, 404},
		"below the path":        {"/socket.io/foo", nil, 200},
		"foreign origin":        {"/socket.io/", origin("https://evil.example"), 403},
		"a sub-domain":          {"/socket.io/", origin("https://a.friend.example"), 403},
		"another scheme":        {"/socket.io/", origin("http://friend.example"), 403},
		"null":                  {"/socket.io/", origin("null"), 403},
		"friend":                {"/socket.io/", origin("https://friend.example"), 200},
		"the server itself":     {"/socket.io/", origin("https://" + s.addr), 200},
		"no origin":             {"/socket.io/", nil, 200},
		"another site":          {"/socket.io/", from("cross-site"), 403},
		"a neighbour":           {"/socket.io/", from("same-site"), 403},
		"its own page":          {"/socket.io/", from("same-origin"), 200},
		"no slash":              {"/socket.io", nil, 200},
		"an older revision":     {"/socket.io/?EIO=3", nil, 400},
		"the query that others": {"/socket.io/?EIO=4&transport=webtransport", nil, 200},
	} {
		resp, session, err := s.request(test.path, test.header)
		if test.status == 200 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else {
				session.CloseWithError(0, "")
			}
			continue
		}
		if err == nil || resp == nil || resp.StatusCode != test.status {
			t.Errorf("%s: %v, %v, want status %d", name, resp, err, test.status)
		}
	}
}

func TestTransportThatIsNotAllowed(t *testing.T) {
	s := serve(t, &parley.Options{Transports: []string{"polling", "websocket"}}, nil)
	if resp, _, err := s.request("/socket.io/", nil); err == nil || resp == nil || resp.StatusCode != 400 {
		t.Errorf("%v, %v, want status 400", resp, err)
	}
	if open := s.poll("", ""); !strings.Contains(open, `"upgrades":["websocket"]`) {
		t.Errorf("offered: %s", open)
	}
}

// refusals returns how many requests were refused, for any reason.
func refusals(s parley.Stats) (n uint64) {
	for _, of := range s.Refused {
		n += of
	}
	return n
}

func TestRefusedAtTheFirstPacket(t *testing.T) {
	cluster, err := adapter.New(adapter.NewMemory().Connect(), nil) // the server that gets it closes it
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		options parley.Options
		first   string
		others  int
		code    wt.SessionErrorCode
		message string
		packet  string
	}{
		"AllowRequest": {parley.Options{AllowRequest: func(r *http.Request) error {
			if r.Header.Get("X-Test") != "" || r.RemoteAddr == "" || r.TLS == nil {
				return errors.New("not the request")
			}
			return &parley.ConnectError{Message: "go away"}
		}}, "0", 0, 403, "go away", `{"code":4,"message":"go away"}`},
		"AllowRequest at length": {parley.Options{AllowRequest: func(*http.Request) error {
			return &parley.ConnectError{Message: "x" + strings.Repeat("é", 1000)}
		}}, "0", 0, 403, "x" + strings.Repeat("é", 511), `{"code":4,"message":"x` + strings.Repeat("é", 1000) + `"}`},
		"all connections":         {parley.Options{MaxConnections: 1}, "0", 1, 503, "Too many connections", `{"code":4,"message":"Too many connections"}`},
		"those of an address":     {parley.Options{MaxConnectionsPerAddress: 1, ExemptAddresses: []netip.Prefix{}}, "0", 1, 429, "Too many connections from this address", `{"code":4,"message":"Too many connections from this address"}`},
		"unknown session":         {parley.Options{}, `0{"sid":"12345678901234567890"}`, 0, 400, "Session ID unknown", `{"code":1,"message":"Session ID unknown"}`},
		"a session without an id": {parley.Options{}, `0{}`, 0, 400, "Session ID unknown", `{"code":1,"message":"Session ID unknown"}`},
		"another server's session": {parley.Options{Cluster: cluster, ClusterSecret: "0123456789abcdef"}, `0{"sid":"abcdefghijklmnopqrst.none"}`, 0, 400,
			"Session ID unknown: WebTransport has to reach the session's own server", `{"code":1,"message":"Session ID unknown: WebTransport has to reach the session's own server"}`},
		"no JSON":        {parley.Options{}, `0{"sid`, 0, 400, "Bad request", `{"code":3,"message":"Bad request"}`},
		"another id":     {parley.Options{}, `0{"sid":7}`, 0, 400, "Bad request", `{"code":3,"message":"Bad request"}`},
		"another packet": {parley.Options{}, `2probe`, 0, 400, "Bad request", `{"code":3,"message":"Bad request"}`},
		"no packet":      {parley.Options{}, `x`, 0, 400, "Bad request", `{"code":3,"message":"Bad request"}`},
		"long":           {parley.Options{}, `0` + strings.Repeat(" ", 2000), 0, 400, "Bad request", `{"code":3,"message":"Bad request"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, &test.options, nil)
			for range test.others {
				s.join()
			}
			c := s.dial(test.first)
			c.expect(test.packet)
			c.expectClosed(test.code, test.message)
			if got := s.Stats(); refusals(got) != 1 || got.Sessions != test.others {
				t.Errorf("%d refused, %d sessions, want 1 and %d", refusals(got), got.Sessions, test.others)
			}
		})
	}
}

func TestNothingComes(t *testing.T) {
	t.Parallel()
	s := serve(t, &parley.Options{UpgradeTimeout: 5 * time.Second}, nil)
	_, session, err := s.request("/socket.io/", nil)
	if err != nil {
		t.Fatal(err)
	}
	(&client{t: t, session: session}).expectSessionClosed(408, "no stream in time")
	_, session, err = s.request("/socket.io/", nil)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := session.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, session: session, stream: stream, packets: eio.NewStreamReader(stream)}
	c.write([]byte{20, '0'}) // the rest never follows
	c.expectClosed(400, "Bad request")
}

func TestMiddleware(t *testing.T) {
	s := serve(t, nil, nil)
	s.Of("/secret").Use(func(_ context.Context, socket *parley.Socket) error {
		var auth struct{ Token string }
		if socket.DecodeAuth(&auth) != nil || auth.Token != "secret" || !socket.Handshake().Secure {
			return &parley.ConnectError{Message: "Not authorized"}
		}
		return nil
	})
	c := s.begin()
	c.send("40/secret,")
	c.expect(`44/secret,{"message":"Not authorized"}`)
	c.send(`40/secret,{"token":"secret"}`)
	if got := c.recv(); !strings.HasPrefix(got, `40/secret,{"sid"`) {
		t.Errorf("with a token: %q", got)
	}
}

func TestAuthorize(t *testing.T) {
	s := serve(t, &parley.Options{Authorize: auth.AuthorizerFunc(func(_ context.Context, r *auth.Request) (*auth.Identity, error) {
		if string(r.Payload) != `{"token":"ann"}` || !r.Secure {
			return nil, &parley.Error{Code: "bad_token", Message: "Log in first"}
		}
		return &auth.Identity{Subject: "ann"}, nil
	})}, nil)
	c := s.begin()
	c.send("40")
	c.expect(`44{"message":"Log in first","data":{"code":"bad_token","message":"Log in first"}}`)
	c.send(`40{"token":"ann"}`)
	if got := c.recv(); !strings.HasPrefix(got, `40{"sid"`) {
		t.Errorf("with a token: %q", got)
	}
	if err := s.DisconnectIdentities(t.Context(), auth.Match{Subject: "ann"}); err != nil {
		t.Error(err)
	}
	c.expect("41")
	c.expectSessionClosed(0, "")
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	s := serve(t, &parley.Options{PingInterval: 100 * time.Millisecond, PingTimeout: 5 * time.Second}, nil)
	reasons := disconnects(s)
	c := s.join()
	for range 5 {
		if _, p, err := c.packets.Next(100); err != nil || string(p) != "2" {
			t.Fatalf("%q, %v, want a ping", p, err)
		}
		c.send("3")
	}
	if _, p, err := c.packets.Next(100); err != nil || string(p) != "2" {
		t.Fatalf("%q, %v, want a ping", p, err)
	}
	if reason := await(t, "disconnect", reasons); reason != parley.PingTimeout {
		t.Errorf("reason %q", reason)
	}
	if _, p, err := c.packets.Next(100); err != io.EOF {
		t.Errorf("%q, %v, want the end", p, err)
	}
	c.expectSessionClosed(0, "")
}

// The server disconnects a client whose network is gone, although it cannot tell it.
func TestDeadClient(t *testing.T) {
	t.Parallel()
	s := serve(t, nil, &webtransport.Options{IdleTimeout: 4 * time.Second})
	reasons := disconnects(s)
	network := newNetwork(t, s.addr)
	s.addr = network.addr
	s.join()
	time.Sleep(6 * time.Second) // meanwhile it answers keep-alives
	if n := len(reasons); n > 0 {
		t.Fatal("an idle client is gone")
	}
	network.cut()
	if reason := await(t, "disconnect", reasons); reason != parley.TransportClose {
		t.Errorf("reason %q", reason)
	}
}

func TestSlowConsumer(t *testing.T) {
	for name, o := range map[string]parley.Options{
		"outbox over its limit": {MaxOutbox: 200_000},
		"nothing taken":         {MaxOutbox: 1 << 30, WriteTimeout: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &o, nil)
			reasons := disconnects(s)
			c := s.join()
			text := strings.Repeat("a", 10_000)
			for range 100 { // ten times the client's window
				s.Emit("news", text)
				time.Sleep(time.Millisecond)
			}
			if reason := await(t, "disconnect", reasons); reason != parley.TransportError {
				t.Errorf("reason %q", reason)
			}
			if n := s.Stats().SlowConsumers; n != 1 {
				t.Errorf("%d slow consumers counted", n)
			}
			c.expectSessionClosed(0, "")
		})
	}
}

// The server does not disconnect a client that reads slowly but steadily, however long a message takes.
func TestSlowButSteady(t *testing.T) {
	t.Parallel()
	const writeTimeout = 4 * time.Second
	s := serve(t, &parley.Options{WriteTimeout: writeTimeout}, nil)
	c := s.join()
	text := strings.Repeat("a", 800_000)
	s.Emit("news", text)
	begun := time.Now()
	got := make([]byte, 0, 1<<20)
	buf := make([]byte, 30_000)
	for len(got) < len(text) {
		n, err := c.stream.Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes in %v: %v", len(got), time.Since(begun), err)
		}
		got = append(got, buf[:n]...)
		time.Sleep(writeTimeout / 10)
	}
	if took := time.Since(begun); took < 2*writeTimeout {
		t.Errorf("it took only %v, which proves nothing", took)
	}
	if n := s.Stats().SlowConsumers; n != 0 {
		t.Error("the server disconnected the client")
	}
}

// A handler that cannot keep up makes its client wait, and nothing is lost.
func TestBackpressure(t *testing.T) {
	s := serve(t, &parley.Options{MaxInbox: 4}, nil)
	release := make(chan struct{})
	got := make(chan int, 10_000)
	s.On("work", func(p *parley.Packet) error {
		<-release
		var n int
		if err := p.Decode(&n); err != nil {
			return err
		}
		got <- n
		return nil
	})
	c := s.join()
	const events = 1000
	padding := strings.Repeat("a", 2000)
	sent := make(chan error, 1)
	go func() {
		for i := range events {
			p := fmt.Sprintf(`42["work",%d,"%s"]`, i, padding)
			if _, err := c.stream.Write(append(eio.AppendStreamHeader(nil, false, len(p)), p...)); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	select {
	case err := <-sent:
		t.Fatalf("the client could send 2 MB although the handler reads nothing: %v", err)
	case <-time.After(500 * time.Millisecond):
	}
	close(release)
	if err := await(t, "end of sending", sent); err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if n := await(t, "event", got); n != i {
			t.Fatalf("event %d, want %d", n, i)
		}
	}
}

// A client still gets pings while the server does not read from it.
func TestPingsGoOnWhilePaused(t *testing.T) {
	s := serve(t, &parley.Options{MaxInbox: 1, PingInterval: 50 * time.Millisecond, PingTimeout: time.Minute}, nil)
	release := make(chan struct{})
	s.On("work", func(p *parley.Packet) error {
		<-release
		return p.Ack()
	})
	c := s.join()
	for range 10 {
		c.send(`42["work"]`)
	}
	c.send(`421["work"]`)
	c.stream.SetReadDeadline(time.Now().Add(patience))
	for pings := 0; pings < 5; {
		_, b, err := c.packets.Next(1 << 20)
		if err != nil {
			t.Fatalf("after %d pings: %v", pings, err)
		}
		if string(b) == "2" { // do not answer: the server would not read the answer, either
			pings++
		}
	}
	close(release)
	for packet := ""; packet != `431[]`; {
		packet = c.recv()
	}
}

// The server does not disconnect a client that reads, however large its messages are.
func TestLargeThenSmall(t *testing.T) {
	s := serve(t, nil, nil)
	text := strings.Repeat("a", 6<<20)
	s.On("get", func(p *parley.Packet) error {
		for range 2 {
			if err := p.Socket().Emit("document", text); err != nil {
				return err
			}
			if err := p.Socket().Drain(p.Context()); err != nil {
				return err
			}
		}
		return p.Ack("done")
	})
	c := s.join()
	c.send(`421["get"]`)
	for range 2 {
		if got, want := c.recv(), `42["document","`+text+`"]`; got != want {
			t.Fatalf("%.50q of %d bytes, want %d", got, len(got), len(want))
		}
	}
	c.expect(`431["done"]`)
}

func TestClientLeavesWhileNobodyReads(t *testing.T) {
	s := serve(t, &parley.Options{MaxInbox: 1}, nil)
	reasons := disconnects(s)
	release := make(chan struct{})
	s.On("work", func(*parley.Packet) error { <-release; return nil })
	c := s.join()
	for range 10 {
		c.send(`42["work"]`)
	}
	time.Sleep(100 * time.Millisecond)
	c.session.CloseWithError(0, "")
	deadline := time.After(patience)
	for s.Stats().Sessions > 0 {
		select {
		case <-deadline:
			t.Fatal("the session is still there")
		case <-time.After(5 * time.Millisecond):
		}
	}
	close(release)
	await(t, "disconnect", reasons)
}

// When the server closes a session, everything that was queued still arrives first.
func TestShutdown(t *testing.T) {
	const messages = 300
	s := serve(t, nil, nil)
	var clients []*client
	for range 5 {
		clients = append(clients, s.join())
	}
	waiting := make(chan error, 1)
	go func() {
		_, session, err := s.request("/socket.io/", nil)
		if err == nil {
			<-session.Context().Done()
		}
		waiting <- err
	}()
	text := strings.Repeat("a", 2000)
	for i := range messages {
		s.Emit("news", i, text)
	}
	ended := make(chan error, 2)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { ended <- s.Shutdown(ctx) }()
	go func() { ended <- s.wt.Shutdown(ctx) }()
	for _, c := range clients {
		for i := range messages {
			c.expect(fmt.Sprintf(`42["news",%d,"%s"]`, i, text))
		}
		if _, p, err := c.next(); err != io.EOF {
			t.Errorf("%q, %v, want the end", p, err)
		}
		c.expectSessionClosed(0, "")
	}
	for range 2 {
		if err := await(t, "Shutdown", ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	}
	await(t, "end of one without a stream", waiting)
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := s.requestContext(ctx, "/socket.io/", nil); err == nil {
		t.Error("a connection after Shutdown")
	}
}

func TestDraining(t *testing.T) {
	s := serve(t, nil, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Server.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if resp, _, err := s.request("/socket.io/", nil); err == nil || resp == nil || resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%+v, %v, want status 503", resp, err)
	}
}

// A client that reads nothing does not delay a shutdown beyond its deadline.
func TestShutdownCuts(t *testing.T) {
	s := serve(t, &parley.Options{MaxOutbox: 1 << 30}, nil)
	s.join()
	s.Emit("news", strings.Repeat("a", 900_000))
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := s.wt.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown of WebTransport: %v", err)
	}
}

// HTTP middleware in front of a parley.Server can be put in front of WebTransport too.
func TestMiddlewareOfHTTP(t *testing.T) {
	s := serve(t, nil, &webtransport.Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "secret" {
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	if resp, _, err := s.request("/socket.io/", nil); err == nil || resp == nil || resp.StatusCode != 401 {
		t.Errorf("%v, %v", resp, err)
	}
	_, session, err := s.request("/socket.io/", http.Header{"Authorization": {"secret"}})
	if err != nil {
		t.Fatal(err)
	}
	session.CloseWithError(0, "")
}

func TestOnlyWebTransport(t *testing.T) {
	s := serve(t, nil, nil)
	transport := &http3Transport{}
	defer transport.Close()
	for _, path := range []string{"/", "/socket.io/?EIO=4&transport=polling"} {
		resp, err := transport.get(t, "https://"+s.addr+path)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s over HTTP/3: status %d", path, resp.StatusCode)
		}
	}
	if s.Stats().Sessions != 0 {
		t.Error("a session by polling over HTTP/3")
	}
}

func TestAddressesAreVerified(t *testing.T) {
	s := serve(t, nil, &webtransport.Options{RetryAbove: -1}) // always
	s.join()
}

func TestConnectionsAreLimited(t *testing.T) {
	s := serve(t, nil, &webtransport.Options{MaxConnections: 2, HandshakeTimeout: time.Second})
	first := s.join()
	s.join()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, _, err := s.requestContext(ctx, "/socket.io/", nil); err == nil {
		t.Error("a third connection")
	}
	first.session.CloseWithError(0, "")
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, _, err := s.requestContext(ctx, "/socket.io/", nil)
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no place after one has left: %v", err)
		}
	}
}

func TestServeOnce(t *testing.T) {
	s := serve(t, nil, nil)
	s.join()
	_, udp := listen(t)
	defer udp.Close()
	if err := s.wt.Serve(udp); err == nil || err == webtransport.ErrServerClosed {
		t.Errorf("second Serve: %v", err)
	}
	srv, err := parley.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	never := webtransport.NewServer(srv, tlsConfig(), nil)
	if err := never.Shutdown(t.Context()); err != nil {
		t.Errorf("Shutdown without Serve: %v", err)
	}
	if err := never.Serve(udp); err != webtransport.ErrServerClosed {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// upgrade begins a session by polling and starts its upgrade.
func (s *server) upgrade() (sid string, c *client) {
	s.t.Helper()
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(s.poll("", "")[1:]), &open); err != nil {
		s.t.Fatal(err)
	}
	return open.SID, s.dial(`0{"sid":"` + open.SID + `"}`)
}

func TestUpgrade(t *testing.T) {
	s := serve(t, nil, nil)
	echo(s)
	s.begin() // now Serve is running
	if open := s.poll("", ""); !strings.Contains(open, `"upgrades":["websocket","webtransport"]`) {
		t.Errorf("offered: %s", open)
	}
	sid, c := s.upgrade()
	s.poll(sid, "40")
	if got := s.poll(sid, ""); !strings.HasPrefix(got, `40{"sid"`) {
		t.Fatal(got)
	}
	c.send("2probe")
	c.expect("3probe")
	if got := s.poll(sid, ""); got != "6" {
		t.Errorf("the poll ended with %q", got)
	}
	c.send("5", `420["echo",1]`)
	c.expect(`42["echo",1]`, `430[1]`)
	st := s.Stats()
	if st.Upgrades != 1 || st.Opened["polling"] != 2 || st.Opened["webtransport"] != 1 || st.Open["polling"] != 1 || st.Open["webtransport"] != 2 {
		t.Errorf("stats: %+v", st)
	}
	s.wt.Close()
	if open := s.poll("", ""); !strings.Contains(open, `"upgrades":["websocket"]`) {
		t.Errorf("still offered after Serve has ended: %s", open)
	}
}

func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	s := serve(t, &parley.Options{UpgradeTimeout: 5 * time.Second}, nil)
	sid, c := s.upgrade()
	withoutNeed := s.begin().open.SID
	for _, of := range []string{sid /* while another is tried */, withoutNeed} {
		other := s.dial(`0{"sid":"` + of + `"}`)
		other.expect(`{"code":3,"message":"Bad request"}`)
		other.expectClosed(400, "Bad request")
	}
	c.expectClosed(408, "not upgraded in time")
	if got := s.poll(sid, "40"); got != "ok" {
		t.Errorf("poll of the session afterwards: %s", got)
	}
	c = s.dial(`0{"sid":"` + sid + `"}`)
	c.send("42")
	c.expectClosed(0, "")
}

// Messages sent during an upgrade arrive once and in order, in both directions.
func TestUpgradeUnderTraffic(t *testing.T) {
	s := serve(t, nil, nil)
	got := make(chan int, 10_000)
	s.On("up", func(p *parley.Packet) error {
		var n int
		if err := p.Decode(&n); err != nil {
			return err
		}
		got <- n
		return nil
	})
	stop := make(chan struct{})
	emitted := make(chan int, 1)
	s.OnConnection(func(socket *parley.Socket) {
		go func() {
			n := 0
			for {
				select {
				case <-stop:
					emitted <- n
					return
				default:
				}
				socket.Emit("down", n)
				n++
				if n%10 == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}()
	})
	sid, c := s.upgrade()
	up := 0
	post := func() string {
		var b []string
		for range 5 {
			b = append(b, fmt.Sprintf(`42["up",%d]`, up))
			up++
		}
		return strings.Join(b, "\x1e")
	}
	s.poll(sid, "40")
	var down []string
	take := func(payload string) {
		for p := range strings.SplitSeq(payload, "\x1e") {
			if strings.HasPrefix(p, "42") {
				down = append(down, p)
			}
		}
	}
	for range 10 {
		take(s.poll(sid, ""))
		s.poll(sid, post())
	}
	c.send("2probe")
	for polls := 0; ; polls++ { // until a noop tells the client to continue
		if got := s.poll(sid, ""); got == "6" || polls > 50 {
			break
		} else {
			take(got)
		}
		if polls < 3 {
			s.poll(sid, post())
		}
		if polls == 2 {
			break // official clients wait for the end of the poll, not for the noop
		}
	}
	c.expect("3probe")
	c.send("5")
	for range 50 {
		c.send(fmt.Sprintf(`42["up",%d]`, up))
		up++
	}
	close(stop)
	n := await(t, "end of emitting", emitted)
	for len(down) < n {
		down = append(down, c.recv())
	}
	for i, p := range down {
		if p != fmt.Sprintf(`42["down",%d]`, i) {
			t.Fatalf("packet %d of %d is %q", i, n, p)
		}
	}
	for i := range up {
		if n := await(t, "event", got); n != i {
			t.Fatalf("event %d, want %d", n, i)
		}
	}
	t.Logf("%d down, %d up", n, up)
}

// Clients that connect and disconnect in every way leave nothing behind. Goleak checks this at the
// end.
func TestComingAndGoing(t *testing.T) {
	s := serve(t, nil, nil)
	echo(s)
	done := make(chan struct{})
	const workers, rounds = 4, 10
	for i := range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for round := range rounds {
				c := s.join()
				c.send(`420["echo",1]`)
				c.expect(`42["echo",1]`, `430[1]`)
				switch (i + round) % 3 {
				case 0:
					c.session.CloseWithError(0, "")
				case 1:
					c.stream.CancelRead(1)
					c.stream.CancelWrite(1)
				case 2:
					c.send("1")
				}
			}
		}()
	}
	for range workers {
		await(t, "worker", done)
	}
	deadline := time.Now().Add(patience)
	for s.Stats().Sessions > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions are left", s.Stats().Sessions)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestNo0RTT(t *testing.T) {
	s := serve(t, nil, nil)
	c := s.join()
	state := c.session.SessionState().ConnectionState
	if state.Used0RTT {
		t.Error("0-RTT was used")
	}
	if state.TLS.NegotiatedProtocol != "h3" || state.Version != quic.Version1 {
		t.Errorf("%s over %v", state.TLS.NegotiatedProtocol, state.Version)
	}
}

// A message that does not end is given up, and what arrived of it no longer counts.
func TestMessagesThatNeverEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, &parley.Options{BodyTimeout: time.Second}, nil)
	reasons := disconnects(s)
	c := s.join()
	c.write(append(eio.AppendStreamHeader(nil, false, 500_000), strings.Repeat("4", 100_000)...))
	if reason := await(t, "disconnect", reasons); reason != parley.TransportError {
		t.Errorf("reason %q", reason)
	}
	for deadline := time.Now().Add(patience); s.Stats().Held > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are held after the end", s.Stats().Held)
		}
	}
}

// Packets without a message are charged, and a client over its budget waits.
func TestOverBudget(t *testing.T) {
	t.Parallel()
	s := serve(t, &parley.Options{FramesPerSecond: 20}, nil)
	echo(s)
	c := s.join()
	start := time.Now()
	for range 100 {
		c.send("6")
	}
	c.send(`42["echo","a"]`)
	c.recv()
	if d := time.Since(start); d < 2*time.Second {
		t.Errorf("after %v, want 2 s or more", d)
	}
	if s.Stats().Slowed["frames"] == 0 {
		t.Error("not counted")
	}
}

// QUIC connections of one address are limited, even if they never make a request.
func TestConnectionsOfAnAddressAreLimited(t *testing.T) {
	s := serve(t, nil, &webtransport.Options{
		MaxPerAddress: 1, MaxConnections: 6, HandshakeTimeout: time.Second,
		ExemptAddresses: append(slices.Clone(address.Loopback), netip.MustParsePrefix("192.0.2.3/32")),
	})
	for range 3 { // this machine is exempt
		s.join()
	}
	for from, want := range map[string][]bool{"192.0.2.1:1": {true, false}, "192.0.2.2:1": {true, false}} {
		for _, ok := range want {
			if got := s.wt.Enter(from); got != ok {
				t.Errorf("a connection from %s: %v, want %v", from, got, ok)
			}
		}
		s.wt.Leave(from)
		if !s.wt.Enter(from) {
			t.Errorf("no place for %s after another has left", from)
		}
	}
	for i, want := range []bool{true, false} { // exempt, until there is no room for anybody
		if got := s.wt.Enter("192.0.2.3:1"); got != want {
			t.Errorf("connection %d from an exempt address: %v, want %v", i, got, want)
		}
	}
	if got, want := s.wt.Refused(), (webtransport.Refused{Connections: 1, PerAddress: 2}); got != want {
		t.Errorf("refused: %+v, want %+v", got, want)
	}
}
