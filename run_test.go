package parley_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

// panics returns the text with which f panics, or "".
func panics(f func()) (text string) {
	defer func() {
		if v := recover(); v != nil {
			text = fmt.Sprint(v)
		}
	}()
	f()
	return ""
}

// running is a server in Run.
type running struct {
	srv   *parley.Server
	web   *http.Server
	url   string
	stop  context.CancelFunc
	ended chan error
}

func run(t *testing.T) *running {
	t.Helper()
	srv, err := parley.New(&parley.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	at := make(chan string, 1)
	r := &running{srv: srv, ended: make(chan error, 1)}
	r.web = &http.Server{Addr: "127.0.0.1:0", Handler: mux, BaseContext: func(l net.Listener) context.Context {
		at <- "http://" + l.Addr().String()
		return context.Background()
	}}
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	t.Cleanup(stop)
	go func() { r.ended <- srv.Run(ctx, r.web) }()
	r.url = await(t, "address", at)
	return r
}

// One call serves, and ends everything when its context ends: clients, handlers, other requests.
func TestRun(t *testing.T) {
	r := run(t)
	reasons := make(chan parley.Reason, 1)
	handling, release := make(chan bool), make(chan bool)
	r.srv.OnDisconnect(func(_ *parley.Socket, reason parley.Reason) { reasons <- reason })
	r.srv.On("work", func(p *parley.Packet) error { handling <- true; <-release; return nil })
	c, _ := join(t, r.url, "")
	answer, err := http.Get(r.url + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	if body, _ := io.ReadAll(answer.Body); string(body) != "hello" {
		t.Errorf("hello is %q", body)
	}
	answer.Body.Close()
	c.send(`42["work"]`)
	await(t, "handler", handling)
	r.stop()
	select {
	case err := <-r.ended:
		t.Fatalf("Run returned %v while a handler ran", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	if err := await(t, "end", r.ended); err != nil {
		t.Errorf("Run returned %v", err)
	}
	if reason := await(t, "disconnection", reasons); reason != parley.ServerShutdown {
		t.Errorf("the socket disconnected: %v", reason)
	}
	if r.web.ReadHeaderTimeout != 5*time.Second {
		t.Errorf("ReadHeaderTimeout is %v", r.web.ReadHeaderTimeout)
	}
	if err := r.srv.Serve(listenLocally(t)); err != parley.ErrServerClosed {
		t.Errorf("the server serves on: %v", err)
	}
}

func listenLocally(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// If web cannot serve, or somebody else ends it, Run ends too, and so does the server.
func TestRunThatCannotServe(t *testing.T) {
	taken := listenLocally(t).Addr().String()
	for name, web := range map[string]*http.Server{
		"address taken":  {Addr: taken},
		"no certificate": {Addr: "127.0.0.1:0", TLSConfig: &tls.Config{}},
	} {
		srv, err := parley.New(&parley.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Run(t.Context(), web); err == nil || errors.Is(err, http.ErrServerClosed) {
			t.Errorf("%s: %v", name, err)
		}
		if err := srv.Serve(listenLocally(t)); err != parley.ErrServerClosed {
			t.Errorf("%s: the server has not ended: %v", name, err)
		}
	}
	r := run(t)
	c, _ := join(t, r.url, "")
	if err := r.web.Close(); err != nil {
		t.Error(err)
	}
	if err := await(t, "end", r.ended); !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("Run returned %v", err)
	}
	for err := error(nil); err == nil; {
		_, err = c.tryRecv() // until the connection has ended
	}
}

// A Server that does not come from New says so.
func TestServerThatIsNotMade(t *testing.T) {
	var zero parley.Server
	none, err := parley.New(&parley.Options{Transports: []string{"pigeon"}})
	if err == nil {
		t.Fatal("a transport that does not exist is allowed")
	}
	for name, f := range map[string]func(){
		"On":        func() { zero.On("x", func(*parley.Packet) error { return nil }) },
		"Of":        func() { zero.Of("/x") },
		"ServeHTTP": func() { zero.ServeHTTP(nil, nil) },
		"nil, Emit": func() { none.Emit("x") },
		"nil, Handle": func() {
			parley.Handle(none, add, func(context.Context, *parley.Socket, point) (int, error) { return 0, nil })
		},
	} {
		if text := panics(f); !strings.HasPrefix(text, "parley: this Server does not come from New") {
			t.Errorf("%s: panic %q", name, text)
		}
	}
}

// In a program, ctx is signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM).
func ExampleServer_Run() {
	srv, err := parley.New(&parley.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/socket.io", srv) // for clients with addTrailingSlash: false
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	ctx, stop := context.WithCancel(context.Background())
	stop() // a signal
	fmt.Println(srv.Run(ctx, &http.Server{Addr: "127.0.0.1:0", Handler: mux}))
	// Output: <nil>
}
