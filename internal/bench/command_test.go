package bench_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-go/parley"
)

func TestWrongCommandLines(t *testing.T) {
	const url = "http://127.0.0.1:1"
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "want one URL"},
		{[]string{url, url, url}, "want one URL, or two"},
		{[]string{url, "ftp://127.0.0.1"}, "http or https"},
		{[]string{"--rounds", "0", url, url}, "--rounds"},
		{[]string{"--pid", "1", url, url}, "--pid"},
		{[]string{"ftp://127.0.0.1"}, "http or https"},
		{[]string{"127.0.0.1:8080"}, "http://127.0.0.1:8080"},
		{[]string{"--scenario", "ehco", url}, `"ehco"`},
		{[]string{url, "--scenario", "ehco"}, `"ehco"`},
		{[]string{url, "--", "--scenario"}, `"--scenario"`},
		{[]string{"--transport", "pigeon", url}, "--transport"},
		{[]string{"--connections", "-1", url}, "--connections"},
		{[]string{"--duration", "2h", url}, "--duration"},
		{[]string{"--warmup", "-1s", url}, "--warmup"},
		{[]string{"--rate", "-1", url}, "--rate"},
		{[]string{"--rate", "NaN", url}, "--rate"},
		{[]string{"--size", "-1", url}, "--size"},
		{[]string{"--members", "0", url}, "--members"},
		{[]string{"--namespace", "chat", url}, "--namespace"},
		{[]string{"--auth", "token", url}, "--auth"},
		{[]string{"--header", "Cookie", url}, "Name: value"},
		{[]string{"--speed", "9", url}, "-speed"},
	} {
		code, stdout, stderr := command(t.Context(), test.args...)
		if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 ||
			!strings.HasPrefix(stderr, "parley: bench: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("%q: exit code %d, output %q, errors %q", test.args, code, stdout, stderr)
		}
	}
}

func TestHelp(t *testing.T) {
	code, stdout, stderr := command(t.Context(), "-h")
	for _, want := range []string{`"echo" (any)`, "--rate", "(5s)", "history  "} {
		if code != 0 || stderr != "" || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, errors %q, %q is missing in:\n%s", code, stderr, want, stdout)
		}
	}
}

func TestServersThatCannotBeMeasured(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	silent := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil)
	web := serve(t, http.NotFoundHandler(), nil)
	page := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }), nil)
	srv, err := parley.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	bare := serve(t, srv, func() { srv.Shutdown(context.Background()) })
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing listens", []string{closed}, "nothing listens at " + closed},
		{"no answer", []string{"--timeout", "50ms", silent}, "no answer from " + silent},
		{"no Socket.IO", []string{web}, "status 404"},
		{"no Socket.IO, polling", []string{"--transport", "polling", web}, "status 404"},
		{"a page", []string{"--transport", "polling", page}, "<html>"},
		{"no such namespace", []string{"--namespace", "/nowhere", bare}, "refuses the namespace"},
		{"no echo", []string{"--scenario", "echo", "--timeout", "2s", bare}, `does not answer "echo" with an event "echo"`},
		{"no ackme", []string{"--scenario", "ack", "--timeout", "2s", bare}, `does not answer "ackme" with an acknowledgement; see parley help bench for what it must offer; and the server does not answer "leaveRoom"`},
		{"one of two", []string{"--scenario", "idle", bare, closed}, "nothing listens at " + closed},
		{"no joinRoom", []string{"--scenario", "rooms", "--timeout", "2s", bare}, `does not answer "joinRoom"`},
		{"no history", []string{"--scenario", "history", application(t, "/", nil)}, `"messages":[`},
		{"descriptors", []string{"--connections", "1000000", bare}, "ulimit -n"},
		{"no such process", []string{"--pid", "2147483647", bare}, "2147483647"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := command(t.Context(), test.args...)
			if code != 1 || stdout != "" || !strings.HasPrefix(stderr, "parley: bench: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, output %q, errors %q", code, stdout, stderr)
			}
		})
	}
}

func TestProgressIsShownIfWanted(t *testing.T) {
	t.Parallel()
	code, _, stderr := command(t.Context(), "--scenario", "idle", "--connections", "2", "--duration", "2500ms", "--progress", application(t, "/", nil))
	if code != 0 || !strings.Contains(stderr, "idle: holding") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}
