package engine_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/poll"
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

// fill sends to a peer that does not read until the session ends, and returns what that
// counts for.
func (o *owner) fill(size int) (sent int) {
	m := message(long(size))
	for o.session.Send(m) {
		sent += m.Size()
		time.Sleep(time.Millisecond)
	}
	return sent
}

func TestOutboxLimit(t *testing.T) {
	const limit = 256 << 10
	bubble(t, "WebSocket", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: limit})
		p, o := s.openWebSocket()
		if sent := o.fill(1000); sent < limit-2000 || sent > limit+poll.BufferSize {
			t.Errorf("%d bytes taken, limit %d", sent, limit)
		}
		o.wantSlowConsumer(s)
		// It would not take a Close frame, so its connection does not wait for one.
		start := time.Now()
		if err := s.Shutdown(t.Context()); err != nil || time.Since(start) > time.Second {
			t.Errorf("the connection was there for %v (%v)", time.Since(start), err)
		}
		p.Close()
	})
	bubble(t, "polling", func(t *testing.T) {
		s := inMemory(t, engine.Options{OutboxLimit: limit})
		sid, o := s.open()
		if sent := o.fill(1000); sent < limit-5000 || sent > limit {
			t.Errorf("%d bytes taken, limit %d", sent, limit)
		}
		o.wantSlowConsumer(s)
		wantRefusal(t, s.poll(sid), 400, unknownSession)
	})
}

// Beside the outbox the kernel takes its share, but nothing else does.
func TestOutboxLimitOverTCP(t *testing.T) {
	const limit = 256 << 10
	s := overTCP(t, engine.Options{OutboxLimit: limit})
	p, o := s.openWebSocket()
	p.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	m, sent := message(long(1000)), 0
	for o.session.Send(m) {
		if sent += m.Size(); sent > 64<<20 {
			t.Fatal("the outbox has no limit")
		}
		for o.session.Queued() > limit/2 && o.isOpen() && sent < 8<<20 { // let it flush what it can
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
		for o.send("b") { // sending more does not put it off
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
	start := time.Now()
	for o.isOpen() && o.session.Queued() < 1<<28 { // sending more does not put it off
		o.send("b")
	}
	o.wantSlowConsumer(s)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("closed after %v", d)
	}
	p.Close()
}

// sip reads the frame of a text message of n bytes, 64 KiB at a time after a wait.
func (p *peer) sip(n int, wait time.Duration) {
	p.t.Helper()
	for left := 10 + 1 + n; left > 0; left -= poll.BufferSize { // header, type, data
		time.Sleep(wait)
		if _, err := io.CopyN(io.Discard, p.r, int64(min(poll.BufferSize, left))); err != nil {
			p.t.Fatalf("%d bytes before the end: %v", left, err)
		}
	}
}

// Taking something within the time is enough.
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

// A message that is larger than the outbox may be sent, alone.
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
		o.send("on its way") // to somebody who does not read
		synctest.Wait()
		o.send(long(5000))
		if o.send("one more") {
			t.Error("queued over the limit")
		}
		p.Close()
		o.wantSlowConsumer(s)

		sid, o := s.open()
		o.send(long(3 << 20))
		wantAnswer(t, s.poll(sid), 200, "4"+long(3<<20))
		o.session.Close()
		s.poll(sid)
	})
}

// A frame that has begun is finished when the session ends; what is behind it is dropped.
func TestCloseFrameComesBetweenFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := inMemory(t, engine.Options{})
		p, o := s.openWebSocket()
		o.send(long(200_000), "dropped", "dropped, too")
		head := make([]byte, 10_000)
		io.ReadFull(p.r, head)
		p.text("2") // a violation
		o.wantEnded(engine.TransportError)
		if _, err := io.CopyN(io.Discard, p.r, 10+200_001-int64(len(head))); err != nil {
			t.Fatal(err)
		}
		p.wantClose(ws.CloseNoStatus, "")
	})
}

// Close waits for a slow reader, as long as it reads.
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

// A reader that is slow in its own way gets every frame whole and in order, over a
// socket that takes few bytes at a time, with pongs in between.
func TestPartialWritesKeepTheOrder(t *testing.T) {
	s := overTCP(t, engine.Options{OutboxLimit: -1})
	for seed := range uint64(6) {
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
					size = poll.BufferSize - 30 + sizes.IntN(60)
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

// sipper reads little at a time.
type sipper struct {
	io.Reader
	rng *rand.Rand
}

func (r sipper) Read(b []byte) (int, error) {
	return r.Reader.Read(b[:min(len(b), 1+r.rng.IntN(30_000))])
}

// The answer to a client's probe has its time, too, once the client has upgraded without it.
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
