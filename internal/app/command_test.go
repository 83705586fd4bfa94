package app_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
)

// command runs the command to its end; if it serves, it ends at once.
func command(environ []string, args ...string) (code int, stdout, stderr string) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errors bytes.Buffer
	code = app.Main(ctx, args, environ, strings.NewReader(""), &out, &errors)
	return code, out.String(), errors.String()
}

func TestServeIsTheDefaultCommand(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	for _, args := range [][]string{{"--addr", "127.0.0.1:0", "--data", data}, {"serve", "-addr=127.0.0.1:0", "-data=" + data}} {
		code, stdout, stderr := command(nil, args...)
		if code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, stderr)
		}
		for _, want := range []string{"http://127.0.0.1:", "/socket.io/ over polling, websocket", filepath.Join(data, "parley.db")} {
			if !strings.Contains(stdout, want) {
				t.Errorf("banner lacks %q:\n%s", want, stdout)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(data, "parley.db")); err != nil {
		t.Error(err)
	}
}

func TestHelp(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"help"}, "--ping-interval 25s"},
		{[]string{"--help"}, "--ping-interval 25s"},
		{[]string{"serve", "-h"}, "parley help config"},
		{[]string{"help", "serve"}, "--addr\n"},
		{[]string{"help", "config"}, "| `ping-interval` | `PARLEY_PING_INTERVAL` | `25s` |"},
		{[]string{"help", "bench"}, "--scenario"},
		{[]string{"bench", "-h"}, "--scenario"},
		{[]string{"version"}, "parley "},
	} {
		if code, stdout, stderr := command(nil, test.args...); code != 0 || !strings.Contains(stdout, test.want) || stderr != "" {
			t.Errorf("%v: exit code %d, output %q, errors %q", test.args, code, stdout, stderr)
		}
	}
}

// The unit file in docs/operations.md and the Dockerfile start a server.
func TestDocumentedStarts(t *testing.T) {
	read := func(path string) string {
		text, err := os.ReadFile("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	line := func(text, prefix string) []string {
		_, rest, _ := strings.Cut(text, "\n"+prefix)
		line, _, _ := strings.Cut(rest, "\n")
		if line == "" {
			t.Fatalf("no line begins with %q", prefix)
		}
		return strings.Fields(line)
	}
	here := []string{"--addr", "127.0.0.1:0", "--data", "memory"} // the last value counts
	flags := line(read("docs/operations.md"), "ExecStart=/usr/local/bin/parley ")
	if code, _, stderr := command(nil, append(flags, here...)...); code != 0 {
		t.Errorf("%v: exit code %d: %s", flags, code, stderr)
	}
	environ := line(read("Dockerfile"), "ENV ")
	if code, _, stderr := command(environ, here...); code != 0 {
		t.Errorf("%v: exit code %d: %s", environ, code, stderr)
	}
}

func TestFailuresAreOneLine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := configFile(t, "")
	locked := t.TempDir()
	s, err := app.Open(func() app.Config { c := testConfig(); c.Data = locked; return c }(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()

	for _, test := range []struct {
		name    string
		environ []string
		args    []string
		code    int
		want    string
	}{
		{"address in use", nil, []string{"--addr", l.Addr().String(), "--data", "memory"}, 1, "choose another address with --addr"},
		{"data directory is a file", nil, []string{"--addr", "127.0.0.1:0", "--data", file}, 1, "choose another directory with --data"},
		{"locked database", nil, []string{"--addr", "127.0.0.1:0", "--data", locked}, 1, "the file is in use by another process"},
		{"unknown command", nil, []string{"sreve"}, 2, `"sreve"`},
		{"unknown topic of help", nil, []string{"help", "sreve"}, 2, `"sreve"`},
		{"unknown flag", nil, []string{"--adr", ":1"}, 2, "-adr"},
		{"superfluous argument", nil, []string{"serve", "now"}, 2, `"now"`},
		{"bench without a URL", nil, []string{"bench"}, 2, "want one URL"},
		{"unknown variable", []string{"PARLEY_ADR=:1"}, nil, 2, "PARLEY_ADR"},
		{"value", nil, []string{"--compression=perhaps"}, 2, "--compression"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, stdout, stderr := command(test.environ, test.args...)
			if code != test.code || stdout != "" || strings.Count(stderr, "\n") != 1 ||
				!strings.HasPrefix(stderr, "parley: ") || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, output %q, errors %q", code, stdout, stderr)
			}
		})
	}
}
