package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/app/apptest"
	"github.com/parley-go/parley/internal/tokentest"
)

// bearer connects with a token until the test ends.
func bearer(t *testing.T, url, token string) *apptest.Client {
	t.Helper()
	c, err := apptest.ConnectWith(t.Context(), url, http.Header{"Authorization": {"Bearer " + strings.TrimSpace(token)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// ended waits until the server has closed a connection.
func ended(t *testing.T, what string, c *apptest.Client) {
	t.Helper()
	waitFor(t, what, func() bool {
		select {
		case <-c.Done():
			return true
		default:
			return false
		}
	})
}

func stillThere(t *testing.T, what string, c *apptest.Client) {
	t.Helper()
	var a struct{ Error refusal }
	if err := c.Call(t.Context(), "leaveRoom", object{"roomId": "other"}, &a); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// The first operator closes an open server: whoever was connected has proved nothing.
func TestFirstOperatorClosesServer(t *testing.T) {
	c := testConfig()
	c.Data = filepath.Join(shortDir(t), "data")
	server := start(t, c)
	s := &shell{t: t, data: c.Data}
	waitFor(t, "the socket for commands", func() bool {
		_, err := os.Stat(filepath.Join(c.Data, "control.sock"))
		return err == nil
	})
	p := server.dial(t)
	join(t, p, object{"roomId": "r", "userId": "u7"})
	s.must("correct horse battery", "operator", "add", "ann", "--password-stdin")
	ended(t, "the client of the open server", p.Client)
	if c, err := apptest.Connect(t.Context(), server.url); err == nil {
		c.Close()
		t.Error("somebody without a token connects to a closed server")
	}
}

// What is a server's own need not be where the messages are.
func TestStateDir(t *testing.T) {
	c := testConfig()
	dir := shortDir(t)
	c.Data, c.StateDir, c.TLSSelfSigned = filepath.Join(dir, "data"), filepath.Join(dir, "own"), true
	start(t, c)
	for _, name := range []string{"control.sock", "self-signed-cert.pem"} {
		waitFor(t, name, func() bool {
			_, err := os.Stat(filepath.Join(c.StateDir, name))
			return err == nil
		})
	}
	s := &shell{t: t, data: c.Data}
	s.must("correct horse battery", "operator", "add", "ann", "--password-stdin", "--state-dir", c.StateDir)
}

// With a server running, commands take effect on those who are connected.
func TestCommandsTakeEffectAtOnce(t *testing.T) {
	s := filled(t)
	server := s.serve()
	tokenOf := func(args ...string) string { return s.must("", append([]string{"token", "create"}, args...)...) }
	others := bearer(t, server.url, tokenOf("--user", "other"))
	for _, test := range []struct {
		what  string
		token []string
		do    []string
	}{
		{"a user whose tokens are revoked", []string{"--user", "u1"}, []string{"revoke", "--user", "u1"}},
		{"a banned user", []string{"--user", "u2"}, []string{"ban", "add", "--user", "u2"}},
		{"a disabled operator", []string{"--operator", "bob"}, []string{"operator", "disable", "bob"}},
	} {
		if test.do[0] == "operator" {
			s.must("", "operator", "add", "bob", "--no-password")
		}
		c := bearer(t, server.url, tokenOf(test.token...))
		s.must("", test.do...)
		ended(t, test.what, c)
	}
	key := s.must("", "keys", "add", "bot")
	program := bearer(t, server.url, key)
	s.must("", "keys", "remove", "bot")
	ended(t, "a program whose key is removed", program)
	stillThere(t, "somebody else", others)

	member := bearer(t, server.url, tokenOf("--user", "u7"))
	var a answer
	if err := member.Call(t.Context(), "joinRoom", object{"roomId": "c_1"}, &a); err != nil || a.Error.Code != "" || len(a.Messages) != 2 {
		t.Fatalf("join: %+v, %v", a, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.url+"/rooms/c_1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(tokenOf("--user", "u7")))
	feed, err := http.DefaultClient.Do(r)
	if err != nil || feed.StatusCode != 200 {
		t.Fatalf("the feed: %+v, %v", feed, err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer feed.Body.Close()
	s.must("", "erase", "--user", "u7", "--yes")
	if text, _ := io.ReadAll(feed.Body); !bytes.Contains(text, []byte(`"gone"`)) {
		t.Errorf("the feed of an erased room ends with %s", text)
	}
	if _, err := member.Take(t.Context(), func(p apptest.Packet) bool { return p.Event == "roomGone" }); err != nil {
		t.Errorf("the member of an erased room hears nothing: %v", err)
	}
	s.must("", "revoke", "--all")
	ended(t, "everybody", others)
}

// A script uses a token right after it has added, changed or let in the operator.
func TestTokenRightAfterOperator(t *testing.T) {
	s := filled(t)
	server := s.serve()
	use := func(what string) {
		t.Helper()
		stillThere(t, what, bearer(t, server.url, s.must("", "token", "create", "--operator", "ann")))
	}
	s.must("", "operator", "add", "ann", "--no-password")
	use("added")
	for range 3 { // within one second
		s.must("", "operator", "disable", "ann")
		s.must("", "operator", "enable", "ann")
		use("let in again")
		s.must("", "revoke", "--operator", "ann")
		use("revoked before")
	}
}

// An erased user is in no file of the data directory, and the export that went before has all of it.
func TestEraseLeavesNothing(t *testing.T) {
	s := filled(t)
	server := s.serve()
	file := filepath.Join(t.TempDir(), "u7.jsonl")
	if code, stdout, stderr := s.run("", "export", "--user", "u7", "--output", file); code != 0 || stdout != "" || !strings.Contains(stderr, "4 lines") {
		t.Fatalf("export: exit code %d, %q, %q", code, stdout, stderr)
	}
	text, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(text, []byte("ann@example.com")) || !bytes.HasSuffix(text, []byte("{\"end\":true,\"rows\":4}\n")) {
		t.Errorf("the export: %s, %v", text, err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the export is readable by others: %v, %v", info.Mode(), err)
	}
	s.must("", "erase", "--user", "u7", "--yes")
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(s.data)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(s.data, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"ann@example.com", "hello", "yes?"} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s has %q", e.Name(), secret)
			}
		}
	}
}

// An export that cannot be written is no file with the name of one that is whole.
func TestExportFileIsWhole(t *testing.T) {
	s := filled(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "out.jsonl")
	if err := os.WriteFile(file, []byte("earlier"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := s.run("", "export", "--room", "nowhere", "--output", file); code != 1 || !strings.Contains(stderr, "not_found") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "earlier" {
		t.Errorf("the earlier file has %q, %v", text, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the export left %v, %v", entries, err)
	}
	var stderr bytes.Buffer
	code := app.Main(t.Context(), []string{"export", "--all", "--data", s.data}, nil, strings.NewReader(""), fullDisk{}, &stderr)
	if code != 1 || !strings.Contains(stderr.String(), "full") {
		t.Errorf("a full disk: exit code %d, %q", code, stderr.String())
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) {
	return 0, os.NewSyscallError("the disk is full", os.ErrInvalid)
}

func TestControlSocket(t *testing.T) {
	s := filled(t)
	path := filepath.Join(s.data, "control.sock")
	// What a killed process left behind.
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	s.must("", "operator", "list") // nobody listens: the command opens the store

	server := s.serve()
	waitFor(t, "an answer", func() bool { code, _, _ := s.run("", "operator", "list"); return code == 0 })
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	// A second server does not take the socket from the first one.
	if code, _, stderr := command(nil, "--addr", "127.0.0.1:0", "--data", s.data); code != 1 || !strings.Contains(stderr, "in use") {
		t.Errorf("a second server: exit code %d, %q", code, stderr)
	}
	s.must("", "operator", "list")
	if err := server.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the server left its socket")
	}
	s.must("", "operator", "list")
}

// A server that was killed leaves its socket, and nobody minds.
func TestKilledServerLeavesSocket(t *testing.T) {
	s := filled(t)
	path := filepath.Join(s.data, "control.sock")
	child := startChild(t, s.data)
	listens := func() bool { _, err := os.Stat(path); return err == nil }
	waitFor(t, "the socket for commands", listens)
	s.must("", "operator", "add", "ann", "--no-password")
	child.kill()
	if !listens() {
		t.Fatal("the killed server has removed its socket")
	}
	s.must("", "operator", "add", "bob", "--no-password")
	s.serve()
	waitFor(t, "the new server", func() bool {
		conn, err := net.Dial("unix", path)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	s.must("", "operator", "disable", "ann")
	if list := s.must("", "operator", "list"); !strings.Contains(list, "bob") || !strings.Contains(list, "disabled") {
		t.Errorf("the operators: %s", list)
	}
}

// lines is a log that tests read while it grows.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// The path of a socket may have about 100 bytes. A server without one serves; commands say what to do.
func TestDirectoryTooDeepForSocket(t *testing.T) {
	data := filepath.Join(shortDir(t), strings.Repeat("d", 120))
	s := &shell{t: t, data: data}
	s.must("", "operator", "add", "ann", "--no-password")
	c, log := testConfig(), &lines{}
	c.Data = data
	server, err := app.Open(c, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	run(t, server)
	waitFor(t, "a line in the log", func() bool { return strings.Contains(log.String(), "no socket for commands") })
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings: %s", n, log)
	}
	t.Cleanup(app.SetReachFor(0))
	code, _, stderr := s.run("", "operator", "list")
	if code != 3 || !strings.Contains(stderr, "stop it first") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

// Two commands at once wait for each other.
func TestCommandsWaitForEachOther(t *testing.T) {
	s := filled(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			var out bytes.Buffer
			args := []string{"operator", "add", string(rune('a' + i)), "--no-password", "--data", s.data}
			for {
				code := app.Main(context.Background(), args, nil, strings.NewReader(""), &out, &out)
				if code == 0 {
					return
				}
				if code != 3 { // the machine is too busy: the others have the store for longer than this one waits
					t.Errorf("exit code %d, %s", code, out.String())
					return
				}
			}
		})
	}
	all.Wait()
	if n := strings.Count(s.must("", "operator", "list", "--json"), "\n"); n != 4 {
		t.Errorf("%d operators", n)
	}
}

// Whoever removes the last operator learns what that means for the next start.
func TestLastOperatorIsRemoved(t *testing.T) {
	s := &shell{t: t, data: t.TempDir()}
	for _, name := range []string{"ann", "bob"} {
		s.must("", "operator", "add", name, "--no-password")
	}
	for i, name := range []string{"ann", "bob"} {
		code, _, stderr := s.run("", "operator", "remove", name)
		if code != 0 || strings.Contains(stderr, "open") != (i == 1) {
			t.Errorf("%s: exit code %d, %s", name, code, stderr)
		}
	}
}

// Whoever checks a token learns that its user is banned. The user does not.
func TestBannedTokenIsExplained(t *testing.T) {
	s := &shell{t: t, data: t.TempDir()}
	s.must("", "ban", "add", "--user", "u7")
	token := tokentest.Sign(`{"alg":"HS256"}`, fmt.Sprintf(`{"sub":"u7","exp":%d}`, time.Now().Add(time.Hour).Unix()), "HS256", []byte(secret))
	code, stdout, _ := s.run(token, "token", "check", "--token-secret", secret)
	if code == 0 || !strings.Contains(stdout, "parley ban list") {
		t.Errorf("exit code %d, %s", code, stdout)
	}
}
