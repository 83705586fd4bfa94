package engine_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

func TestOptionsThatCannotBe(t *testing.T) {
	for name, o := range map[string]engine.Options{
		"negative interval":        {PingInterval: -1},
		"negative timeout":         {PingTimeout: -1},
		"negative upgrade timeout": {UpgradeTimeout: -1},
		"negative payload":         {MaxPayload: -1},
		"unknown transport":        {Transports: []string{"polling", "carrier pigeon"}},
		"no transports":            {Transports: []string{}},
	} {
		if _, err := engine.NewServer(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestHandshakeOfASession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket("X-Tenant", "a", "Cookie", "k=v; l=w", "Origin", "http://parley.test")
		h := o.session.Handshake()
		want := http.Header{"Host": {"parley.test"}, "X-Tenant": {"a"}, "Cookie": {"k=v; l=w"}, "Origin": {"http://parley.test"}, "User-Agent": {"Go-http-client/1.1"}}
		got := h.Header()
		for name, values := range want {
			if !slices.Equal(got[name], values) {
				t.Errorf("%s: %q, want %q", name, got[name], values)
			}
		}
		if len(got) != len(want) {
			t.Errorf("header %v", got)
		}
		if h.URI != "/engine.io/?"+newWebSocket || h.Query().Get("transport") != "websocket" || h.Secure || !h.Time().Equal(time.Now()) {
			t.Errorf("handshake %+v", h)
		}
		p.Close()
	})
}

// A Handshake has a size limit, that of Node.js, and takes no more memory than it needs.
func TestHandshakeIsBounded(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		cookie := "k=" + long(15_000)
		sid, o := s.open()
		o.session.Close()
		s.poll(sid)
		p, o := s.openWebSocket("Cookie", cookie)
		if got := o.session.Handshake().Header().Get("Cookie"); got != cookie {
			t.Errorf("Cookie of %d bytes", len(got))
		}
		p.Close()
		const tooLarge = "Request header too large"
		wantRefusal(t, s.refused(newWebSocket, "Cookie", "k="+long(16_384)), 431, tooLarge)
		wantRefusal(t, s.do("GET", newPolling, "", "Cookie", "k="+long(16_384)), 431, `{"code":3,"message":"`+tooLarge+`"}`)
		wantRefusal(t, s.refused(newWebSocket+"&token="+long(8_200), "Cookie", "k="+long(8_200)), 431, tooLarge)
		o.wantEnded(engine.TransportClose)
		s.wantSessions(0)
	})
}

func TestQueueWaitsForFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		sid, polling := s.open()
		poll := s.pollLater(sid)
		for _, o := range []*owner{o, polling} {
			o.session.Queue(message("a"))
			o.session.Queue(message("b"))
			synctest.Wait()
			if o.session.Queued() == 0 {
				t.Error("sent without Flush")
			}
			o.session.Flush()
		}
		p.wantText("4a")
		p.wantText("4b")
		wantAnswer(t, <-poll, 200, "4a\x1e4b")
		o.session.Queue(message("c"))
		o.send("d")
		p.wantText("4c")
		p.wantText("4d")
		p.Close()
		polling.session.Close()
		s.poll(sid)
		if o.wantEnded(engine.TransportClose); o.session.Queue(message("e")) {
			t.Error("queued after the end")
		}
	})
}

func TestPauseOutlastsTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{PingInterval: time.Hour})
		sid, o := s.open()
		o.session.Pause()
		p := s.upgradeFrom(sid)
		synctest.Wait()
		go p.text("4a")
		time.Sleep(time.Minute)
		o.wantReceived()
		o.session.Resume()
		synctest.Wait()
		o.wantReceived("a")
		p.Close()
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, _ := s.open()
		s.stillWorks(sid)
		p, _ := s.openWebSocket()
		p.text("4a", "4b")
		p.wantText("4a")
		p.wantText("4b")
		s.post(sid, "1")
		p.writeFrame(ws.OpClose, "")
		p.want(ws.OpClose, "")
		synctest.Wait()
		st := s.Stats()
		for name, got := range map[string]uint64{
			"polling opened": st.Opened[0].Load(), "WebSockets opened": st.Opened[1].Load(),
			"closed by the peer / 2": st.Ended[slices.Index(engine.Reasons[:], engine.TransportClose)].Load() / 2,
		} {
			if got != 1 {
				t.Errorf("%s: %d, want 1", name, got)
			}
		}
		if in, out := st.PacketsIn.Load(), st.PacketsOut.Load(); in != 4 || out != 3 {
			t.Errorf("%d packets in, %d out, want 4 and 3", in, out)
		}
		if st.BytesIn.Load() == 0 || st.BytesOut.Load() == 0 {
			t.Error("no bytes counted")
		}
	})
}

// If a connection cannot be hijacked, as in HTTP/2, the server refuses WebSockets and keeps
// nothing.
func TestNoHijacker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, polling := s.open()
		for _, query := range []string{newWebSocket, ofWebSocket(sid), newPolling} {
			w := httptest.NewRecorder()
			r := s.handshake(query)
			r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor = s.host, "HTTP/1.1", 1, 1
			s.ServeHTTP(w, r)
			if w.Code != http.StatusInternalServerError {
				t.Errorf("%s: status %d", query, w.Code)
			}
		}
		s.wantSessions(1)
		if n := s.Stats().Opened[1].Load(); n != 0 {
			t.Errorf("%d sessions of WebSocket were opened", n)
		}
		p := s.upgradeFrom(sid) // the server has forgotten the failed candidate
		p.writeFrame(ws.OpPing, "")
		p.want(ws.OpPong, "")
		p.Close()
		polling.wantEnded(engine.TransportClose)
	})
}

func TestShutdownCutsWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		o.send(long(100_000)) // nobody reads
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		wantSince(t, start, time.Second)
		synctest.Wait()
		p.discard()
		o.wantEnded(engine.ForcedClose)
		s.wantSessions(0)
	})
}

// Other goroutines may use a session as soon as they can find it.
func TestSessionsAreUsedWhileTheyOpen(t *testing.T) {
	s := overTCP(t, engine.Options{})
	stop := make(chan struct{})
	var users sync.WaitGroup
	users.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				s.Each(func(session *engine.Session) {
					session.Transport()
					session.Handshake().Header()
					session.SendVolatile(message("a"))
					session.Pause()
					session.Resume()
					session.Flush()
				})
			}
		}
	})
	for range 50 {
		p := s.upgrade(newWebSocket)
		if op, packet := p.read(); op != ws.OpText || packet[0] != '0' {
			t.Errorf("%v %q came before OPEN", op, packet)
		}
		sid, o := "", s.owner()
		a := s.do("GET", newPolling, "")
		if sid = parseOpen(t, a.body).SID; len(sid) != 20 {
			t.Errorf("OPEN %q", a.body)
		}
		s.post(sid, "1")
		s.owner().wantEnded(engine.TransportClose)
		p.Close()
		o.wantEnded(engine.TransportClose)
	}
	close(stop)
	users.Wait()
}
