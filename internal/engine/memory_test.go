package engine_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// stalled opens sessions from an address whose clients read nothing.
func (s *server) stalled(n int, address string) (all []*owner) {
	s.t.Helper()
	for range n {
		_, o := s.openWebSocket(from(address)...)
		all = append(all, o)
	}
	return all
}

func open(all []*owner) (n int) {
	for _, o := range all {
		if o.isOpen() {
			n++
		}
	}
	return n
}

func TestMemoryOfAllClients(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxMemory: 4 << 20, ClientAddress: fromHeader})
		modest := s.stalled(10, "192.0.2.1")
		var greedy []*owner
		for _, address := range []string{"192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7"} {
			greedy = append(greedy, s.stalled(2, address)...)
		}
		for _, o := range modest {
			o.send(long(50_000))
		}
		for range 9 {
			for _, o := range greedy {
				o.session.Send(message(long(50_000)))
			}
		}
		time.Sleep(5 * time.Second)
		if n := open(modest); n != 10 {
			t.Errorf("%d of 10 clients are left for which little is held", n)
		}
		if n, held := open(greedy), s.Held(); n < 7 || n > 10 || held > 4<<20 || held < 3<<20 {
			t.Errorf("%d of 12 greedy clients are left; %d bytes are held", n, held)
		} else if evicted := s.Stats().Evicted.Load(); int(evicted) != 12-n {
			t.Errorf("%d counted, want %d", evicted, 12-n)
		}
		for _, o := range greedy {
			if !o.isOpen() && !errors.Is(o.cause, engine.ErrMemory) {
				t.Errorf("the cause is %v", o.cause)
			}
		}
	})
}

func TestMemoryOfOneAddress(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxMemory: 4 << 20, ClientAddress: fromHeader})
		greedy := append(s.stalled(3, "[2001:db8::1]"), s.stalled(3, "[2001:db8::2]")...) // one network
		for _, o := range greedy {
			for range 6 {
				o.session.Send(message(long(50_000)))
			}
		}
		time.Sleep(5 * time.Second)
		if n, held := open(greedy), s.Held(); n < 3 || n > 5 || held > 1<<20 {
			t.Errorf("%d of 6 clients are left; %d bytes are held", n, held)
		}
	})
}

// Behind a proxy on this machine that does not say who its clients are, all have its address.
func TestMemoryOfExemptAddresses(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxMemory: 4 << 20, ClientAddress: fromHeader})
		proxied, other := s.stalled(9, "127.0.0.1"), s.stalled(2, "192.0.2.1")
		send := func(to []*owner, times int) {
			for range times {
				for _, o := range to {
					o.session.Send(message(long(50_000)))
				}
			}
			time.Sleep(5 * time.Second)
		}
		if send(proxied, 7); open(proxied) != 9 {
			t.Errorf("%d of 9 clients are left, which hold less than all may", open(proxied))
		}
		send(proxied, 9)
		send(other, 5)
		if n, held := open(proxied), s.Held(); n > 6 || open(other) != 2 || held > 4<<20 {
			t.Errorf("%d of 9 clients and %d of 2 others are left; %d bytes are held", n, open(other), held)
		}
	})
}

// When much is held, a client is behind as soon as anything to speak of is queued for it. So what can
// wait elsewhere evicts nobody.
func TestBehind(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxMemory: 4 << 20, ClientAddress: fromHeader})
		crowd, other := s.stalled(30, "192.0.2.1"), append(s.stalled(1, "192.0.2.2"), s.stalled(1, "192.0.2.3")...)
		fill := func(o *owner) (bytes int) {
			for ; !o.session.Behind(); bytes += 50_000 {
				o.session.Send(message(long(50_000)))
			}
			return bytes
		}
		if n := fill(other[0]); n < 256<<10 || n > 400_000 {
			t.Errorf("behind when %d bytes are queued", n)
		}
		for i, o := range crowd {
			if n := fill(o); i == 0 && n < 256<<10 || i > 1 && n != 50_000 {
				t.Errorf("client %d is behind when %d bytes are queued", i, n)
			}
			if i == 7 {
				break
			}
		}
		if crowd[29].session.Behind() {
			t.Error("behind, although nothing is queued")
		}
		if n := fill(other[1]); n < 256<<10 {
			t.Errorf("from another address: behind when %d bytes are queued", n)
		}
		time.Sleep(time.Second)
		if n := s.Stats().Evicted.Load(); n != 0 {
			t.Errorf("%d evicted", n)
		}
	})
}

// A message that waits for many clients is in memory once.
func TestMemoryOfSharedMessages(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxMemory: 32 << 20, ClientAddress: fromHeader})
		crowd := s.stalled(100, "192.0.2.1")
		for range 10 {
			m := message(long(60_000))
			for _, o := range crowd {
				o.session.Send(m)
			}
		}
		time.Sleep(5 * time.Second)
		if n := open(crowd); n != 100 {
			t.Errorf("%d of 100 clients are left", n)
		}
		if n := s.Stats().Evicted.Load(); n != 0 {
			t.Errorf("%d evicted", n)
		}
	})
}

// What is held is no longer counted once it is sent, or the session has ended, over every transport.
func TestNothingIsHeldInTheEnd(t *testing.T) {
	eachStalled(t, engine.Options{OutboxLimit: 64 << 10, ClientAddress: fromHeader}, func(t *testing.T, s *server, o *owner) {
		o.fill(10_000)
		o.wantSlowConsumer(s)
		synctest.Wait()
		if held := s.Held(); held != 0 {
			t.Errorf("%d bytes are held after the end", held)
		}
	})
	bubble(t, "sent", func(t *testing.T) {
		s := inMemory(t, engine.Options{ClientAddress: fromHeader})
		sid, o := s.open()
		o.send(long(500_000))
		if held := s.Held(); held < 400_000 {
			t.Errorf("%d bytes are held, want 500,000", held)
		}
		s.poll(sid)
		synctest.Wait()
		if held := s.Held(); held != 0 {
			t.Errorf("%d bytes are held after the poll", held)
		}
		o.session.Close()
	})
	for name, end := range map[string]func(s *server, f *streaming, sid string, o *owner){
		"the client reads the end": func(s *server, f *streaming, sid string, o *owner) { o.session.Close(); f.want("1"); f.wantEnd() },
		"it does not come back":    func(s *server, f *streaming, sid string, o *owner) { f.close(); synctest.Wait(); o.session.Close() },
		"it has the messages":      func(s *server, f *streaming, sid string, o *owner) { s.resume(sid, f.last) },
		"a violation":              func(s *server, f *streaming, sid string, o *owner) { s.postSSE(sid, "nonsense") },
	} {
		bubble(t, "read over sse, "+name, func(t *testing.T) {
			s := inMemory(t, engine.Options{PingInterval: time.Hour})
			f, sid, o := s.openSSE()
			o.send(long(500_000))
			f.want("4" + long(500_000))
			synctest.Wait()
			if held := s.Held(); held < 400_000 {
				t.Errorf("%d bytes are held, want 500,000", held)
			}
			end(s, f, sid, o)
			time.Sleep(time.Minute)
			if held := s.Held(); held != 0 {
				t.Errorf("%d bytes are held", held)
			}
		})
	}
}

// What a session that has ended still wants to send counts too, and is dropped when too much is held.
func TestMemoryOfEndedSessions(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{MaxMemory: 4 << 20, ClientAddress: fromHeader})
		for range 20 {
			s.do("GET", newPolling, "", from("192.0.2.1")...)
			o := s.owner()
			o.send(long(400_000))
			o.session.Close()
		}
		time.Sleep(5 * time.Second)
		if held := s.Held(); held > 1<<20 || held < 400_000 {
			t.Errorf("%d bytes are held", held)
		}
		s.wantSessions(2)
		if n := s.Stats().Evicted.Load(); n != 0 {
			t.Errorf("%d counted, although all had ended", n)
		}
	})
}

// A message that does not end is given up. Until then, what has arrived of it counts.
func TestMessagesThatNeverEnd(t *testing.T) {
	const size = 100_000
	limits := engine.Options{BodyTimeout: 10 * time.Second, ClientAddress: fromHeader, PingInterval: time.Minute}
	frame := ws.AppendMaskedFrame(nil, ws.OpText, []byte("4"+long(size)))
	fragments := bytes.Clone(frame)
	fragments[0] &^= 0x80
	for name, part := range map[string][]byte{"frame": frame[:size/2], "fragments": fragments} {
		bubble(t, "WebSocket, "+name, func(t *testing.T) {
			s := inMemory(t, limits)
			p, o := s.openWebSocket()
			go p.discard()
			for range 5 { // whole messages in between make no difference
				p.Write(frame)
				time.Sleep(8 * time.Second)
				o.wantOpen()
			}
			start := time.Now()
			p.Write(part)
			synctest.Wait()
			if held := s.Held(); held < size/2-20_000 {
				t.Errorf("%d bytes are held", held)
			}
			<-o.ended
			wantSince(t, start, 10*time.Second)
			o.wantEnded(engine.TransportError)
			p.Close()
			synctest.Wait()
			if held := s.Held(); held != 0 {
				t.Errorf("%d bytes are held after the end", held)
			}
		})
	}
	bubble(t, "candidate", func(t *testing.T) {
		s := inMemory(t, limits)
		sid, o := s.open()
		p := s.upgrade(ofWebSocket(sid))
		p.Write(frame[:size/2])
		p.discard()
		o.wantOpen()
		o.session.Close()
	})
	eachPosting(t, limits, func(p posting) {
		r, w := io.Pipe()
		start := time.Now()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			p.try("POST", p.query, r)
		}()
		w.Write([]byte("4" + long(size/2)))
		synctest.Wait()
		if held := p.Held(); held < size/2-20_000 {
			p.t.Errorf("%d bytes are held", held)
		}
		<-p.session.ended
		wantSince(p.t, start, 10*time.Second)
		p.session.wantEnded(engine.TransportError)
		w.Close()
		<-answered
		synctest.Wait()
		if held := p.Held(); held != 0 {
			p.t.Errorf("%d bytes are held after the end", held)
		}
	})
}

// Time in which the server does not read does not count.
func TestMessageOfAPausedSession(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		s := inMemory(t, engine.Options{BodyTimeout: 10 * time.Second})
		p, o := s.openWebSocket()
		go p.discard()
		frame := ws.AppendMaskedFrame(nil, ws.OpText, []byte("4"+long(100_000)))
		p.Write(frame[:50_000])
		synctest.Wait()
		o.session.Pause()
		time.Sleep(time.Minute)
		o.session.Resume()
		p.Write(frame[50_000:])
		synctest.Wait()
		if len(o.received()) != 1 {
			t.Error("the message did not arrive")
		}
		o.wantOpen()
	})
	bubble(t, "many pauses", func(t *testing.T) { // they give no new time
		s := inMemory(t, engine.Options{BodyTimeout: 10 * time.Second})
		p, o := s.openWebSocket()
		go p.discard()
		p.Write(ws.AppendMaskedFrame(nil, ws.OpText, []byte("4"+long(100_000)))[:50_000])
		start := time.Now()
		for range 9 {
			o.session.Pause()
			time.Sleep(time.Second)
			o.session.Resume()
			time.Sleep(time.Second)
		}
		o.wantOpen()
		<-o.ended
		wantSince(t, start, 19*time.Second)
		o.wantEnded(engine.TransportError)
	})
}

// The body of a POST is not read any more when its session was ended for what it holds.
func TestBodiesOfEvictedSessions(t *testing.T) {
	eachPosting(t, engine.Options{MaxMemory: 100_000}, func(p posting) {
		r, w := io.Pipe()
		defer w.Close()
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			p.try("POST", p.query, io.MultiReader(strings.NewReader("4"+long(50_000)), r)) // an address may hold a quarter
		}()
		start := time.Now()
		<-p.session.ended
		p.session.wantEnded(engine.TransportError)
		<-answered
		wantSince(p.t, start, 0)
		synctest.Wait()
		if held := p.Held(); held != 0 {
			p.t.Errorf("%d bytes are held after the end", held)
		}
	})
}

// While too much is held, the server reads little more of bodies before it has ended sessions.
func TestBodiesWaitForAnAudit(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const posts, limit = 20, 1 << 20
		s := inMemory(t, engine.Options{MaxMemory: 4 * limit}) // an address may hold a quarter
		r, w := io.Pipe()
		var answered sync.WaitGroup
		for range posts {
			sid, _ := s.open()
			answered.Go(func() {
				s.try("POST", ofPolling(sid), io.MultiReader(strings.NewReader("4"+long(900_000)), r))
			})
		}
		synctest.Wait()
		if held := s.Held(); held < limit || held > limit+posts*(64<<10) {
			t.Errorf("%d bytes are held when it is noticed", held)
		}
		time.Sleep(5 * time.Second)
		if held, evicted := s.Held(), s.Stats().Evicted.Load(); held > limit || held < limit/4 || evicted < posts/2 {
			t.Errorf("%d bytes are held in the end, %d of %d clients were disconnected", held, evicted, posts)
		}
		w.Close()
		answered.Wait()
	})
}

// Clients can be disconnected as often as they like, because of what is held for them or because they
// take nothing. Each of these causes has one line in the log a minute.
func TestDisconnectsFloodNoLog(t *testing.T) {
	for _, tt := range []struct {
		message string
		o       engine.Options
	}{
		{"the server holds too much", engine.Options{MaxMemory: 1 << 20, WriteTimeout: -1}},
		{"slow consumer", engine.Options{OutboxLimit: 64 << 10}},
	} {
		bubble(t, tt.message, func(t *testing.T) {
			var l log
			tt.o.Logger = l.logger()
			s := inMemory(t, tt.o)
			for range 2 {
				all := s.stalled(10, "192.0.2.1:1")
				for range 4 {
					for _, o := range all {
						o.session.Send(message(long(50_000)))
					}
				}
				time.Sleep(time.Minute)
				if n := open(all); n > 8 {
					t.Errorf("%d of 10 clients are left", n)
				}
				l.want(t, tt.message)
			}
		})
	}
}
