package parley_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/ws"
)

// A client that sends faster than its handlers work is slowed down. It loses nothing and affects no
// other client.
func TestFullInboxPausesReading(t *testing.T) {
	const events = 5000 // of 120 bytes; one read returns some 500
	srv, url := serve(t, &parley.Options{MaxInbox: 16})
	var handled atomic.Int64
	first := make(chan struct{}, 1)
	release := make(chan struct{})
	finished := make(chan int64, 1)
	srv.On("n", func(p *parley.Packet) error {
		var n int64
		if err := p.Decode(&n); err != nil {
			return err
		}
		if n == 0 {
			first <- struct{}{}
			<-release
		}
		if got := handled.Add(1) - 1; got != n {
			t.Errorf("event %d came as number %d", n, got)
		}
		if n == events-1 {
			finished <- n
		}
		return nil
	})
	srv.On("echo", func(p *parley.Packet) error { return p.Ack(1) })
	fast, _ := join(t, url, "")
	other, _ := join(t, url, "")
	for i := range events {
		fast.send(fmt.Sprintf(`42["n",%d,%q]`, i, strings.Repeat("x", 100)))
	}
	await(t, "first event", first)
	for range 10 {
		other.send(`421["echo"]`)
		other.expect("431[1]")
	}
	if n := srv.Stats().EventsIn; n > events/2 {
		t.Errorf("%d events were read while the handler was busy with the first", n)
	}
	close(release)
	await(t, "last event", finished)
}

// A handler waits for an acknowledgement while its socket's inbox is full. The acknowledgement is
// behind the events and must get through.
func TestAckWithFullInbox(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxInbox: 4})
	srv.On("ask", func(p *parley.Packet) error {
		if _, err := p.Socket().EmitWithAck(p.Context(), "question"); err != nil {
			return err
		}
		return p.Ack("thanks")
	})
	c, _ := join(t, url, "")
	c.send(`427["ask"]`)
	c.expect(`421["question"]`)
	for range 100 {
		c.send(`42["other"]`)
	}
	c.send("431[]")
	c.expect(`437["thanks"]`)
	// The same when the inbox was full before the question was asked:
	release := make(chan struct{})
	srv.On("late", func(p *parley.Packet) error {
		<-release
		_, err := p.Socket().EmitWithAck(p.Context(), "question")
		return errors.Join(err, p.Ack("thanks"))
	})
	c.send(`428["late"]`)
	for range 100 {
		c.send(`42["other"]`)
	}
	close(release)
	c.expect(`422["question"]`)
	c.send("432[]")
	c.expect(`438["thanks"]`)
}

// Drain waits for the client, and reports when it is gone.
func TestDrain(t *testing.T) {
	srv, url := serve(t, nil)
	sockets := make(chan *parley.Socket, 1)
	srv.OnConnection(func(s *parley.Socket) { sockets <- s })
	p := dialPolling(t, url)
	p.post("40")
	s := await(t, "socket", sockets)
	p.get()
	if err := s.Drain(t.Context()); err != nil { // nothing is queued
		t.Fatal(err)
	}
	if err := s.Emit("page", 1); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithCancel(t.Context())
	drained := make(chan error)
	go func() { drained <- s.Drain(short) }()
	cancel()
	if err := await(t, "end of Drain", drained); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain: %v, want context.Canceled", err)
	}
	go func() { drained <- s.Drain(t.Context()) }()
	if got := p.get(); got != `42["page",1]` {
		t.Fatalf("poll was answered with %q", got)
	}
	if err := await(t, "end of Drain", drained); err != nil {
		t.Errorf("Drain: %v", err)
	}
	called := make(chan bool, 1)
	for n := 0; !s.Behind(); n++ {
		if err := s.Emit("page", strings.Repeat("x", 50_000)); err != nil || n > 5 {
			t.Fatalf("after %d of 50 KB it is not behind, %v", n, err)
		}
	}
	s.WhenDrained(func() { called <- true })
	p.get()
	await(t, "call of WhenDrained", called)
	if s.Behind() {
		t.Error("behind, although it has received everything")
	}
	s.Emit("page", 2)
	go func() { drained <- s.Drain(t.Context()) }()
	p.post("41") // only the socket leaves; nobody fetches the page
	if err := await(t, "end of Drain", drained); !errors.Is(err, parley.ErrDisconnected) {
		t.Errorf("Drain: %v, want ErrDisconnected", err)
	}
}

// The inbox is limited in bytes, over all namespaces of a connection.
func TestInboxIsBoundedInBytes(t *testing.T) {
	const size, events = 10_000, 400
	srv, url := serve(t, &parley.Options{MaxInboxBytes: 100_000})
	release := make(chan struct{})
	var handled atomic.Int64
	slow := func(*parley.Packet) error { <-release; handled.Add(1); return nil }
	srv.Of("/a").On("fill", slow)
	srv.Of("/b").On("fill", slow)
	c := dial(t, url)
	c.connect("/a", "")
	c.connect("/b", "")
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range events {
			c.send(fmt.Sprintf(`42/%c,["fill",%q]`, "ab"[i%2], strings.Repeat("x", size)))
		}
		c.send(`42/a,["fill"]`)
	}()
	for srv.Stats().EventsIn < 10 {
		time.Sleep(time.Millisecond)
	}
	// Beyond the limit there is only what had been read when it was reached: 64 KiB.
	if n := srv.Stats().EventsIn; n > 20 {
		t.Errorf("%d events of %d bytes were taken", n, size)
	}
	close(release)
	await(t, "end of sending", sent)
	for handled.Load() < events+1 {
		time.Sleep(time.Millisecond)
	}
}

// While an acknowledgement is pending, reading continues in all namespaces. Higher inbox limits
// then apply, and a client that exceeds them is rejected.
func TestFloodWhileAnAckIsAwaited(t *testing.T) {
	for name, c := range map[string]struct {
		options parley.Options
		event   string
		most    uint64
	}{
		"events": {parley.Options{MaxInbox: 8}, `42/a,["fill"]`, 8 * 64},
		"bytes":  {parley.Options{MaxInboxBytes: 10_000}, `42/a,["fill","` + strings.Repeat("x", 1000) + `"]`, 4 * 10_000 / 1000},
	} {
		t.Run(name, func(t *testing.T) {
			srv, url := serve(t, &c.options)
			release := make(chan struct{})
			var handled atomic.Int64
			gone := make(chan struct{})
			srv.Of("/a").On("fill", func(*parley.Packet) error { <-release; handled.Add(1); return nil })
			srv.Of("/b").OnConnection(func(s *parley.Socket) {
				s.EmitWithAck(context.Background(), "question") // never answered
				close(gone)
			})
			client := dial(t, url)
			client.connect("/a", "")
			client.connect("/b", "")
			client.expect(`42/b,1["question"]`)
			go func() {
				for i := 0; i < 20_000; i++ {
					if client.conn.WriteMessage(t.Context(), ws.OpText, []byte(c.event)) != nil {
						return
					}
				}
			}()
			await(t, "end of the connection", gone)
			close(release)
			client.expectClosed()
			if st := srv.Stats(); st.InboxFloods == 0 || st.EventsIn > c.most+1 {
				t.Errorf("%d events were taken, want at most %d; floods counted: %d", st.EventsIn, c.most, st.InboxFloods)
			}
			if n := handled.Load(); n > 1 {
				t.Errorf("%d events of a client that was rejected were handled", n)
			}
		})
	}
}

func TestAttachmentsAreAwaitedOnlySoLong(t *testing.T) {
	srv, url := serve(t, &parley.Options{AttachmentTimeout: time.Second})
	// Joins while attachments are pending. This must not lift that deadline.
	srv.Of("/slow").Use(func(context.Context, *parley.Socket) error {
		<-time.After(20 * time.Millisecond)
		return nil
	})
	const header = `451-["x",{"_placeholder":true,"num":0}]`

	c, _ := join(t, url, "")
	c.send("40/slow,")
	c.send(header)
	c.expectClosed()

	complete := dialRaw(t, strings.TrimPrefix(url, "http://"))
	srv.On("x", func(p *parley.Packet) error { <-time.After(1500 * time.Millisecond); return p.Socket().Emit("y") })
	complete.exchange(ws.AppendMaskedFrame(frame(header), ws.OpBinary, []byte("b")), `42["y"]`) // in one write
}

// A client that sends too much is read from more slowly. It keeps its socket and loses nothing.
func TestLimitsPerSecond(t *testing.T) {
	const events, size, perSecond = 60, 100, 20
	for kind, o := range map[string]*parley.Options{
		"events": {EventsPerSecond: perSecond},
		"bytes":  {BytesPerSecond: perSecond * size},
	} {
		t.Run(kind, func(t *testing.T) {
			srv, url := serve(t, o)
			srv.On("x", func(p *parley.Packet) error { return p.Ack() })
			c, _ := join(t, url, "")
			start := time.Now()
			for i := range events {
				c.send(fmt.Sprintf(`42%d["x","%s"]`, i, strings.Repeat("x", size)))
			}
			for i := range events {
				c.expect(fmt.Sprintf("43%d[]", i))
			}
			if least := time.Second * (events - 2*perSecond - 5) / perSecond; time.Since(start) < least {
				t.Errorf("%d events in %v, want %v", events, time.Since(start), least)
			}
			if n := srv.Stats().Slowed[kind]; n == 0 || howMany(t, srv) != 1 {
				t.Errorf("slowed %d times, %d sockets", n, howMany(t, srv))
			}
		})
	}
}

func TestTooManyAcks(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxPendingAcks: 2})
	_, id := join(t, url, "")
	s := srv.Socket(id)
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := s.EmitWithAck(ctx, "x")
			results <- err
		}()
	}
	if err := await(t, "refusal", results); err != parley.ErrTooManyAcks {
		t.Errorf("got %v, want ErrTooManyAcks", err)
	}
	cancel()
	for range 2 {
		if err := await(t, "end", results); err != context.Canceled {
			t.Errorf("got %v", err)
		}
	}
}

func TestShutdown(t *testing.T) {
	srv, url := serve(t, nil)
	working, release := make(chan struct{}), make(chan struct{})
	reasons := make(chan parley.Reason, 1)
	srv.OnDisconnect(func(_ *parley.Socket, reason parley.Reason) { reasons <- reason })
	srv.On("work", func(p *parley.Packet) error {
		close(working)
		<-release
		return nil
	})
	c, id := join(t, url, "")
	c.send(`42["work"]`)
	await(t, "event", working)
	for i := range 100 {
		srv.To(id).Emit("last words", i)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Shutdown(context.Background()) }()
	for i := range 100 {
		c.expect(fmt.Sprintf(`42["last words",%d]`, i))
	}
	c.expectClosed()
	select {
	case err := <-ended:
		t.Fatalf("Shutdown returned %v while a handler was running", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := await(t, "end of Shutdown", ended); err != nil {
		t.Error(err)
	}
	if r := await(t, "disconnect", reasons); r != parley.ServerShutdown {
		t.Errorf("reason %q", r)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	srv, url := serve(t, nil)
	working, release := make(chan struct{}), make(chan struct{})
	srv.On("work", func(p *parley.Packet) error { close(working); <-release; return nil })
	c, _ := join(t, url, "")
	c.send(`42["work"]`)
	await(t, "event", working)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := srv.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	close(release)
}

func TestServe(t *testing.T) {
	srv, err := parley.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	c, _ := join(t, "http://"+l.Addr().String(), "")
	if err := srv.ListenAndServe("127.0.0.1:0"); err == nil || err == parley.ErrServerClosed {
		t.Errorf("second Serve: %v", err)
	}
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	c.expectClosed()
	if err := await(t, "end of Serve", ended); err != parley.ErrServerClosed {
		t.Errorf("Serve returned %v", err)
	}
	if err := srv.ListenAndServe("127.0.0.1:0"); err != parley.ErrServerClosed {
		t.Errorf("Serve after the end: %v", err)
	}
}

// The package must not import drivers or our tools.
func TestImportsNoDrivers(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		first, _, _ := strings.Cut(dep, "/")
		switch {
		case !strings.Contains(first, "."), strings.HasPrefix(dep, "github.com/parley-go/parley"):
		case strings.HasPrefix(dep, "github.com/tinylib/msgp"), strings.HasPrefix(dep, "github.com/philhofer/fwd"):
		default:
			t.Errorf("imports %s", dep)
		}
		if strings.HasPrefix(dep, "github.com/parley-go/parley/history/") || strings.HasPrefix(dep, "github.com/parley-go/parley/internal/app") || dep == "github.com/parley-go/parley/contract" {
			t.Errorf("imports %s", dep)
		}
	}
}

// docs/reliability.md names every limit.
func TestLimitsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	limits := 0
	for _, field := range reflect.VisibleFields(reflect.TypeFor[parley.Options]()) {
		if strings.HasPrefix(field.Name, "Max") {
			limits++
			if !strings.Contains(string(text), "`"+field.Name+"`") {
				t.Errorf("docs/reliability.md lacks %s", field.Name)
			}
		}
	}
	if limits == 0 {
		t.Error("no limits were found")
	}
}
