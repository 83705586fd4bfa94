package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// wantStats compares everything except the bytes, which must not be zero.
func (o *owner) wantStats(want engine.SessionStats) {
	o.t.Helper()
	got := o.session.Stats()
	if got.BytesIn == 0 && want.PacketsIn > 0 || got.BytesOut == 0 {
		o.t.Errorf("%d bytes in, %d out", got.BytesIn, got.BytesOut)
	}
	if d := got.LastPong.Sub(want.LastPong).Abs(); !want.LastPong.IsZero() && d <= slack {
		got.LastPong = want.LastPong
	}
	got.BytesIn, got.BytesOut = 0, 0
	if got != want {
		o.t.Errorf("stats\n%+v, want\n%+v", got, want)
	}
}

func TestStatsOfASession(t *testing.T) {
	bubble(t, "polling, upgraded", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		o.wantStats(engine.SessionStats{Transport: "polling", Protocol: 4})
		o.send("abc")
		queued := message("abc").Size()
		s.post(sid, "4a\x1e4b")
		o.wantStats(engine.SessionStats{Transport: "polling", Protocol: 4, Queued: queued, PacketsIn: 2})
		s.poll(sid)
		time.Sleep(interval)
		s.poll(sid)
		s.post(sid, "3")
		pong := time.Now()
		time.Sleep(time.Second)
		o.wantStats(engine.SessionStats{Transport: "polling", Protocol: 4, Age: interval + time.Second, LastPong: pong, PacketsIn: 3, PacketsOut: 2})
		p := s.upgradeFrom(sid)
		synctest.Wait()
		o.session.Pause()
		o.wantStats(engine.SessionStats{Transport: "websocket", Protocol: 4, Age: interval + time.Second, LastPong: pong, Paused: true, PacketsIn: 5, PacketsOut: 2})
		p.Close()
		o.session.Close()
	})
	bubble(t, "WebSocket", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		p.text("4abc")
		o.send("d")
		p.wantText("4d")
		synctest.Wait()
		o.wantStats(engine.SessionStats{Transport: "websocket", Protocol: 4, PacketsIn: 1, PacketsOut: 1})
		st := o.session.Stats()
		if in := len(ws.AppendMaskedFrame(nil, ws.OpText, []byte("4abc"))); st.BytesIn != uint64(in) {
			t.Errorf("%d bytes in, want %d", st.BytesIn, in)
		}
		p.Close()
	})
	bubble(t, "revision 3", func(t *testing.T) {
		s := inMemory(t, eio3)
		p, o := s.openWebSocket3("")
		time.Sleep(interval)
		p.text("2")
		p.wantText("3")
		synctest.Wait()
		o.wantStats(engine.SessionStats{Transport: "websocket", Protocol: 3, Age: interval, LastPong: time.Now(), PacketsIn: 1, PacketsOut: 1})
		p.Close()
	})
	bubble(t, "sse", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		o.send("a")
		f.want("4a")
		f.want("2")
		s.postSSE(sid, "3")
		o.wantStats(engine.SessionStats{Transport: "sse", Protocol: 4, Age: interval, LastPong: time.Now(), PacketsIn: 1, PacketsOut: 2})
		o.session.Close()
		f.want("1")
	})
}
