package engine_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// pausing pauses its session at every eighth message.
type pausing struct {
	session  *engine.Session
	messages int
}

func pauseOften(s *engine.Session) engine.Handler { return &pausing{session: s} }

func (p *pausing) Message(bool, []byte) {
	if p.messages++; p.messages%8 == 0 {
		p.session.Pause()
	}
}

func (p *pausing) Opened()                     {}
func (p *pausing) Closed(engine.Reason, error) {}

// posting is a session whose client posts.
type posting struct {
	*server
	t       *testing.T
	query   string
	session *owner
}

// eachPosting runs f for each transport whose clients post.
func eachPosting(t *testing.T, o engine.Options, f func(p posting)) {
	bubble(t, "polling", func(t *testing.T) {
		s := inMemory(t, o)
		sid, own := s.open()
		f(posting{s, t, ofPolling(sid), own})
	})
	bubble(t, "sse", func(t *testing.T) {
		s := inMemory(t, o)
		_, sid, own := s.openSSE()
		f(posting{s, t, ofSSE(sid), own})
	})
}

// giveUp posts a body and abandons the POST once the server waits.
func (p posting) giveUp(body string) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	r := &http.Request{
		Method: "POST", Header: http.Header{},
		URL:  &url.URL{Scheme: p.scheme, Host: p.host, Path: "/engine.io/", RawQuery: p.query},
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
	failed := make(chan error)
	go func() {
		resp, err := p.client.Do(r.WithContext(ctx))
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	synctest.Wait()
	cancel()
	if err := <-failed; err == nil {
		p.t.Error("the POST was answered")
	}
	synctest.Wait()
}

// bodyOf returns a body of n messages.
func bodyOf(n int) string {
	packets := make([]string, n)
	for i := range packets {
		packets[i] = fmt.Sprint("4", i)
	}
	return strings.Join(packets, "\x1e")
}

func (p posting) wantCount(n int) {
	p.t.Helper()
	got := p.session.received()
	for i, m := range got {
		if m != fmt.Sprint(i) {
			p.t.Fatalf("message %d is %q", i, m)
		}
	}
	if len(got) != n {
		p.t.Errorf("%d messages handed on, want %d", len(got), n)
	}
}

func TestPausedSessionHandsNothingOn(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften}, func(p posting) {
		answered := make(chan answer, 1)
		go func() { answered <- p.do("POST", p.query, bodyOf(6000)) }()
		for n := 8; n < 6000; n += 8 {
			synctest.Wait()
			p.wantCount(n)
			p.session.session.Resume()
		}
		synctest.Wait()
		p.wantCount(6000)
		select {
		case <-answered:
			p.t.Error("the POST was answered while the session is paused")
		default:
		}
		p.session.session.Resume()
		wantAnswer(p.t, <-answered, 200, "ok")
		p.session.session.Close()
	})
}

// A POST that the client has given up still counts: until its body is handled, another POST
// overlaps with it.
func TestPostsThatAreGivenUpDoNotPileUp(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften}, func(p posting) {
		p.giveUp(bodyOf(100))
		p.wantCount(8)
		wantAnswer(p.t, p.do("POST", p.query, bodyOf(100)), 400, "")
		p.session.wantEnded(engine.TransportError)
		synctest.Wait()
		p.wantCount(8)
		p.wantSessions(0)
	})
}

func TestPostThatIsGivenUpIsHandedOn(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften, PingInterval: time.Hour}, func(p posting) {
		p.giveUp("40\x1e41\x1e42\x1e43\x1e44\x1e45\x1e46\x1e47\x1e48")
		p.wantCount(8)
		p.session.session.Resume()
		synctest.Wait()
		p.wantCount(9)
		wantAnswer(p.t, p.do("POST", p.query, "49"), 200, "ok")
		p.wantCount(10)
		p.session.session.Close()
	})
}

// The end of the session releases a waiting POST and drops the rest of its body.
func TestPausedSessionEnds(t *testing.T) {
	eachPosting(t, engine.Options{Open: pauseOften}, func(p posting) {
		answered := make(chan answer, 1)
		go func() { answered <- p.do("POST", p.query, bodyOf(100)) }()
		synctest.Wait()
		p.session.session.Close()
		wantAnswer(p.t, <-answered, 200, "ok")
		p.wantCount(8)
	})
}

// Messages of a WebSocket wait too, even those that were read already.
func TestPausedWebSocketHandsNothingOn(t *testing.T) {
	const total = 2000
	play := func(t *testing.T, p *peer, o *owner, until func(n int)) {
		var frames []byte
		for i := range total {
			frames = ws.AppendMaskedFrame(frames, ws.OpText, fmt.Appendf(nil, "4%d", i))
		}
		go p.Write(frames)
		for n := 8; n <= total; n += 8 {
			until(n)
			if got := len(o.received()); got != n {
				t.Fatalf("%d messages handed on, want %d", got, n)
			}
			o.session.Resume()
		}
		for i, m := range o.received() {
			if m != fmt.Sprint(i) {
				t.Fatalf("message %d is %q", i, m)
			}
		}
		p.Close()
		o.wantEnded(engine.TransportClose)
	}
	bubble(t, "in memory", func(t *testing.T) {
		p, o := inMemory(t, engine.Options{Open: pauseOften}).openWebSocket()
		play(t, p, o, func(int) { synctest.Wait() })
	})
	for name, serve := range map[string]func(testing.TB, engine.Options) *server{"TCP": overTCP, "TLS": overTLS} {
		t.Run(name, func(t *testing.T) {
			p, o := serve(t, engine.Options{Open: pauseOften}).openWebSocket()
			play(t, p, o, func(n int) {
				eventually(t, fmt.Sprint(n, " messages"), func() bool { return len(o.received()) >= n && o.session.Stats().Paused })
			})
		})
	}
}

// Data that was sent before does not delay the end of a paused session.
func TestPausedWebSocketEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end    func(p *peer, o *owner)
		reason engine.Reason
	}{
		"by the server": {func(_ *peer, o *owner) { o.session.Close() }, engine.ForcedClose},
		"by a fault":    {func(p *peer, o *owner) { o.session.Resume(); p.text("x") }, engine.ParseError},
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: pauseOften})
			p, o := s.openWebSocket()
			var frames []byte
			for i := range 12 {
				frames = ws.AppendMaskedFrame(frames, ws.OpText, fmt.Appendf(nil, "4%d", i))
			}
			p.Write(frames)
			synctest.Wait()
			start := time.Now()
			tt.end(p, o)
			p.wantClose(1005, "")
			if d := time.Since(start); d > time.Second {
				t.Errorf("after %v", d)
			}
			o.wantEnded(tt.reason)
		})
	}
}

// The client of a paused session gets every ping that it needs, and owes nothing.
func TestPingsGoOnWhilePaused(t *testing.T) {
	const pings = 6
	// wantPings reads pings and checks that each comes in time.
	wantPings := func(t *testing.T, next func()) {
		t.Helper()
		for range pings {
			start := time.Now()
			next()
			if d := time.Since(start); d > interval+slack {
				t.Errorf("%v without a ping", d)
			}
		}
	}
	// wantBeat checks the heartbeat after the pause: a ping, a pong, a ping, then silence.
	wantBeat := func(t *testing.T, o *owner, ping, pong, end func()) {
		t.Helper()
		for range 2 {
			start := time.Now()
			ping()
			wantSince(t, start, interval)
			pong()
		}
		start := time.Now()
		ping()
		wantSince(t, start, interval)
		start = time.Now()
		end()
		wantSince(t, start, timeout)
		o.wantEnded(engine.PingTimeout)
	}
	for _, before := range []time.Duration{0, interval + timeout/2} { // the time before the pause
		bubble(t, fmt.Sprint("WebSocket ", before), func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			p, o := s.openWebSocket()
			pongs := make(chan string, 100)
			go func() {
				for pong := range pongs {
					p.text(pong)
				}
			}()
			ping := func() { p.wantText("2") }
			if before > 0 {
				ping()
				time.Sleep(before - interval)
			}
			o.session.Pause()
			if before > 0 {
				pongs <- "3"
			}
			wantPings(t, func() { ping(); pongs <- "3" })
			pongs <- "4a"
			synctest.Wait()
			o.wantReceived()
			o.session.Resume()
			synctest.Wait()
			o.wantReceived("a")
			wantBeat(t, o, ping, func() { p.text("3") }, func() { p.wantClose(1005, "") })
			close(pongs)
		})
		bubble(t, fmt.Sprint("polling ", before), func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			sid, o := s.open()
			ping := func() { wantAnswer(t, s.poll(sid), 200, "2") }
			pongs := make([]string, pings)
			if before > 0 {
				ping()
				pongs = append(pongs, "")
				time.Sleep(before - interval)
			}
			for i := range pongs {
				pongs[i] = "3"
			}
			o.session.Pause()
			wantPings(t, ping)
			time.Sleep(10*interval - time.Second) // pings do not pile up: the next poll gets one
			wantAnswer(t, s.poll(sid), 200, "2")
			o.session.Resume()
			s.post(sid, strings.Join(append(pongs, "3"), "\x1e"))
			wantBeat(t, o, ping, func() { s.post(sid, "3") }, func() { wantAnswer(t, s.poll(sid), 200, "1") })
		})
		bubble(t, fmt.Sprint("sse ", before), func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			f, sid, o := s.openSSE()
			ping := func() { f.want("2") }
			if before > 0 {
				ping()
				time.Sleep(before - interval)
			}
			o.session.Pause()
			first := make(chan answer, 1)
			go func() { first <- s.postSSE(sid, "3") }()
			pongs := "3"
			wantPings(t, func() { ping(); pongs += "\x1e3" })
			if before == 0 {
				pongs = pongs[2:] // the pong in the first POST counts for one of the pings
			}
			o.send("a")
			f.want("4a")
			last := f.last
			f.close()
			o.session.Resume()
			wantAnswer(t, <-first, 200, "ok")
			// One pong answers the first ping only: the later events are kept.
			f = s.resume(sid, "1")
			for range pings - 1 {
				ping()
			}
			if before > 0 {
				ping()
			}
			f.want("4a")
			if f.last != last {
				t.Errorf("event %s, want %s", f.last, last)
			}
			s.postSSE(sid, pongs[2:])
			wantBeat(t, o, ping, func() { s.postSSE(sid, "3") }, func() { f.want("1") })
		})
	}
}

// Clients of revision 3 ping and wait for a pong. A paused session cannot read their pings.
func TestRevision3PongsWhilePaused(t *testing.T) {
	// wantPongs reads pongs for longer than the client would have waited without any.
	wantPongs := func(t *testing.T, next func()) {
		t.Helper()
		for start := time.Now(); time.Since(start) < 5*(interval+timeout); {
			last := time.Now()
			next()
			if d := time.Since(last); d > min(interval, timeout)-slack {
				t.Errorf("%v without a pong", d)
			}
		}
	}
	bubble(t, "WebSocket", func(t *testing.T) {
		s := inMemory(t, eio3)
		p, o := s.openWebSocket3("")
		o.session.Pause()
		go p.text("2", "4a")
		wantPongs(t, func() { p.wantText("3") })
		o.session.Resume()
		p.wantText("3") // answers the ping
		synctest.Wait()
		o.wantReceived("a")
		start := time.Now()
		p.wantClose(1005, "")
		wantSince(t, start, interval+timeout)
		o.wantEnded(engine.PingTimeout)
	})
	bubble(t, "polling", func(t *testing.T) {
		s := inMemory(t, eio3)
		q, o := s.open3("")
		o.session.Pause()
		wantPongs(t, func() { wantAnswer(t, s.do("GET", q, ""), 200, "1:3") })
		o.session.Resume()
		start := time.Now()
		wantAnswer(t, s.do("GET", q, ""), 200, "1:1")
		wantSince(t, start, interval+timeout)
		o.wantEnded(engine.PingTimeout)
	})
}

// A client gets its pings in time even if its session is paused and resumed again and again before
// the session reads its pong.
func TestPingsGoOnWhilePausedOftenEnough(t *testing.T) {
	for _, tt := range []struct {
		name              string
		interval, timeout time.Duration
		eio3              bool
		pulse             string
		most              time.Duration // between two pulses
	}{
		{"short timeout", interval, timeout, false, "2", interval},
		{"long timeout", time.Second, time.Minute, false, "2", time.Second},
		{"revision 3", interval, timeout, true, "3", timeout / 2},
	} {
		bubble(t, tt.name, func(t *testing.T) {
			s := inMemory(t, engine.Options{AllowEIO3: true, PingInterval: tt.interval, PingTimeout: tt.timeout})
			var p *peer
			var o *owner
			if tt.eio3 {
				p, o = s.openWebSocket3("")
			} else {
				p, o = s.openWebSocket()
			}
			stop := make(chan struct{})
			go func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
						o.session.Pause()
					}
					time.Sleep(19 * time.Millisecond) // less than a tick of the wheel
					o.session.Resume()
				}
			}()
			for range 10 {
				start := time.Now()
				p.wantText(tt.pulse)
				if d := time.Since(start); d > tt.most+slack {
					t.Errorf("%v without %q", d, tt.pulse)
				}
			}
			o.wantOpen()
			close(stop)
			p.Close()
		})
	}
}

// A client that upgrades waits for the answer to its POST, and what the session is paused for may wait
// for the client to take something, which it does after the upgrade. So that POST does not wait.
func TestUpgradeWhilePaused(t *testing.T) {
	play := func(p posting, sid string, late bool, probed func()) {
		answered := make(chan answer, 1)
		post := func() {
			go func() { answered <- p.do("POST", p.query, bodyOf(100)) }()
			synctest.Wait()
		}
		if !late {
			post()
			p.wantCount(8)
		}
		candidate := p.upgrade(ofWebSocket(sid))
		candidate.text("2probe")
		candidate.wantText("3probe")
		if late { // the client sent it before it had read the answer to its probe
			post()
		}
		probed()
		wantAnswer(p.t, <-answered, 200, "ok")
		p.wantCount(100)
		if !p.session.session.Stats().Paused {
			p.t.Error("the session is no longer paused")
		}
		p.session.send("a")
		candidate.text("5")
		candidate.wantText("4a")
		go candidate.Write(ws.AppendMaskedFrame(nil, ws.OpText, []byte("4100")))
		synctest.Wait()
		p.wantCount(100) // it is paused on its new transport, too
		p.session.session.Resume()
		synctest.Wait()
		p.wantCount(101)
		candidate.Close()
		p.session.wantEnded(engine.TransportClose)
	}
	for _, late := range []bool{false, true} {
		bubble(t, fmt.Sprint("polling, late ", late), func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: pauseOften})
			sid, own := s.open()
			play(posting{s, t, ofPolling(sid), own}, sid, late, func() {})
		})
		bubble(t, fmt.Sprint("sse, late ", late), func(t *testing.T) {
			s := inMemory(t, engine.Options{Open: pauseOften})
			f, sid, own := s.openSSE()
			play(posting{s, t, ofSSE(sid), own}, sid, late, func() { f.want("6") })
		})
	}
}
