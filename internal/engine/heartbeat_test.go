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
	// slack is how much later than it should something may happen: two ticks of the wheel.
	slack = 200 * time.Millisecond
)

// wantSince fails unless the time that has passed is d, or up to slack more.
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
		wantSince(t, start, interval) // from the pong, not from the ping
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

// What comes between the timeout and the wheel's next tick does not save the session.
func TestRequestAtTheTimeoutIsRefused(t *testing.T) {
	for name, request := range map[string]func(s *server, sid string) answer{
		"poll": func(s *server, sid string) answer { return s.poll(sid) },
		"pong": func(s *server, sid string) answer { return s.post(sid, "3") },
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			time.Sleep(50 * time.Millisecond) // off the ticks
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
		wantSince(t, start, interval) // they have not put it off
		<-stop
		p.text("3", "3", "3")
		o.wantOpen()
		start = time.Now()
		p.wantText("2")
		wantSince(t, start, interval)
		p.discard()
		o.wantEnded(engine.PingTimeout) // they were not saved up
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

// The first packet that is not a pong gives a peer its time again, once.
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
		for range 2 { // the extension is new with each ping
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

// The promise to users: a peer that has gone silent is given up within both times and
// a second.
func TestHalfOpenConnectionIsFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		start := time.Now()
		<-o.ended // it does not read, not even the ping
		if d := time.Since(start); d > interval+timeout+time.Second {
			t.Errorf("freed after %v", d)
		}
		s.wantSessions(0)
		_ = p
	})
}
