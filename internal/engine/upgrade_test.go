package engine_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
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

// wantOpenOf checks that one session counts as open, with the transport want.
func wantOpenOf(s *server, want string) {
	s.t.Helper()
	for i, transport := range engine.Transports {
		if n := s.Stats().Open[i].Load(); (n == 1) != (transport == want) || n > 1 {
			s.t.Errorf("%d sessions of %s are open, want one of %s", n, transport, want)
		}
	}
}

func TestUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, o := s.open()
		poll := s.pollLater(sid)
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		wantAnswer(t, <-poll, 200, "6") // drained at once
		start := time.Now()
		wantAnswer(t, s.poll(sid), 200, "6")
		wantSince(t, start, 100*time.Millisecond)
		wantAnswer(t, s.post(sid, "4before"), 200, "ok") // still in use
		wantAnswer(t, s.poll(sid), 200, "4before")
		if got := o.session.Transport(); got != "polling" {
			t.Errorf("transport %q before the upgrade packet", got)
		}
		o.send("queued")
		p.text("5", "4after")
		p.wantText("4queued")
		p.wantText("4after")
		if got := o.session.Transport(); got != "websocket" {
			t.Errorf("transport %q after the upgrade packet", got)
		}
		wantRefusal(t, s.poll(sid), 400, badRequest)
		wantRefusal(t, s.post(sid, "4a"), 400, badRequest)
		o.wantOpen()
		if n := s.Stats().Upgrades.Load(); n != 1 {
			t.Errorf("%d upgrades, want 1", n)
		}
		wantOpenOf(s, "websocket")
		p.Close()
		o.wantEnded(engine.TransportClose)
		s.wantSessions(0)
	})
}

// A broken upgrade closes the candidate, not the session.
func TestBrokenUpgrades(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   ws.Opcode
		send []string
	}{
		{"upgrade without probe", ws.OpText, []string{"5"}},
		{"message before upgrade", ws.OpText, []string{"4a"}},
		{"message after probe", ws.OpText, []string{"2probe", "4a"}},
		{"another ping", ws.OpText, []string{"2prob"}},
		{"a ping without data", ws.OpText, []string{"2"}},
		{"a probe and more", ws.OpText, []string{"2probe "}},
		{"another ping after the probe", ws.OpText, []string{"2probe", "2"}},
		{"pong after the probe", ws.OpText, []string{"2probe", "3"}},
		{"close after the probe", ws.OpText, []string{"2probe", "1"}},
		{"noop", ws.OpText, []string{"6"}},
		{"open", ws.OpText, []string{"0{}"}},
		{"type 7", ws.OpText, []string{"7"}},
		{"pong", ws.OpText, []string{"3probe"}},
		{"close", ws.OpText, []string{"1"}},
		{"garbage", ws.OpText, []string{"abc"}},
		{"empty", ws.OpText, []string{""}},
		{"binary", ws.OpBinary, []string{"2probe"}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: echo})
			sid, o := s.open()
			p := s.upgrade(ofWebSocket(sid))
			for i, m := range tt.send {
				p.writeFrame(tt.op, m)
				if i < len(tt.send)-1 {
					p.wantText("3probe")
				}
			}
			p.wantClose(ws.CloseNoStatus, "")
			o.wantReceived()
			s.stillWorks(sid)
			synctest.Wait()        // wait until the server has forgotten the candidate
			p = s.upgradeFrom(sid) // another try is allowed
			p.text("4b")
			p.wantText("4b")
			p.Close()
			o.wantEnded(engine.TransportClose)
			s.wantNothingLeft()
		})
	}
}

func TestBrokenUpgradesOfRevision3(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   ws.Opcode
		send []string
	}{
		{"upgrade without probe", ws.OpText, []string{"5"}},
		{"message before upgrade", ws.OpText, []string{"4a"}},
		{"message after probe", ws.OpText, []string{"2probe", "4a"}},
		{"bytes after probe", ws.OpText, []string{"2probe", "b4AQ=="}},
		{"a ping of the heartbeat", ws.OpText, []string{"2"}},
		{"a ping of the heartbeat after the probe", ws.OpText, []string{"2probe", "2"}},
		{"pong", ws.OpText, []string{"3probe"}},
		{"a payload of polling", ws.OpText, []string{"6:2probe"}},
		{"binary", ws.OpBinary, []string{"2probe"}},
		{"a binary probe", ws.OpBinary, []string{"\x02probe"}},
		{"a binary message", ws.OpBinary, []string{"\x04\x01"}},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, eio3With(echo))
			q, o := s.open3("")
			upgrade := strings.Replace(q, "polling", "websocket", 1)
			p := s.upgrade(upgrade)
			for i, m := range tt.send {
				p.writeFrame(tt.op, m)
				if i < len(tt.send)-1 {
					p.wantText("3probe")
				}
			}
			p.wantClose(ws.CloseNoStatus, "")
			o.wantReceived()
			wantAnswer(t, s.do("POST", q, "2:4a"), 200, "ok")
			wantAnswer(t, s.do("GET", q, ""), 200, "2:4a")
			synctest.Wait()
			p = s.upgrade(upgrade)
			p.text("2probe")
			p.wantText("3probe")
			p.text("5", "4b")
			p.wantText("4b")
			p.Close()
			o.wantEnded(engine.TransportClose)
			s.wantNothingLeft()
		})
	}
}

// stillWorks sends a message by polling to a server that echoes.
func (s *server) stillWorks(sid string) {
	s.t.Helper()
	wantAnswer(s.t, s.post(sid, "4works"), 200, "ok")
	wantAnswer(s.t, s.poll(sid), 200, "4works")
}

func TestSecondCandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, o := s.open()
		first := s.upgrade(ofWebSocket(sid))
		s.upgrade(ofWebSocket(sid)).wantClose(ws.CloseNoStatus, "")
		first.text("2probe")
		first.wantText("3probe")
		s.upgrade(ofWebSocket(sid)).wantClose(ws.CloseNoStatus, "")
		first.text("2probe") // a second probe is harmless
		first.wantText("3probe")
		first.text("5", "4a")
		first.wantText("4a")
		s.upgrade(ofWebSocket(sid)).wantClose(ws.CloseNoStatus, "") // upgraded already
		first.Close()
		o.wantEnded(engine.TransportClose)
	})
}

func TestUpgradeOfAWebSocketSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		s.upgrade(ofWebSocket(o.session.ID())).wantClose(ws.CloseNoStatus, "")
		o.wantOpen()
		p.Close()
	})
}

func TestUpgradeIsNotAllowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{NoUpgrades: true, Open: echo})
		sid, o := s.open()
		s.upgrade(ofWebSocket(sid)).wantClose(ws.CloseNoStatus, "")
		s.stillWorks(sid)
		o.session.Close()
		s.poll(sid)
	})
}

func TestUpgradeWhilePosting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, o := s.open()
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		p.wantText("3probe")
		r, w := io.Pipe()
		go s.try("POST", ofPolling(sid), r)
		w.Write([]byte("4a"))
		synctest.Wait()
		p.text("5") // the order of a and of later messages here would be unknown
		p.wantClose(ws.CloseNoStatus, "")
		w.Close()
		wantAnswer(t, s.poll(sid), 200, "4a")
		o.session.Close()
		s.poll(sid)
	})
}

func TestUpgradeTimeout(t *testing.T) {
	for _, probe := range []bool{false, true} {
		bubble(t, fmt.Sprint("probed ", probe), func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: echo})
			sid, o := s.open()
			start := time.Now()
			p := s.upgrade(ofWebSocket(sid))
			if probe {
				p.text("2probe")
				p.wantText("3probe")
			}
			p.wantClose(ws.CloseNoStatus, "")
			wantSince(t, start, 10*time.Second)
			s.stillWorks(sid)
			o.session.Close()
			s.poll(sid)
		})
	}
}

func TestCandidateGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{Open: echo})
		sid, o := s.open()
		for range 3 {
			p := s.upgrade(ofWebSocket(sid))
			p.text("2probe")
			p.wantText("3probe")
			p.Close()
			synctest.Wait()
			s.stillWorks(sid)
		}
		p := s.upgrade(ofWebSocket(sid))
		p.writeFrame(ws.OpClose, "\x03\xe8")
		p.want(ws.OpClose, "\x03\xe8")
		p.wantEOF()
		s.stillWorks(sid)
		o.session.Close()
		s.poll(sid)
	})
}

// A session is closed during the upgrade. A client whose probe was answered stops polling. It gets
// the messages queued before, and learns of the end, once it has upgraded. It may also go back to
// polling, or do neither.
func TestSessionEndsDuringTheUpgrade(t *testing.T) {
	probed := func(t *testing.T, play func(s *server, sid string, p *peer)) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			sid, o := s.open()
			p := s.upgrade(ofWebSocket(sid))
			p.text("2probe")
			p.wantText("3probe")
			o.send("last")
			o.session.Close()
			o.wantEnded(engine.ForcedClose)
			s.upgrade(ofWebSocket(sid)).wantClose(ws.CloseNoStatus, "") // closed but not forgotten yet
			play(s, sid, p)
			s.wantSessions(0)
			wantRefusal(t, s.poll(sid), 400, unknownSession)
		})
	}
	t.Run("upgraded", func(t *testing.T) {
		probed(t, func(s *server, sid string, p *peer) {
			p.text("5")
			p.wantText("4last")
			p.wantClose(ws.CloseNoStatus, "")
		})
	})
	t.Run("polling", func(t *testing.T) {
		probed(t, func(s *server, sid string, p *peer) {
			wantAnswer(t, s.poll(sid), 200, "4last")
			wantAnswer(t, s.poll(sid), 200, "1")
			p.wantClose(ws.CloseNoStatus, "")
		})
	})
	t.Run("probe lost", func(t *testing.T) {
		probed(t, func(s *server, sid string, p *peer) {
			p.Close()
			synctest.Wait()
			wantAnswer(t, s.poll(sid), 200, "4last")
			wantAnswer(t, s.poll(sid), 200, "1")
		})
	})
	t.Run("silence", func(t *testing.T) {
		probed(t, func(s *server, sid string, p *peer) {
			p.wantClose(ws.CloseNoStatus, "") // after UpgradeTimeout
			time.Sleep(30 * time.Second)
		})
	})
	t.Run("not probed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			sid, o := s.open()
			p := s.upgrade(ofWebSocket(sid))
			o.session.Close()
			p.wantClose(ws.CloseNoStatus, "")
			wantAnswer(t, s.poll(sid), 200, "1")
			s.wantSessions(0)
		})
	})
}

// A poll that the client abandons after it has upgraded does not end the session.
func TestPollAbandonedAtTheUpgrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 {
			s := inMemory(t, engine.Options{Open: echo})
			sid, o := s.open()
			p := s.upgrade(ofWebSocket(sid))
			p.text("2probe")
			p.wantText("3probe")
			nc, _ := s.dial(t.Context(), "", "")
			fmt.Fprintf(nc, "GET /engine.io/?%s HTTP/1.1\r\nHost: x\r\n\r\n", ofPolling(sid))
			synctest.Wait()
			go nc.Close()
			p.text("5", "4a")
			synctest.Wait()
			select {
			case <-o.ended: // the client abandoned the poll before the upgrade, which is an error
			default:
				p.wantText("4a")
				p.Close()
			}
		}
	})
}

// Both sides send without a pause while the session upgrades at a random moment. Nothing is lost,
// duplicated or reordered.
func TestUpgradeUnderLoad(t *testing.T) {
	for seed := range uint64(soak.Times(60, 6000)) {
		bubble(t, fmt.Sprint(seed), func(t *testing.T) { upgradeUnderLoad(t, inMemory(t, engine.Options{}), seed, 300) })
	}
}

func TestUpgradeUnderLoadOverTCP(t *testing.T) {
	s := overTCP(t, engine.Options{})
	for seed := range uint64(soak.Times(15, 3000)) {
		upgradeUnderLoad(t, s, seed, 1000)
	}
}

// loadClient behaves like the official client: it polls without a pause, posts one payload at a
// time, stops both for the upgrade, and does not resume them.
type loadClient struct {
	*server
	sid   string
	total int
	got   []string
	sent  int
	rng   *rand.Rand
}

func upgradeUnderLoad(t *testing.T, s *server, seed uint64, total int) {
	sid, o := s.open()
	c := &loadClient{server: s, sid: sid, total: total, rng: rand.New(rand.NewPCG(seed, 1))}
	var sending sync.WaitGroup
	sending.Go(func() { // the server's side, in bursts
		rng := rand.New(rand.NewPCG(seed, 2))
		for i := 0; i < total; {
			for n := rng.IntN(20); n >= 0 && i < total; n-- {
				m := strconv.Itoa(i)
				if i%3 == 0 {
					m = "bin:" + m
				}
				o.send(m)
				i++
			}
			pause(rng)
		}
	})

	stopPolling := make(chan struct{})
	polled := make(chan struct{})
	go func() {
		defer close(polled)
		for {
			select {
			case <-stopPolling:
				return
			default:
				c.receive(strings.Split(c.poll(sid).body, "\x1e")...)
			}
		}
	}()
	upgradeAt := c.rng.IntN(total/2 + 1)
	for c.sent < upgradeAt {
		c.postSome()
	}
	p := s.upgrade(ofWebSocket(sid))
	p.text("2probe")
	for range c.rng.IntN(4) { // continue until the answer arrives
		c.postSome()
	}
	p.wantText("3probe")
	close(stopPolling)
	<-polled
	p.text("5")

	done := make(chan struct{})
	go func() {
		defer close(done)
		for len(c.got) < total {
			op, payload := p.read()
			if op == ws.OpBinary {
				payload = "4bin:" + payload
			}
			c.receive(payload)
		}
	}()
	for ; c.sent < total; c.sent++ {
		p.text("4" + strconv.Itoa(c.sent))
	}
	p.text("4end")
	sending.Wait()
	<-done
	for range 1000 {
		if got := o.received(); len(got) > 0 && got[len(got)-1] == "end" {
			break
		}
		p.writeFrame(ws.OpPing, "")
		p.want(ws.OpPong, "")
	}
	p.Close()
	o.wantEnded(engine.TransportClose)

	received := o.received()
	if len(received) != total+1 {
		t.Fatalf("the server received %d messages, want %d", len(received), total+1)
	}
	for i := range total {
		want := strconv.Itoa(i)
		if received[i] != want {
			t.Fatalf("the server received %q as number %d", received[i], i)
		}
		if got := strings.TrimPrefix(c.got[i], "bin:"); got != want {
			t.Fatalf("the client received %q as number %d", c.got[i], i)
		}
	}
}

// receive handles packets from a poll or a frame.
func (c *loadClient) receive(packets ...string) {
	for _, packet := range packets {
		switch packet[0] {
		case '4':
			c.got = append(c.got, packet[1:])
		case 'b':
			c.got = append(c.got, "bin:"+fromBase64(packet[1:]))
		case '6':
		default:
			c.t.Errorf("packet %q", packet)
		}
	}
}

func (c *loadClient) postSome() {
	var payload []string
	for n := c.rng.IntN(10); n >= 0 && c.sent < c.total; n-- {
		payload = append(payload, "4"+strconv.Itoa(c.sent))
		c.sent++
	}
	if len(payload) > 0 {
		wantAnswer(c.t, c.post(c.sid, strings.Join(payload, "\x1e")), 200, "ok")
	}
}

// pause lets other goroutines run, for a time that depends on the seed.
func pause(rng *rand.Rand) {
	for range rng.IntN(30) {
		runtime.Gosched()
	}
}

func fromBase64(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
