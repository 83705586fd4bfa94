package parley_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

// What an OnConnection handler does is in effect before its client knows that it is connected, so
// before anyone can act on it.
func TestRoomsOfOnConnectionAreJoinedBeforeTheAnswer(t *testing.T) {
	srv, url := serve(t, nil)
	srv.OnConnection(func(s *parley.Socket) {
		s.Join("lobby")
		s.On("mine", func(p *parley.Packet) error { return p.Ack("own handler") })
	})
	srv.On("message", func(p *parley.Packet) error { return srv.To("lobby").Except(p.Socket().ID()).Emit("message") })
	speaker, _ := join(t, url, "")
	for range 50 {
		c, _ := join(t, url, "")
		speaker.send(`42["message"]`)
		c.expect(`42["message"]`)
		c.send(`421["mine"]`)
		c.expect(`431["own handler"]`)
		c.send("41")
	}
}

func TestAnswerWaitsForOnConnection(t *testing.T) {
	srv, url := serve(t, nil)
	begun, release := make(chan *parley.Socket), make(chan struct{})
	srv.OnConnection(func(s *parley.Socket) {
		begun <- s
		<-release
		s.Emit("emitted", "last")
	})
	c := dial(t, url)
	c.send("40")
	s := await(t, "connection", begun)
	if err := srv.Emit("to all"); err != nil {
		t.Fatal(err)
	}
	if err := s.Emit("to it"); err != nil {
		t.Fatal(err)
	}
	if err := s.Volatile().Emit("dropped"); err != nil {
		t.Fatal(err)
	}
	close(release)
	c.expect(`40{"sid":"`+s.ID()+`"}`, `42["to all"]`, `42["to it"]`, `42["emitted","last"]`)
}

// A question to everybody waits for OnConnection too: the client does not learn earlier that it is
// connected.
func TestQuestionToAllWaitsForOnConnection(t *testing.T) {
	srv, url := serve(t, nil)
	begun, release := make(chan *parley.Socket), make(chan struct{})
	srv.OnConnection(func(s *parley.Socket) {
		begun <- s
		<-release
		s.Emit("emitted", "last")
	})
	c := dial(t, url)
	c.send("40")
	s := await(t, "connection", begun)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := srv.Timeout(patience).EmitWithAck(ctx, "question"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	eventually(t, "empty outbox", func() bool { return s.Stats().OutboxBytes == 0 })
	if err := s.Volatile().Emit("dropped"); err != nil { // the client is not connected yet
		t.Fatal(err)
	}
	close(release)
	c.expect(`40{"sid":"`+s.ID()+`"}`, `421["question"]`, `42["emitted","last"]`)
}

// A handler that never returns, or that asks the client something, does not hold back the answer
// for ever.
func TestAnswerDoesNotWaitForEver(t *testing.T) {
	srv, url := serve(t, nil)
	srv.OnConnection(func(s *parley.Socket) {
		s.Emit("before")
		if s.Namespace().Name() == "/" {
			<-s.Context().Done()
		}
	})
	asked := make(chan string, 1)
	srv.Of("/asks").OnConnection(func(s *parley.Socket) {
		s.Emit("before")
		reply, err := s.EmitWithAck(s.Context(), "question")
		asked <- fmt.Sprintf("%s %v", reply.Args(), err)
	})
	c := dial(t, url)
	c.connect("", "") // after one second
	c.expect(`42["before"]`)
	c.connect("/asks", "")
	c.expect(`42/asks,["before"]`, `42/asks,1["question"]`)
	c.send(`43/asks,1["answer"]`)
	if got := await(t, "answer", asked); got != `["answer"] <nil>` {
		t.Errorf("EmitWithAck in OnConnection: %s", got)
	}
}

func TestEmitInMiddleware(t *testing.T) {
	for _, recovery := range []*parley.Recovery{nil, {}} {
		t.Run(fmt.Sprintf("recovery=%v", recovery != nil), func(t *testing.T) {
			srv, url := serve(t, &parley.Options{Recovery: recovery})
			srv.Use(func(ctx context.Context, s *parley.Socket) error {
				if _, err := s.EmitWithAck(ctx, "question"); !errors.Is(err, parley.ErrConnecting) {
					t.Errorf("EmitWithAck: %v, want ErrConnecting", err)
				}
				s.Compress(false).Emit("again")
				return s.Emit("welcome")
			})
			c, _ := join(t, url, "")
			for _, want := range []string{"again", "welcome"} {
				if got := c.recv(); recovery == nil && got != `42["`+want+`"]` || recovery != nil && offset(t, got) == "" {
					t.Errorf("received %q, want %s", got, want)
				}
			}
		})
	}
}

func TestNothingIsHandledAfterDisconnect(t *testing.T) {
	var expire context.CancelFunc
	withContext := &parley.Options{ConnContext: func(ctx context.Context, _ *http.Request) context.Context {
		ctx, expire = context.WithCancel(ctx)
		return ctx
	}}
	for name, disconnect := range map[string]func(*parley.Socket){
		"namespace":       func(s *parley.Socket) { s.Disconnect(false) },
		"connection":      func(s *parley.Socket) { s.Disconnect(true) },
		"CloseConnection": (*parley.Socket).CloseConnection,
		"of all":          func(s *parley.Socket) { s.Namespace().DisconnectSockets(context.Background(), false) },
		"from without": func(s *parley.Socket) {
			done := make(chan struct{})
			go func() { s.Disconnect(true); close(done) }()
			<-done
		},
		"end of ConnContext": func(s *parley.Socket) {
			expire()
			<-s.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, url := serve(t, withContext)
			begun, release, gone := make(chan struct{}), make(chan struct{}), make(chan struct{})
			srv.On("login", func(p *parley.Packet) error {
				close(begun)
				<-release
				disconnect(p.Socket())
				return nil
			})
			srv.On("order", func(*parley.Packet) error {
				t.Error("an order was handled")
				return nil
			})
			srv.OnDisconnect(func(*parley.Socket, parley.Reason) { close(gone) })
			c, _ := join(t, url, "")
			c.send(`42["login"]`)
			await(t, "login", begun)
			c.send(`42["order",1]`)
			c.send(`42["order",2]`)
			for srv.Stats().EventsIn < 3 {
				time.Sleep(time.Millisecond)
			}
			close(release)
			await(t, "disconnect", gone)
		})
	}
}

// What a client sends before it leaves is handled, even if both arrive together.
func TestEventBeforeDisconnectIsHandled(t *testing.T) {
	srv, url := serve(t, nil)
	order := make(chan string, 2)
	srv.On("last", func(*parley.Packet) error { order <- "last"; return nil })
	srv.OnDisconnect(func(_ *parley.Socket, reason parley.Reason) { order <- string(reason) })
	p := dialPolling(t, url)
	p.post("40")
	p.post(`42["last"]` + "\x1e" + "41")
	if first, second := await(t, "event", order), await(t, "disconnect", order); first != "last" || second != string(parley.ClientNamespaceDisconnect) {
		t.Errorf("%s, %s", first, second)
	}
}

// slowNamespace adds middleware that waits for release, or for its client to disconnect.
func slowNamespace(n *parley.Namespace) (begun, release, ended chan struct{}) {
	begun, release, ended = make(chan struct{}, 8), make(chan struct{}, 8), make(chan struct{}, 8)
	n.Use(func(ctx context.Context, _ *parley.Socket) error {
		begun <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
			ended <- struct{}{}
		}
		return ctx.Err()
	})
	return begun, release, ended
}

func TestJoiningIsGivenUp(t *testing.T) {
	srv, url := serve(t, nil)
	admin := srv.Of("/admin")
	begun, release, ended := slowNamespace(admin)
	c, _ := join(t, url, "")
	srv.On("echo", func(p *parley.Packet) error { return p.Ack() })

	c.send("40/admin,")
	await(t, "middleware", begun)
	c.send("41/admin,")
	await(t, "end of its context", ended)
	c.send(`421["echo"]`)
	c.expect("431[]") // no answer of /admin before it, and the main namespace is unaffected
	if n := howMany(t, admin); n != 0 {
		t.Errorf("%d sockets in /admin", n)
	}

	c.send("40/admin,")
	await(t, "middleware", begun)
	c.send("41/admin,")
	c.send("40/admin,") // in place of the first attempt
	await(t, "end of the first one's context", ended)
	await(t, "second middleware", begun)
	release <- struct{}{}
	if got := c.recv(); got[:10] != "40/admin,{" {
		t.Fatalf("received %q", got)
	}

	c.send("41/admin,")
	c.send("40/admin,")
	await(t, "middleware", begun)
	c.send("40/admin,") // without leaving first
	await(t, "end of the context", ended)
	await(t, "middleware", begun)
	release <- struct{}{}
	if got := c.recv(); got[:10] != "40/admin,{" {
		t.Fatalf("received %q", got)
	}
	c.send(`422["echo"]`)
	c.expect("432[]")
}

// A namespace rule also learns that nobody waits for it any more.
func TestSearchIsGivenUp(t *testing.T) {
	srv, url := serve(t, nil)
	begun, ended := make(chan struct{}), make(chan struct{})
	srv.OfFunc(func(ctx context.Context, _ string, _ json.RawMessage) bool {
		close(begun)
		<-ctx.Done()
		close(ended)
		return true
	})
	srv.On("echo", func(p *parley.Packet) error { return p.Ack() })
	c, _ := join(t, url, "")
	c.send("40/x,")
	await(t, "rule", begun)
	c.send("41/x,")
	await(t, "end of its context", ended)
	c.send(`421["echo"]`)
	c.expect("431[]")
	for srv.Stats().Namespaces != 1 {
		time.Sleep(time.Millisecond)
	}
}

// A client that joins and leaves repeatedly cannot start ever more middleware.
func TestJoiningIsBounded(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxNamespaces: 3})
	begun, release := make(chan struct{}, 100), make(chan struct{})
	defer close(release)
	srv.Of("/admin").Use(func(context.Context, *parley.Socket) error { // ignores its context
		begun <- struct{}{}
		<-release
		return nil
	})
	c, _ := join(t, url, "")
	for range 3 {
		c.send("40/admin,")
		await(t, "middleware", begun)
		c.send("41/admin,")
	}
	c.send("40/admin,")
	c.expect(`44/admin,{"message":"Too many namespaces","data":{"code":"too_many_namespaces","message":"Too many namespaces"}}`)
}

// After the server or the client has left a namespace, events for it may still be on their way.
// They are ignored, and other namespaces are not affected.
func TestLatePacketsAreIgnored(t *testing.T) {
	srv, url := serve(t, nil)
	srv.On("echo", func(p *parley.Packet) error { return p.Ack() })
	sockets := make(chan *parley.Socket, 1)
	srv.Of("/chat").OnConnection(func(s *parley.Socket) { sockets <- s })
	c, _ := join(t, url, "")
	for range 3 {
		c.connect("/chat", "")
		await(t, "socket", sockets).Disconnect(false)
		c.expect("41/chat,")
		c.send(`42/chat,["late"]`)
		c.send(`42/chat,7["late, with an acknowledgement"]`)
		c.send(`43/chat,1[]`)
		c.send(`451-/chat,["late",{"_placeholder":true,"num":0}]`)
		c.sendBinary([]byte("bytes"))
		c.send("41/chat,")
		c.send(`421["echo"]`)
		c.expect("431[]")
	}
	c.send(`42/other,["x"]`) // a namespace that it never joined
	c.expectClosed()
}

// OnRoom receives events in the order in which they happened, even if a socket leaves while OnRoom
// is handling its join.
func TestRoomEventsInOrder(t *testing.T) {
	srv, url := serve(t, nil)
	srv.Use(func(_ context.Context, s *parley.Socket) error { return s.Join("lobby") })
	var told []string
	done := make(chan struct{})
	srv.OnRoom(func(e parley.RoomEvent) {
		room := e.Room
		if room == e.Socket {
			room = "own"
		}
		told = append(told, string(e.Type)+" "+room)
		if e.Type == parley.RoomCreated && room == "own" {
			srv.Socket(e.Socket).Join("inside")
			srv.Socket(e.Socket).Disconnect(false)
		}
		if e.Type == parley.RoomDeleted && room == "own" {
			close(done)
		}
	})
	c := dial(t, url)
	c.send("40")
	await(t, "end", done)
	want := []string{
		"create-room own", "join-room own", "create-room lobby", "join-room lobby", "create-room inside", "join-room inside",
		"leave-room lobby", "leave-room inside", "leave-room own", "delete-room lobby", "delete-room inside", "delete-room own",
	}
	if fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told\n%q, want\n%q", told, want)
	}
}

// However many goroutines disconnect a socket at once, its client is told once.
func TestDisconnectAtOnce(t *testing.T) {
	srv, url := serve(t, nil)
	srv.On("echo", func(p *parley.Packet) error { return p.Ack() })
	sockets := make(chan *parley.Socket, 1)
	srv.Of("/chat").OnConnection(func(s *parley.Socket) { sockets <- s })
	c, _ := join(t, url, "")
	for range 200 {
		c.connect("/chat", "")
		s := await(t, "socket", sockets)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { s.Disconnect(false) })
		}
		all.Wait()
		c.expect("41/chat,")
		c.send(`421["echo"]`)
		c.expect("431[]")
	}
}
