package engine_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/soak"
	"github.com/parley-go/parley/internal/ws"
)

func (o *owner) wantSlowConsumer(s *server) {
	o.t.Helper()
	o.wantEnded(engine.TransportError)
	if !errors.Is(o.cause, engine.ErrSlowConsumer) {
		o.t.Errorf("cause %v, want ErrSlowConsumer", o.cause)
	}
	if n := s.Stats().SlowConsumers.Load(); n != 1 {
		o.t.Errorf("%d slow consumers counted, want 1", n)
	}
	s.wantSessions(0)
}

// fill sends to a peer that does not read until the session ends. It returns the size of the sent
// messages, as the outbox counts it.
func (o *owner) fill(size int) (sent int) {
	m := message(long(size))
	for o.session.Send(m) {
		sent += m.Size()
		time.Sleep(time.Millisecond)
	}
	return sent
}

// overLimit times its limit is the most that an outbox may hold.
const overLimit = 4

// outboxes opens, for each transport, a session whose client does not read.
var outboxes = map[string]func(s *server) *owner{
	"WebSocket": func(s *server) *owner { _, o := s.openWebSocket(); return o },
	"polling":   func(s *server) *owner { _, o := s.open(); return o },
	"sse": func(s *server) *owner {
		s.rawStream(newSSE)
		return s.owner()
	},
	"sse without a stream": func(s *server) *owner {
		f, _, o := s.openSSE()
		f.close()
		synctest.Wait()
		return o
	},
}

// eachStalled runs f for each transport, with a client that does not read.
func eachStalled(t *testing.T, o engine.Options, f func(t *testing.T, s *server, o *owner)) {
	for name, open := range outboxes {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, o)
			f(t, s, open(s))
		})
	}
}

// An outbox never exceeds its ceiling, however fast it fills.
func TestOutboxCeiling(t *testing.T) {
	const limit = 256 << 10
	eachStalled(t, engine.Options{OutboxLimit: limit}, func(t *testing.T, s *server, o *owner) {
		start := time.Now()
		if sent := o.fill(1000); sent < overLimit*limit-2000 || sent > overLimit*limit+reactor.BufferSize+2000 {
			t.Errorf("%d bytes taken, limit %d", sent, limit)
		}
		if time.Since(start) > 2*time.Second {
			t.Error("it was the time that ended it")
		}
		o.wantSlowConsumer(s)
		start = time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("the connection was there for %v (%v)", time.Since(start), err)
		}
	})
}

// A peer that takes nothing is given up soon after its outbox exceeds the limit.
func TestOutboxOverItsLimit(t *testing.T) {
	const limit = 256 << 10
	eachStalled(t, engine.Options{OutboxLimit: limit, WriteTimeout: -1, PingInterval: time.Hour}, func(t *testing.T, s *server, o *owner) {
		var sent int
		for m := message(long(1000)); sent < limit-m.Size(); sent += m.Size() {
			o.session.Send(m)
		}
		time.Sleep(time.Minute)
		o.wantOpen()
		for range 80 {
			o.send(long(1000)) // so that the limit is exceeded even after the transport has taken a buffer full
		}
		start := time.Now()
		<-o.ended
		wantSince(t, start, 5*time.Second)
		o.wantSlowConsumer(s)
	})
}

// What matters is how much a peer takes, not how much it is sent.
func TestBurstToAPeerThatReads(t *testing.T) {
	const limit, size, n = 256 << 10, 10_000, 90 // 900,000 bytes
	bubble(t, "WebSocket", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: limit, PingInterval: time.Hour})
		p, o := s.openWebSocket()
		for range n {
			o.send(long(size))
		}
		for i := range n {
			if p.wantText("4" + long(size)); i%6 == 0 { // so the server sees that 64 KiB are taken
				time.Sleep(2 * time.Second)
			}
		}
		o.wantOpen()
		p.Close()
	})
	bubble(t, "polling", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: limit, PingInterval: time.Hour})
		sid, o := s.open()
		for range 3 {
			for range n {
				o.send(long(size))
			}
			time.Sleep(4 * time.Second)
			if a := s.poll(sid); len(a.body) < n*size {
				t.Errorf("%d bytes", len(a.body))
			}
		}
		o.wantOpen()
		o.session.Close()
		s.poll(sid)
	})
	bubble(t, "sse", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: limit, PingInterval: time.Hour})
		f, _, o := s.openSSE()
		for range n {
			o.send(long(size))
		}
		for i := range n {
			if f.want("4" + long(size)); i%6 == 0 {
				time.Sleep(2 * time.Second)
			}
		}
		o.wantOpen()
		o.session.Close()
		f.want("1")
	})
}

// Neither a large message, nor what follows it, ends a client that is about to take it.
func TestLargeThenSmall(t *testing.T) {
	const size = 6 << 20 // over the ceiling of 4 MiB
	for _, first := range []string{"", "before"} {
		bubble(t, "WebSocket"+first, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			p, o := s.openWebSocket()
			if first != "" {
				o.send(first)
			}
			o.send(long(size), "ack")
			if first != "" {
				p.wantText("4" + first)
			}
			p.wantText("4" + long(size))
			p.wantText("4ack")
			o.wantOpen()
			p.Close()
		})
	}
	bubble(t, "polling", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		o.send("before", long(size), "ack")
		wantAnswer(t, s.poll(sid), 200, "4before\x1e4"+long(size)+"\x1e4ack")
		o.session.Close()
		s.poll(sid)
	})
	bubble(t, "sse, twice", func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		f, sid, o := s.openSSE()
		o.send(long(size), "ack")
		f.want("4"+long(size), "4ack")
		f.close()
		synctest.Wait()
		s.rawStream(ofSSE(sid) + "&lastEventId=0")
		o.send("more")
		f = s.resume(sid, "0")
		f.want("4"+long(size), "4ack", "4more")
		o.session.Close()
		f.want("1")
	})
}

func TestDrained(t *testing.T) {
	eachStalled(t, engine.Options{}, func(t *testing.T, s *server, o *owner) {
		if err := o.session.Drained(t.Context(), 0); err != nil {
			t.Errorf("nothing queued: %v", err)
		}
		for range 40 {
			o.session.Queue(message(long(10_000)))
		}
		if err := o.session.Drained(t.Context(), 1<<20); err != nil {
			t.Errorf("little queued: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := o.session.Drained(ctx, 1000); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody reads: %v", err)
		}
		ended, called := make(chan error), make(chan bool, 2)
		go func() { ended <- o.session.Drained(t.Context(), 1000) }()
		o.session.WhenDrained(func() { called <- true })
		synctest.Wait()
		if len(called) > 0 {
			t.Error("nobody reads, and WhenDrained calls")
		}
		o.session.Close()
		<-called
		o.session.WhenDrained(func() { called <- true })
		<-called
		if err := <-ended; !errors.Is(err, engine.ErrEnded) {
			t.Errorf("the session ends: %v", err)
		}
		if err := o.session.Drained(t.Context(), 1000); !errors.Is(err, engine.ErrEnded) {
			t.Errorf("the session has ended: %v", err)
		}
	})
	reads := func(name string, read func(s *server) (o *owner, take func(n int))) {
		bubble(t, name, func(t *testing.T) {
			s := inMemory(t, engine.Options{})
			o, take := read(s)
			const n, size = 60, 10_000
			for range n {
				o.session.Queue(message(long(size))) // Drained flushes it
			}
			var done [2]bool
			var waiting sync.WaitGroup
			for i, below := range []int{300_000, 0} {
				waiting.Go(func() {
					if err := o.session.Drained(t.Context(), below); err != nil {
						t.Error(err)
					}
					done[i] = true
				})
			}
			called := make(chan bool, 1)
			o.session.WhenDrained(func() { called <- true })
			synctest.Wait()
			if done != [2]bool{} || len(called) > 0 {
				t.Errorf("drained %v before the peer has read", done)
			}
			o.session.Send(message("later")) // nobody waits for this one
			if name != "polling" {
				take(40)
				synctest.Wait()
				if done != [2]bool{true, false} || len(called) > 0 {
					t.Errorf("drained %v with a third left", done)
				}
				take(20)
			} else {
				take(60)
			}
			waiting.Wait()
			<-called
			o.session.Close()
		})
	}
	text := long(10_000)
	reads("WebSocket", func(s *server) (*owner, func(int)) {
		p, o := s.openWebSocket()
		return o, func(n int) {
			for range n {
				p.wantText("4" + text)
			}
		}
	})
	reads("polling", func(s *server) (*owner, func(int)) {
		sid, o := s.open()
		return o, func(int) { s.poll(sid) }
	})
	reads("sse", func(s *server) (*owner, func(int)) {
		f, _, o := s.openSSE()
		return o, func(n int) {
			for range n {
				f.want("4" + text)
			}
			if n == 20 { // the end of a chunk follows the last event
				go io.Copy(io.Discard, f.resp.Body)
			}
		}
	})
}

// The log says once why a session has ended.
func TestSlowConsumerIsLogged(t *testing.T) {
	var log strings.Builder
	o := engine.Options{OutboxLimit: 10_000, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	eachStalled(t, o, func(t *testing.T, s *server, o *owner) {
		log.Reset()
		o.fill(1000)
		o.wantEnded(engine.TransportError)
		time.Sleep(time.Minute)
		line, more, _ := strings.Cut(log.String(), "\n")
		if !strings.Contains(line, "slow consumer") || !strings.Contains(line, " queued=4") || !strings.Contains(line, " stalled=") || more != "" {
			t.Errorf("logged %q", log.String())
		}
	})
}

// The kernel holds bytes besides the outbox, but nothing else does.
func TestOutboxCeilingOverTCP(t *testing.T) {
	const limit = 256 << 10
	s := overTCP(t, engine.Options{OutboxLimit: limit})
	p, o := s.openWebSocket()
	p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	m, sent := message(long(1000)), 0
	for o.session.Send(m) {
		if sent += m.Size(); sent > 64<<20 {
			t.Fatal("the outbox has no limit")
		}
		for o.session.Queued() > limit/2 && o.isOpen() && sent < 8<<20 { // let it flush as much as it can
			if !o.session.Send(m) {
				break
			}
			sent += m.Size()
		}
	}
	if sent > 8<<20 {
		t.Errorf("%d bytes taken, limit %d", sent, limit)
	}
	o.wantSlowConsumer(s)
	p.Close()
}

func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		o.send("a")
		synctest.Wait()
		start := time.Now()
		for o.send("b") { // sending more does not delay it
			time.Sleep(slack / 4)
		}
		wantSince(t, start, 10*time.Second)
		o.wantSlowConsumer(s)
		p.wantEOF()
	})
}

func TestWriteTimeoutOverTCP(t *testing.T) {
	s := overTCP(t, engine.Options{WriteTimeout: 300 * time.Millisecond, OutboxLimit: 1 << 30})
	p, o := s.openWebSocket()
	p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	o.send(long(16 << 20))
	for o.isOpen() && o.session.Queued() < 1<<28 { // sending more does not delay it
		o.send("b")
	}
	o.wantSlowConsumer(s)
	p.Close()
}

// sip reads the frame of a text message of n bytes, in steps of 64 KiB with a wait before each.
func (p *peer) sip(n int, wait time.Duration) {
	p.t.Helper()
	for left := 10 + 1 + n; left > 0; left -= reactor.BufferSize { // header, type, data
		time.Sleep(wait)
		if _, err := io.CopyN(io.Discard, p.r, int64(min(reactor.BufferSize, left))); err != nil {
			p.t.Fatalf("%d bytes before the end: %v", left, err)
		}
	}
}

// It is enough that the client takes something within the time.
func TestSlowReaderIsNotAStalledOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{PingInterval: time.Hour})
		p, o := s.openWebSocket()
		o.send(long(500_000), "end")
		p.sip(500_000, 8*time.Second)
		p.wantText("4end")
		o.wantOpen()
		p.Close()
	})
}

func TestVolatileOverWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		synctest.Wait()
		if !o.session.SendVolatile(message("a")) {
			t.Error("dropped, though the transport was ready")
		}
		synctest.Wait() // a is being written, and nobody reads
		if o.session.SendVolatile(message("b")) {
			t.Error("queued behind a stalled write")
		}
		p.wantText("4a")
		synctest.Wait()
		if !o.session.SendVolatile(message("c"), message("bin:d")) {
			t.Error("dropped, though the transport was ready again")
		}
		p.wantText("4c")
		p.want(ws.OpBinary, "d")
		if n := s.Stats().VolatileDrops.Load(); n != 1 {
			t.Errorf("%d drops counted, want 1", n)
		}
		p.Close()
		o.wantEnded(engine.TransportClose)
		if o.session.SendVolatile(message("e")) || s.Stats().VolatileDrops.Load() != 1 {
			t.Error("sent, or counted, after the end")
		}
	})
}

func TestVolatileOverPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		if o.session.SendVolatile(message("a")) {
			t.Error("queued without a poll")
		}
		poll := s.pollLater(sid)
		if !o.session.SendVolatile(message("b")) {
			t.Error("dropped, though a poll was waiting")
		}
		wantAnswer(t, <-poll, 200, "4b")
		o.session.Close()
		s.poll(sid)
	})
}

// A message larger than the outbox may be sent alone.
func TestLargeMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: 1000})
		p, o := s.openWebSocket()
		for _, n := range []int{125, 126, 999, 65535, 65536, 70_000, 3 << 20} {
			if !o.send(long(n)) {
				t.Fatalf("%d bytes refused", n)
			}
			p.wantText("4" + long(n))
			synctest.Wait()
			o.send("bin:" + long(n))
			p.want(ws.OpBinary, long(n))
			synctest.Wait()
		}
		p.Close()

		sid, o := s.open()
		o.send(long(3 << 20))
		wantAnswer(t, s.poll(sid), 200, "4"+long(3<<20))
		o.session.Close()
		s.poll(sid)
	})
}

// When the session ends, the current frame is finished and later messages are dropped.
func TestCloseFrameComesBetweenFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		o.send(long(200_000), "dropped", "dropped, too")
		head := make([]byte, 10_000)
		io.ReadFull(p.r, head)
		p.text("2") // breaks the protocol
		o.wantEnded(engine.TransportError)
		if _, err := io.CopyN(io.Discard, p.r, 10+200_001-int64(len(head))); err != nil {
			t.Fatal(err)
		}
		p.wantClose(ws.CloseNoStatus, "")
	})
}

// Close waits for a slow reader for as long as it keeps reading.
func TestCloseDeliversToASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		const n = 1_000_000
		o.send(long(n), "end")
		o.session.Close()
		p.sip(n, 4*time.Second) // over a minute
		p.wantText("4end")
		p.wantClose(ws.CloseNoStatus, "")
	})
}

// A slow reader gets every frame whole and in order, over a socket that takes few bytes at a time,
// with pongs in between.
func TestPartialWritesKeepTheOrder(t *testing.T) {
	s := overTCP(t, engine.Options{OutboxLimit: -1})
	for seed := range uint64(soak.Times(6, 600)) {
		rng := rand.New(rand.NewPCG(seed, 0))
		p, o := s.openWebSocket()
		p.Conn.(*net.TCPConn).SetReadBuffer(32 << 10)
		p.r.Reset(sipper{p.Conn, rng})
		const total = 150
		var sending sync.WaitGroup
		sizes := rand.New(rand.NewPCG(seed, 1))
		sending.Go(func() {
			for i := range total {
				size := sizes.IntN(200)
				switch sizes.IntN(10) {
				case 0:
					size = sizes.IntN(300_000)
				case 1:
					size = reactor.BufferSize - 30 + sizes.IntN(60)
				}
				m := strconv.Itoa(i) + ":" + long(size)
				if i%2 == 0 {
					m = "bin:" + m
				}
				o.send(m)
				if i%20 == 0 {
					p.writeFrame(ws.OpPing, strconv.Itoa(i))
				}
			}
		})
		for next, pongs := 0, 0; next < total || pongs < total/20; {
			op, payload := p.read()
			if op == ws.OpPong {
				if payload != strconv.Itoa(20*pongs) {
					t.Fatalf("pong %q as number %d", payload, pongs)
				}
				pongs++
				continue
			}
			if op == ws.OpText {
				payload = strings.TrimPrefix(payload, "4")
			}
			number, rest, _ := strings.Cut(payload, ":")
			if number != strconv.Itoa(next) || strings.Trim(rest, "x") != "" || (op == ws.OpBinary) != (next%2 == 0) {
				t.Fatalf("frame %v %.20q as number %d", op, payload, next)
			}
			next++
		}
		sending.Wait()
		p.Close()
		o.wantEnded(engine.TransportClose)
	}
}

// sipper reads a little at a time.
type sipper struct {
	io.Reader
	rng *rand.Rand
}

func (r sipper) Read(b []byte) (int, error) {
	return r.Reader.Read(b[:min(len(b), 1+r.rng.IntN(30_000))])
}

// WriteTimeout also applies to the answer to a probe, if the client has upgraded without reading
// that.
func TestWriteTimeoutOfTheProbesAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		sid, o := s.open()
		p := s.upgrade(ofWebSocket(sid))
		p.text("2probe")
		synctest.Wait() // the answer is being written, and nobody reads
		p.text("5")
		start := time.Now()
		for o.isOpen() && time.Since(start) < 10*time.Minute {
			time.Sleep(slack / 4)
			_ = p.tryFrame(ws.OpText, "3") // the connection may be gone
		}
		wantSince(t, start, 10*time.Second)
		o.wantSlowConsumer(s)
	})
}
