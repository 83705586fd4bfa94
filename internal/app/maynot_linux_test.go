package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Whoever may not write the store is told to be its owner. SQLite gives only a number.
func TestMayNotWriteTheStore(t *testing.T) {
	s := filled(t)
	dir := filepath.Dir(s.data)
	program := filepath.Join(dir, "parley")
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(own)
	if err == nil {
		err = os.WriteFile(program, content, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	run := func(args ...string) (code int, stderr string) {
		c := exec.CommandContext(t.Context(), program, append(args, "--data", s.data)...)
		c.Env, c.Dir = []string{asServer + "=1"}, "/"
		if os.Geteuid() == 0 { // who may write everything
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		out, _ := c.CombinedOutput()
		return c.ProcessState.ExitCode(), string(out)
	}
	database := filepath.Join(s.data, "parley.db")
	files, err := filepath.Glob(database + "*")
	for _, f := range files {
		if err == nil {
			err = os.Chmod(f, 0o444)
		}
	}
	t.Cleanup(func() { os.Chmod(dir, 0o755); os.Chmod(s.data, 0o755) })
	for _, d := range []string{dir, s.data} {
		if err == nil {
			err = os.Chmod(d, 0o555)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"operator", "list"}, {"operator", "add", "ann", "--no-password"}, {"--addr", "127.0.0.1:0"}} {
		code, said := run(args...)
		if code != 1 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "you may not write "+database) || !strings.Contains(said, "run this as the user who owns it") {
			t.Errorf("%v: exit code %d, %q", args, code, said)
		}
	}
}
