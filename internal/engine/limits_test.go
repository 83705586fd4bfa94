package engine_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// wantRetry checks a refusal that is not for ever, of both transports.
func (s *server) wantRetry(status int, message, after string, header ...string) {
	s.t.Helper()
	a := s.do("GET", newPolling, "", header...)
	wantAnswer(s.t, a, status, `{"code":4,"message":"`+message+`"}`)
	w := s.refused(newWebSocket, header...)
	wantAnswer(s.t, w, status, message)
	for _, h := range []http.Header{a.header, w.header} {
		if got := h.Get("Retry-After"); got != after {
			s.t.Errorf("Retry-After %q, want %q", got, after)
		}
	}
}

func TestMaxSessions(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxSessions: 2, Open: echo})
		sid, o := s.open()
		p, _ := s.openWebSocket()
		s.wantRetry(503, "Too many connections", "5")
		u := s.upgradeFrom(sid) // not a new session
		u.text("4a")
		u.wantText("4a")
		p.Close()
		u.Close()
		o.wantEnded(engine.TransportClose)
		time.Sleep(time.Second)
		for range 2 {
			p, _ := s.openWebSocket()
			defer p.Close()
		}
		s.wantRetry(503, "Too many connections", "5")
	})
}

func TestMaxPerAddress(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{
			MaxPerAddress: 2,
			ClientAddress: func(r *http.Request) string { return r.Header.Get("From") },
		})
		for _, host := range []string{"192.0.2.1", "[2001:db8::1]", "unix"} {
			first, o := s.openWebSocket("From", host+":1000")
			second, _ := s.openWebSocket("From", host+":1001")
			defer second.Close()
			s.wantRetry(429, "Too many connections from this address", "5", "From", host+":1002")
			if got := o.session.Handshake().Address; got != host+":1000" {
				t.Errorf("address %q", got)
			}
			first.Close()
			o.wantEnded(engine.TransportClose)
			third, _ := s.openWebSocket("From", host+":1003")
			defer third.Close()
			s.wantRetry(429, "Too many connections from this address", "5", "From", host) // no port
		}
	})
}

// A client with one IPv6 address has all 2^64 addresses of its network.
func TestMaxPerAddressCountsNetworksOfIPv6(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{
			MaxPerAddress: 2,
			ClientAddress: func(r *http.Request) string { return r.Header.Get("From") },
		})
		first, o := s.openWebSocket("From", "[2001:db8:0:1::1]:1000")
		second, _ := s.openWebSocket("From", "[2001:db8:0:1:ffff::2]:1000")
		defer second.Close()
		s.wantRetry(429, "Too many connections from this address", "5", "From", "[2001:db8:0:1::3]:1000")
		other, _ := s.openWebSocket("From", "[2001:db8:0:2::1]:1000")
		defer other.Close()
		first.Close()
		o.wantEnded(engine.TransportClose)
		third, _ := s.openWebSocket("From", "[2001:db8:0:1::3]:1000")
		defer third.Close()
	})
}

func TestDrain(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, o := s.open()
		p, _ := s.openWebSocket()
		s.Drain()
		s.Drain()
		s.wantRetry(503, "Server is shutting down", "1")
		p.text("4a") // the others go on
		p.wantText("4a")
		s.stillWorks(sid)
		u := s.upgradeFrom(sid)
		u.text("4b")
		u.wantText("4b")
		u.Close()
		p.Close()
		o.wantEnded(engine.TransportClose)
	})
}

func TestShutdownSendsWhatIsQueued(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		p, w := s.openWebSocket()
		o.send("a")
		w.send("b")
		down := make(chan error)
		go func() { down <- s.Shutdown(t.Context()) }()
		time.Sleep(time.Second)
		select {
		case err := <-down:
			t.Fatalf("Shutdown did not wait: %v", err)
		default:
		}
		p.wantText("4b")
		p.wantClose(1005, "")
		wantAnswer(t, s.poll(sid), 200, "4a")
		wantAnswer(t, s.poll(sid), 200, "1")
		if err := <-down; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		o.wantEnded(engine.ForcedClose)
		w.wantEnded(engine.ForcedClose)
	})
}

// Who was told to go before the shutdown has no more time for its last poll than the others.
func TestShutdownHurriesThoseThatLinger(t *testing.T) {
	for _, transport := range []string{"polling", "sse"} {
		bubble(t, transport, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			var o *owner
			if transport == "sse" {
				var f *streaming
				f, _, o = s.openSSE()
				f.close()
				synctest.Wait()
			} else {
				_, o = s.open()
			}
			o.session.Close()
			start := time.Now()
			if err := s.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			wantSince(t, start, 5*time.Second)
		})
	}
}
