package engine_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// Payloads that a client may POST, and what happens to the session.
func TestPostedPayloads(t *testing.T) {
	const open = engine.Reason("")
	for _, tt := range []struct {
		name, body string
		received   []string
		fate       engine.Reason
	}{
		{"a message", "4abc", []string{"abc"}, open},
		{"an empty message", "4", []string{""}, open},
		{"several", "4a\x1e4b\x1ebAQID", []string{"a", "b", "bin:\x01\x02\x03"}, open},
		{"separators only in data that has them encoded", "4a\x1eb" + "Hg==", []string{"a", "bin:\x1e"}, open},
		{"an empty binary message", "b", []string{"bin:"}, open},
		{"text that looks like binary", "4bAQID", []string{"bAQID"}, open},
		{"UTF-8", "4€😀\u2028", []string{"€😀\u2028"}, open},
		{"a line break", "4a\r\nb", []string{"a\r\nb"}, open},
		{"NUL", "4\x00", []string{"\x00"}, open},
		{"a pong nobody waits for", "3", nil, open},
		{"a pong with data", "3abc", nil, open},
		{"open", "0{}", nil, open},
		{"upgrade", "5", nil, open},
		{"noop", "6", nil, open},
		{"many messages", "4" + strings.Repeat("\x1e4", 9999), make([]string, 10000), open},

		{"nothing", "", nil, engine.ParseError},
		{"garbage", "abc", nil, engine.ParseError},
		{"type 7", "7", nil, engine.ParseError},
		{"type 9", "9", nil, engine.ParseError},
		{"type /", "/", nil, engine.ParseError},
		{"a negative type", "-1", nil, engine.ParseError},
		{"a space in front", " 4a", nil, engine.ParseError},
		{"a byte order mark", "\ufeff4a", nil, engine.ParseError},
		{"full-width digit", "４a", nil, engine.ParseError},
		{"JSON", `["a"]`, nil, engine.ParseError},
		{"a payload of version 3", "2:4a", nil, engine.TransportError}, // it begins with a ping
		{"a trailing separator", "4a\x1e", []string{"a"}, engine.ParseError},
		{"a leading separator", "\x1e4a", nil, engine.ParseError},
		{"an empty packet", "4a\x1e\x1e4b", []string{"a"}, engine.ParseError},
		{"garbage behind a message", "4a\x1ex\x1e4b", []string{"a"}, engine.ParseError},
		{"only separators", strings.Repeat("\x1e", 100_000), nil, engine.ParseError},
		{"base64 without padding", "bAQI", nil, engine.ParseError},
		{"base64 for URLs", "b_-==", nil, engine.ParseError},
		{"no base64", "b!!!!", nil, engine.ParseError},
		{"base64 and more", "bAQID=AQID", nil, engine.ParseError},
		{"invalid UTF-8", "4a\xff", nil, engine.ParseError},
		{"cut UTF-8", "4\xe2\x82", nil, engine.ParseError},
		{"a surrogate", "4\xed\xa0\x80", nil, engine.ParseError},
		{"a ping", "2", nil, engine.TransportError},
		{"a probe", "2probe", nil, engine.TransportError},
		{"a ping behind a message", "4a\x1e2\x1e4b", []string{"a"}, engine.TransportError},
		{"close", "1", nil, engine.TransportClose},
		{"close between messages", "4a\x1e1\x1e4b", []string{"a"}, engine.TransportClose},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			sid, o := s.open()
			poll := s.pollLater(sid)
			a := s.post(sid, tt.body)
			wantAnswer(t, a, 200, "ok")
			if got := a.header.Get("Content-Type"); got != "text/html" {
				t.Errorf("Content-Type %q", got)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control %q", got)
			}
			o.wantReceived(tt.received...)
			farewell := "1"
			switch tt.fate {
			case open:
				o.wantOpen()
				o.session.Close()
			case engine.TransportClose:
				farewell = "6"
				fallthrough
			default:
				o.wantEnded(tt.fate)
			}
			wantAnswer(t, <-poll, 200, farewell)
			s.wantNothingLeft()
		})
	}
}

func TestOctetStreamIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		poll := s.pollLater(sid)
		wantAnswer(t, s.do("POST", ofPolling(sid), "4a", "Content-Type", "application/octet-stream"), 400, "")
		wantAnswer(t, <-poll, 200, "1")
		o.wantEnded(engine.TransportError)
		o.wantReceived()
		s.wantNothingLeft()
	})
}

// slowBody is a request body that the test supplies piece by piece.
func slowBody() (*io.PipeReader, *io.PipeWriter) { return io.Pipe() }

func TestPollAndPostMayOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, o := s.open()
		for i := range 10 {
			poll := s.pollLater(sid)
			m := fmt.Sprint("4", i)
			wantAnswer(t, s.post(sid, m), 200, "ok")
			wantAnswer(t, <-poll, 200, m)
		}
		o.session.Close()
		s.poll(sid)
	})
}

func TestOversizedPost(t *testing.T) {
	for _, tt := range []struct {
		name string
		body func() io.Reader
	}{
		{"with Content-Length", func() io.Reader { return strings.NewReader(long(1001)) }},
		{"chunked", func() io.Reader { return io.MultiReader(strings.NewReader("4"), strings.NewReader(long(1000))) }},
		{"a megabyte with Content-Length", func() io.Reader { return strings.NewReader(long(1 << 20)) }},
		{"a megabyte, chunked", func() io.Reader { return io.MultiReader(strings.NewReader(long(1 << 20))) }},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{MaxPayload: 1000})
			sid, o := s.open()
			a, err := s.try("POST", ofPolling(sid), tt.body())
			if err != nil {
				t.Fatal(err)
			}
			wantAnswer(t, a, 413, "")
			o.wantOpen()
			body := "4" + long(999) // exactly the limit
			wantAnswer(t, s.post(sid, body), 200, "ok")
			o.wantReceived(body[1:])
			o.session.Close()
			wantAnswer(t, s.poll(sid), 200, "1")
		})
	}
}

func TestBodyThatStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{BodyTimeout: 30 * time.Second, PingInterval: time.Hour})
		sid, o := s.open()
		r, w := slowBody()
		defer w.Close()
		start := time.Now()
		go s.try("POST", ofPolling(sid), r)
		w.Write([]byte("4a"))
		<-o.ended
		wantSince(t, start, 30*time.Second)
		o.wantEnded(engine.TransportError)
		o.wantReceived()
		s.wantSessions(0)
	})
}

// The server does not read the body of a refused request, but net/http waits for the body before it
// answers.
func TestRefusedBodyThatStalls(t *testing.T) {
	for name, request := range map[string]string{
		"of an unknown session": "POST /engine.io/?" + ofPolling("unknown"),
		"of a handshake":        "POST /engine.io/?" + newPolling,
		"of a GET":              "GET /engine.io/?" + newPolling,
		"of a WebSocket":        "GET /engine.io/?" + newWebSocket,
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{BodyTimeout: 30 * time.Second, PingInterval: time.Hour})
			nc, err := s.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			start := time.Now()
			fmt.Fprintf(nc, "%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 10\r\n\r\n123", request)
			if b, err := io.ReadAll(nc); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 ") {
				t.Errorf("answer %q, %v", b, err)
			}
			wantSince(t, start, 30*time.Second)
		})
	}
}

// Answers are too short to fill a buffer, so they are written after the handler has returned.
func TestAnswerThatIsNotTaken(t *testing.T) {
	for name, request := range map[string]string{
		"refused":             "GET /engine.io/?" + ofPolling("unknown"),
		"a preflight":         "OPTIONS /engine.io/?" + newPolling,
		"a method of no use":  "PUT /engine.io/?",
		"a post":              "POST /engine.io/?",
		"a poll":              "GET /engine.io/?",
		"a WebSocket refused": "GET /engine.io/?" + ofWebSocket("unknown"),
		"a bad WebSocket":     "GET /engine.io/?" + newWebSocket,
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{WriteTimeout: 10 * time.Second})
			var o *owner
			if strings.HasSuffix(request, "?") {
				sid, owner := s.open()
				request, o = request+ofPolling(sid), owner
				o.session.Send(message("a"))
			}
			upgrade := ""
			if strings.Contains(name, "WebSocket") {
				upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
			}
			nc, err := s.dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			fmt.Fprintf(nc, "%s HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n%s\r\n", request, upgrade)
			time.Sleep(11 * time.Second)
			if b, _ := io.ReadAll(nc); len(b) > 0 {
				t.Errorf("answered after all: %q", b)
			}
			if o != nil {
				o.session.Close()
				s.poll(o.session.ID())
			}
		})
	}
}

// The deadline for a body must not affect later requests on the connection.
func TestDeadlinesEndWithTheirRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{BodyTimeout: time.Second, WriteTimeout: time.Second})
		s.client.Transport.(*http.Transport).MaxConnsPerHost = 1
		sid, o := s.open()
		for range 3 {
			wantAnswer(t, s.post(sid, "4a"), 200, "ok")
			time.Sleep(5 * time.Second)
			wantAnswer(t, s.post(sid, "4a"), 200, "ok")
			wantAnswer(t, s.poll(sid), 200, "2")
			time.Sleep(5 * time.Second)
			wantAnswer(t, s.post(sid, "3"), 200, "ok")
		}
		o.session.Close()
		s.poll(sid)
	})
}

func TestPollIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		nc, _ := s.dial(t.Context(), "", "")
		fmt.Fprintf(nc, "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\n\r\n", ofPolling(sid))
		synctest.Wait()
		o.wantOpen()
		nc.Close()
		o.wantEnded(engine.TransportError)
		s.wantSessions(0)
	})
}

func TestServerClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		poll := s.pollLater(sid)
		o.session.Close()
		o.wantEnded(engine.ForcedClose)
		wantAnswer(t, <-poll, 200, "1")
		s.wantSessions(0)
		wantRefusal(t, s.poll(sid), 400, unknownSession)
	})
}

// The client can still fetch what was queued before Close, and then the farewell.
func TestClosedSessionLingersForItsPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		o.send("a", "bin:b")
		o.session.Close()
		o.wantEnded(engine.ForcedClose)
		if o.send("too late") {
			t.Error("sent after Close")
		}
		s.wantSessions(1)
		time.Sleep(29 * time.Second)
		wantRefusal(t, s.post(sid, "4a"), 400, unknownSession)
		wantAnswer(t, s.poll(sid), 200, "4a\x1ebYg==")
		s.wantSessions(1)
		wantAnswer(t, s.poll(sid), 200, "1")
		s.wantSessions(0)
	})
}

func TestCloseBehindAMessageForTheParkedPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		poll := s.pollLater(sid)
		o.send("a")
		o.session.Close()
		wantAnswer(t, <-poll, 200, "4a")
		s.wantSessions(1)
		wantAnswer(t, s.poll(sid), 200, "1")
		s.wantSessions(0)
	})
}

func TestLingeringEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		o.send("a")
		o.session.Close()
		start := time.Now()
		for s.Sessions() > 0 {
			time.Sleep(slack / 2)
		}
		wantSince(t, start, 30*time.Second)
		wantRefusal(t, s.poll(sid), 400, unknownSession)
	})
}

// A poll that the client sent together with its close packet gets an answer.
func TestPollBehindTheClientsClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		o.send("never seen")
		wantAnswer(t, s.post(sid, "1"), 200, "ok")
		o.wantEnded(engine.TransportClose)
		wantAnswer(t, s.poll(sid), 200, "6")
		s.wantSessions(0)
	})
}

func TestPauseHoldsThePostBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{PingInterval: 10 * time.Minute})
		sid, o := s.open()
		o.session.Pause()
		answers := make(chan answer)
		start := time.Now()
		go func() { answers <- s.post(sid, "4a") }()
		time.Sleep(5 * time.Minute)
		o.wantReceived()
		o.session.Resume()
		wantAnswer(t, <-answers, 200, "ok")
		wantSince(t, start, 5*time.Minute)
		wantAnswer(t, s.post(sid, "4b"), 200, "ok")
		o.wantReceived("a", "b")

		o.session.Pause()
		go func() { answers <- s.post(sid, "4c") }()
		time.Sleep(time.Second)
		o.session.Close() // also ends the lingering
		wantAnswer(t, <-answers, 200, "ok")
		s.poll(sid)
	})
}

func TestPipelinedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, o := s.open()
		nc, _ := s.dial(t.Context(), "", "")
		defer nc.Close()
		go fmt.Fprintf(nc, "POST /engine.io/?%[1]s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n4aGET /engine.io/?%[1]s HTTP/1.1\r\nHost: x\r\n\r\n", ofPolling(sid))
		r := bufio.NewReader(nc)
		for _, want := range []string{"ok", "4a"} {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(resp.Body); string(body) != want {
				t.Errorf("body %q, want %q", body, want)
			}
		}
		o.session.Close()
		s.poll(sid)
	})
}
