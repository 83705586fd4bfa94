package app_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/app/apptest"
)

// tool runs a command that ends on its own.
func tool(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errors bytes.Buffer
	code = app.Main(t.Context(), args, nil, strings.NewReader(""), &out, &errors)
	return code, out.String(), errors.String()
}

// A client that has seen more than the backup contains is told so when it comes back, so it does
// not miss anything that was written since.
func TestRestoreIsNoticed(t *testing.T) {
	data, file := t.TempDir(), filepath.Join(t.TempDir(), "backup.db")
	server := startChild(t, data)
	a := apptest.Dial(t, server.url)
	before := join(t, a, object{"roomId": "r", "userId": "ann"})
	write := func(p *apptest.Peer, messages int, text string) {
		t.Helper()
		for range messages {
			send(t, p, object{"roomId": "r", "message": text})
		}
	}
	write(a, 10, "kept")
	if code, stdout, stderr := tool(t, "backup", "--data", data, file); code != 0 || !strings.Contains(stdout, "10 messages in 1 rooms") || stderr != "" {
		t.Fatalf("backup: exit code %d, %q, %q", code, stdout, stderr)
	}
	write(a, 5, "lost")
	for _, args := range [][]string{{"check", "--data", data}, {"check", file}} {
		if code, stdout, stderr := tool(t, args...); code != 0 || !strings.Contains(stdout, "no fault was found") || stderr != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
	if code, _, stderr := tool(t, "restore", file, "--data", data); code != 1 || !strings.Contains(stderr, "stop the server") {
		t.Errorf("restore beside a server: exit code %d, %q", code, stderr)
	}
	write(a, 1, "lost")
	server.kill() // leaves no lock behind
	if code, stdout, stderr := tool(t, "restore", file, "--data", data); code != 0 || !strings.Contains(stdout, "-replaced-") || stderr != "" {
		t.Fatalf("restore: exit code %d, %q, %q", code, stdout, stderr)
	}

	server = startChild(t, data)
	b := apptest.Dial(t, server.url)
	now := join(t, b, object{"roomId": "r", "userId": "bob"})
	write(b, 10, "new")
	for _, after := range []int{16, 15, 10} {
		c := apptest.Dial(t, server.url)
		got := join(t, c, object{"roomId": "r", "userId": "ann", "after": after, "epoch": before.Epoch})
		if !got.Reset || got.LastSeq != 20 || len(got.Messages) != 20 {
			t.Errorf("after %d: reset %v, %d messages up to %d", after, got.Reset, len(got.Messages), got.LastSeq)
		}
	}
	c := apptest.Dial(t, server.url)
	if got := join(t, c, object{"roomId": "r", "userId": "cid", "after": 15, "epoch": now.Epoch}); got.Reset || len(got.Messages) != 5 {
		t.Errorf("a client of the new numbering: reset %v, %d messages", got.Reset, len(got.Messages))
	}
}

func TestStoreCommandsRefuse(t *testing.T) {
	data, text := t.TempDir(), filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"backup"}, 2, "want one FILE"},
		{[]string{"restore", "--data", data, "a", "b"}, 2, "want one FILE"},
		{[]string{"check", "a", "b"}, 2, "want one FILE"},
		{[]string{"check", "--data", "memory"}, 2, "memory"},
		{[]string{"backup", "--addr", ":1", "a"}, 2, "-addr"},
		{[]string{"backup", "--data", data, text}, 1, "there is no store; --data"},
		{[]string{"check", "--data", data}, 1, "there is no store; --data"},
		{[]string{"restore", "--data", filepath.Join(data, "new"), filepath.Join(data, "absent")}, 1, "absent: there is no store\n"},
		{[]string{"check", "--data", data, filepath.Join(data, "absent")}, 1, "absent: there is no store\n"},
		{[]string{"restore", "--data", data, "--", text}, 1, "not a database"},
	} {
		code, stdout, stderr := tool(t, test.args...)
		if code != test.code || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "parley: ") || !strings.Contains(stderr, test.want) {
			t.Errorf("%v: exit code %d, output %q, errors %q", test.args, code, stdout, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(data, "new")); err == nil {
		t.Error("a restore that failed made a data directory")
	}
	if code, _, stderr := command(nil, "check", "--data", data); code != 130 || !strings.Contains(stderr, "interrupted") {
		t.Errorf("interrupted: exit code %d, %q", code, stderr)
	}
	// A file that is not a database is a finding of a check.
	if code, stdout, _ := tool(t, "check", text); code != 1 || !strings.Contains(stdout, "damaged") {
		t.Errorf("check of a text: exit code %d, %q", code, stdout)
	}
}
