package engine_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// costly are ways to spend 100 of something with a WebSocket. Each returns what the client sends.
var costly = map[string]struct {
	kind  budget.Kind
	write func() []byte
}{
	"pongs": {budget.Frames, func() []byte {
		return bytes.Repeat(ws.AppendMaskedFrame(nil, ws.OpPong, nil), 100)
	}},
	"pings": {budget.Frames, func() []byte {
		return bytes.Repeat(ws.AppendMaskedFrame(nil, ws.OpPing, []byte("x")), 50)
	}},
	"noops":    {budget.Frames, func() []byte { return bytes.Repeat(ws.AppendMaskedFrame(nil, ws.OpText, []byte("6")), 100) }},
	"upgrades": {budget.Frames, func() []byte { return bytes.Repeat(ws.AppendMaskedFrame(nil, ws.OpText, []byte("5")), 100) }},
	"fragments": {budget.Frames, func() []byte {
		first, last := ws.AppendMaskedFrame(nil, ws.OpText, []byte("6")), ws.AppendMaskedFrame(nil, ws.OpContinuation, nil)
		first[0] &^= 0x80
		middle := bytes.Clone(last)
		middle[0] &^= 0x80
		return append(append(first, bytes.Repeat(middle, 98)...), last...) // 99, and the noop itself
	}},
	"bytes": {budget.Bytes, func() []byte {
		return ws.AppendMaskedFrame(nil, ws.OpText, []byte("6"+long(93))) // with the header
	}},
}

// only limits one kind.
func only(k budget.Kind, perSecond, burst float64) (l budget.Limits) {
	l[k] = budget.Limit{PerSecond: perSecond, Burst: burst}
	return l
}

// A client over its budget waits, keeps its session, and loses nothing.
func TestOverBudget(t *testing.T) {
	const burst, perSecond = 20, 10
	for name, tt := range costly {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Budget: only(tt.kind, perSecond, burst)})
			p, o := s.openWebSocket()
			go p.discard()
			start := time.Now()
			spent := tt.write()
			p.Write(spent)
			n := 100
			if name == "pings" {
				n = 50
			}
			for _, m := range []string{"4a", "4b", "4c"} {
				frame := ws.AppendMaskedFrame(nil, ws.OpText, []byte(m))
				if p.Write(frame); tt.kind == budget.Bytes {
					n += len(frame)
				}
			}
			eventually(t, "messages", func() bool { return len(o.received()) == 3 })
			o.wantReceived("a", "b", "c")
			// The last one was charged, but nobody waits for it.
			least := time.Duration(n-burst-10) * time.Second / perSecond
			if d := time.Since(start); d < least || d > least+2*time.Second {
				t.Errorf("after %v, want %v", d, least)
			}
			if n := s.Stats().Slowed[tt.kind].Load(); n == 0 {
				t.Error("not counted")
			}
			o.wantOpen()
		})
	}
}

func TestWithinBudget(t *testing.T) {
	for name, tt := range costly {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Budget: only(tt.kind, 1, 120)})
			p, o := s.openWebSocket()
			go p.discard()
			start := time.Now()
			p.Write(tt.write())
			p.text("4a")
			synctest.Wait()
			o.wantReceived("a")
			if d := time.Since(start); d > 0 {
				t.Errorf("slowed down by %v", d)
			}
		})
	}
}

// What is posted is charged as well, in one body or in many.
func TestPostsOverBudget(t *testing.T) {
	eachPosting(t, engine.Options{Budget: budget.Limits{budget.Frames: {PerSecond: 10, Burst: 20}}}, func(p posting) {
		start := time.Now()
		wantAnswer(p.t, p.do("POST", p.query, strings.Repeat("6\x1e", 100)+"4a"), 200, "ok")
		p.session.wantReceived("a")
		if d := time.Since(start); d < 8*time.Second || d > 10*time.Second {
			p.t.Errorf("after %v, want 8 s", d)
		}
		p.session.wantOpen()
		p.session.session.Close()
	})
}

// Bodies that are refused for their size are charged as well.
func TestRefusedPostsOverBudget(t *testing.T) {
	limits := engine.Options{MaxPayload: 1000, Budget: budget.Limits{budget.Bytes: {PerSecond: 100, Burst: 2000}}}
	eachPosting(t, limits, func(p posting) {
		start := time.Now()
		for range 3 { // the 1,000 bytes over the budget take 10 s
			a, err := p.try("POST", p.query, io.MultiReader(strings.NewReader("4"+long(2000)))) // without a declared length
			if err != nil {
				p.t.Fatal(err)
			}
			wantAnswer(p.t, a, 413, "")
		}
		if d := time.Since(start); d < 10*time.Second || d > 12*time.Second {
			p.t.Errorf("after %v, want 10 s", d)
		}
		p.session.wantOpen()
		if held := p.Held(); held != 0 {
			p.t.Errorf("%d bytes are held", held)
		}
		p.session.session.Close()
	})
}

// A client that is over its budget and gives up its POST is gone.
func TestPostOverBudgetThatIsGivenUp(t *testing.T) {
	eachPosting(t, engine.Options{Budget: budget.Limits{budget.Frames: {PerSecond: 10, Burst: 20}}}, func(p posting) {
		start := time.Now()
		p.giveUp(strings.Repeat("6\x1e", 10_000) + "4a")
		p.session.wantEnded(engine.TransportError)
		wantSince(p.t, start, 0)
		if held := p.Held(); held != 0 {
			p.t.Errorf("%d bytes are held", held)
		}
		p.wantCount(0)
		p.wantSessions(0)
	})
}

// A client that only inflates is slowed down after the message that exceeds the budget.
func TestInflatingOverBudget(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{
			Compression: &ws.Compression{},
			Budget:      budget.Limits{budget.Inflated: {PerSecond: 100_000, Burst: 200_000}},
		})
		p := s.upgrade(newWebSocket, "Sec-WebSocket-Extensions", "permessage-deflate")
		p.read() // OPEN
		o := s.owner()
		d := ws.NewDeflater(ws.Client, deflateParams(p.resp.Header.Get("Sec-WebSocket-Extensions")))
		var bombs []byte
		for range 10 {
			bombs, _ = d.AppendFrame(bombs, ws.OpText, []byte("4"+long(100_000-1)))
		}
		if len(bombs) > 20_000 {
			t.Fatalf("the bombs have %d bytes", len(bombs))
		}
		start := time.Now()
		p.Write(bombs)
		synctest.Wait()
		if n := len(o.received()); n != 3 {
			t.Errorf("%d messages were inflated at once, want 3", n)
		}
		eventually(t, "all messages", func() bool { return len(o.received()) == 10 })
		least := time.Duration(700_000-len(bombs)) * time.Second / 100_000 // what came over the wire is not charged
		if d := time.Since(start); d < least {
			t.Errorf("after %v, want %v or more", d, least)
		}
	})
}

// An upload waits for nothing but the network, if it does not grow by inflating. Nor does it matter
// that some clients send large messages in pieces.
func TestUploadsWithinBudget(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{
			Compression: &ws.Compression{},
			Budget:      budget.Limits{budget.Inflated: {PerSecond: 1, Burst: 1000}, budget.Frames: {PerSecond: 1, Burst: 10}},
		})
		p := s.upgrade(newWebSocket, "Sec-WebSocket-Extensions", "permessage-deflate")
		p.read() // OPEN
		o := s.owner()
		d := ws.NewDeflater(ws.Client, deflateParams(p.resp.Header.Get("Sec-WebSocket-Extensions")))
		file := make([]byte, 900_000)
		rand.NewChaCha8([32]byte{}).Read(file)
		start := time.Now()
		for range 10 {
			compressed, _ := d.AppendFrame(nil, ws.OpBinary, file)
			p.Write(compressed)
			for rest := file; ; rest = rest[4096:] { // 220 pieces
				piece := ws.AppendMaskedFrame(nil, ws.OpContinuation, rest[:min(4096, len(rest))])
				if len(rest) == len(file) {
					piece[0] |= byte(ws.OpBinary)
				}
				if len(rest) <= 4096 {
					p.Write(piece)
					break
				}
				piece[0] &^= 0x80 // more follow
				p.Write(piece)
			}
		}
		synctest.Wait()
		if n, d := len(o.received()), time.Since(start); n != 20 || d > 0 {
			t.Errorf("%d of 20 files have arrived after %v", n, d)
		}
	})
}

// A candidate that floods is dropped, and its session goes on.
func TestCandidateOverBudget(t *testing.T) {
	for name, flood := range map[string][]byte{
		"pongs":  bytes.Repeat(ws.AppendMaskedFrame(nil, ws.OpPong, nil), 100),
		"probes": bytes.Repeat(ws.AppendMaskedFrame(nil, ws.OpText, []byte("2probe")), 100),
	} {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{Budget: budget.Limits{budget.Frames: {PerSecond: 10, Burst: 20}}})
			sid, o := s.open()
			candidate := s.upgrade(ofWebSocket(sid))
			go candidate.Write(flood)
			candidate.discard() // until the server closes
			o.wantOpen()
			o.send("a")
			time.Sleep(15 * time.Second) // until it is within its budget
			wantAnswer(t, s.poll(sid), 200, "4a")
			wantAnswer(t, s.post(sid, "4b"), 200, "ok")
			o.wantReceived("b")
		})
	}
}

// After the end of a session, its client cannot make the server read on.
func TestFloodAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(p *peer, o *owner){
		"by the server": func(_ *peer, o *owner) { o.session.Close() },
		"by a fault":    func(p *peer, _ *owner) { p.text("x") },
	} {
		for what, frame := range map[string][]byte{
			"pongs":    ws.AppendMaskedFrame(nil, ws.OpPong, nil),
			"messages": ws.AppendMaskedFrame(nil, ws.OpText, []byte("4"+long(60_000))),
		} {
			bubble(t, name+", "+what, func(t *testing.T) {
				s := inMemory(t, engine.Options{Budget: budget.Limits{budget.Frames: {PerSecond: 1, Burst: 200}}})
				p, o := s.openWebSocket()
				end(p, o)
				flooded := 0
				for {
					n, err := p.Write(frame)
					if flooded += n; err != nil {
						break
					}
				}
				if flooded > 500_000 {
					t.Errorf("the server read %d bytes", flooded)
				}
			})
		}
	}
}
