package engine_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/wiretest"
)

const newSSE = "EIO=4&transport=sse"

func ofSSE(sid string) string { return newSSE + "&sid=" + sid }

// events reads a stream as the HTML standard, 9.2.6, specifies.
type events struct {
	r    *bufio.Reader
	last string // id
	cr   bool   // an LF after this CR belongs to the same line break
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReader(r)} }

// line returns a line that ends with LF, CR or CR LF.
func (e *events) line() (string, error) {
	var b []byte
	for {
		c, err := e.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '\n' && e.cr:
			e.cr = false
			continue
		}
		e.cr = c == '\r'
		if e.cr || c == '\n' {
			return strings.ToValidUTF8(string(b), "\ufffd"), nil
		}
		b = append(b, c)
	}
}

// next returns an event's name and data. It ignores an incomplete event.
func (e *events) next() (name, data string, err error) {
	id, some := e.last, false
	for {
		line, err := e.line()
		if err != nil {
			return "", "", err
		}
		if line == "" {
			if e.last = id; some {
				return name, strings.TrimSuffix(data, "\n"), nil
			}
			name = ""
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			if !strings.Contains(value, "\x00") {
				id = value
			}
		case "event":
			name = value
		case "data":
			data, some = data+value+"\n", true
		}
	}
}

// packet returns the next packet.
func (e *events) packet() (string, error) {
	name, data, err := e.next()
	if err != nil || name == "" {
		return data, err
	}
	var packet string
	if err := json.Unmarshal([]byte(data), &packet); err != nil || name != "json" {
		return "", fmt.Errorf("event %q %.100q: %w", name, data, err)
	}
	return packet, nil
}

// streaming is a client's side of a stream.
type streaming struct {
	*events
	t    testing.TB
	resp *http.Response
}

// stream requests a stream, which is closed at the end of the test.
func (s *server) stream(query string, header ...string) *streaming {
	s.t.Helper()
	f, err := s.tryStream(query, header...)
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

var errRefused = errors.New("stream refused")

func (s *server) tryStream(query string, header ...string) (*streaming, error) {
	r := &http.Request{
		Method: "GET",
		URL:    &url.URL{Scheme: s.scheme, Host: s.host, Path: "/engine.io/", RawQuery: query},
		Header: http.Header{},
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		b, _ := io.ReadAll(resp.Body)
		return nil, fmt.Errorf("%w: %d %s", errRefused, resp.StatusCode, b)
	}
	return &streaming{newEvents(resp.Body), s.t, resp}, nil
}

// openSSE begins a session over sse.
func (s *server) openSSE(header ...string) (f *streaming, sid string, o *owner) {
	s.t.Helper()
	f = s.stream(newSSE, header...)
	packet, err := f.packet()
	if err != nil || f.last != "0" {
		s.t.Fatalf("first event %q %q: %v", f.last, packet, err)
	}
	return f, parseOpen(s.t, packet).SID, s.owner()
}

// resume continues a session after the event last.
func (s *server) resume(sid, last string) *streaming {
	s.t.Helper()
	f := s.stream(ofSSE(sid) + "&lastEventId=" + last)
	f.last = last
	return f
}

func (s *server) postSSE(sid, body string) answer {
	s.t.Helper()
	return s.do("POST", ofSSE(sid), body)
}

func (f *streaming) want(packets ...string) {
	f.t.Helper()
	for _, want := range packets {
		if got, err := f.packet(); err != nil || got != want {
			f.t.Fatalf("packet %.200q, %v, want %.200q", got, err, want)
		}
	}
}

// wantEnd waits for the stream's regular end.
func (f *streaming) wantEnd() {
	f.t.Helper()
	if packet, err := f.packet(); err != io.EOF {
		f.t.Errorf("packet %.200q, %v, want the end of the stream", packet, err)
	}
}

// wantCut waits for the end of the connection.
func (f *streaming) wantCut() {
	f.t.Helper()
	if packet, err := f.packet(); err == nil || err == io.EOF {
		f.t.Errorf("packet %.200q, %v, want the connection cut", packet, err)
	}
}

// wantOver waits for either. Over HTTP/2 a stream is cut if it is taken over during or just after a
// write.
func (f *streaming) wantOver() {
	f.t.Helper()
	if packet, err := f.packet(); err == nil {
		f.t.Errorf("packet %.200q, want no more", packet)
	}
}

func (f *streaming) close() { f.resp.Body.Close() }

func TestSSE(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f := s.stream(newSSE)
		for name, want := range map[string]string{
			"Content-Type":           "text/event-stream",
			"Cache-Control":          "no-cache, no-store, no-transform",
			"X-Accel-Buffering":      "no",
			"X-Content-Type-Options": "nosniff",
			"Content-Encoding":       "",
			"Content-Length":         "",
		} {
			if got := f.resp.Header.Get(name); got != want {
				t.Errorf("%s %q, want %q", name, got, want)
			}
		}
		o := s.owner()
		sid := o.session.ID()
		f.want(`0{"sid":"` + sid + `","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
		if got := o.session.Transport(); got != "sse" {
			t.Errorf("transport %q", got)
		}
		o.send("a", "bin:b", "", "bin:", "line\r\nbreaks\n\r")
		f.want("4a", "bYg==", "4", "b", "4line\r\nbreaks\n\r")
		if f.last != "5" {
			t.Errorf("last event %q, want 5", f.last)
		}
		wantAnswer(t, s.postSSE(sid, "4c\x1ebZA==\x1e4"), 200, "ok")
		o.wantReceived("c", "bin:d", "")
		o.send("last")
		o.session.Close()
		f.want("4last", "1")
		f.wantEnd()
		o.wantEnded(engine.ForcedClose)
		s.wantSessions(0)
		if n := s.Stats().Opened[slices.Index(engine.Transports[:], "sse")].Load(); n != 1 {
			t.Errorf("%d opened, want 1", n)
		}
	})
}

func TestSSEResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		o.send("a", "b")
		f.want("4a", "4b")
		f.close()
		synctest.Wait()
		o.send("c")
		o.wantOpen()
		f = s.resume(sid, "1")
		f.want("4b", "4c")
		o.send("d")
		f.want("4d")
		// The header is newer than the query.
		g := s.stream(ofSSE(sid)+"&lastEventId=1", "Last-Event-ID", "3")
		f.wantEnd()
		g.want("4d")
		o.send("e")
		g.want("4e")
		o.session.Close()
		g.want("1")
		g.wantEnd()
		s.wantSessions(0)
	})
}

func TestSSEUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		f, sid, o := s.openSSE()
		wantOpenOf(s, "sse")
		p := s.upgrade(ofWebSocket(sid))
		o.send("before")
		p.text("2probe")
		p.wantText("3probe")
		o.send("held back")
		f.want("4before", "6")
		synctest.Wait()
		wantAnswer(t, s.postSSE(sid, "4posted"), 200, "ok")
		f.close()
		p.text("5", "4after")
		p.wantText("4held back")
		p.wantText("4posted")
		p.wantText("4after")
		if got := o.session.Transport(); got != "websocket" {
			t.Errorf("transport %q after the upgrade packet", got)
		}
		wantOpenOf(s, "websocket")
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=2", ""), 400, badRequest)
		wantRefusal(t, s.postSSE(sid, "4a"), 400, badRequest)
		p.Close()
		o.wantEnded(engine.TransportClose)
		s.wantSessions(0)
	})
}

func TestSSEHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		for range 3 {
			start := time.Now()
			f.want("2")
			wantSince(t, start, interval)
			wantAnswer(t, s.postSSE(sid, "3"), 200, "ok")
		}
		f.want("2")
		start := time.Now()
		f.want("1")
		wantSince(t, start, timeout)
		f.wantEnd()
		o.wantEnded(engine.PingTimeout)
		s.wantSessions(0)
	})
}

func TestSSEPingTimeoutWithoutAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		f.close()
		time.Sleep(interval + timeout - time.Second)
		f = s.resume(sid, "0") // in time to send the pong
		f.want("2")
		wantAnswer(t, s.postSSE(sid, "3"), 200, "ok")
		start := time.Now()
		f.close()
		<-o.ended
		wantSince(t, start, interval+timeout)
		o.wantEnded(engine.PingTimeout)
		s.wantSessions(0)
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=1", ""), 400, unknownSession)
	})
}

// A stream that comes between the timeout and the wheel's next tick does not save the session.
func TestSSEStreamAtTheTimeoutIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		time.Sleep(50 * time.Millisecond) // between two ticks
		f, sid, o := s.openSSE()
		f.close()
		time.Sleep(interval + timeout + time.Millisecond)
		o.wantOpen()
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=0", ""), 400, unknownSession)
		o.wantEnded(engine.PingTimeout)
	})
}

// Which requests are refused, and what happens to the session. Its stream is open and has the
// events 0 to 2.
func TestSSERequests(t *testing.T) {
	const open = engine.Reason("")
	for _, tt := range []struct {
		name, method, query string // SID stands for the session's id
		body                string
		header              []string
		status              int
		answer              string
		fate                engine.Reason
	}{
		{"another handshake", "POST", newSSE, "", nil, 400, badMethod, open},
		{"HEAD without a session", "HEAD", newSSE, "", nil, 400, "", open},
		{"PUT without a session", "PUT", newSSE, "", nil, 400, badMethod, open},
		{"revision 3", "GET", "EIO=3&transport=sse", "", nil, 400, badVersion, open},
		{"revision 5", "GET", "EIO=5&transport=sse", "", nil, 400, badVersion, open},
		{"no revision", "GET", "transport=sse", "", nil, 400, badVersion, open},
		{"an id without a session", "GET", newSSE + "&lastEventId=2", "", nil, 204, "", open},
		{"the same in the header", "GET", newSSE, "", []string{"Last-Event-ID", "0"}, 204, "", open},
		{"an odd id without a session", "GET", newSSE, "", []string{"Last-Event-ID", "<x>"}, 204, "", open},
		{"a handshake of another origin", "GET", newSSE, "", []string{"Origin", "https://evil.test"}, 403, originRefused, open},

		{"unknown session", "GET", ofSSE("abc"), "", nil, 400, unknownSession, open},
		{"unknown session, POST", "POST", ofSSE("abc"), "4a", nil, 400, unknownSession, open},
		{"unknown session with an id", "GET", ofSSE("abc") + "&lastEventId=1", "", nil, 400, unknownSession, open},
		{"revision 3 of the session", "GET", "EIO=3&transport=sse&sid=SID", "", nil, 400, badRequest, open},
		{"no revision of the session", "POST", "transport=sse&sid=SID", "4a", nil, 400, badRequest, open},
		{"a poll", "GET", ofPolling("SID"), "", nil, 400, badRequest, open},
		{"a POST of polling", "POST", ofPolling("SID"), "4a", nil, 400, badRequest, open},
		{"HEAD", "HEAD", ofSSE("SID"), "", nil, 405, "", open},
		{"PUT", "PUT", ofSSE("SID"), "", nil, 405, badRequest, open},
		{"DELETE", "DELETE", ofSSE("SID"), "", nil, 405, badRequest, open},
		{"OPTIONS", "OPTIONS", ofSSE("SID"), "", nil, 204, "", open},
		{"another origin", "GET", ofSSE("SID") + "&lastEventId=2", "", []string{"Origin", "https://evil.test"}, 403, originRefused, open},
		{"a POST of another origin", "POST", ofSSE("SID"), "4a", []string{"Origin", "https://evil.test"}, 403, originRefused, open},
		{"a large body", "POST", ofSSE("SID"), long(1001), nil, 413, "", open},

		{"an id that was not sent", "GET", ofSSE("SID") + "&lastEventId=3", "", nil, 400, badRequest, engine.TransportError},
		{"a negative id", "GET", ofSSE("SID") + "&lastEventId=-1", "", nil, 400, badRequest, engine.TransportError},
		{"a sign", "GET", ofSSE("SID") + "&lastEventId=%2B1", "", nil, 400, badRequest, engine.TransportError},
		{"2^64 - 1", "GET", ofSSE("SID") + "&lastEventId=18446744073709551615", "", nil, 400, badRequest, engine.TransportError},
		{"2^64", "GET", ofSSE("SID") + "&lastEventId=18446744073709551616", "", nil, 400, badRequest, engine.TransportError},
		{"a long id", "GET", ofSSE("SID") + "&lastEventId=" + strings.Repeat("1", 100_000), "", nil, 400, badRequest, engine.TransportError},
		{"a fraction", "GET", ofSSE("SID") + "&lastEventId=1.0", "", nil, 400, badRequest, engine.TransportError},
		{"hexadecimal", "GET", ofSSE("SID") + "&lastEventId=0x1", "", nil, 400, badRequest, engine.TransportError},
		{"an underscore", "GET", ofSSE("SID") + "&lastEventId=0_1", "", nil, 400, badRequest, engine.TransportError},
		{"a word", "GET", ofSSE("SID") + "&lastEventId=earliest", "", nil, 400, badRequest, engine.TransportError},
		{"NUL", "GET", ofSSE("SID") + "&lastEventId=1%00", "", nil, 400, badRequest, engine.TransportError},
		{"a broken escape", "GET", ofSSE("SID") + "&lastEventId=%1", "", nil, 400, badRequest, engine.TransportError},
		{"an id of the header that was not sent", "GET", ofSSE("SID") + "&lastEventId=1", "", []string{"Last-Event-ID", "9"}, 400, badRequest, engine.TransportError},

		{"bytes", "POST", ofSSE("SID"), "4a", []string{"Content-Type", "application/octet-stream"}, 400, "", engine.TransportError},
		{"an empty body", "POST", ofSSE("SID"), "", nil, 200, "ok", engine.ParseError},
		{"garbage", "POST", ofSSE("SID"), "abc", nil, 200, "ok", engine.ParseError},
		{"a payload of revision 3", "POST", ofSSE("SID"), "2:4a", nil, 200, "ok", engine.TransportError},
		{"invalid UTF-8", "POST", ofSSE("SID"), "4\xff", nil, 200, "ok", engine.ParseError},
		{"a ping", "POST", ofSSE("SID"), "2", nil, 200, "ok", engine.TransportError},
		{"a probe", "POST", ofSSE("SID"), "2probe", nil, 200, "ok", engine.TransportError},
		{"an upgrade", "POST", ofSSE("SID"), "5", nil, 200, "ok", open},
		{"a noop", "POST", ofSSE("SID"), "6", nil, 200, "ok", open},
		{"a pong nobody waits for", "POST", ofSSE("SID"), "3", nil, 200, "ok", open},
		{"close", "POST", ofSSE("SID"), "1", nil, 200, "ok", engine.TransportClose},
		{"close between messages", "POST", ofSSE("SID"), "1\x1e4b", nil, 200, "ok", engine.TransportClose},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{MaxPayload: 1000, AllowEIO3: true})
			f, sid, o := s.openSSE()
			o.send("a", "b")
			f.want("4a", "4b")
			a := s.do(tt.method, strings.ReplaceAll(tt.query, "SID", sid), tt.body, tt.header...)
			wantAnswer(t, a, tt.status, tt.answer)
			if strings.HasPrefix(tt.answer, "{") {
				wantRefusal(t, a, tt.status, tt.answer)
			}
			o.wantReceived()
			switch tt.fate {
			case open:
				o.wantOpen()
				s.wantSessions(1)
				o.send("c")
				f.want("4c") // it is the same stream
				o.session.Close()
				f.want("1")
			case engine.TransportClose:
				o.wantEnded(tt.fate)
			default:
				o.wantEnded(tt.fate)
				f.want("1")
			}
			f.wantEnd()
			s.wantSessions(0)
		})
	}
}

func TestSSEOverlappingPosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		r, w := slowBody()
		first := make(chan answer)
		go func() {
			a, _ := s.try("POST", ofSSE(sid), r)
			first <- a
		}()
		w.Write([]byte("4first"))
		synctest.Wait()
		wantAnswer(t, s.postSSE(sid, "4second"), 400, "")
		o.wantEnded(engine.TransportError)
		f.want("1")
		f.wantEnd()
		w.Close()
		wantAnswer(t, <-first, 200, "ok")
		o.wantReceived()
		s.wantSessions(0)
	})
}

func TestSSEPauseHoldsThePostBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		o.session.Pause()
		answers := make(chan answer)
		start := time.Now()
		go func() { answers <- s.postSSE(sid, "4a") }()
		for range 10 {
			f.want("2") // the pong cannot be sent
		}
		o.wantReceived()
		o.send("meanwhile")
		f.want("4meanwhile")
		o.session.Resume()
		wantAnswer(t, <-answers, 200, "ok")
		wantSince(t, start, 10*interval)
		wantAnswer(t, s.postSSE(sid, "3"), 200, "ok")
		o.session.Close()
		f.want("1")
	})
}

// Other transports do not offer sse as an upgrade, and their sessions cannot continue with it.
func TestSSEIsChosenAtTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		a := s.do("GET", newPolling, "")
		if strings.Contains(a.body, "sse") {
			t.Errorf("OPEN with polling: %s", a.body)
		}
		sid, o := parseOpen(t, a.body).SID, s.owner()
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=0", ""), 400, badRequest)
		wantRefusal(t, s.postSSE(sid, "4a"), 400, badRequest)
		s.upgrade(ofSSE(sid)).wantClose(1005, "") // a WebSocket with sse in its query
		o.wantOpen()
		o.session.Close()
		wantAnswer(t, s.poll(sid), 200, "1")
		s.upgrade(newSSE).wantClose(1005, "")
		s.wantSessions(0)
	})
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Transports: []string{"polling", "websocket"}})
		wantRefusal(t, s.do("GET", newSSE, ""), 400, unknownTransport)
	})
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Transports: []string{"sse"}})
		f := s.stream(newSSE)
		packet, _ := f.packet()
		if up := parseOpen(t, packet).Upgrades; len(up) != 0 {
			t.Errorf("OPEN %s", packet)
		}
		s.owner().session.Close()
		f.want("1")
	})
}

// Some HTTP libraries offer an upgrade to HTTP/2 with every request.
func TestSSEThatOffersAnotherProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		offer := []string{"Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAAP__"}
		f, sid, o := s.openSSE(offer...)
		wantAnswer(t, s.do("POST", ofSSE(sid), "4a", offer...), 200, "ok")
		o.session.Close()
		f.want("1")
	})
}

func TestSSEOrigins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{
			CORS:   origin.Policy{Origins: []string{"https://example.com"}, Credentials: true},
			Cookie: &http.Cookie{Name: "io"},
		})
		f, sid, o := s.openSSE("Origin", "https://example.com")
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":      "https://example.com",
			"Access-Control-Allow-Credentials": "true",
			"Vary":                             "Origin",
			"Set-Cookie":                       "io=" + sid,
		} {
			if got := f.resp.Header.Get(name); got != want {
				t.Errorf("%s %q, want %q", name, got, want)
			}
		}
		g := s.stream(ofSSE(sid), "Origin", "https://example.com")
		if got := g.resp.Header.Get("Access-Control-Allow-Origin"); got != "https://example.com" {
			t.Errorf("allowed in another stream: %q", got)
		}
		if got := g.resp.Header.Get("Set-Cookie"); got != "" {
			t.Errorf("Set-Cookie %q in another stream", got)
		}
		o.session.Close()
		g.want("1")
	})
}

func TestSSELimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxSessions: 1, AllowRequest: func(r *http.Request) error {
			if r.Header.Get("Authorization") == "" {
				return &engine.Refusal{Message: "who?"}
			}
			return nil
		}})
		wantRefusal(t, s.do("GET", newSSE, ""), 403, `{"code":4,"message":"who?"}`)
		f, sid, o := s.openSSE("Authorization", "me")
		f.close()
		f = s.resume(sid, "0") // nobody asks for it again
		a := s.do("GET", newSSE, "", "Authorization", "me")
		wantRefusal(t, a, 503, `{"code":4,"message":"Too many connections"}`)
		if got := a.header.Get("Retry-After"); got != "5" {
			t.Errorf("Retry-After %q", got)
		}
		o.session.Close()
		f.want("1")
		f.wantEnd()
		g, _, o := s.openSSE("Authorization", "me")
		o.session.Close()
		g.want("1")
	})
}

// A server that cannot set deadlines for a client does not stream.
func TestSSEWithoutDeadlines(t *testing.T) {
	s, err := engine.NewServer(engine.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "/engine.io/?"+newSSE, nil))
	if w.Code != 500 || s.Sessions() != 0 {
		t.Errorf("status %d, %d sessions", w.Code, s.Sessions())
	}
}

// The http.Server's timeouts are for requests and whole responses.
func TestSSEOutlastsTheServersTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		l := wiretest.Listen()
		hs := &http.Server{Handler: s.Server, ReadTimeout: time.Second, WriteTimeout: time.Second, IdleTimeout: time.Second}
		go hs.Serve(l)
		defer hs.Close()
		s.client = &http.Client{Transport: &http.Transport{DialContext: l.Dial}}
		defer s.client.CloseIdleConnections()
		f, sid, o := s.openSSE()
		for range 3 {
			f.want("2")
			wantAnswer(t, s.postSSE(sid, "3"), 200, "ok")
		}
		f.close()
		f = s.resume(sid, "3")
		f.want("2")
		o.session.Close()
		f.want("1")
		f.wantEnd()
	})
}
