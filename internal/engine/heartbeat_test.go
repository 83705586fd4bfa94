package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

const (
	interval = 25 * time.Second
	timeout  = 20 * time.Second
	// slack is the longest delay of a timed event: two ticks of the wheel.
	slack = 200 * time.Millisecond
)

// wantSince fails unless the elapsed time is between d and d+slack.
func wantSince(t testing.TB, start time.Time, d time.Duration) {
	t.Helper()
	if got := time.Since(start); got < d || got > d+slack {
		t.Errorf("after %v, want %v", got, d)
	}
}

func TestWebSocketHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		for range 3 {
			start := time.Now()
			p.wantText("2")
			wantSince(t, start, interval)
			time.Sleep(timeout - time.Second) // late, but in time
			p.text("3")
		}
		start := time.Now()
		p.wantText("2")
		wantSince(t, start, interval) // counted from the pong, not from the ping
		start = time.Now()
		p.wantClose(ws.CloseNoStatus, "")
		wantSince(t, start, timeout)
		o.wantEnded(engine.PingTimeout)
		s.wantSessions(0)
	})
}

func TestPollingHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		for range 3 {
			start := time.Now()
			wantAnswer(t, s.poll(sid), 200, "2")
			wantSince(t, start, interval)
			wantAnswer(t, s.post(sid, "3"), 200, "ok")
		}
		wantAnswer(t, s.poll(sid), 200, "2")
		start := time.Now()
		wantAnswer(t, s.poll(sid), 200, "1")
		wantSince(t, start, timeout)
		o.wantEnded(engine.PingTimeout)
		s.wantSessions(0)
		wantAnswer(t, s.poll(sid), 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

func TestPingWaitsForAPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		time.Sleep(interval + timeout - time.Second)
		wantAnswer(t, s.poll(sid), 200, "2")
		wantAnswer(t, s.post(sid, "3"), 200, "ok")
		o.wantOpen()
		time.Sleep(interval + timeout + slack)
		o.wantEnded(engine.PingTimeout)
		s.wantSessions(0)
	})
}

// A request between the timeout and the wheel's next tick does not save the session.
func TestRequestAtTheTimeoutIsRefused(t *testing.T) {
	for name, request := range map[string]func(s *server, sid string) answer{
		"poll": func(s *server, sid string) answer { return s.poll(sid) },
		"pong": func(s *server, sid string) answer { return s.post(sid, "3") },
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			time.Sleep(50 * time.Millisecond) // between two ticks
			sid, o := s.open()
			time.Sleep(interval + timeout + time.Millisecond)
			o.wantOpen()
			wantAnswer(t, request(s, sid), 400, unknownSession)
			o.wantEnded(engine.PingTimeout)
			o.wantReceived()
		})
	}
}

func TestForgedPongsAreIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		start := time.Now()
		stop := make(chan struct{})
		go func() {
			for range 24 {
				p.text("3")
				time.Sleep(time.Second)
			}
			close(stop)
		}()
		p.wantText("2")
		wantSince(t, start, interval) // they have not delayed it
		<-stop
		p.text("3", "3", "3")
		o.wantOpen()
		start = time.Now()
		p.wantText("2")
		wantSince(t, start, interval)
		p.discard()
		o.wantEnded(engine.PingTimeout) // earlier pongs do not count for later pings
	})
}

func TestLatePongIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		p.wantText("2")
		time.Sleep(timeout + slack)
		o.wantEnded(engine.PingTimeout)
		p.text("3")
		p.wantClose(ws.CloseNoStatus, "")
	})
}

// The first packet that is not a pong restarts the peer's time, once.
func TestAnotherPacketExtendsTheWaitOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		p.wantText("2")
		time.Sleep(timeout - time.Second)
		p.text("4a")
		start := time.Now()
		time.Sleep(timeout - time.Second)
		p.text("4b")
		p.wantClose(ws.CloseNoStatus, "")
		wantSince(t, start, timeout)
		o.wantEnded(engine.PingTimeout)
		o.wantReceived("a", "b")
	})
}

func TestAPongAfterTheExtensionCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		for range 2 { // each ping allows one extension
			wantAnswer(t, s.poll(sid), 200, "2")
			time.Sleep(timeout - time.Second)
			s.post(sid, "4a")
			time.Sleep(timeout - time.Second)
			s.post(sid, "3")
			o.wantOpen()
		}
		o.session.Close()
		wantAnswer(t, s.poll(sid), 200, "1")
	})
}

func TestHeartbeatGoesOnAcrossTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		start := time.Now()
		sid, o := s.open()
		time.Sleep(10 * time.Second)
		p := s.upgradeFrom(sid)
		p.wantText("2")
		wantSince(t, start, interval)
		p.text("3")
		start = time.Now()
		p.wantText("2")
		wantSince(t, start, interval)
		p.wantClose(ws.CloseNoStatus, "")
		o.wantEnded(engine.PingTimeout)
	})
}

// The promise to users: the server gives up a silent peer within PingInterval, PingTimeout and a
// second.
func TestHalfOpenConnectionIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		start := time.Now()
		<-o.ended // the client reads nothing, not even the ping
		if d := time.Since(start); d > interval+timeout+time.Second {
			t.Errorf("freed after %v", d)
		}
		s.wantSessions(0)
		_ = p
	})
}
