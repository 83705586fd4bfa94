package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/tokentest"
	"github.com/parley-go/parley/internal/ws"
)

const (
	secret   = "a secret of 32 bytes and a few more"
	password = "correct horse battery"
)

// closed is a running server to which everybody has to prove who they are.
type closed struct {
	*instance
	t      *testing.T
	server *app.Server
	access *access.Access
	trust  *tls.Config
	http   *http.Client
}

// startClosed runs a closed server with TLS and all transports. It has the operators ann and the admin
// root, and the token secret above.
func startClosed(t *testing.T, more ...func(*app.Config)) *closed {
	t.Helper()
	c := testConfig()
	c.TokenSecrets, c.Visitors, c.AllowEIO3, c.Search = []string{secret}, true, true, true
	c.OpenRooms = auth.Grants{{Pattern: "lounge", Rights: auth.Read | auth.Write}, {Pattern: "news", Rights: auth.Read}}
	c.Data, c.TLSSelfSigned = t.TempDir(), true
	c.ShutdownTimeout = 3 * time.Second // clients that do not poll delay it
	for _, f := range more {
		f(&c)
	}
	return openClosed(t, c, nil)
}

// openClosed runs a server with a configuration. breakIt may change it before it runs.
func openClosed(t *testing.T, c app.Config, breakIt func(*app.Server)) *closed {
	t.Helper()
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if breakIt != nil {
		breakIt(s)
	}
	c.Addr = "127.0.0.1:0"
	ports, err := app.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	d := &closed{instance: runOn(t, s, ports), t: t, server: s, access: app.Access(s)}
	if c.TLSSelfSigned {
		d.url = strings.Replace(d.url, "http://", "https://", 1)
	}
	d.trust = &tls.Config{InsecureSkipVerify: true}
	transport := &http.Transport{TLSClientConfig: d.trust, MaxIdleConnsPerHost: 8}
	d.http = &http.Client{Transport: transport}
	t.Cleanup(transport.CloseIdleConnections)
	return d
}

// operators adds ann and the admin root.
func (d *closed) operators() {
	d.t.Helper()
	for _, o := range []access.Operator{{ID: "ann", Name: "Ann"}, {ID: "root", Role: "admin"}} {
		if _, err := d.access.AddOperator(d.t.Context(), o, password); err != nil {
			d.t.Fatal(err)
		}
	}
}

// tokenOf signs a token for a user. more are further claims.
func tokenOf(subject, more string) string { return tokenFor(subject, time.Hour, more) }

func tokenFor(subject string, life time.Duration, more string) string {
	now := time.Now()
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d%s}`, subject, now.Unix(), now.Add(life).Unix(), more)
	return tokentest.Sign(`{"alg":"HS256"}`, claims, "HS256", []byte(secret))
}

// tokenAt signs a token as if that was done so many seconds after now.
func tokenAt(subject string, seconds int64, more string) string {
	now := time.Now().Unix()
	claims := fmt.Sprintf(`{"sub":%q,"iat":%d,"exp":%d%s}`, subject, now+seconds, now+3600, more)
	return tokentest.Sign(`{"alg":"HS256"}`, claims, "HS256", []byte(secret))
}

const (
	asOperator = `,"parley":{"role":"operator"}`
	asAdmin    = `,"parley":{"role":"admin"}`
)

// shows is what a client shows to prove who it is.
type shows struct {
	auth   string // JSON, in CONNECT
	header http.Header
	query  string // such as "&ticket=…"
}

func withToken(token string) shows { return shows{auth: fmt.Sprintf(`{"token":%q}`, token)} }

func withBearer(token string) shows {
	return shows{header: http.Header{"Authorization": {"Bearer " + token}}}
}

func withCookie(cookie string) shows {
	return shows{header: http.Header{"Cookie": {"__Host-parley=" + cookie + "; parley=" + cookie}}}
}

// draft is a message for a room.
func draft(room, text string) history.Draft {
	return history.Draft{RoomID: room, UserID: "somebody", Message: json.RawMessage(strconv.Quote(text))}
}

// request sends an HTTP request. A body is JSON.
func (d *closed) request(method, path string, header http.Header, body string) (status int, answer []byte, fields http.Header) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	if body != "" && r.Header["Content-Type"] == nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := d.http.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return resp.StatusCode, answer, resp.Header
}

// signIn returns the cookie of a new session.
func (d *closed) signIn(login string) (cookie string) {
	d.t.Helper()
	status, answer, fields := d.request("POST", "/api/session", nil, fmt.Sprintf(`{"login":%q,"password":%q}`, login, password))
	_, rest, ok := strings.Cut(fields.Get("Set-Cookie"), "=")
	if status != 200 || !ok {
		d.t.Fatalf("sign in: %d %s", status, answer)
	}
	cookie, _, _ = strings.Cut(rest, ";")
	return cookie
}

// ticket asks for a ticket.
func (d *closed) ticket(header http.Header, path string) string {
	d.t.Helper()
	status, answer, _ := d.request("POST", "/api/tickets", header, fmt.Sprintf(`{"path":%q}`, path))
	var got struct{ Ticket string }
	if json.Unmarshal(answer, &got); status != 201 || got.Ticket == "" {
		d.t.Fatalf("ticket: %d %s", status, answer)
	}
	return got.Ticket
}

// packets carry Engine.IO packets over one of the transports.
type packets struct {
	read  func() (string, error) // one at a time
	write func(packet string) error
	close func()
}

// httpError is an answer to a handshake that is not the one wanted.
type httpError struct {
	status int
	body   string
}

func (e *httpError) Error() string { return fmt.Sprintf("status %d %s", e.status, e.body) }

// oldClient stands for a client of Socket.IO 2, which polls with Engine.IO 3.
const oldClient = "Socket.IO 2"

// transports open a line each.
var transports = map[string]func(*closed, context.Context, shows) (*packets, error){
	"websocket":    (*closed).webSocket,
	"polling":      (*closed).polling,
	"sse":          (*closed).sse,
	"webtransport": (*closed).webTransport,
}

func (d *closed) webSocket(ctx context.Context, who shows) (*packets, error) {
	conn, resp, err := ws.Dial(ctx, d.url+"/socket.io/?EIO=4&transport=websocket"+who.query, &ws.DialOptions{Header: who.header, TLS: d.trust})
	if err != nil {
		if resp != nil {
			return nil, &httpError{status: resp.StatusCode}
		}
		return nil, err
	}
	return &packets{
		read: func() (string, error) {
			_, packet, err := conn.ReadMessage(ctx)
			return string(packet), err
		},
		write: func(packet string) error { return conn.WriteMessage(ctx, ws.OpText, []byte(packet)) },
		close: func() { conn.CloseNow() },
	}, nil
}

// fetch sends a request of a transport.
func (d *closed) fetch(ctx context.Context, method, query string, who shows, body string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, d.url+"/socket.io/?"+query, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range who.header {
		r.Header[name] = values
	}
	resp, err := d.http.Do(r)
	if err == nil && resp.StatusCode != 200 {
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		return nil, &httpError{resp.StatusCode, string(text)}
	}
	return resp, err
}

func (d *closed) polling(ctx context.Context, who shows) (*packets, error) {
	return d.pollingOf(ctx, 4, who)
}

// pollingOf polls with a revision of Engine.IO. Later requests show the header again, as clients do.
func (d *closed) pollingOf(ctx context.Context, revision int, who shows) (*packets, error) {
	ctx, cancel := context.WithCancel(ctx)
	query := fmt.Sprintf("EIO=%d&transport=polling", revision)
	var waiting []string
	poll := func(query string) error {
		resp, err := d.fetch(ctx, "GET", query, who, "")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		payload, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if revision == 4 {
			waiting = strings.Split(string(payload), "\x1e")
			return nil
		}
		for rest := string(payload); rest != ""; { // "length:packet"; what the tests send is ASCII
			var n int
			length, after, _ := strings.Cut(rest, ":")
			if _, err := fmt.Sscan(length, &n); err != nil || n > len(after) {
				return fmt.Errorf("payload %q", payload)
			}
			waiting, rest = append(waiting, after[:n]), after[n:]
		}
		return nil
	}
	if err := poll(query + who.query); err != nil {
		cancel()
		return nil, err
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(waiting[0][1:]), &open); err != nil {
		cancel()
		return nil, err
	}
	query += "&sid=" + open.SID
	return &packets{
		read: func() (string, error) {
			for len(waiting) == 0 {
				if err := poll(query); err != nil {
					return "", err
				}
			}
			packet := waiting[0]
			waiting = waiting[1:]
			if packet == "1" || packet == "6" && revision == 4 {
				return packet, errors.New("closed")
			}
			return packet, nil
		},
		write: func(packet string) error {
			if revision == 3 {
				packet = fmt.Sprintf("%d:%s", len(packet), packet)
			}
			resp, err := d.fetch(ctx, "POST", query, who, packet)
			if err == nil {
				resp.Body.Close()
			}
			return err
		},
		close: cancel,
	}, nil
}

func (d *closed) sse(ctx context.Context, who shows) (*packets, error) {
	ctx, cancel := context.WithCancel(ctx)
	resp, err := d.fetch(ctx, "GET", "EIO=4&transport=sse"+who.query, who, "")
	if err != nil {
		cancel()
		return nil, err
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	read := func() (string, error) {
		for lines.Scan() {
			if packet, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return packet, nil
			}
		}
		return "", io.EOF
	}
	first, err := read()
	var open struct{ SID string }
	if err == nil {
		err = json.Unmarshal([]byte(first[1:]), &open)
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &packets{
		read: func() (string, error) {
			if packet := first; packet != "" {
				first = ""
				return packet, nil
			}
			return read()
		},
		write: func(packet string) error {
			resp, err := d.fetch(ctx, "POST", "EIO=4&transport=sse&sid="+open.SID, who, packet)
			if err == nil {
				resp.Body.Close()
			}
			return err
		},
		close: func() {
			cancel()
			resp.Body.Close()
		},
	}, nil
}

func (d *closed) webTransport(ctx context.Context, who shows) (*packets, error) {
	dialer := &wt.Transport{
		TLSClientConfig: d.trust,
		QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true},
	}
	url := d.url + "/socket.io/"
	if who.query != "" {
		url += "?" + who.query[1:]
	}
	resp, session, err := dialer.Dial(ctx, url, who.header)
	if err != nil {
		dialer.Close()
		if resp != nil {
			return nil, &httpError{status: resp.StatusCode}
		}
		return nil, err
	}
	stream, err := session.OpenStream()
	if err != nil {
		dialer.Close()
		return nil, err
	}
	framed := eio.NewStreamReader(stream)
	l := &packets{
		read: func() (string, error) {
			_, packet, err := framed.Next(1 << 20)
			return string(packet), err
		},
		write: func(packet string) error {
			_, err := stream.Write(append(eio.AppendStreamHeader(nil, false, len(packet)), packet...))
			return err
		},
		close: func() {
			session.CloseWithError(0, "")
			dialer.Close()
		},
	}
	return l, l.write("0")
}

// caller is a client of the main namespace on a line. It keeps the raw bytes of all that it gets.
type caller struct {
	*packets
	t    *testing.T
	done chan struct{} // closed when the line has ended

	mu       sync.Mutex
	received []string
	news     *sync.Cond
	ended    bool
	failed   error // why it has ended
	acks     int
}

// refusedError is the answer to a CONNECT that was refused.
type refusedError struct{ code string }

func (e *refusedError) Error() string { return "refused: " + e.code }

// connect joins the main namespace.
func (d *closed) connect(transport string, who shows) (*caller, error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	open := transports[transport]
	if transport == oldClient {
		open = func(d *closed, ctx context.Context, who shows) (*packets, error) { return d.pollingOf(ctx, 3, who) }
	}
	l, err := open(d, ctx, who)
	if err != nil {
		cancel()
		return nil, err
	}
	hangUp := l.close
	l.close = func() {
		hangUp()
		cancel()
	}
	answer, err := l.read()
	if err == nil && !strings.HasPrefix(answer, "0{") {
		err = fmt.Errorf("want OPEN, got %q", answer)
	}
	if err == nil && transport != oldClient { // which joins without a question
		err = l.write("40" + who.auth)
	}
	for err == nil {
		if answer, err = l.read(); answer != "2" {
			break
		}
	}
	if rest, refused := strings.CutPrefix(answer, "44"); err == nil && refused {
		var e struct {
			Code string // for old clients
			Data struct{ Code string }
		}
		json.Unmarshal([]byte(rest), &e)
		err = &refusedError{e.Code + e.Data.Code}
	} else if err == nil && !strings.HasPrefix(answer, "40") {
		err = fmt.Errorf("answer to CONNECT: %q", answer)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	c := &caller{packets: l, t: d.t, done: make(chan struct{})}
	c.news = sync.NewCond(&c.mu)
	go c.receive()
	d.t.Cleanup(func() {
		l.close()
		<-c.done
	})
	return c, nil
}

// mustConnect is connect for those who are let in.
func (d *closed) mustConnect(transport string, who shows) *caller {
	d.t.Helper()
	c, err := d.connect(transport, who)
	if err != nil {
		d.t.Fatalf("%s: %v", transport, err)
	}
	return c
}

func (c *caller) receive() {
	defer close(c.done)
	for {
		packet, err := c.read()
		if packet == "2" && err == nil {
			err = c.write("3")
		}
		c.mu.Lock()
		c.received = append(c.received, packet)
		c.ended, c.failed = err != nil || packet == "41", err
		c.news.Broadcast()
		ended := c.ended
		c.mu.Unlock()
		if ended {
			return
		}
	}
}

// await waits for a packet that begins so and returns the rest of it.
func (c *caller) await(prefix string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seen := 0; ; {
		for ; seen < len(c.received); seen++ {
			if rest, ok := strings.CutPrefix(c.received[seen], prefix); ok {
				return rest, true
			}
		}
		if c.ended {
			return "", false
		}
		c.news.Wait()
	}
}

// ask sends an event and returns its acknowledgement's argument, or the code of its refusal.
func (c *caller) ask(event string, arg any) (answer json.RawMessage, code string) {
	c.t.Helper()
	data, err := json.Marshal([]any{event, arg})
	if err != nil {
		c.t.Fatal(err)
	}
	c.acks++
	if err := c.write(fmt.Sprintf("42%d%s", c.acks, data)); err != nil {
		return nil, "gone"
	}
	rest, ok := c.await(fmt.Sprintf("43%d[", c.acks))
	if !ok {
		return nil, "gone"
	}
	answer = bytes.TrimSuffix([]byte(rest), []byte("]"))
	var refused struct{ Error struct{ Code string } }
	json.Unmarshal(answer, &refused)
	return answer, refused.Error.Code
}

// mustAsk is ask for what is allowed.
func (c *caller) mustAsk(event string, arg any) json.RawMessage {
	c.t.Helper()
	answer, code := c.ask(event, arg)
	if code != "" {
		c.t.Fatalf("%s %v: %s", event, arg, answer)
	}
	return answer
}

// feed opens a feed. The error is an *httpError if it is refused.
func (d *closed) feed(path string, header http.Header) (*feedReader, error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	r, err := http.NewRequestWithContext(ctx, "GET", d.url+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	for name, values := range header {
		r.Header[name] = values
	}
	resp, err := d.http.Do(r)
	if err != nil {
		cancel()
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		resp.Body.Close()
		cancel()
	})
	if resp.StatusCode != 200 {
		return nil, &httpError{status: resp.StatusCode}
	}
	return &feedReader{resp, bufio.NewScanner(resp.Body)}, nil
}

// rest reads a feed until it ends.
func (f *feedReader) rest() (last feedEvent) {
	for {
		e, ok := f.next()
		if !ok {
			return last
		}
		last = e
	}
}

// What refuses a token stands in the log, once a minute for each rule, and never the token.
func TestRefusedTokensAreLogged(t *testing.T) {
	c, log := testConfig(), &lines{}
	c.TokenSecrets = []string{secret}
	s, err := app.Open(c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	url := run(t, s).url
	expired := tokentest.Sign(`{"alg":"HS256"}`, `{"sub":"u7","exp":1700000000}`, "HS256", []byte(secret))
	forged := tokentest.Sign(`{"alg":"HS256"}`, `{"sub":"u7","exp":1700000000}`, "HS256", []byte("another "+secret))
	for _, token := range []string{expired, forged, expired, "pk_nothing"} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/api/me", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		if answer, err := http.DefaultClient.Do(r); err != nil || answer.Body.Close() != nil || answer.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%v, %v", answer, err)
		}
		if strings.Contains(log.String(), token) {
			t.Error("the log has a token")
		}
	}
	for _, rule := range []string{"rule=exp", "rule=signature", "key was refused"} {
		if n := strings.Count(log.String(), rule); n != 1 {
			t.Errorf("%d lines with %s: %s", n, rule, log)
		}
	}
}
