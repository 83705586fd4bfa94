package engine_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/soak"
	"github.com/parley-go/parley/internal/ws"
)

// What breaks an upgrade leaves the session, and its stream, as they were.
func TestSSEBrokenUpgrades(t *testing.T) {
	for _, tt := range []struct {
		name   string
		client func(t *testing.T, p *peer) // breaks it, before or after the Noop was read
	}{
		{"closed", func(t *testing.T, p *peer) { p.Close() }},
		{"timeout", func(t *testing.T, p *peer) { p.wantClose(1005, "") }},
		{"garbage", func(t *testing.T, p *peer) { p.text("x"); p.wantClose(1005, "") }},
	} {
		for _, reopen := range []bool{false, true} {
			bubble(t, fmt.Sprint(tt.name, ", another stream ", reopen), func(t *testing.T) {
				s := inMemory(t, engine.Options{Open: echo})
				f, sid, o := s.openSSE()
				p := s.upgrade(ofWebSocket(sid))
				o.send("before")
				p.text("2probe")
				p.wantText("3probe")
				o.send("held back")
				f.want("4before", "6")
				last := f.last
				if reopen {
					f.close()
					f = s.resume(sid, last) // it gives the upgrade up, and the server does not know
				}
				synctest.Wait()
				tt.client(t, p)
				f.want("4held back")
				wantAnswer(t, s.postSSE(sid, "4works"), 200, "ok")
				f.want("4works")
				o.wantOpen()

				// Another one, if the client is known to have read the first Noop.
				p = s.upgrade(ofWebSocket(sid))
				p.text("2probe")
				if !reopen {
					p.wantClose(1005, "")
					f = s.resume(sid, f.last)
					p = s.upgrade(ofWebSocket(sid))
					p.text("2probe")
				}
				p.wantText("3probe")
				f.want("6")
				f.close()
				p.text("2probe") // once more is harmless
				p.wantText("3probe")
				p.text("5", "4a")
				p.wantText("4a")
				p.Close()
				o.wantEnded(engine.TransportClose)
			})
		}
	}
}

// The upgrade waits until the client can have read all.
func TestSSEUpgradeTooEarly(t *testing.T) {
	bubble(t, "without a stream", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		f.close()
		synctest.Wait()
		o.send("a")
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		p.text("5")
		p.wantClose(1005, "")
		f = s.resume(sid, "0")
		f.want("4a", "6")
		o.session.Close()
		f.want("1")
	})
	bubble(t, "while posting", func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		f, sid, o := s.openSSE()
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		f.want("6")
		r, w := io.Pipe()
		go s.try("POST", ofSSE(sid), r)
		w.Write([]byte("4a"))
		synctest.Wait()
		p.text("5")
		p.wantClose(1005, "")
		w.Close()
		f.want("4a")
		o.session.Close()
		f.want("1")
	})
	bubble(t, "cut before the Noop", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		o.send("a")
		f.want("4a")
		p := s.upgrade(ofWebSocket(sid))
		f.close()
		synctest.Wait()
		o.send("b")
		p.text("2probe")
		p.wantText("3probe")
		o.send("c")
		f = s.resume(sid, "1")
		f.want("4b", "6")
		f.close()
		f = s.resume(sid, "2") // once more
		f.want("6")
		f.close()
		p.text("5")
		p.wantText("4c")
		p.Close()
		o.wantEnded(engine.TransportClose)
	})
}

// A client that upgrades though it did not read its stream to the end has lost the rest.
// Nothing of it is left to count.
func TestSSEUpgradeOfAClientThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{WriteTimeout: -1})
		f, sid, o := s.openSSE()
		f.close()
		synctest.Wait()
		o.send(long(1000))
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		nc := s.rawStream(ofSSE(sid))
		nc.Read(make([]byte, 4096)) // the header: the events are being written
		synctest.Wait()
		p.text("5")
		synctest.Wait()
		if got := o.session.Queued(); got != 0 || !o.session.SendVolatile(message("a")) {
			t.Errorf("%d bytes queued after the upgrade", got)
		}
		p.wantText("4a")
		p.Close()
		o.wantEnded(engine.TransportClose)
	})
}

// As with polling, see TestSessionEndsDuringTheUpgrade.
func TestSSESessionEndsDuringTheUpgrade(t *testing.T) {
	probed := func(t *testing.T, name string, play func(s *server, f *streaming, sid string, p *peer)) {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			f, sid, o := s.openSSE()
			p := s.upgrade(ofWebSocket(sid))
			p.text("2probe")
			p.wantText("3probe")
			f.want("6")
			if name != "nothing queued" {
				o.send("last")
			}
			o.session.Close()
			o.wantEnded(engine.ForcedClose)
			play(s, f, sid, p)
			synctest.Wait()
			s.wantSessions(0)
		})
	}
	probed(t, "upgraded", func(s *server, f *streaming, sid string, p *peer) {
		f.close()
		p.text("5")
		p.wantText("4last")
		p.wantClose(1005, "")
	})
	probed(t, "upgraded with the stream open", func(s *server, f *streaming, sid string, p *peer) {
		p.text("5")
		p.wantText("4last")
		p.wantClose(1005, "")
		f.wantEnd()
	})
	probed(t, "nothing queued", func(s *server, f *streaming, sid string, p *peer) {
		synctest.Wait()
		p.text("5")
		p.wantClose(1005, "")
		f.wantEnd() // without a Close, which the client could take for the end of a failed upgrade
	})
	probed(t, "probe lost", func(s *server, f *streaming, sid string, p *peer) {
		p.Close()
		f.want("4last", "1")
		f.wantEnd()
	})
	probed(t, "silence", func(s *server, f *streaming, sid string, p *peer) {
		p.wantClose(1005, "") // after UpgradeTimeout
		f.want("4last", "1")
		f.wantEnd()
	})
	probed(t, "both lost", func(s *server, f *streaming, sid string, p *peer) {
		f.close()
		p.Close()
		synctest.Wait()
		s.wantSessions(1)
		f = s.resume(sid, "1")
		f.want("4last", "1")
		f.wantEnd()
	})
}

// Both sides send without a pause while the session is upgraded, or nearly, at some moment,
// and streams break: nothing is lost, doubled or out of order.
func TestSSEUpgradeUnderLoad(t *testing.T) {
	for seed := range uint64(soak.Times(60, 6000)) {
		bubble(t, fmt.Sprint(seed), func(t *testing.T) {
			sseUpgradeUnderLoad(t, inMemory(t, engine.Options{PingInterval: 20 * time.Millisecond}), seed, 300)
		})
	}
}

func TestSSEUpgradeUnderLoadOverTCP(t *testing.T) {
	s := overTCP(t, engine.Options{PingInterval: 20 * time.Millisecond})
	for seed := range uint64(soak.Times(10, 1000)) {
		sseUpgradeUnderLoad(t, s, seed, 600)
	}
}

func sseUpgradeUnderLoad(t *testing.T, s *server, seed uint64, total int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	cuts := rand.New(rand.NewPCG(seed, 3))
	g, o := s.begin(func() (int, bool) {
		if seed%2 == 0 {
			return -1, false
		}
		return 300 + cuts.IntN(4000), cuts.IntN(2) == 0
	})
	var sending sync.WaitGroup
	sending.Go(func() { // the server's side, in bursts
		rng := rand.New(rand.NewPCG(seed, 2))
		for i := range total {
			o.send(numbered(i))
			if rng.IntN(8) == 0 {
				pause(rng)
				time.Sleep(time.Duration(rng.IntN(2)) * time.Millisecond)
			}
		}
	})
	got := 0
	check := func(packet string) {
		t.Helper()
		if want := packetOf(numbered(got)); packet != want {
			t.Fatalf("packet %.50q as number %d", packet, got)
		}
		got++
	}
	sent := 0
	post := func() { // one at a time
		var payload []string
		for n := rng.IntN(10); n >= 0 && sent < total; n-- {
			payload = append(payload, "4"+strconv.Itoa(sent))
			sent++
		}
		if len(payload) > 0 {
			wantAnswer(t, s.postSSE(g.sid, strings.Join(payload, "\x1e")), 200, "ok")
		}
	}

	// The reader posts the pongs, so it posts the rest as well.
	for range rng.IntN(total / 3) {
		check(g.packet())
		if rng.IntN(3) == 0 {
			post()
		}
	}
	for attempt := 0; ; attempt++ {
		p := g.probe()
		fails, early := attempt < int(seed%3), rng.IntN(2) == 0
		if fails && early {
			p.Close()
		}
		for range rng.IntN(4) {
			post()
		}
		for packet := g.packet(); packet != "6"; packet = g.packet() {
			check(packet)
		}
		if fails {
			if rng.IntN(2) == 0 {
				g.leave()
			}
			p.Close()
			for n := rng.IntN(20); n > 0 && got < total; n-- {
				check(g.packet())
			}
			continue
		}
		if rng.IntN(2) == 0 {
			g.leave()
		}
		p.text("5")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for got < total {
				op, payload := p.read()
				switch {
				case op == ws.OpBinary:
					payload = packetOf("bin:" + payload)
				case payload == "2":
					p.text("3")
					continue
				}
				check(payload)
			}
		}()
		for ; sent < total; sent++ {
			p.text("4" + strconv.Itoa(sent))
		}
		sending.Wait()
		<-done
		eventually(t, "all is received", func() bool { return len(o.received()) >= total })
		p.Close()
		break
	}
	o.wantEnded(engine.TransportClose)
	received := o.received()
	for i := range total {
		if received[i] != strconv.Itoa(i) {
			t.Fatalf("the server received %q as number %d", received[i], i)
		}
	}
}
