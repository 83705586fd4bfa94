package parleytest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/parleytest"
)

// fake is the test of a user. It notes its failures, and where package testing would say that they are.
type fake struct {
	testing.TB

	mu      sync.Mutex
	helpers map[string]bool
	log     []string
	failed  bool
	line    string // the text of the line of the last failure
}

func (f *fake) Helper() {
	f.mu.Lock()
	defer f.mu.Unlock()
	pc, _, _, _ := runtime.Caller(1)
	if f.helpers == nil {
		f.helpers = map[string]bool{}
	}
	f.helpers[runtime.FuncForPC(pc).Name()] = true
}

func (f *fake) Logf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

func (f *fake) Errorf(format string, args ...any) {
	f.Logf(format, args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = true
	pcs := make([]uintptr, 50)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if function, _, _ := strings.Cut(frame.Function, "["); f.helpers[function] || f.helpers[frame.Function] || strings.Contains(frame.Function, "(*fake)") {
			if more {
				continue
			}
		}
		f.line = lineOf(frame)
		return
	}
}

func (f *fake) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	runtime.Goexit()
}

func (f *fake) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

func (f *fake) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, "\n")
}

func lineOf(frame runtime.Frame) string {
	text, err := os.ReadFile(frame.File)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(string(text), "\n")
	return filepath.Base(frame.File) + ": " + strings.TrimSpace(lines[frame.Line-1])
}

// What goes wrong fails the test of the user, with a message that says what happened, at the user's line.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		what string
		test func(srv *parley.Server, s *parleytest.Server, c *parleytest.Client)
		want []string
	}{
		{"no event", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) { c.Next("said") },
			[]string{`no "said" came within 1m0s; nothing else came, either`}},
		{"another event", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			srv.Emit("typing", map[string]int{"user": 7}, "x")
			srv.Emit("presence")
			c.Next("said")
		}, []string{`no "said" came within 1m0s; instead came:`, "\ttyping({\"user\":7}, \"x\")\n", "\tpresence()"}},
		{"many events", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			for range 30 {
				srv.Emit("typing", strings.Repeat("é", 1000))
			}
			c.Next("said")
		}, []string{"ééé…)", "and 20 more"}},
		{"the type", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			srv.Emit("said", 7)
			var text string
			c.Next("said", &text)
		}, []string{"argument 1", "said(7)"}},
		{"a missing argument", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			srv.Emit("said", "x")
			var a, b string
			c.Next("said", &a, &b)
		}, []string{"argument 2: is missing", `said("x")`}},
		{"the typed type", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			srv.Emit("said", 7)
			parleytest.Next(c, said)
		}, []string{"argument 1", "said(7)"}},
		{"no typed event", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) { parleytest.Next(c, said) },
			[]string{`no "said" came`}},
		{"the second type", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			srv.Emit("draw", "board", "line")
			parleytest.Next2(c, draw)
		}, []string{"argument 2", `draw("board", "line")`}},
		{"none that fits", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			said.Emit(srv, "one")
			srv.Emit("typing")
			said.Emit(srv, "two")
			parleytest.Until(c, said, func(text string) bool { return text == "three" })
		}, []string{"no \"said\" that fits came within 1m0s; instead came:\n\tsaid(\"one\")\n\tsaid(\"two\")\n\ttyping()"}},
		{"it is gone", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			parleytest.Send(c, quit, event.None{})
			c.Next("said")
		}, []string{`no "said" will come: the client is disconnected: client: disconnected by the server; nothing`}},
		{"it was dropped", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			c.Drop()
			c.Next("said")
		}, []string{`no "said" will come: the client is disconnected: transport close`}},
		{"unwanted", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			srv.Emit("said", "x")
			c.None("said")
		}, []string{`said("x") came, and was not expected`}},
		{"anything", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			srv.Emit("said", "x")
			c.None()
		}, []string{`said("x") came, and was not expected`}},
		{"no answer", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) { c.Call("nobody handles this") },
			[]string{`call "nobody handles this": the server has not acknowledged it for 1m0s; nothing else`}},
		{"no typed answer", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			parleytest.Call(c, name, event.None{})
		},
			[]string{`call "name": the server has not acknowledged it for 1m0s`}},
		{"a refusal", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) { parleytest.MustCall(c, add, nil) },
			[]string{`call "add": parley: empty: there are no numbers`}},
		{"another answer", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			parleytest.Call(c, event.RPC[[]int, string]("add"), []int{1})
		}, []string{`call "add": `, "argument 1"}},
		{"not to be encoded", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) { c.Emit("x", make(chan int)) },
			[]string{`emit "x": client: encode arguments`}},
		{"not to be sent", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			c.Close()
			parleytest.Send(c, said, "x")
		}, []string{`emit "said": client: closed`}},
		{"still connected", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) { c.Disconnected() },
			[]string{"the client is still connected after 1m0s"}},
		{"dropped twice", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			c.Drop()
			c.Drop()
		}, []string{"Drop: the client is not connected: transport close"}},
		{"connected twice", func(_ *parley.Server, _ *parleytest.Server, c *parleytest.Client) { c.Reconnect() },
			[]string{"Reconnect: the client is connected"}},
		{"refused again", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			c.Drop()
			srv.Close()
			c.Reconnect()
		}, []string{"Reconnect: "}},
		{"no connection", func(srv *parley.Server, s *parleytest.Server, _ *parleytest.Client) {
			srv.Close()
			s.MustDial()
		}, []string{"dial: websocket: the server answered with status 503"}},
		{"no namespace", func(_ *parley.Server, s *parleytest.Server, _ *parleytest.Client) {
			s.MustDial(parleytest.Namespace("/nowhere"))
		}, []string{"dial: client: refused: Invalid namespace"}},
		{"no other namespace", func(_ *parley.Server, s *parleytest.Server, c *parleytest.Client) { c.Of("/nowhere") },
			[]string{"connect to /nowhere: client: refused: Invalid namespace"}},
		{"handler of a wrong call", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			parleytest.Handle(c, event.RPC[int, int]("double"), func(n int) (int, error) { return 2 * n, nil })
			srv.Emit("double", "two")
			synctest.Wait()
		}, []string{`argument 1`, `double("two")`}},
		{"handler with an error", func(srv *parley.Server, _ *parleytest.Server, c *parleytest.Client) {
			client.On(c.Client, said, func(_ context.Context, text string) error { return fmt.Errorf("no %s", text) })
			srv.Emit("said", "x")
			c.None("another")
		}, []string{`the client's handler of "said": no x`}},
	} {
		t.Run(tt.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{TB: t}
				done := make(chan bool)
				go func() {
					defer close(done)
					srv := newServer(f, parley.Options{})
					s := parleytest.NewServer(f, srv)
					tt.test(srv, s, s.MustDial())
				}()
				<-done
				if !f.failed {
					t.Fatal("the test of the user has not failed")
				}
				for _, want := range tt.want {
					if !strings.Contains(f.text(), want) {
						t.Errorf("the message is\n%s\nwant %q", f.text(), want)
					}
				}
				if !strings.HasPrefix(f.line, "failure_test.go: ") && !strings.HasPrefix(tt.what, "handler") {
					t.Errorf("it points to %s", f.line)
				}
			})
		})
	}
}
