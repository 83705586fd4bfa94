package parley_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley"
)

// offset returns the last argument of an event, which is its offset.
func offset(t *testing.T, message string) string {
	t.Helper()
	var args []any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(message, "42")), &args); err != nil {
		t.Fatalf("%q: %v", message, err)
	}
	s, _ := args[len(args)-1].(string)
	return s
}

// back returns the auth payload with which a client requests its old socket.
func back(pid, offset string) string {
	if offset == "" {
		return fmt.Sprintf(`{"pid":%q}`, pid)
	}
	return fmt.Sprintf(`{"pid":%q,"offset":%q,"token":"t"}`, pid, offset)
}

// missedUntilConnect returns the events before the answer to CONNECT, and the answer.
func missedUntilConnect(t *testing.T, c *client, auth string) (missed []string, answer connected) {
	t.Helper()
	c.send("40" + auth)
	for {
		m := c.recv()
		if rest, ok := strings.CutPrefix(m, "40"); ok {
			if err := json.Unmarshal([]byte(rest), &answer); err != nil {
				t.Fatal(err)
			}
			return missed, answer
		}
		missed = append(missed, m)
	}
}

func recoveryServer(t *testing.T, r *parley.Recovery) (*parley.Server, string, chan parley.Reason) {
	srv, url := serve(t, &parley.Options{Recovery: r})
	gone := make(chan parley.Reason, 16)
	srv.OnDisconnect(func(_ *parley.Socket, reason parley.Reason) { gone <- reason })
	return srv, url, gone
}

func TestRecovery(t *testing.T) {
	srv, url, gone := recoveryServer(t, &parley.Recovery{})
	middleware := 0
	srv.Use(func(context.Context, *parley.Socket) error { middleware++; return nil })
	c := dial(t, url)
	first := c.connect("", `{"token":"t"}`)
	if first.PID == "" || first.PID == first.SID {
		t.Fatalf("connected with %+v", first)
	}
	s := srv.Socket(first.SID)
	s.Join("a", "b")
	s.SetData("kept")
	srv.Emit("seen", 1)
	seen := c.recv()
	c.cut()
	if r := await(t, "disconnect", gone); r != parley.TransportClose {
		t.Errorf("reason %q", r)
	}

	srv.To("a").Emit("missed", 1)
	srv.To("elsewhere").Emit("not mine")
	srv.Emit("missed", 2)
	srv.To("a").Except("b").Emit("not mine")
	srv.To(first.SID).Emit("missed", 3)
	srv.To("a", "b").Volatile().Emit("not kept")
	srv.To("b").Emit("missed", 4, parley.Binary("x"))

	c = dial(t, url)
	c.send("40" + back(first.PID, offset(t, seen)))
	for i := 1; i <= 3; i++ {
		if m := c.recv(); !strings.HasPrefix(m, fmt.Sprintf(`42["missed",%d,"`, i)) {
			t.Fatalf("missed event %d: %q", i, m)
		}
	}
	if m := c.recv(); !strings.HasPrefix(m, `451-["missed",4,{"_placeholder":true,"num":0},"`) {
		t.Fatalf("missed binary event: %q", m)
	}
	if b := c.recvBinary(); string(b) != "x" {
		t.Fatalf("its attachment: %q", b)
	}
	c.expect(fmt.Sprintf(`40{"sid":%q,"pid":%q}`, first.SID, first.PID))
	s = srv.Socket(first.SID)
	if s == nil || !s.Recovered() || s.Data() != "kept" || !s.InRoom("a") || !s.InRoom("b") || !s.InRoom(first.SID) {
		t.Fatalf("recovered socket %+v", s)
	}
	if middleware != 1 {
		t.Errorf("middleware ran %d times, want once", middleware)
	}
	srv.To("b").Emit("live")
	if m := c.recv(); !strings.HasPrefix(m, `42["live","`) {
		t.Errorf("after the recovery: %q", m)
	}
	if n := srv.Stats().Recovered; n != 1 {
		t.Errorf("Recovered = %d", n)
	}
}

func TestRecoveryOfWhomThereIsLittle(t *testing.T) {
	t.Run("no event was seen yet", func(t *testing.T) {
		srv, url, gone := recoveryServer(t, &parley.Recovery{})
		srv.Emit("long before")
		c := dial(t, url)
		first := c.connect("", "")
		c.cut()
		await(t, "disconnect", gone)
		srv.Emit("missed")
		missed, again := missedUntilConnect(t, dial(t, url), back(first.PID, ""))
		if again != first || len(missed) != 1 || !strings.HasPrefix(missed[0], `42["missed"`) {
			t.Errorf("got %q, %+v", missed, again)
		}
	})
	t.Run("a volatile event ends in a string", func(t *testing.T) {
		srv, url, gone := recoveryServer(t, &parley.Recovery{})
		c := dial(t, url)
		first := c.connect("", "")
		srv.Emit("one")
		c.recv()
		srv.Volatile().Emit("volatile", "the end")
		last := c.recv() // the client takes the last argument for an offset
		srv.Volatile().Emit("volatile", 1)
		c.expect(`42["volatile",1]`)
		c.cut()
		await(t, "disconnect", gone)
		srv.Emit("two")
		missed, again := missedUntilConnect(t, dial(t, url), back(first.PID, offset(t, last)))
		if again != first || len(missed) != 1 || !strings.HasPrefix(missed[0], `42["two"`) {
			t.Errorf("got %q, %+v", missed, again)
		}
	})
	t.Run("the old connection was not missed yet", func(t *testing.T) {
		srv, url, gone := recoveryServer(t, &parley.Recovery{})
		c := dial(t, url)
		first := c.connect("", "")
		srv.Emit("one")
		seen := c.recv()
		missed, again := missedUntilConnect(t, dial(t, url), back(first.PID, offset(t, seen)))
		if again != first || len(missed) != 0 {
			t.Errorf("got %q, %+v", missed, again)
		}
		await(t, "disconnect of the old one", gone)
		c.expectClosed()
		if howMany(t, srv) != 1 || srv.Socket(first.SID) == nil {
			t.Errorf("%d sockets", howMany(t, srv))
		}
	})
	t.Run("the event goes to one socket", func(t *testing.T) {
		srv, url, gone := recoveryServer(t, &parley.Recovery{})
		c := dial(t, url)
		first := c.connect("", "")
		srv.Socket(first.SID).Emit("one")
		seen := c.recv()
		srv.Socket(first.SID).Emit("two")
		c.cut() // two events may have been in transit
		await(t, "disconnect", gone)
		missed, again := missedUntilConnect(t, dial(t, url), back(first.PID, offset(t, seen)))
		if again != first || len(missed) != 1 || !strings.HasPrefix(missed[0], `42["two"`) {
			t.Errorf("got %q, %+v", missed, again)
		}
	})
}

func TestNotRecovered(t *testing.T) {
	for name, end := range map[string]func(*client, *parley.Socket){
		"the client left":        func(c *client, _ *parley.Socket) { c.send("41") },
		"the server sent it off": func(_ *client, s *parley.Socket) { s.Disconnect(true) },
	} {
		t.Run(name, func(t *testing.T) {
			srv, url, gone := recoveryServer(t, &parley.Recovery{})
			c := dial(t, url)
			first := c.connect("", "")
			end(c, srv.Socket(first.SID))
			await(t, "disconnect", gone)
			_, again := missedUntilConnect(t, dial(t, url), back(first.PID, ""))
			if again.SID == first.SID || again.PID == first.PID || srv.Socket(again.SID).Recovered() {
				t.Errorf("recovered: %+v", again)
			}
		})
	}

	srv, url, gone := recoveryServer(t, &parley.Recovery{MaxBytes: 2000, MaxSessions: 2})
	lose := func() (connected, string) {
		c := dial(t, url)
		answer := c.connect("", "")
		srv.To(answer.SID).Emit("x")
		last := offset(t, c.recv())
		c.cut()
		await(t, "disconnect", gone)
		return answer, last
	}
	was, last := lose()
	for name, auth := range map[string]string{
		"offset of another process": back(was.PID, "abcdefgh.1"),
		"unknown pid":               back("x"+was.PID, last),
		"pid of another type":       `{"pid":5}`,
	} {
		if missed, again := missedUntilConnect(t, dial(t, url), auth); again.SID == was.SID || missed != nil {
			t.Errorf("%s: recovered", name)
		}
	}
	if _, again := missedUntilConnect(t, dial(t, url), back(was.PID, last)); again.SID != was.SID {
		t.Error("returns that failed have used the pid up")
	}
	was, last = lose()
	if _, again := missedUntilConnect(t, dial(t, url), back(was.PID, last+"zzz")); again.SID == was.SID {
		t.Error("recovered from an offset in the future")
	}
	was, last = lose()
	lose()
	lose()
	if _, again := missedUntilConnect(t, dial(t, url), back(was.PID, last)); again.SID == was.SID {
		t.Error("more sockets are kept than MaxSessions")
	}
	was, last = lose()
	for range 20 {
		srv.Emit("filler", strings.Repeat("x", 100))
	}
	if missed, again := missedUntilConnect(t, dial(t, url), back(was.PID, last)); again.SID == was.SID || missed != nil {
		t.Error("recovered although the log no longer reaches back")
	}
}

func TestRecoveryRunsMiddleware(t *testing.T) {
	srv, url, gone := recoveryServer(t, &parley.Recovery{RunMiddleware: true})
	refuse := false
	srv.Use(func(context.Context, *parley.Socket) error {
		if refuse {
			return &parley.ConnectError{Message: "not any more"}
		}
		return nil
	})
	c := dial(t, url)
	first := c.connect("", "")
	c.cut()
	await(t, "disconnect", gone)
	refuse = true
	c = dial(t, url)
	c.send("40" + back(first.PID, ""))
	c.expect(`44{"message":"not any more"}`)
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for name, o := range map[string]*parley.Options{
		"recovery without bounds":   {Recovery: &parley.Recovery{MaxBytes: -1}},
		"unknown transport":         {Transports: []string{"carrier pigeon"}},
		"no transports":             {Transports: []string{}},
		"every origin with cookies": {CORS: parley.CORS{Origins: []string{"*"}, Credentials: true}},
		"negative heartbeat":        {PingInterval: -1},
	} {
		if _, err := parley.New(o); err == nil || !strings.HasPrefix(err.Error(), "parley: ") || strings.Contains(err.Error(), "engine") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The session of a slow consumer ends inside somebody's Emit. An OnRoom handler that then emits must
// not deadlock.
func TestSlowConsumerWhoseEndIsListenedTo(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}, MaxOutbox: 100_000})
	gone := make(chan error, 1)
	srv.OnRoom(func(e parley.RoomEvent) {
		if e.Type == parley.RoomLeft {
			gone <- srv.Emit("left", e.Room)
		}
	})
	_, id := join(t, url, "") // and does not read
	go func() {
		for srv.Socket(id) != nil {
			srv.Emit("much", strings.Repeat("x", 10_000))
		}
	}()
	if err := await(t, "end of the slow consumer", gone); err != nil {
		t.Error(err)
	}
}

func TestRecoveryRevisesRooms(t *testing.T) {
	srv, url, gone := recoveryServer(t, &parley.Recovery{RunMiddleware: true})
	events := make(chan string, 16)
	srv.Use(func(_ context.Context, s *parley.Socket) error {
		if s.Recovered() {
			s.Leave("lost")
			return s.Join("new")
		}
		return s.Join("kept", "lost")
	})
	c := dial(t, url)
	first := c.connect("", "")
	c.cut()
	await(t, "disconnect", gone)
	for _, room := range []string{"kept", "lost", "new"} {
		if err := srv.To(room).Emit(room, 0); err != nil {
			t.Fatal(err)
		}
	}
	srv.OnRoom(func(e parley.RoomEvent) { events <- string(e.Type) + " " + e.Room })
	missed, again := missedUntilConnect(t, dial(t, url), back(first.PID, ""))
	if again.SID != first.SID || len(missed) != 1 || !strings.HasPrefix(missed[0], `42["kept",0,`) {
		t.Errorf("came back as %q, missed %q", again.SID, missed)
	}
	if got, want := srv.Socket(again.SID).Rooms(), []string{again.SID, "kept", "new"}; !slices.Equal(got, want) {
		t.Errorf("rooms %q, want %q", got, want)
	}
	for _, room := range []string{again.SID, "kept", "new"} {
		for _, what := range []string{"create-room ", "join-room "} {
			if got := await(t, "room event", events); got != what+room {
				t.Errorf("room event %q, want %q", got, what+room)
			}
		}
	}
}

func TestRecoveryForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := 0
		r := parley.NewRecoveryForTest(&parley.Recovery{MaxDisconnection: time.Minute, MaxBytes: 1 << 20, MaxSessions: 10}, func() { released++ })
		r.Leave()
		if got := r.Kept(); !slices.Equal(got, []int{1, 1}) {
			t.Fatalf("kept %v", got)
		}
		time.Sleep(2*time.Minute + time.Second)
		synctest.Wait()
		if got := r.Kept(); !slices.Equal(got, []int{0, 0}) || released != 1 {
			t.Errorf("kept %v, want nothing; the namespace was released %d times, want once", got, released)
		}
	})
}
