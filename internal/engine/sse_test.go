package engine_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

const newSSE = "EIO=4&transport=sse"

func ofSSE(sid string) string { return newSSE + "&sid=" + sid }

// events reads a stream as the HTML standard, 9.2.6, has it.
type events struct {
	r    *bufio.Reader
	last string // id
	cr   bool   // a line break may go on
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReader(r)} }

// line returns a line, which LF, CR or both in turn have ended.
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

// next returns an event's name and data. What is cut off is none.
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

// stream asks for a stream. It is closed at the end of the test.
func (s *server) stream(query string, header ...string) *streaming {
	s.t.Helper()
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
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != 200 {
		b, _ := io.ReadAll(resp.Body)
		s.t.Fatalf("stream refused: %d %s", resp.StatusCode, b)
	}
	return &streaming{newEvents(resp.Body), s.t, resp}
}

// openSSE begins a session with sse.
func (s *server) openSSE(header ...string) (f *streaming, sid string, o *owner) {
	s.t.Helper()
	f = s.stream(newSSE, header...)
	packet, err := f.packet()
	if err != nil || f.last != "0" {
		s.t.Fatalf("first event %q %q: %v", f.last, packet, err)
	}
	return f, parseOpen(s.t, packet).SID, s.owner()
}

// resume goes on with a session behind the event last.
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

// wantEnd waits for the stream's end, as it should be.
func (f *streaming) wantEnd() {
	f.t.Helper()
	if packet, err := f.packet(); err != io.EOF {
		f.t.Errorf("packet %.200q, %v, want the end of the stream", packet, err)
	}
}

// wantCut waits for the end of the connection.
func (f *streaming) wantCut() {
	f.t.Helper()
	if packet, err := f.packet(); err == nil || errors.Is(err, io.EOF) && err == io.EOF {
		f.t.Errorf("packet %.200q, %v, want the connection cut", packet, err)
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
		if n := s.Stats().Opened[2].Load(); n != 1 {
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
