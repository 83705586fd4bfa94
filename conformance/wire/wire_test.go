// Package wire_test replays transcripts of the protocol, testdata/*.txt, against the
// application of package app. It simulates the clock, so a transcript can wait for a heartbeat.
//
// A scenario has a title, "== title", and these lines:
//
//	! recovery                            use connection state recovery
//	! EIO=3&b64=1                         use these parameters instead of EIO=4, and a server
//	                                      that allows Engine.IO 3 and JSONP
//	> get                                 send a poll; its answer may come later
//	> post DATA                           post the client's packets
//	> post binary 0102                    post bytes, given in hexadecimal
//	> post form DATA                      post a form, escaped as clients do
//	> GET /path?query BODY                send any other request
//	< get 200 DATA                        expect the answer to the oldest poll
//	< get 200 binary 0102                 expect such an answer in bytes
//	< post 200 ok                         expect the answer to the last post or other request
//	< header Name: value                  expect a header in the last answer; without a value: expect none
//	> ws open, > ws upgrade               open a WebSocket, for a new session or for the session {sid}
//	> ws DATA, > ws binary 0102           send a message, as text or in hexadecimal
//	> ws close 1000, > ws drop            end the WebSocket with or without the closing handshake
//	< ws DATA, < ws binary 0102           expect a message
//	< ws close 1005, < ws drop            expect its end
//	@ 25s                                 the next line comes so long after the one before
//	# …                                   a comment
//
// "␞" is the separator of payloads, U+001E, and "x×9" means nine times an x. {name} stands for a value
// that the server chose. It takes the value where it first appears, and means that value later. "> new"
// forgets {sid}, so that a second WebSocket or polling session can begin.
//
// With WIRE_URL, the test replays the transcripts against another server, in real time. It uses
// WIRE_RECOVERY_URL for scenarios with recovery, and WIRE_LEGACY_URL for those with other parameters.
package wire_test

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/conformance/app"
	"github.com/parley-go/parley/internal/wiretest"
	"github.com/parley-go/parley/internal/ws"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
			title, script, _ := strings.Cut(part, "\n")
			first := 1 + strings.Count(string(text[:strings.Index(string(text), "== "+title+"\n")]), "\n")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+title, func(t *testing.T) {
				replay(t, strings.Split(script, "\n"), file, first)
			})
		}
	}
}

// replay starts a server and plays one scenario against it.
func replay(t *testing.T, lines []string, file string, first int) {
	option, _ := strings.CutPrefix(lines[0], "! ")
	recovery, legacy := option == "recovery", strings.HasPrefix(option, "EIO=")
	play := func(t *testing.T, p *player) {
		defer p.close()
		if legacy {
			p.eio = option
		}
		for i, line := range lines {
			p.where = func() { t.Helper(); t.Logf("%s:%d: %s", file, first+1+i, line) }
			p.line(line)
		}
	}
	name := "WIRE_URL"
	switch {
	case recovery:
		name = "WIRE_RECOVERY_URL"
	case legacy:
		name = "WIRE_LEGACY_URL"
	}
	if url := os.Getenv(name); url != "" {
		p := newPlayer(t, url, (&net.Dialer{}).DialContext)
		p.settle = func() { time.Sleep(50 * time.Millisecond) } // a real server does not tell when it is idle
		play(t, p)
		return
	}
	synctest.Test(t, func(t *testing.T) {
		o := &parley.Options{Logger: slog.New(slog.DiscardHandler), AllowEIO3: legacy, JSONP: legacy}
		if recovery {
			o.Recovery = &parley.Recovery{}
		}
		srv, err := app.New(o)
		if err != nil {
			t.Fatal(err)
		}
		l := wiretest.Listen()
		served := make(chan error)
		go func() { served <- srv.Serve(l) }()
		defer func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := <-served; err != parley.ErrServerClosed {
				t.Errorf("Serve: %v", err)
			}
		}()
		p := newPlayer(t, "http://localhost", l.Dial)
		p.settle = synctest.Wait
		play(t, p)
	})
}

// player plays the client in one scenario.
type player struct {
	t      *testing.T
	where  func() // logs the current line
	url    string
	eio    string // the parameters at the beginning of each query
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	client *http.Client
	ctx    context.Context
	cancel context.CancelFunc
	settle func() // waits until the server is idle

	names map[string]string
	gets  []chan answer
	last  answer // to the last request
	post  *answer

	ws     *ws.Conn
	wsConn net.Conn
	frames chan string

	mark  time.Time     // the end of the last line
	after time.Duration // when the next line comes, after mark; negative: at any time
}

// answer is the answer to an HTTP request.
type answer struct {
	status int
	header http.Header
	body   string
	err    error
}

func newPlayer(t *testing.T, url string, dial func(ctx context.Context, network, address string) (net.Conn, error)) *player {
	p := &player{t: t, url: url, eio: "EIO=4", dial: dial, names: map[string]string{}, after: -1}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.client = &http.Client{Transport: &http.Transport{DialContext: dial, DisableCompression: true}}
	return p
}

// close ends the scenario. It reports frames and answers that the scenario did not expect.
func (p *player) close() {
	if !p.t.Failed() {
		p.settle()
		select {
		case f := <-p.frames:
			p.t.Errorf("at the end there is a frame: %s", f)
		default:
		}
		for _, get := range p.gets {
			select {
			case a := <-get:
				p.t.Errorf("at the end there is an answer to a poll: %d %s", a.status, a.body)
			default:
			}
		}
	}
	p.cancel()
	if p.ws != nil {
		p.ws.CloseNow()
	}
	p.client.CloseIdleConnections()
}

func (p *player) fatalf(format string, args ...any) {
	p.t.Helper()
	p.where()
	p.t.Fatalf(format, args...)
}

func (p *player) line(line string) {
	kind, rest, _ := strings.Cut(line, " ")
	switch kind {
	case "", "#", "!":
		return
	case "@":
		d, err := time.ParseDuration(rest)
		if err != nil {
			p.fatalf("%v", err)
		}
		p.after = d
		return
	case ">":
		if p.after >= 0 {
			time.Sleep(p.after)
		}
		p.settle()
		p.send(p.expand(rest))
	case "<":
		p.receive(rest)
		const precision = 200 * time.Millisecond // of the server's timers
		if d := time.Since(p.mark); p.after >= 0 && (d < p.after-precision || d > p.after+precision) {
			p.fatalf("came after %v", d)
		}
	default:
		p.fatalf("unknown kind of line")
	}
	p.mark, p.after = time.Now(), -1
}

// send executes a line of the client.
func (p *player) send(line string) {
	what, rest, _ := strings.Cut(line, " ")
	query := "/socket.io/?" + p.eio + "&transport=polling"
	if sid := p.names["sid"]; sid != "" {
		query += "&sid=" + sid
	}
	switch what {
	case "get":
		get := make(chan answer, 1)
		p.gets = append(p.gets, get)
		go func() { get <- p.request(http.MethodGet, query, "", "") }()
	case "post":
		contentType, body := p.body(rest)
		a := p.request(http.MethodPost, query, contentType, body)
		p.post = &a
	case "ws":
		p.sendWS(rest)
	case "new":
		delete(p.names, "sid")
	default:
		target, body, _ := strings.Cut(rest, " ")
		a := p.request(what, target, "text/plain;charset=UTF-8", body)
		p.post = &a
	}
}

// body returns the content type and the body of a post.
func (p *player) body(line string) (contentType, body string) {
	if digits, ok := strings.CutPrefix(line, "binary "); ok {
		b, err := hex.DecodeString(digits)
		if err != nil {
			p.fatalf("%v", err)
		}
		return "application/octet-stream", string(b)
	}
	if payload, ok := strings.CutPrefix(line, "form "); ok {
		payload = strings.ReplaceAll(payload, `\n`, "\\\n")
		payload = strings.ReplaceAll(payload, "\n", `\n`)
		return "application/x-www-form-urlencoded", url.Values{"d": {payload}}.Encode()
	}
	return "text/plain;charset=UTF-8", line
}

func (p *player) request(method, target, contentType, body string) answer {
	r, err := http.NewRequestWithContext(p.ctx, method, p.url+target, strings.NewReader(body))
	if err != nil {
		return answer{err: err}
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", contentType)
	}
	response, err := p.client.Do(r)
	if err != nil {
		return answer{err: err}
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	text := string(b)
	if response.Header.Get("Content-Type") == "application/octet-stream" {
		text = "binary " + hex.EncodeToString(b)
	}
	return answer{response.StatusCode, response.Header, text, err}
}

func (p *player) sendWS(line string) {
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "open", "upgrade":
		target := "/socket.io/?" + p.eio + "&transport=websocket"
		if rest != "" {
			target = rest
		}
		if what == "upgrade" {
			target += "&sid=" + p.names["sid"]
		}
		p.openWS(target)
		return
	case "close":
		p.ws.Close(ws.CloseNormal, "")
	case "drop":
		p.wsConn.Close()
	case "binary":
		b, err := hex.DecodeString(rest)
		if err != nil {
			p.fatalf("%v", err)
		}
		p.ws.WriteMessage(p.ctx, ws.OpBinary, b) // ignore the error: if the server has closed, a later line says so
	default:
		p.ws.WriteMessage(p.ctx, ws.OpText, []byte(line)) // likewise
	}
}

// openWS opens a WebSocket. Its frames come on p.frames, in the form of the transcript.
func (p *player) openWS(target string) {
	p.frames = make(chan string, 1000)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := p.dial(ctx, network, address)
		p.wsConn = nc
		return nc, err
	}
	conn, response, err := ws.Dial(p.ctx, p.url+target, &ws.DialOptions{NetDial: dial})
	if err != nil {
		if response == nil {
			p.fatalf("%v", err)
		}
		b, _ := io.ReadAll(response.Body)
		p.last = answer{status: response.StatusCode, header: response.Header}
		p.frames <- response.Status[:3] + " " + string(b)
		return
	}
	p.ws = conn
	go func(frames chan<- string) {
		for {
			op, b, err := conn.ReadMessage(p.ctx)
			var closed *ws.CloseError
			switch {
			case errors.As(err, &closed):
				frames <- "close " + strconv.Itoa(closed.Code)
				return
			case err != nil:
				frames <- "drop"
				return
			case op == ws.OpBinary:
				frames <- "binary " + hex.EncodeToString(b)
			default:
				frames <- string(b)
			}
		}
	}(p.frames)
}

// receive executes a line of the server: it waits for the answer or frame and checks it.
func (p *player) receive(line string) {
	what, rest, _ := strings.Cut(line, " ")
	timeout := time.After(2 * time.Minute)
	switch what {
	case "ws":
		select {
		case f := <-p.frames:
			p.match(rest, f)
		case <-timeout:
			p.fatalf("nothing came")
		}
	case "get":
		if len(p.gets) == 0 {
			p.fatalf("no poll is under way")
		}
		get := p.gets[0]
		p.gets = p.gets[1:]
		select {
		case p.last = <-get:
			p.answered(rest)
		case <-timeout:
			p.fatalf("nothing came")
		}
	case "header":
		name, want, _ := strings.Cut(rest, ": ")
		p.match(want, p.last.header.Get(strings.TrimSuffix(name, ":")))
	default: // "post", or another method
		if p.post == nil {
			p.fatalf("no request was sent")
		}
		p.last, p.post = *p.post, nil
		p.answered(rest)
	}
}

func (p *player) answered(want string) {
	if p.last.err != nil {
		p.fatalf("%v", p.last.err)
	}
	p.match(want, strings.TrimSuffix(strconv.Itoa(p.last.status)+" "+p.last.body, " "))
}

var placeholder = regexp.MustCompile(`\\\{([a-z]+)\\\}`)

// match compares an answer or frame with the expected one, and gives names their values.
func (p *player) match(want, got string) {
	pattern := placeholder.ReplaceAllStringFunc(regexp.QuoteMeta(want), func(quoted string) string {
		name := placeholder.FindStringSubmatch(quoted)[1]
		if value, known := p.names[name]; known {
			return regexp.QuoteMeta(value)
		}
		value := `[\w-]{20}` // an id
		switch {
		case strings.HasPrefix(name, "offset"):
			value = `[\w.-]+`
		case strings.HasPrefix(name, "ack"):
			value = `\d+`
		}
		return "(?P<" + name + ">" + value + ")"
	})
	re := regexp.MustCompile("^(?s:" + pattern + ")$")
	got = strings.ReplaceAll(got, "\x1e", "␞")
	found := re.FindStringSubmatch(got)
	if found == nil {
		p.fatalf("came: %s", got)
	}
	for i, name := range re.SubexpNames() {
		if name == "" {
			continue
		}
		for other, value := range p.names {
			if value == found[i] {
				p.fatalf("{%s} is the same as {%s}", name, other)
			}
		}
		p.names[name] = found[i]
	}
}

var repetition = regexp.MustCompile(`x×\d+`)

// expand replaces names and repetitions in a line of the client.
func (p *player) expand(line string) string {
	for name, value := range p.names {
		line = strings.ReplaceAll(line, "{"+name+"}", value)
	}
	line = strings.ReplaceAll(line, "␞", "\x1e")
	return repetition.ReplaceAllStringFunc(line, func(s string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(s, "x×")) // it has only digits
		return strings.Repeat("x", n)
	})
}
