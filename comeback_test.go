package parley_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

// visits reports sockets that connect and disconnect.
type visits struct {
	sockets chan *parley.Socket
	gone    chan parley.Reason
}

func watch(n *parley.Namespace) visits {
	v := visits{make(chan *parley.Socket, 64), make(chan parley.Reason, 64)}
	n.OnConnection(func(s *parley.Socket) { v.sockets <- s })
	n.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { v.gone <- r })
	return v
}

// A client that comes back receives what was sent to its rooms while it was in them, even if it had
// left a room before it lost the connection. It receives nothing from before or after.
func TestComebackKnowsWhenItWasInWhichRoom(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	v := watch(srv.Of("/"))
	srv.Emit("before", "it was there")
	c := dial(t, url)
	a := c.connect("", "")
	s := await(t, "socket", v.sockets)
	say := func(n int, to *parley.Broadcast) {
		t.Helper()
		if err := to.Emit(fmt.Sprint(n)); err != nil {
			t.Fatal(err)
		}
	}
	board, all := srv.To("board"), srv.All()
	say(1, board) // not yet in it
	s.Join("board")
	say(2, board)
	say(3, all.Except("board"))
	s.Leave("board")
	say(4, board) // no longer in it
	say(5, all.Except("board"))
	s.Join("board", "other")
	say(6, board.To("other"))
	say(7, srv.To("other").Except("board"))
	s.Leave("board")
	say(8, srv.To("other").Except("board"))
	c.cut()
	await(t, "disconnect", v.gone)
	say(9, srv.To("other"))
	say(10, board)
	srv.Of("/else").Emit("another namespace")

	missed, again := missedUntilConnect(t, dial(t, url), back(a.PID, "")) // it says that it has not received anything
	var got []string
	for _, m := range missed {
		name, _, _ := strings.Cut(strings.TrimPrefix(m, `42["`), `"`)
		got = append(got, name)
	}
	if fmt.Sprint(got) != "[2 5 6 8 9]" || again.SID != a.SID {
		t.Errorf("missed %q, want 2, 5, 6, 8, 9", got)
	}
}

// However often a client joins and leaves, the record of it stays bounded, and nobody receives what
// was not meant for them.
func TestStaysAreBounded(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	v := watch(srv.Of("/"))
	c := dial(t, url)
	a := c.connect("", "")
	s := await(t, "socket", v.sockets)
	var last string
	for i := range 300 {
		room := fmt.Sprint("room ", i)
		s.Join(room)
		srv.To(room).Emit("inside")
		last = offset(t, c.recv())
		s.Leave(room)
		srv.To(room).Emit("outside")
	}
	c.cut()
	await(t, "disconnect", v.gone)
	if missed, again := missedUntilConnect(t, dial(t, url), back(a.PID, last)); again.SID != a.SID || len(missed) != 0 {
		t.Errorf("missed %q, recovered: %v", missed, again.SID == a.SID)
	}
}

// A failed attempt to come back does not use up the pid.
func TestReturnThatFails(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{RunMiddleware: true}})
	v := watch(srv.Of("/"))
	var mode atomic.Value
	mode.Store("pass")
	waiting := make(chan struct{}, 8)
	srv.Use(func(ctx context.Context, s *parley.Socket) error {
		switch mode.Load() {
		case "wait":
			waiting <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		case "refuse":
			return errors.New("the database is down")
		}
		return nil
	})
	c := dial(t, url)
	a := c.connect("", "")
	c.cut()
	await(t, "disconnect", v.gone)

	mode.Store("wait")
	broken := dial(t, url)
	broken.send("40" + back(a.PID, ""))
	await(t, "middleware", waiting)
	broken.cut()

	given := dial(t, url) // gives up, then tries again on the same connection
	given.send("40" + back(a.PID, ""))
	await(t, "middleware", waiting)
	given.send("41")
	given.send("40" + back(a.PID, ""))
	await(t, "middleware", waiting)

	mode.Store("refuse")
	refused := dial(t, url) // displaces the one that is still waiting
	refused.send("40" + back(a.PID, ""))
	refused.expect(`44{"message":"Connection refused","data":{"code":"internal","message":"Connection refused"}}`)
	given.expectClosed()

	mode.Store("pass")
	if again := dial(t, url).connect("", back(a.PID, "")); again.SID != a.SID {
		t.Error("the pid was good for one return, which failed")
	}
	if n := howMany(t, srv); n != 1 {
		t.Errorf("%d sockets", n)
	}
}

// A client that comes back and goes again, while its old socket has still not disconnected, loses
// nothing: neither the pid nor the namespace.
func TestReturnThatEndsBeforeTheOldSocket(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	leaving, release := make(chan struct{}), make(chan struct{})
	srv.OnRoom(func(e parley.RoomEvent) { // delays the end of the sockets that the client joined later
		if e.Type == parley.RoomLeft && e.Room == "slow" {
			close(leaving)
			<-release
		}
	})
	gone := make(chan parley.Reason, 8)
	p := srv.OfPattern(regexp.MustCompile("/dyn"))
	p.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { gone <- r })
	refused := make(chan struct{}, 8) // middleware runs for clients that are not recovered
	p.Use(func(context.Context, *parley.Socket) error { refused <- struct{}{}; return nil })
	c := dial(t, url)
	srv.Socket(c.connect("", "").SID).Join("slow")
	a := c.connect("/dyn", "")
	await(t, "middleware", refused)
	c.cut()
	await(t, "end of the connection", leaving)

	again := dial(t, url)
	again.send("40/dyn," + back(a.PID, ""))
	again.connect("", "") // the server has read the packet before
	again.cut()
	await(t, "end of the attempt", refused)
	close(release)
	await(t, "disconnect", gone)
	third := dial(t, url)
	if back := third.connect("/dyn", back(a.PID, "")); back.SID != a.SID {
		t.Error("not recovered")
	}
	if n := srv.Stats().Namespaces; n != 2 {
		t.Errorf("%d namespaces, want 2", n)
	}
	third.send("41/dyn,")
	await(t, "disconnect", gone)
	eventually(t, "the namespace is given up", func() bool { return srv.Stats().Namespaces == 1 })
}

// The old socket's handlers finish before the recovered socket's handlers start.
func TestComebackWaitsForTheOldHandlers(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	var mu sync.Mutex
	var order []string
	note := func(what string) { mu.Lock(); defer mu.Unlock(); order = append(order, what) }
	srv.OnConnection(func(s *parley.Socket) { note(fmt.Sprintf("connection %v %v", s.Recovered(), s.Data())) })
	srv.OnDisconnect(func(s *parley.Socket, r parley.Reason) { note("disconnect"); s.SetData("left") })
	begun, release := make(chan struct{}), make(chan struct{})
	srv.On("slow", func(p *parley.Packet) error {
		close(begun)
		<-release
		note("slow")
		return nil
	})
	srv.On("queued", func(*parley.Packet) error { note("queued"); return nil })
	srv.On("next", func(p *parley.Packet) error { note("next"); return p.Ack() })
	c := dial(t, url)
	a := c.connect("", "")
	c.send(`42["slow"]`)
	c.send(`42["queued"]`)
	await(t, "slow", begun)
	for srv.Stats().EventsIn < 2 {
		time.Sleep(time.Millisecond)
	}
	c2 := dial(t, url) // the old connection is still open
	c2.send("40" + back(a.PID, ""))
	c.expectClosed()
	close(release)
	if got := c2.recv(); !strings.Contains(got, a.SID) {
		t.Fatalf("not recovered: %q", got)
	}
	c2.send(`421["next"]`)
	c2.expect("431[]")
	mu.Lock()
	defer mu.Unlock()
	if got, want := fmt.Sprint(order), "[connection false <nil> slow queued disconnect connection true left next]"; got != want {
		t.Errorf("order\n%s, want\n%s", got, want)
	}
}

// Emit to a lost socket either fails or delivers later, never both.
func TestEmitToASocketThatIsGone(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	v := watch(srv.Of("/"))
	c := dial(t, url)
	a := c.connect("", "")
	s := await(t, "socket", v.sockets)
	c.cut()
	accepted := 0
	for s.Connected() { // the server may notice the loss at any time in between
		if s.Emit("kept") == nil {
			accepted++
		}
	}
	await(t, "disconnect", v.gone)
	if err := s.Emit("lost"); !errors.Is(err, parley.ErrDisconnected) {
		t.Errorf("Emit: %v, want ErrDisconnected", err)
	}
	if err := s.Volatile().Emit("lost"); !errors.Is(err, parley.ErrDisconnected) {
		t.Errorf("volatile Emit: %v, want ErrDisconnected", err)
	}
	missed, again := missedUntilConnect(t, dial(t, url), back(a.PID, ""))
	if again.SID != a.SID || len(missed) != accepted || strings.Contains(fmt.Sprint(missed), "lost") {
		t.Errorf("%d events were accepted, and %d delivered later", accepted, len(missed))
	}
	// The old socket stays disconnected.
	if err := s.Emit("lost"); !errors.Is(err, parley.ErrDisconnected) {
		t.Errorf("Emit by the old socket: %v, want ErrDisconnected", err)
	}
}

// A client that has missed much more than MaxOutbox is not a slow one.
func TestComebackThatMissedMuch(t *testing.T) {
	srv, url := serve(t, &parley.Options{
		Recovery: &parley.Recovery{}, MaxOutbox: 100_000, WriteTimeout: patience, DrainTimeout: patience,
	})
	v := watch(srv.Of("/"))
	c := dial(t, url)
	a := c.connect("", "")
	c.cut()
	await(t, "disconnect", v.gone)
	for range 100 {
		srv.Emit("large", strings.Repeat("x", 50_000))
	}
	missed, again := missedUntilConnect(t, dial(t, url), back(a.PID, ""))
	if again.SID != a.SID || len(missed) != 100 {
		t.Errorf("recovered: %v, missed %d events, want 100", again.SID == a.SID, len(missed))
	}
	if n := srv.Stats().SlowConsumers; n != 0 {
		t.Errorf("%d slow consumers", n)
	}
}

// The own room of a client that is away continues to exist while others are in it.
func TestOwnRoomWhileItsOwnerIsAway(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	v := watch(srv.Of("/"))
	c := dial(t, url)
	a := c.connect("", "")
	told := make(chan string, 16)
	srv.OnRoom(func(e parley.RoomEvent) {
		if e.Room == a.SID {
			told <- fmt.Sprintf("%s by owner: %v", e.Type, e.Socket == a.SID)
		}
	})
	other := srv.Socket(dial(t, url).connect("", "").SID)
	other.Join(a.SID)
	c.cut()
	await(t, "disconnect", v.gone)
	c = dial(t, url)
	if again := c.connect("", back(a.PID, "")); again.SID != a.SID {
		t.Fatal("not recovered")
	}
	other.Disconnect(false)
	c.send("41")
	for _, want := range []string{
		"join-room by owner: false", "leave-room by owner: true", "join-room by owner: true",
		"leave-room by owner: false", "leave-room by owner: true", "delete-room by owner: true",
	} {
		if got := await(t, "news of the room", told); got != want {
			t.Errorf("told %s, want %s", got, want)
		}
	}
}

// Recovery does not cover events of Encode, even if middleware sends them: they arrive once.
func TestEncodedInMiddlewareArrivesOnce(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	v := watch(srv.Of("/"))
	e, err := srv.Encode("encoded")
	if err != nil {
		t.Fatal(err)
	}
	srv.Use(func(_ context.Context, s *parley.Socket) error { return errors.Join(s.Send(e), s.Emit("kept")) })
	c := dial(t, url)
	a := c.connect("", "")
	c.expect(`42["encoded"]`)
	if got := c.recv(); !strings.HasPrefix(got, `42["kept","`) {
		t.Errorf("received %q", got)
	}
	c.cut()
	await(t, "disconnect", v.gone)
	missed, again := missedUntilConnect(t, dial(t, url), back(a.PID, ""))
	if again.SID != a.SID || len(missed) != 1 || !strings.HasPrefix(missed[0], `42["kept","`) {
		t.Errorf("recovered: %v; missed %q, want the kept event alone", again.SID == a.SID, missed)
	}
}

// marshaler emits an event while it is being encoded.
type marshaler struct {
	n *parley.Namespace
	s *parley.Socket
}

func (m marshaler) MarshalJSON() ([]byte, error) {
	return []byte("1"), errors.Join(m.n.Emit("inside"), m.s.Emit("inside"))
}

// A client that knows what offsets look like cannot send anything that the server takes for the place
// of one.
func TestTextsThatLookLikeOffsets(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	c, _ := join(t, url, "")
	if err := srv.Emit("first"); err != nil {
		t.Fatal(err)
	}
	epoch, _, _ := strings.Cut(offset(t, c.recv()), ".")
	text := epoch + ".---------"
	if err := srv.All().Volatile().Emit("volatile", map[string]string{"text": text}); err != nil {
		t.Fatal(err)
	}
	c.expect(`42["volatile",{"text":"` + text + `"}]`)
	if err := srv.Emit("kept", text); err != nil {
		t.Fatal(err)
	}
	if got := c.recv(); !strings.HasPrefix(got, `42["kept","`+text+`","`+epoch+`.`) {
		t.Errorf("received %q", got)
	}
}

// No lock is held while an event is encoded.
func TestEncodingThatEmits(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	v := watch(srv.Of("/"))
	c := dial(t, url)
	c.connect("", "")
	s := await(t, "socket", v.sockets)
	if err := s.Emit("outside", marshaler{srv.Of("/"), s}); err != nil {
		t.Fatal(err)
	}
	if err := srv.Emit("outside", marshaler{srv.Of("/"), s}); err != nil {
		t.Fatal(err)
	}
	previous := ""
	for _, want := range []string{"inside", "inside", "outside", "inside", "inside", "outside"} {
		got := c.recv()
		if !strings.HasPrefix(got, `42["`+want+`"`) || offset(t, got) <= previous {
			t.Errorf("received %q, want %s with an offset behind %s", got, want, previous)
		}
		previous = offset(t, got)
	}
}

// The last socket of a dynamic namespace can be recovered: the namespace stays for as long as the
// client may come back.
func TestComebackToADynamicNamespace(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{MaxSessions: 1}})
	srv.OfPattern(regexp.MustCompile(`/dyn-\d+`))
	gone := make(chan parley.Reason, 8)
	srv.OnNewNamespace(func(n *parley.Namespace) {
		n.OnDisconnect(func(_ *parley.Socket, r parley.Reason) { gone <- r })
	})
	c := dial(t, url)
	a := c.connect("/dyn-1", "")
	c.cut()
	await(t, "disconnect", gone)
	for range 3 {
		c = dial(t, url)
		if again := c.connect("/dyn-1", back(a.PID, "")); again.SID != a.SID {
			t.Fatal("not recovered")
		}
		c.cut()
		await(t, "disconnect", gone)
	}
	// A second client takes its place and loses its connection. After a deliberate disconnect,
	// nothing is left to wait for.
	c = dial(t, url)
	b := c.connect("/dyn-1", "")
	c.cut()
	await(t, "disconnect", gone)
	c = dial(t, url)
	if again := c.connect("/dyn-1", back(b.PID, "")); again.SID != b.SID {
		t.Fatal("not recovered")
	}
	c.send("41/dyn-1,")
	await(t, "disconnect", gone)
	for srv.Stats().Namespaces != 1 {
		time.Sleep(time.Millisecond)
	}
}

// Clients come back while the server is noticing their loss: each has one socket, and none remains
// when all have gone.
func TestComebacksAtOnce(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	var online sync.Map // id → *atomic.Int64
	count := func(s *parley.Socket) *atomic.Int64 {
		n, _ := online.LoadOrStore(s.ID(), new(atomic.Int64))
		return n.(*atomic.Int64)
	}
	srv.OnConnection(func(s *parley.Socket) {
		if n := count(s).Add(1); n != 1 {
			t.Errorf("%d sockets of one id are online", n)
		}
	})
	srv.OnDisconnect(func(s *parley.Socket, _ parley.Reason) { count(s).Add(-1) })
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			for range 10 {
				c := dial(t, url)
				a := c.connect("", "")
				next := dial(t, url)
				go c.cut()
				again := next.connect("", back(a.PID, ""))
				if again.SID != a.SID {
					t.Error("not recovered")
				}
				next.send("41")
				next.cut()
			}
		})
	}
	wg.Wait()
	for howMany(t, srv) > 0 {
		time.Sleep(time.Millisecond)
	}
}
