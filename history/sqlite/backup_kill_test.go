package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/soak"
)

// Each of these variables makes this test binary a process that does one thing with the store at
// its path, again and again, and writes a line each time.
const (
	backupEnv  = "PARLEY_HISTORY_BACKUP"
	restoreEnv = "PARLEY_HISTORY_RESTORE"
)

func init() {
	children[backupEnv] = repeat(func(path string) error {
		_, err := sqlite.Backup(context.Background(), path, path+".backup")
		return err
	})
	children[restoreEnv] = repeat(func(path string) error {
		from := fmt.Sprint(path, ".backup", 1+rand.IntN(2))
		_, replaced, err := sqlite.Restore(context.Background(), from, path)
		if err == nil {
			err = os.Remove(replaced)
		}
		return err
	})
}

func repeat(f func(path string) error) func(string) int {
	return func(path string) int {
		fmt.Println("ready")
		for {
			if err := f(path); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			fmt.Println("done")
		}
	}
}

// startChild starts a process, waits until it has written "ready", and returns it with its further
// lines.
func startChild(t *testing.T, env, path string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	command := exec.Command(os.Args[0], "-test.run=^$")
	command.Env = append(os.Environ(), env+"="+path)
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Errorf("the child did not start: %q", lines.Text())
	}
	return command, lines
}

// killSoon kills the child shortly after it has written a line, and returns the number of lines.
func killSoon(t *testing.T, child *exec.Cmd, lines *bufio.Scanner) (wrote int) {
	t.Helper()
	for lines.Scan() {
		if wrote++; wrote == 1 {
			defer time.AfterFunc(rand.N(20*time.Millisecond), func() { child.Process.Kill() }).Stop()
		}
	}
	if child.Wait() == nil || wrote == 0 {
		t.Errorf("the child ended by itself after %d lines", wrote)
	}
	return wrote
}

// A backup is complete even if the server is killed meanwhile, and even if the previous backup was
// killed.
func TestBackupAcrossKills(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	file := path + ".backup"
	for range soak.Times(5, 25) {
		server, lines := startChild(t, crashEnv, path)
		acknowledged := 0
		for acknowledged < 50 && lines.Scan() {
			acknowledged++
		}
		rest := make(chan struct{})
		go func() { defer close(rest); io.Copy(io.Discard, pipe{lines}) }()
		backups, done := startChild(t, backupEnv, path)
		killSoon(t, backups, done)
		time.AfterFunc(rand.N(10*time.Millisecond), func() { server.Process.Kill() })
		if r := backup(t, path, file); r.Messages < int64(acknowledged) {
			t.Errorf("%d messages, %d had been acknowledged", r.Messages, acknowledged)
		}
		<-rest
		server.Wait()
		for _, path := range []string{path, file} {
			if err := sound(path); err != nil {
				t.Error(err)
			}
		}
		restore(t, file, filepath.Join(t.TempDir(), "restored.db"))
	}
}

// pipe reads the rest of a child's output.
type pipe struct{ lines *bufio.Scanner }

func (p pipe) Read(b []byte) (int, error) {
	if !p.lines.Scan() {
		return 0, io.EOF
	}
	return copy(b, p.lines.Text()), nil
}

// A killed restore leaves the old store or the new one. It does not prevent the next restore, and
// no epoch occurs twice.
func TestRestoreAcrossKills(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := openAt(t, path)
	epochs := map[string]bool{s.Epoch(): true}
	put(t, s, "a", 1)
	backup(t, path, path+".backup1")
	put(t, s, "a", 2)
	backup(t, path, path+".backup2")
	s.Close()
	for range soak.Times(8, 300) {
		child, lines := startChild(t, restoreEnv, path)
		killSoon(t, child, lines)
		if err := sound(path); err != nil {
			t.Error(err)
		}
		s, err := sqlite.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if n := head(t, s, "a"); n != 1 && n != 2 {
			t.Errorf("head %d", n)
		}
		if epochs[s.Epoch()] {
			t.Error("an epoch that there was before")
		}
		epochs[s.Epoch()] = true
		s.Close()
	}
	restore(t, path+".backup1", path)
	for _, name := range names(t, filepath.Dir(path)) {
		if strings.Contains(name, "-restore") {
			t.Errorf("left behind: %s", name)
		}
	}
}
