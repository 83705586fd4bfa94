package engine_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/soak"
	"github.com/parley-go/parley/internal/ws"
)

// packetOf returns, as text, the packet of the message that message makes of m.
func packetOf(m string) string {
	if data, binary := strings.CutPrefix(m, "bin:"); binary {
		return "b" + base64.StdEncoding.EncodeToString([]byte(data))
	}
	return "4" + m
}

var oddTexts = []string{
	"", " ", "a", "\n", "\r", "\r\n", "\n\r", "\n\n", "a\nb", "a\rb", "a\r", "\ra", "\n\n1\ndata: x\n\n",
	"\r\rid: 7\rdata: 4evil\r\r", ":", ": comment", "data: a", "\x00", "\x00\n", "\u2028", "\u2029", "\u0085", "\v", "\f", "\x1e",
	"\ufeff", "\ufeff\n", "€", "😀", "😀\r", "\U0010ffff", "\ufffd", `"`, `\`, `"\n`, "\\\n", "<script>&\r", "\x7f", "\x1b[0m\n", "null", "{}", long(200_000), long(100_000) + "\n",
	"bin:", "bin:\n", "bin:\x00\xff\r\n", "bin:" + long(100_000),
}

// Everything arrives byte for byte as it was sent, and nothing else.
func TestSSEEvents(t *testing.T) {
	stream := []byte(":\n\n")
	for i, m := range oddTexts {
		stream = engine.AppendEvent(stream, uint64(i), message(m))
	}
	e := newEvents(strings.NewReader(string(stream)))
	for i, m := range oddTexts {
		if got, err := e.packet(); err != nil || got != packetOf(m) || e.last != strconv.Itoa(i) {
			t.Errorf("event %q %.100q, %v, want %.100q", e.last, got, err, packetOf(m))
		}
	}
	if _, err := e.packet(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func FuzzSSEEvent(f *testing.F) {
	for _, m := range oddTexts {
		if len(m) > 1000 {
			continue
		}
		data, binary := strings.CutPrefix(m, "bin:")
		f.Add(data, binary, uint64(len(data)))
	}
	f.Fuzz(func(t *testing.T, data string, binary bool, id uint64) {
		m := data
		if binary {
			m = "bin:" + data
		} else if strings.HasPrefix(data, "bin:") {
			return
		}
		b := engine.AppendEvent(nil, id, message(m))
		b = engine.AppendEvent(b, 7, message("end"))
		e := newEvents(strings.NewReader(string(b)))
		got, err := e.packet()
		if err != nil || e.last != strconv.FormatUint(id, 10) || got != packetOf(m) && (binary || utf8.ValidString(data)) {
			t.Errorf("event %q %q, %v, want %d %q", e.last, got, err, id, packetOf(m))
		}
		if got, err := e.packet(); err != nil || got != "4end" || e.last != "7" {
			t.Errorf("then %q %q, %v", e.last, got, err)
		}
		if _, err := e.packet(); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
	})
}

// frail is a connection that breaks, for its client, after left bytes have arrived.
type frail struct {
	net.Conn
	left      int  // negative: it does not break
	unnoticed bool // the server does not notice the break
}

func (c *frail) Read(b []byte) (int, error) {
	switch {
	case c.left < 0:
		return c.Conn.Read(b)
	case c.left == 0:
		return 0, errors.New("the connection is broken")
	}
	n, err := c.Conn.Read(b[:min(len(b), c.left)])
	c.left -= n
	return n, err
}

func (c *frail) Close() error {
	if c.unnoticed {
		return nil
	}
	return c.Conn.Close()
}

// frailly makes s request streams over connections that break after the number of bytes that next
// returns. Everything else uses whole connections.
func (s *server) frailly(next func() (left int, unnoticed bool)) *server {
	streams := *s
	streams.client = &http.Client{Transport: &http.Transport{
		DisableCompression: true, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := s.dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			s.t.Cleanup(func() { c.Close() })
			left, unnoticed := next()
			return &frail{c, left, unnoticed}, nil
		},
	}}
	return &streams
}

// goer is a client that reconnects when its stream breaks.
type goer struct {
	streams *server
	whole   *server
	sid     string
	f       *streaming
	last    string // id
	asked   string // the last id that the server was told
	cuts    int
}

// begin requests the stream of a new session. If the session's id does not arrive, the test
// supplies it.
func (s *server) begin(next func() (int, bool)) (*goer, *owner) {
	g := &goer{streams: s.frailly(next), whole: s}
	f, err := g.streams.tryStream(newSSE)
	o := s.owner()
	g.sid = o.session.ID()
	if err == nil {
		g.f = f
	}
	return g, o
}

// packet returns the next packet that matters to the test.
func (g *goer) packet() string {
	g.whole.t.Helper()
	for range 10_000 {
		if g.f != nil {
			packet, err := g.f.packet()
			if err == nil {
				g.last = g.f.last
				switch packet[0] {
				case '0':
				case '2':
					wantAnswer(g.whole.t, g.whole.postSSE(g.sid, "3"), 200, "ok")
				default:
					return packet
				}
				continue
			}
			g.f.close()
			g.f = nil
			g.cuts++
		}
		g.reconnect()
	}
	g.whole.t.Fatal("it goes on and on")
	return ""
}

// leave closes the stream.
func (g *goer) leave() {
	if g.f != nil {
		g.f.close()
		g.f = nil
	}
}

// probe sends a probe over a WebSocket until it is answered. First the server may have to forget
// the previous candidate, and to learn that the client has read its Noop.
func (g *goer) probe() *peer {
	g.whole.t.Helper()
	for start := time.Now(); time.Since(start) < patience(); time.Sleep(time.Millisecond) {
		p := g.whole.upgrade(ofWebSocket(g.sid))
		_ = p.tryFrame(ws.OpText, "2probe")
		if _, answer, _ := p.tryRead(); answer == "3probe" {
			return p
		}
		p.Close()
		if g.f == nil || g.last != g.asked {
			g.leave()
			g.reconnect()
		}
	}
	g.whole.t.Fatal("the upgrade is refused again and again")
	return nil
}

// reconnect requests a stream but does not read it.
func (g *goer) reconnect() {
	g.whole.t.Helper()
	query := ofSSE(g.sid)
	if g.last != "" {
		query += "&lastEventId=" + g.last
	}
	f, err := g.streams.tryStream(query)
	switch {
	case err == nil:
		f.last = g.last
		g.f, g.asked = f, g.last
	case errors.Is(err, errRefused):
		g.whole.t.Fatalf("behind %q: %v", g.last, err)
	}
}

func (g *goer) want(packets ...string) {
	g.whole.t.Helper()
	for _, want := range packets {
		if got := g.packet(); got != want {
			g.whole.t.Fatalf("packet %.100q, want %.100q", got, want)
		}
	}
}

// The first stream breaks at every possible byte, whether or not the server notices.
func TestSSECutAnywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		messages := []string{"a", "bin:b", "line\nbreak", "", "€😀", long(300)}
		ended := false
		for n := 1; !ended; n++ {
			for _, unnoticed := range []bool{false, true} {
				first := true
				g, o := s.begin(func() (int, bool) {
					if !first {
						return -1, false
					}
					first = false
					return n, unnoticed
				})
				for i, m := range messages {
					o.send(m)
					if i%2 == 0 {
						synctest.Wait()
					}
				}
				for _, m := range messages {
					g.want(packetOf(m))
				}
				o.send("end")
				g.want("4end")
				o.session.Close()
				g.want("1")
				synctest.Wait()
				s.wantSessions(0)
				ended = g.cuts == 0 && !first
				g.f.close()
			}
			if n > 5000 {
				t.Fatal("it was cut each time")
			}
		}
	})
}

// Streams break again and again while messages flow and pongs trim the log.
func TestSSECutAgainAndAgain(t *testing.T) {
	for seed := range uint64(soak.Times(40, 4000)) {
		bubble(t, fmt.Sprint(seed), func(t *testing.T) {
			sseUnderCuts(t, inMemory(t, engine.Options{PingInterval: 20 * time.Millisecond}), seed, 300)
		})
	}
}

func TestSSECutOverTCP(t *testing.T) {
	s := overTCP(t, engine.Options{PingInterval: 20 * time.Millisecond})
	for seed := range uint64(soak.Times(10, 1000)) {
		sseUnderCuts(t, s, seed, 500)
	}
}

func sseUnderCuts(t *testing.T, s *server, seed uint64, total int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	g, o := s.begin(func() (int, bool) { return 1 + rng.IntN(4000), rng.IntN(2) == 0 })
	var sending sync.WaitGroup
	sending.Go(func() {
		rng := rand.New(rand.NewPCG(seed, 2))
		for i := 0; i < total; i++ {
			o.send(numbered(i))
			if rng.IntN(10) == 0 {
				time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
			}
		}
	})
	for i := range total {
		g.want(packetOf(numbered(i)))
	}
	sending.Wait()
	o.wantOpen()
	if g.cuts < 5 {
		t.Errorf("cut %d times", g.cuts)
	}
	wantAnswer(t, s.postSSE(g.sid, "1"), 200, "ok")
	o.wantEnded(engine.TransportClose)
	if g.f != nil {
		g.f.close()
	}
}

// numbered is a message of any kind.
func numbered(i int) string {
	m := strconv.Itoa(i)
	switch i % 5 {
	case 0:
		return "bin:" + m
	case 1:
		return m + "\r\n"
	case 2:
		return m + long(i)
	}
	return m
}

// A client that comes back before the server has noticed the break takes over its session.
func TestSSETakeover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{WriteTimeout: time.Hour})
		old := s.rawStream(newSSE) // takes nothing more
		o := s.owner()
		sid := o.session.ID()
		o.send("a", "b")
		synctest.Wait()
		if o.session.SendVolatile(message("lost")) {
			t.Error("a volatile message was queued behind a write that does not get on")
		}
		start := time.Now()
		f := s.resume(sid, "0")
		f.want("4a", "4b")
		synctest.Wait()
		if _, err := io.ReadAll(old); err != nil {
			t.Errorf("the old stream: %v", err)
		}
		if !o.session.SendVolatile(message("c")) {
			t.Error("not ready")
		}
		f.want("4c")
		for range 3 {
			g := s.resume(sid, "3")
			f.wantEnd()
			f = g
		}
		wantSince(t, start, 0)
		o.wantOpen()
		o.session.Close()
		f.want("1")
		f.wantEnd()
		if n := s.Stats().SlowConsumers.Load(); n != 0 {
			t.Errorf("%d slow consumers", n)
		}
	})
}

// rawStream requests a stream and does not even read the response's header. Call it in a bubble.
func (s *server) rawStream(query string) net.Conn {
	nc, err := s.dial(s.t.Context(), "tcp", s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { nc.Close() })
	fmt.Fprintf(nc, "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\n\r\n", query)
	synctest.Wait()
	return nc
}

func TestSSEVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		synctest.Wait()
		if !o.session.SendVolatile(message("a"), message("b")) {
			t.Error("dropped, though the stream is there")
		}
		f.want("4a", "4b")
		synctest.Wait()
		if !o.session.SendVolatile(message("c")) { // held messages do not count
			t.Error("dropped behind what was sent")
		}
		f.want("4c")
		synctest.Wait()
		f.close()
		synctest.Wait()
		if o.session.SendVolatile(message("d")) {
			t.Error("queued without a stream")
		}
		f = s.resume(sid, "3")
		o.send("e")
		f.want("4e")
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		f.want("6")
		synctest.Wait()
		if o.session.SendVolatile(message("f")) {
			t.Error("queued, though it has to wait for the upgrade")
		}
		if n := s.Stats().VolatileDrops.Load(); n != 2 {
			t.Errorf("%d drops, want 2", n)
		}
		f.close()
		p.text("5")
		p.Close()
		o.wantEnded(engine.TransportClose)
	})
}

func TestSSEOutboxLimit(t *testing.T) {
	const limit = 256 << 10
	bubble(t, "nobody reads", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: limit, WriteTimeout: -1})
		nc := s.rawStream(newSSE)
		o := s.owner()
		o.fill(1000)
		o.wantSlowConsumer(s)
		synctest.Wait()
		if _, err := io.ReadAll(nc); err != nil { // the server closed the connection at once
			t.Error(err)
		}
	})
	for _, more := range []int{0, 1} {
		bubble(t, fmt.Sprint("what is kept and ", more), func(t *testing.T) {
			s := inMemory(t, engine.Options{OutboxLimit: limit})
			f, sid, o := s.openSSE()
			m := long(1000)
			for range 1000 { // four times the limit, without a pong
				if !o.send(m) {
					t.Fatal("the session of a client that reads has ended")
				}
				f.want("4" + m)
			}
			synctest.Wait()
			f.close()
			synctest.Wait()
			for range 100 { // takes precedence over messages already sent
				o.send(m)
			}
			kept := limit/message(m).Size() - 100
			if more > 0 {
				wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId="+strconv.Itoa(1000-kept-more), ""), 400, badRequest)
				o.wantEnded(engine.TransportError)
				if !errors.Is(o.cause, engine.ErrProtocol) {
					t.Errorf("cause %v", o.cause)
				}
				return
			}
			f = s.resume(sid, strconv.Itoa(1000-kept))
			for range kept + 100 {
				f.want("4" + m)
			}
			o.session.Close()
			f.want("1")
		})
	}
	bubble(t, "what is sent again", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: limit})
		f, sid, o := s.openSSE()
		m := message(long(1000))
		for range 100 {
			o.session.Send(m)
			f.want("4" + long(1000))
		}
		synctest.Wait()
		if got := o.session.Queued(); got != 0 {
			t.Errorf("%d bytes queued", got)
		}
		s.rawStream(ofSSE(sid) + "&lastEventId=10")
		if got, want := o.session.Queued(), 90*m.Size(); got != want {
			t.Errorf("%d bytes queued, want %d", got, want)
		}
		o.fill(1000)
		o.wantSlowConsumer(s)
	})
	bubble(t, "one that is too large", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: 1000})
		f, sid, o := s.openSSE()
		o.send(long(100_000))
		f.want("4" + long(100_000))
		synctest.Wait()
		f.close()
		f = s.resume(sid, "0")
		f.want("4" + long(100_000))
		synctest.Wait()
		o.send("b", "c")
		f.want("4b", "4c")
		o.session.Close()
		f.want("1")
	})
}

// A pong acknowledges what was sent before its ping. A forged one acknowledges nothing.
func TestSSEPongTrims(t *testing.T) {
	for _, last := range []string{"2", "3"} { // the ping's is 3
		bubble(t, last, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			f, sid, o := s.openSSE()
			o.send("a")
			f.want("4a")
			wantAnswer(t, s.postSSE(sid, "3"), 200, "ok") // the server has not sent a ping
			f.close()
			time.Sleep(interval + slack)
			wantAnswer(t, s.postSSE(sid, "3"), 200, "ok") // the ping is queued but not sent yet
			f = s.resume(sid, "0")
			f.want("4a", "2")
			time.Sleep(interval)
			f.want("2")
			o.send("b")
			f.want("4b")
			synctest.Wait()
			wantAnswer(t, s.postSSE(sid, "3"), 200, "ok")
			f.close()
			if last == "2" {
				wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=2", ""), 400, badRequest)
				o.wantEnded(engine.TransportError)
				return
			}
			f = s.resume(sid, last)
			f.want("4b")
			o.session.Close()
			f.want("1")
		})
	}
}

func TestSSEWriteTimeout(t *testing.T) {
	bubble(t, "stalled", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		s.rawStream(newSSE)
		o := s.owner()
		start := time.Now()
		for o.send("b") { // sending more does not delay it
			time.Sleep(slack / 4)
		}
		wantSince(t, start, 10*time.Second)
		o.wantSlowConsumer(s)
	})
	bubble(t, "slow", func(t *testing.T) {
		s := inMemory(t, engine.Options{PingInterval: time.Hour})
		nc := s.rawStream(newSSE)
		o := s.owner()
		o.send(long(200_000), "end")
		o.session.Close()
		var got []byte
		start := time.Now()
		for end := []byte("\r\n0\r\n\r\n"); !bytes.HasSuffix(got, end); {
			time.Sleep(8 * time.Second)
			s.wantSessions(1)
			for sip := len(got) + 16<<10; len(got) < sip && !bytes.HasSuffix(got, end); {
				b := make([]byte, sip-len(got))
				n, err := nc.Read(b)
				if got = append(got, b[:n]...); err != nil {
					t.Fatal(err)
				}
			}
		}
		if time.Since(start) < time.Minute {
			t.Errorf("it has read all within %v", time.Since(start))
		}
		if !bytes.Contains(got, []byte("data: 4end\n\n")) || !bytes.Contains(got, []byte("data: 1\n\n")) || bytes.Count(got, []byte("x")) < 200_000 {
			t.Errorf("got %d bytes", len(got))
		}
		s.wantSessions(0)
	})
}

// What a session does when the server closes it.
func TestSSEServerCloses(t *testing.T) {
	bubble(t, "without a stream", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		o.send("a")
		f.want("4a")
		f.close()
		synctest.Wait()
		o.send("b")
		o.session.Close()
		o.wantEnded(engine.ForcedClose)
		s.wantSessions(1)
		time.Sleep(29 * time.Second)
		wantRefusal(t, s.postSSE(sid, "4a"), 400, unknownSession)
		f = s.resume(sid, "0")
		f.want("4a", "4b", "1")
		f.wantEnd()
		s.wantSessions(0)
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=3", ""), 400, unknownSession)
	})
	bubble(t, "nobody comes back", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		f.close()
		synctest.Wait()
		o.session.Close()
		start := time.Now()
		for s.Sessions() > 0 {
			time.Sleep(slack / 2)
		}
		wantSince(t, start, 30*time.Second)
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=0", ""), 400, unknownSession)
	})
	bubble(t, "with an id that cannot be", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		f.close()
		synctest.Wait()
		o.session.Close()
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=7", ""), 400, badRequest)
		f = s.resume(sid, "0") // this does no harm
		f.want("1")
		f.wantEnd()
		s.wantSessions(0)
	})
	bubble(t, "cut before the end", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		nc := s.rawStream(newSSE)
		o := s.owner()
		o.send("a")
		o.session.Close()
		synctest.Wait()
		nc.Close()
		synctest.Wait()
		s.wantSessions(1)
		f := s.resume(o.session.ID(), "0")
		f.want("4a", "1")
		f.wantEnd()
		s.wantSessions(0)
	})
	bubble(t, "taken over at the end", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		s.rawStream(newSSE)
		o := s.owner()
		o.send("a")
		o.session.Close()
		synctest.Wait()
		f := s.resume(o.session.ID(), "0")
		f.want("4a", "1")
		f.wantEnd()
		s.wantSessions(0)
	})
	bubble(t, "at once", func(t *testing.T) { // queued messages are dropped
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		f.close()
		synctest.Wait()
		o.send("dropped")
		s.postSSE(sid, "2") // breaks the protocol
		o.wantEnded(engine.TransportError)
		s.wantSessions(0)
		wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=0", ""), 400, unknownSession)
	})
}

func TestSSEClientCloses(t *testing.T) {
	for _, stream := range []bool{true, false} {
		bubble(t, fmt.Sprint("stream ", stream), func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			f, sid, o := s.openSSE()
			if !stream {
				f.close()
				synctest.Wait()
				o.send("never seen")
			}
			wantAnswer(t, s.postSSE(sid, "1"), 200, "ok")
			if stream {
				f.wantEnd()
			}
			o.wantEnded(engine.TransportClose)
			s.wantSessions(0)
			wantRefusal(t, s.postSSE(sid, "1"), 400, unknownSession)
		})
	}
	bubble(t, "during the upgrade", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		f.want("6")
		o.send("never seen")
		wantAnswer(t, s.postSSE(sid, "1"), 200, "ok")
		f.wantEnd()
		p.wantClose(1005, "")
		o.wantEnded(engine.TransportClose)
		s.wantSessions(0)
	})
}

func TestSSEShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, _, attached := s.openSSE()
		g, sid, returning := s.openSSE()
		gone, _, _ := s.openSSE()
		g.close()
		gone.close()
		synctest.Wait()
		attached.send("a")
		returning.send("b")
		down := make(chan error)
		start := time.Now()
		go func() { down <- s.Shutdown(t.Context()) }()
		f.want("4a", "1")
		f.wantEnd()
		g = s.resume(sid, "0")
		g.want("4b", "1")
		g.wantEnd()
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		wantSince(t, start, 5*time.Second)
		attached.wantEnded(engine.ForcedClose)
	})
}

func TestSSEOverHTTP2(t *testing.T) {
	s := overTLS(t, engine.Options{WriteTimeout: 300 * time.Millisecond, PingInterval: 500 * time.Millisecond})
	f, sid, o := s.openSSE()
	if f.resp.ProtoMajor != 2 {
		t.Fatalf("HTTP/%d", f.resp.ProtoMajor)
	}
	for i := range 3 { // the server writes nothing for longer than WriteTimeout
		f.want("2")
		wantAnswer(t, s.postSSE(sid, "3"), 200, "ok")
		o.send(numbered(i))
		f.want(packetOf(numbered(i)))
	}
	last := f.last
	f.close()
	o.send("a")
	f = s.resume(sid, last)
	f.want("4a")
	g := s.resume(sid, last)
	g.want("4a")
	f.wantOver()
	p := s.upgrade(ofWebSocket(sid)) // over HTTP/1.1
	p.text("2probe")
	p.wantText("3probe")
	for packet := ""; packet != "6"; {
		if packet, _ = g.packet(); packet == "" {
			t.Fatal("the stream has ended before the Noop")
		}
	}
	g.close()
	o.send("b")
	p.text("5")
	for packet := ""; packet != "4b"; {
		_, packet = p.read()
	}
	p.Close()
	o.wantEnded(engine.TransportClose)
}

func TestSSEWriteTimeoutOverHTTP2(t *testing.T) {
	s := overTLS(t, engine.Options{WriteTimeout: 3 * time.Second, OutboxLimit: -1})
	f, sid, o := s.openSSE()
	const n = 8 << 20
	o.send(long(n))
	f.want("4" + long(n)) // within the time, piece by piece
	o.send(long(4*n), "behind it")
	o.wantSlowConsumer(s)
	wantRefusal(t, s.do("GET", ofSSE(sid)+"&lastEventId=1", ""), 400, unknownSession)
}

// When a stream is taken over, its goroutine does not run until the write times out.
func TestSSETakeoverOverHTTP2(t *testing.T) {
	s := overTLS(t, engine.Options{WriteTimeout: time.Hour, OutboxLimit: -1})
	f, sid, o := s.openSSE()
	const n = 16 << 20
	o.send(long(n))      // more than the client's window
	f.r.Peek(f.r.Size()) // the server is writing it
	g := s.resume(sid, "0")
	g.want("4" + long(n))
	f.wantCut()
	o.wantOpen()
	o.session.Close()
	g.want("1")
	g.wantEnd()
}
