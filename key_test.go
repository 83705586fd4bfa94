package parley_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

type user struct{ name string }

var (
	currentUser = parley.NewKey[*user]()
	visitCount  = parley.NewKey[int]()
	otherCount  = parley.NewKey[int]()
)

// What ConnContext takes from the request, and what middleware adds, is in every context of the
// connection.
func TestContextsCarryValues(t *testing.T) {
	type requestKey struct{}
	srv, url := serve(t, &parley.Options{
		ConnContext: func(ctx context.Context, r *http.Request) context.Context {
			return currentUser.With(context.WithValue(ctx, requestKey{}, r.URL.Query().Get("transport")), &user{"from HTTP"})
		},
	})
	asked := make(chan any, 2)
	srv.OfFunc(func(ctx context.Context, name string, _ json.RawMessage) bool {
		asked <- ctx.Value(requestKey{})
		asked <- currentUser.Get(ctx).name
		return name == "/dynamic"
	})
	srv.Use(func(ctx context.Context, s *parley.Socket) error {
		if currentUser.Get(ctx).name != "from HTTP" || currentUser.Get(s) != currentUser.Get(ctx) {
			return errors.New("the user is missing")
		}
		if _, ok := visitCount.Lookup(s); ok || visitCount.Get(ctx) != 0 {
			return errors.New("there is a value already")
		}
		visitCount.Set(s, 1)
		visitCount.Set(s, 2)
		otherCount.Set(s, 7)
		s.SetData("data")
		return nil
	})
	parley.Handle(srv, add, func(ctx context.Context, s *parley.Socket, p point) (int, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if ctx.Value(requestKey{}) != "websocket" || s.Context().Value(requestKey{}) != "websocket" || s.Data() != "data" {
			return 0, errors.New("a value is missing")
		}
		return visitCount.Get(ctx)*10 + otherCount.Get(s), nil
	})
	c, _ := join(t, url, "")
	c.send(`421["add",{}]`)
	c.expect(`431[27]`)
	c.connect("/dynamic", "")
	if transport, name := await(t, "rule", asked), await(t, "rule", asked); transport != "websocket" || name != "from HTTP" {
		t.Errorf("OfFunc gets a context with %v, %v", transport, name)
	}
	infos, err := srv.FetchSockets(t.Context())
	if err != nil || len(infos) != 1 || infos[0].Data != "data" || visitCount.Get(infos[0]) != 2 {
		t.Fatalf("%+v, %v", infos, err)
	}
	if _, ok := currentUser.Lookup(infos[0]); ok {
		t.Error("a SocketInfo has the connection's context")
	}
}

func TestKeysWithData(t *testing.T) {
	srv, url := serve(t, nil)
	sockets := make(chan *parley.Socket, 1)
	srv.OnConnection(func(s *parley.Socket) { sockets <- s })
	join(t, url, "")
	s := await(t, "connection", sockets)
	if _, ok := visitCount.Lookup(s); ok || s.Data() != nil || s.Value("x") != nil {
		t.Error("a new socket has values")
	}
	s.SetData(1)
	visitCount.Set(s, 3)
	before, err := srv.FetchSockets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.SetData(nil)
	visitCount.Set(s, 4)
	if s.Data() != nil || visitCount.Get(s) != 4 || otherCount.Get(s) != 0 {
		t.Errorf("data %v, visits %d", s.Data(), visitCount.Get(s))
	}
	if before[0].Data != 1 || visitCount.Get(before[0]) != 3 {
		t.Errorf("a SocketInfo changes: %v, %d", before[0].Data, visitCount.Get(before[0]))
	}
	var none *user
	currentUser.Set(s, none)
	if v, ok := currentUser.Lookup(s); v != nil || !ok {
		t.Errorf("a nil value: %v, %v", v, ok)
	}
}

func TestKeysAreRecovered(t *testing.T) {
	srv, url, gone := recoveryServer(t, &parley.Recovery{})
	srv.OnConnection(func(s *parley.Socket) {
		if !s.Recovered() {
			visitCount.Set(s, 5)
			s.SetData("data")
		}
		s.Emit("visits", visitCount.Get(s), s.Data())
	})
	c := dial(t, url)
	answer := c.connect("", "")
	last := offset(t, c.recv())
	c.cut()
	await(t, "disconnection", gone)
	c = dial(t, url)
	if again := c.connect("", back(answer.PID, last)); again.SID != answer.SID {
		t.Fatalf("not recovered: %+v", again)
	}
	if got := c.recv(); !regexp.MustCompile(`^42\["visits",5,"data",`).MatchString(got) {
		t.Errorf("received %s", got)
	}
}

func TestConnectionEndsWithItsContext(t *testing.T) {
	end := make(chan context.CancelFunc, 2)
	deadline := time.Now().Add(time.Hour)
	srv, url := serve(t, &parley.Options{
		ConnContext: func(ctx context.Context, r *http.Request) context.Context {
			ctx, cancel := context.WithDeadline(ctx, deadline)
			end <- cancel
			return ctx
		},
	})
	contexts := make(chan context.Context, 2)
	gone := make(chan parley.Reason, 2)
	srv.OnConnection(func(s *parley.Socket) { contexts <- s.Context() })
	srv.OnDisconnect(func(_ *parley.Socket, reason parley.Reason) { gone <- reason })
	c, _ := join(t, url, "")
	other, _ := join(t, url, "")
	ctx := await(t, "connection", contexts)
	if d, ok := ctx.Deadline(); !ok || !d.Equal(deadline) {
		t.Errorf("deadline %v, %v", d, ok)
	}
	if ctx.Err() != nil {
		t.Error(ctx.Err())
	}
	cancel := await(t, "context", end)
	cancel()
	if reason := await(t, "disconnection", gone); reason != parley.ForcedClose {
		t.Errorf("reason %q", reason)
	}
	c.expectClosed()
	await(t, "end of the context", ctx.Done())
	if ctx.Err() != context.Canceled {
		t.Error(ctx.Err())
	}
	other.cut() // its context ends later, without effect
	await(t, "disconnection", gone)
	await(t, "context", end)()
}

func TestErrTimeoutIsDeadlineExceeded(t *testing.T) {
	if !errors.Is(parley.ErrTimeout, context.DeadlineExceeded) || errors.Is(parley.ErrTimeout, context.Canceled) {
		t.Error("ErrTimeout is no context.DeadlineExceeded")
	}
}
