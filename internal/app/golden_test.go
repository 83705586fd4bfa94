package app_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
)

var update = flag.Bool("update", false, "write what the commands print to testdata")

// aSecret signs tokens in these tests.
const aSecret = "0123456789abcdef0123456789abcdef"

// A shell runs commands on one data directory, and writes a transcript.
type shell struct {
	t          *testing.T
	data       string
	environ    []string
	search     bool // of the server
	transcript strings.Builder
}

// run runs a command with a standard input.
func (s *shell) run(stdin string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errors bytes.Buffer
	environ := append([]string{"PARLEY_DATA=" + s.data, "PARLEY_TOKEN_SECRET=" + aSecret}, s.environ...)
	code = app.Main(s.t.Context(), args, environ, strings.NewReader(stdin), &out, &errors)
	return code, out.String(), errors.String()
}

// must runs a command that has to succeed, and returns its output.
func (s *shell) must(stdin string, args ...string) string {
	s.t.Helper()
	code, stdout, stderr := s.run(stdin, args...)
	if code != 0 {
		s.t.Fatalf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
	}
	return stdout
}

// record runs a command for the transcript: its arguments, and after " < " its standard input. A
// "_" stands for a space, and <RLO> for a character that would reverse what follows.
func (s *shell) record(line string) (stdout string) {
	s.t.Helper()
	command, stdin, _ := strings.Cut(line, " < ")
	args := strings.Fields(command)
	for i := range args {
		if len(args[i]) < 100 { // no token
			args[i] = strings.NewReplacer("_", " ", "<RLO>", "\u202e").Replace(args[i])
		}
	}
	code, stdout, stderr := s.run(strings.ReplaceAll(stdin, `\n`, "\n"), args...)
	if len(args[len(args)-1]) > 100 {
		command = strings.Join(args[:len(args)-1], " ") + " TOKEN"
	}
	fmt.Fprintf(&s.transcript, "$ parley %s\n", command)
	for _, stream := range []struct{ mark, text string }{{"  ", stdout}, {"! ", stderr}} {
		for line := range strings.Lines(stream.text) {
			fmt.Fprintf(&s.transcript, "%s%s", stream.mark, line)
		}
	}
	if code != 0 {
		fmt.Fprintf(&s.transcript, "= %d\n", code)
	}
	s.transcript.WriteString("\n")
	return stdout
}

// varying are parts of the output that are different each time. What stands in tables keeps its length.
var varying = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "2026-01-01 00:00:00"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "2026-01-01T00:00:00Z"},
	{regexp.MustCompile(`pk_[a-z2-7]{32}`), "pk_abcd0000000000000000000000000000"},
	{regexp.MustCompile(`pk_[a-z2-7]{4}`), "pk_abcd"},
	{regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`), "HEADER.CLAIMS.SIGNATURE"},
	{regexp.MustCompile(`(?m)^(  )[\w-]{12}( +visitors')`), "${1}kid000000000$2"},
	{regexp.MustCompile(`("visitorKey","name":)"[\w-]{12}"`), `$1"kid000000000"`},
	{regexp.MustCompile(`("id":)"\w+"(,"roomId")`), `$1"m"$2`},
	{regexp.MustCompile(`[0-9a-f]{64}`), "sha256"},
	{regexp.MustCompile(`(?m)(/|\\)tmp\S*?parley\d+`), "DATA"},
}

// golden compares the transcript with a file in testdata.
func (s *shell) golden(name string) {
	s.t.Helper()
	got := s.transcript.String()
	for _, v := range varying {
		got = v.pattern.ReplaceAllString(got, v.with)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		var g, w string
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			w = wantLines[i]
		}
		if g != w {
			s.t.Fatalf("%s:%d: got\n%s\nwant\n%s\nThe transcript:\n%s", path, i+1, g, w, got)
		}
	}
}

// filled returns a data directory with a conversation and a room, and a shell on it.
func filled(t *testing.T) *shell {
	t.Helper()
	c := testConfig()
	c.Data = filepath.Join(shortDir(t), "data")
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	conversation := &history.Conversation{UserID: "u7", Name: "Ann", Email: "ann@example.com", Subject: "Help"}
	for _, d := range []history.Draft{
		{RoomID: "c_1", UserID: "u7", Message: []byte(`"hello"`), Conversation: conversation},
		{RoomID: "c_1", OperatorID: "bob", Message: []byte(`"yes?"`)},
		{RoomID: "lounge", UserID: "u7", Message: []byte(`"hi"`)},
		{RoomID: "lounge", UserID: "u8", Message: []byte(`"hey"`)},
	} {
		if err := app.Append(s, d); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Shutdown(); err != nil {
		t.Fatal(err)
	}
	return &shell{t: t, data: c.Data}
}

// serve runs a server on the data directory.
func (s *shell) serve() *instance {
	s.t.Helper()
	c := testConfig()
	c.Data, c.TokenSecrets, c.Search = s.data, []string{aSecret}, s.search
	return s.serveWith(c)
}

// serveOpen is serve for a server that believes everybody.
func (s *shell) serveOpen() *instance {
	s.t.Helper()
	c := testConfig()
	c.Data = s.data
	return s.serveWith(c)
}

func (s *shell) serveWith(c app.Config) *instance {
	s.t.Helper()
	i := start(s.t, c)
	waitFor(s.t, "the socket for commands", func() bool {
		_, err := os.Stat(filepath.Join(s.data, "control.sock"))
		return err == nil
	})
	return i
}

// What commands print is the same, whether a server runs or not.
func TestCommands(t *testing.T) {
	for _, mode := range []string{"server stopped", "server running"} {
		t.Run(mode, func(t *testing.T) {
			s := filled(t)
			if mode == "server running" {
				s.serve()
			}
			for line := range strings.Lines(commandLines) {
				if line = strings.TrimSpace(line); line != "" {
					s.record(line)
				}
			}
			for _, who := range []string{"--user u7 --name Ann_Lee --room order-*=rw", "--operator olga --admin", "--service bot --ttl 2m"} {
				token := strings.TrimSpace(s.record("token create " + who))
				s.record("token check " + token)
			}
			token := strings.TrimSpace(s.must("", "token", "create", "--user", "u9", "--json"))
			token = token[strings.Index(token, "eyJ"):strings.Index(token, `","`)]
			s.record("token check --json < " + token)
			s.record("revoke --user u9 --reason Lost_phone --json")
			s.record("token check - < " + token + `\n`)
			key := s.must("", "keys", "add", "reader", "--room", "news-*=r")
			s.record("token check - < " + key)
			s.golden("commands.txt")

			kid := regexp.MustCompile(`"visitorKey","name":"([^"]+)"`).FindStringSubmatch(s.must("", "keys", "list", "--json"))[1]
			if code, _, stderr := s.run("", "keys", "remove", kid); code != 1 || !strings.Contains(stderr, "(conflict)") {
				t.Errorf("remove the key that signs: exit code %d, %q", code, stderr)
			}
			s.must("", "keys", "rotate")
			s.must("", "keys", "remove", kid)
			if list := s.must("", "keys", "list"); strings.Contains(list, kid) {
				t.Errorf("the removed key is there: %s", list)
			}
		})
	}
}

const commandLines = `
operator list
operator list --json
operator add ann --admin --email ann@example.com --name Ann_Lee --password-stdin < correct horse battery\n
operator add ann --no-password
operator add bob --password-stdin < short
operator add bob --password-stdin
operator add bob
operator add bob --no-password --json
operator add bob --update --admin --json
operator add bob --update --admin=false
operator add --update eve --name E<RLO>ve --email eve@example.com
operator add eva --no-password --email EVE@example.com
operator add --no-password
operator add a b --no-password
operator passwd bob --password-stdin < another long password\n
operator passwd nobody --password-stdin < another long password\n
operator disable bob
operator disable nobody
operator list
operator enable --json bob
operator enable bob
operator remove bob
operator remove bob
operator list --json
keys list
keys add bot --room order-*=rw --room news=r
keys add bot
keys add root --admin --expires 90d --json
keys add past --expires 2020-01-31
keys add wrong --room news
keys add wrong --room news=x
keys add wrong --expires tomorrow
keys rotate
keys list
keys list --json
keys remove bot
keys remove bot
ban list
ban add --user u8 --until 24h --reason Spam
ban add --network 203.0.113.7
ban add --network 2001:db8::/32 --json
ban add --network 0.0.0.0/0
ban add --network nowhere
ban add
ban add --user u8 --network 203.0.113.7
ban add --user u8 --until 2020-01-31
ban list
ban list --json
ban remove --network 203.0.113.7
ban remove --network 203.0.113.7
ban remove
revoke --operator ann --before 1h
revoke --jti t1
revoke --all --before 2026-01-31T12:00:00Z
revoke --user u7 --before 2199-01-31
revoke --user u7 --all
revoke
token create
token create --user u7 --operator ann
token create --user u7 --admin
token create --user u7 --ttl 48h
token create --user u7 --kid k1
token check nonsense
token check
export --room lounge
export --user u7
export --all
export --room nowhere
export
export --all --room lounge
erase
erase --user u7 --dry-run
erase --user u7 --dry-run --json
erase --user u7 < u8\n
erase --user u7
erase --user nobody --yes
erase --user u7 --yes --dry-run
erase --user u7 < u7\n
erase --user u8 --yes
erase --room lounge --yes --json
erase --room lounge --yes
export --all
`

// The commands that change nothing make no data directory either.
func TestCommandsWithoutStore(t *testing.T) {
	dir := shortDir(t)
	s := &shell{t: t, data: filepath.Join(dir, "data")}
	for _, args := range [][]string{
		{"operator", "list"}, {"operator", "disable", "ann"}, {"operator", "remove", "ann"}, {"keys", "list"}, {"keys", "remove", "k"},
		{"ban", "list"}, {"ban", "remove", "--user", "u7"}, {"token", "check", "t"}, {"export", "--all"}, {"erase", "--user", "u7", "--yes"},
	} {
		if code, stdout, stderr := s.run("", args...); code != 1 || stdout != "" || !strings.Contains(stderr, "there is no store; --data") {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(s.data); err == nil {
		t.Error("there is a data directory now")
	}
	if code, _, stderr := s.run("", "operator", "list", "--data", "memory"); code != 2 || !strings.Contains(stderr, "memory") {
		t.Errorf("data in memory: exit code %d, %q", code, stderr)
	}
	s.must("", "operator", "add", "ann", "--no-password")
	if out := s.must("", "operator", "list"); !strings.Contains(out, "ann") {
		t.Errorf("the operator is not in the new store: %q", out)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if code := app.Main(ctx, []string{"operator", "list", "--data", s.data}, nil, strings.NewReader(""), &stderr, &stderr); code != 130 {
		t.Errorf("interrupted: exit code %d, %q", code, stderr.String())
	}
}

// A backup has operators, keys and bans, and a store that is restored from it as well.
func TestBackupHasAccess(t *testing.T) {
	s := filled(t)
	s.must("correct horse battery", "operator", "add", "ann", "--admin", "--password-stdin")
	s.must("", "keys", "add", "bot")
	s.must("", "keys", "rotate")
	s.must("", "ban", "add", "--user", "u8")
	server := s.serve()
	file := filepath.Join(t.TempDir(), "backup.db")
	s.must("", "backup", file)
	before := map[string]string{}
	lists := []string{"operator", "keys", "ban"}
	for _, list := range lists {
		before[list] = s.must("", list, "list", "--json")
	}
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	s.must("", "operator", "remove", "ann")
	restored := &shell{t: t, data: filepath.Join(t.TempDir(), "data")}
	restored.must("", "restore", file)
	s.must("", "restore", file)
	for _, list := range lists {
		for _, where := range []*shell{restored, s} {
			if got := where.must("", list, "list", "--json"); got != before[list] || got == "" {
				t.Errorf("%s: %s, want %s", list, got, before[list])
			}
		}
	}
}

func TestConfigCommands(t *testing.T) {
	dir := shortDir(t)
	file := filepath.Join(dir, "parley.toml")
	text := "# settings\ndata = \"d\"\nallowed-hosts = [\n  \"a.example\",\n]\ntoken-secret = \"" + aSecret + "\"\n\"page-size\" = 20\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &shell{t: t, environ: []string{"PARLEY_CONFIG=" + file, "PARLEY_MAX_ROOMS=7", "PARLEY_ADDR=:9000"}}
	show := func(args ...string) string {
		var out, errors bytes.Buffer
		if code := app.Main(t.Context(), append([]string{"config", "show"}, args...), s.environ, strings.NewReader(""), &out, &errors); code != 0 {
			t.Fatalf("exit code %d, %q", code, errors.String())
		}
		if strings.Contains(out.String(), aSecret) {
			t.Error("the secret is shown")
		}
		return out.String()
	}
	people := show("--search", "--log-level=debug")
	for name, want := range map[string]string{
		"addr": ":9000 PARLEY_ADDR", "data": "d " + file + ":2", "allowed-hosts": "a.example " + file + ":3", "token-secret": "… " + file + ":6",
		"page-size": "20 " + file + ":7", "max-rooms": "7 PARLEY_MAX_ROOMS", "search": "true --search", "log-level": "debug --log-level",
		"token-audience": "parley default", "http-redirect": "off default",
	} {
		found := false
		for line := range strings.Lines(people) {
			found = found || strings.Join(strings.Fields(line), " ") == name+" "+want
		}
		if !found {
			t.Errorf("no line %q in\n%s", name+" "+want, people)
		}
	}
	for _, want := range []string{
		`{"name":"token-secret","value":"…","origin":"file","from":"` + file + `:6"}`,
		`{"name":"max-rooms","value":"7","origin":"variable","from":"PARLEY_MAX_ROOMS"}`,
		`{"name":"search","value":"false","origin":"default"}`,
	} {
		if !strings.Contains(show("--json"), want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{nil, 0, "would start"},
		{[]string{"--visitors", "--addr", "0.0.0.0:80"}, 0, "would start"},
		{[]string{"--page-size", "0"}, 2, "--page-size"},
		{[]string{"--token-secret-file", filepath.Join(dir, "absent")}, 2, "token-secret-file"},
		{[]string{"--token-keys", file}, 2, "token-keys"},
		{[]string{"--tls-cert", file, "--tls-key", file}, 2, "tls-cert"},
		{[]string{"now"}, 2, `"now"`},
		{[]string{"--visitor"}, 2, "--visitor: there is no such flag; did you mean --visitors? See parley help"},
	} {
		var out, errors bytes.Buffer
		code := app.Main(t.Context(), append([]string{"config", "check"}, test.args...), s.environ, strings.NewReader(""), &out, &errors)
		if code != test.code || out.Len() > 0 || !strings.Contains(errors.String(), test.want) {
			t.Errorf("config check %v: exit code %d, %q, %q", test.args, code, out.String(), errors.String())
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("the commands left %v, %v", entries, err)
	}
}

func TestNearestCommands(t *testing.T) {
	for name, want := range map[string]string{
		"sreve": "serve", "opertor": "operator", "operator": "one more word", "ba": "ban", "exprot": "export", "token chek": "token check",
		"operator lst": "operator list", "bakcup": "backup", "config shw": "config show", "xyzzy": "see parley help",
	} {
		code, stdout, stderr := command(nil, strings.Fields(name)...)
		if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{"help", "operator", "add"}, {"operator", "add", "-h"}, {"operator", "-h", "add"}} {
		_, stdout, _ := command(nil, args...)
		if !strings.Contains(stdout, "operator add") || args[0] == "help" && !strings.Contains(stdout, "--password-stdin") {
			t.Errorf("%v: %q", args, stdout)
		}
	}
	_, usage, _ := command(nil, "help")
	for _, c := range app.CommandNames() {
		code, stdout, stderr := command(nil, append([]string{"help"}, strings.Fields(c)...)...)
		if code != 0 || !strings.Contains(stdout, "parley ") || stderr != "" {
			t.Errorf("help %s: exit code %d, %q, %q", c, code, stdout, stderr)
		}
		if !strings.Contains(usage, "parley "+c) {
			t.Errorf("the usage lacks %s", c)
		}
	}
}
