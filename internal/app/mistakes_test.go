package app_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
)

// Mistakes are told in one line that says what is wrong and what to do.
func TestMistakes(t *testing.T) {
	s := filled(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	short, json := write("secret", "short"), write("settings.json", `{"data": "x"}`)
	copied := filepath.Join(dir, "copy.db")
	s.must("", "backup", copied)
	absent := filepath.Join(dir, "absent", "file")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.serve()
	waitFor(t, "the socket for commands", func() bool { code, _, _ := s.run("", "operator", "list"); return code == 0 })
	for _, test := range []struct {
		line string
		code int
		want string
	}{
		{"oprator add ann", 2, `there is no command "oprator"; did you mean operator? See parley help`},
		{"operator ad ann", 2, "did you mean operator add?"},
		{"operator add", 2, "want one NAME: parley operator add NAME; see parley help operator add"},
		{"operator add ann bob", 2, "want one NAME: parley operator add NAME"},
		{"operator add ann --password x", 2, "--password: there is no such flag; did you mean --password-stdin? See parley help operator add"},
		{"operator add ann --name", 2, "--name: the value is missing; see parley help operator add"},
		{"operator add ann --admin=perhaps", 2, `--admin: "perhaps" is not allowed: want true or false`},
		{"operator add ann", 2, "use --password-stdin"},
		{"operator add ann --password-stdin < short", 1, "a password needs at least 10 characters"},
		{"operator disable eve", 1, `there is no operator "eve" (not_found)`},
		{"operator list --data " + dir + "/nothing", 1, "there is no store; --data names the data directory"},
		{"--visitor", 2, "--visitor: there is no such flag; did you mean --visitors? See parley help"},
		{"--config " + absent, 2, "read configuration: open " + absent},
		{"--config " + json, 2, json + ": want TOML, such as data = "},
		{"--token-secret-file " + short, 2, "a secret needs at least 32 bytes; openssl rand -hex 32 makes one"},
		{"--token-secret-file " + absent, 2, "token-secret-file: open " + absent},
		{"--addr 0.0.0.0:0 --token-secret= --data memory", 2, "parley operator add NAME"},
		{"--addr " + taken.Addr().String(), 1, "stop what listens there, or choose another address with --addr"},
		{"--addr 127.0.0.1:0", 1, "in use by another process: stop that one, or choose another directory with --data"},
		{"restore " + copied, 1, "parley.db: the file is in use by another process: stop the server"},
		{"restore " + absent, 1, "there is no store"},
		{"backup " + absent, 1, absent + ": there is no directory " + filepath.Dir(absent)},
		{"export --all --output " + absent, 1, "there is no directory " + filepath.Dir(absent)},
		{"export", 2, "want one of --room, --user and --all"},
		{"ban add --network 1.2.3.4/99", 1, "a banned network is an address or a network, such as 203.0.113.0/24"},
		{"ban add --user u7 --until tomorrow", 2, `--until: "tomorrow" is not allowed: want a time such as`},
		{"ban remove bob", 1, "a ban is of user:ID or net:NETWORK"},
		{"token create --user u7 --ttl 1000h", 1, "the token would be refused: exp"},
		{"completion tcsh", 2, "want one of bash, zsh and fish"},
		{"types --lang cobol", 2, "--lang must be ts, md or schema"},
	} {
		line, stdin, _ := strings.Cut(test.line, " < ")
		code, stdout, stderr := s.run(stdin, strings.Fields(line)...)
		if code != test.code || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "parley: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: exit code %d, %q, %q", test.line, code, stdout, stderr)
		}
	}
}

// Whoever cannot listen is told which setting to change.
func TestAddressInUseNamesItsSetting(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, inUse := net.Listen("tcp", l.Addr().String())
	for prefix, flag := range map[string]string{"": "--addr", "http-redirect: ": "--http-redirect, or off", "cluster-addr: ": "--cluster-addr"} {
		if got := app.Explain(fmt.Errorf("%s%w", prefix, inUse)); !strings.HasSuffix(got, "choose another address with "+flag) {
			t.Errorf("%s%v is explained as %s", prefix, inUse, got)
		}
	}
}
