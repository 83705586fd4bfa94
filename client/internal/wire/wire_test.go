package wire_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/internal/wiretest"
	"github.com/parley-go/parley/internal/ws"
)

// TestTranscripts plays servers of testdata/*.txt for the client, on a simulated clock. A scenario has a
// title, "== title", and these lines:
//
//	! EIO=3, ! msgpack, ! off, ! again     Options.Protocol, Msgpack, Reconnection.Off, RetryRefused
//	! transports polling websocket         Options.Transports
//	! auth {"token":"t"}, ! namespace /a   Options.Auth, and the namespace of the URL
//	. connect, . close                     what the program does
//	. of /admin                            connects another namespace
//	. emit ["name",1,"0x01"], . ask […]    sends an event, or asks for an answer; "0x…" is binary
//	= line                                 what the program sees next
//	> ws open, > ws upgrade                a WebSocket is opened, for a new session or the session {sid}
//	> ws DATA, > ws binary 0102            the client's next message, as text or in hexadecimal
//	> ws end                               the client has closed its WebSocket
//	< ws DATA, < ws binary 0102, < ws drop the server sends a message, or breaks the connection
//	> get, < get 200 DATA, < get drop      a poll, and the server's answer
//	> post DATA, < post 200 ok             a POST, and the answer
//	@ 25s                                  time passes
//	# …                                    a comment
//
// "␞" is the separator of payloads. The first words of a line that the program sees: connected, event, lost,
// failed, answer, dropped, error.
func TestTranscripts(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for _, part := range strings.Split("\n"+string(text), "\n== ")[1:] {
			title, script, _ := strings.Cut(part, "\n")
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+title, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { replay(t, strings.Split(script, "\n")) })
			})
		}
	}
}

// request is one that waits for its answer.
type request struct {
	body   string
	answer chan func(http.ResponseWriter)
}

// player plays a server, and writes down what the program sees.
type player struct {
	t           *testing.T
	gets, posts chan request
	opened      chan string // the sid of a WebSocket
	socket      *ws.Conn
	received    chan string
	seen        chan string
	answers     chan string // come in no order with the others
	request     request     // a POST that is not answered
	poll        request
}

func (p *player) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch {
	case r.URL.Query().Get("transport") == "websocket":
		a, err := ws.Accept(r, nil)
		if err != nil {
			p.t.Error(err)
			return
		}
		c, err := ws.Upgrade(w, a, nil)
		if err != nil {
			p.t.Error(err)
			return
		}
		p.socket = c
		p.opened <- r.URL.Query().Get("sid")
		for {
			op, b, err := c.ReadMessage(context.Background())
			if err != nil {
				p.received <- "end"
				return
			}
			if op == ws.OpBinary {
				p.received <- "binary " + hex.EncodeToString(b)
			} else {
				p.received <- string(b)
			}
		}
	default:
		q := request{string(body), make(chan func(http.ResponseWriter), 1)}
		to := p.gets
		if r.Method == http.MethodPost {
			to = p.posts
		}
		to <- q
		select {
		case answer := <-q.answer:
			answer(w)
		case <-r.Context().Done():
		}
	}
}

// take returns what comes next from a channel.
func take[T any](p *player, line string, from chan T) (v T) {
	p.t.Helper()
	select {
	case v = <-from:
	case <-time.After(time.Hour):
		p.t.Fatalf("%s: nothing comes", line)
	}
	return v
}

func replay(t *testing.T, script []string) {
	p := &player{t: t, gets: make(chan request, 100), posts: make(chan request, 100), opened: make(chan string, 100), received: make(chan string, 100), seen: make(chan string, 1000), answers: make(chan string, 100)}
	l := wiretest.Listen()
	web := &http.Server{Handler: p}
	go web.Serve(l)
	defer web.Close()
	o := client.Options{NetDial: l.Dial, OnDrop: func(event string, err error) { p.seen <- fmt.Sprint("dropped ", event, ": ", err) }}
	o.Reconnection.Jitter = -1
	namespace := "/"
	for len(script) > 0 && (strings.HasPrefix(script[0], "!") || strings.HasPrefix(script[0], "#")) {
		word, rest, _ := strings.Cut(strings.TrimLeft(script[0], "! "), " ")
		script = script[1:]
		switch word {
		case "EIO=3":
			o.Protocol = 3
		case "msgpack":
			o.Msgpack = true
		case "off":
			o.Reconnection.Off = true
		case "again":
			o.RetryRefused = func(*client.ConnectError) bool { return true }
		case "transports":
			o.Transports = strings.Fields(rest)
		case "auth":
			o.Auth = func(context.Context) (any, error) { return json.RawMessage(rest), nil }
		case "namespace":
			namespace = rest
		}
	}
	c, err := client.New("http://server"+namespace, &o)
	must(t, err)
	p.observe(c)
	ctx, cancel := context.WithCancel(t.Context())
	all := []*client.Client{c}
	defer func() {
		if p.socket != nil {
			p.socket.CloseNow()
		}
		cancel()
		for _, c := range all {
			c.Close()
		}
		synctest.Wait()
	}()
	for _, line := range script {
		if line == "" || line[0] == '#' {
			continue
		}
		sign, rest, _ := strings.Cut(line, " ")
		word, rest, _ := strings.Cut(rest, " ")
		switch sign {
		case ".":
			all = p.act(ctx, all, word, rest)
		case "=":
			from := p.seen
			if strings.HasPrefix(word, "answer") {
				from = p.answers
			}
			if got := take(p, line, from); got != line[2:] {
				t.Fatalf("%s: the program sees %s", line, got)
			}
		case ">":
			p.expect(line, word, rest)
		case "<":
			p.play(word, rest)
		case "@":
			d, err := time.ParseDuration(word)
			must(t, err)
			time.Sleep(d)
		default:
			t.Fatalf("%q is no line", line)
		}
	}
	synctest.Wait()
	if len(p.received) > 0 || len(p.posts) > 0 || len(p.seen) > 0 || len(p.answers) > 0 {
		t.Error("there is more that the script does not have")
	}
}

// observe writes down what happens to a client.
func (p *player) observe(c *client.Client) {
	at := ""
	if c.Namespace() != "/" {
		at = " " + c.Namespace()
	}
	say := func(format string, v ...any) { p.seen <- fmt.Sprintf(format, v...) }
	c.OnConnect(func(n client.Connection) {
		say("connected%s %s%s", at, c.ID(), map[bool]string{true: " recovered"}[n.Recovered])
	})
	c.OnDisconnect(func(why error) { say("lost%s: %v", at, why) })
	c.OnConnectError(func(err error) {
		var refused *client.ConnectError
		if errors.As(err, &refused) {
			say("failed%s: %s %s", at, refused.Message, refused.Data)
			return
		}
		say("failed%s: %v", at, err)
	})
	c.OnError(func(event string, err error) { say("error%s %s: %v", at, event, err) })
	c.OnAny(func(q *client.Packet) error {
		v, err := q.Values()
		if err != nil {
			return err
		}
		b, _ := json.Marshal(append([]any{q.Name()}, v...))
		say("event%s %s", at, b)
		if q.WantsAck() {
			return q.Ack(v...)
		}
		return nil
	})
}

// act does what a program does.
func (p *player) act(ctx context.Context, all []*client.Client, word, rest string) []*client.Client {
	c := all[len(all)-1]
	var args []any
	if word == "emit" || word == "ask" {
		if err := json.Unmarshal([]byte(rest), &args); err != nil {
			p.t.Fatal(rest, err)
		}
		for i, v := range args {
			if text, ok := v.(string); ok && strings.HasPrefix(text, "0x") {
				args[i], _ = hex.DecodeString(text[2:])
			}
		}
	}
	switch word {
	case "connect":
		go c.Connect(ctx)
	case "close":
		c.Close()
	case "of":
		other := all[0].Of(rest, nil)
		p.observe(other)
		go other.Connect(ctx)
		synctest.Wait()
		return append(all, other)
	case "emit":
		if err := c.Emit(args[0].(string), args[1:]...); err != nil {
			p.t.Fatal(rest, err)
		}
	case "ask":
		go func() {
			reply, err := c.EmitWithAck(ctx, args[0].(string), args[1:]...)
			if err != nil {
				p.answers <- fmt.Sprint("answer: ", err)
				return
			}
			v, _ := reply.Values()
			b, _ := json.Marshal(v)
			p.answers <- fmt.Sprint("answer ", string(b))
		}()
	default:
		p.t.Fatalf("%q is no action", word)
	}
	synctest.Wait()
	return all
}

// expect waits for what the client sends.
func (p *player) expect(line, word, rest string) {
	p.t.Helper()
	got, want := "", strings.ReplaceAll(rest, "␞", "\x1e")
	switch {
	case word == "get":
		p.poll = take(p, line, p.gets)
	case word == "post":
		p.request = take(p, line, p.posts)
		got = p.request.body
	case rest == "open":
		got, want = take(p, line, p.opened), ""
	case rest == "upgrade":
		got, want = take(p, line, p.opened), "x"
	default:
		got = take(p, line, p.received)
	}
	if got != want {
		p.t.Fatalf("%s: the client sent %q", line, got)
	}
}

// play does what a server does.
func (p *player) play(word, rest string) {
	p.t.Helper()
	if word == "ws" {
		data, binary := strings.CutPrefix(rest, "binary ")
		switch {
		case rest == "drop":
			p.socket.CloseNow()
		case binary:
			b, err := hex.DecodeString(data)
			must(p.t, err)
			must(p.t, p.socket.WriteMessage(p.t.Context(), ws.OpBinary, b))
		default:
			must(p.t, p.socket.WriteMessage(p.t.Context(), ws.OpText, []byte(rest)))
		}
		synctest.Wait()
		return
	}
	q := p.request
	if word == "get" {
		q = p.poll
	}
	status, body, _ := strings.Cut(rest, " ")
	q.answer <- func(w http.ResponseWriter) {
		switch status {
		case "drop":
			panic(http.ErrAbortHandler)
		case "200":
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
		io.WriteString(w, strings.ReplaceAll(body, "␞", "\x1e"))
	}
	synctest.Wait()
}
