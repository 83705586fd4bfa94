//go:build unix

package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// remotely returns a command that talks to the server of a data directory.
func remotely(data string, args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	cmd = exec.Command(os.Args[0], append(args, "--data", data)...)
	cmd.Env = append(os.Environ(), asParley+"=1", "XDG_CONFIG_HOME="+data)
	stderr = new(bytes.Buffer)
	cmd.Stderr = stderr
	return cmd, stderr
}

// Ctrl-C ends tail with 0 after it has written how far it is. A reader of its output that ends, ends it quietly.
func TestTailEnds(t *testing.T) {
	data, err := os.MkdirTemp("", "parley") // short enough for the name of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	start(t, data)
	send := func(text string) {
		t.Helper()
		cmd, stderr := remotely(data, "send", "r", text)
		if err := cmd.Run(); err != nil {
			t.Fatal(err, stderr)
		}
	}
	send("one")
	state := filepath.Join(data, "state")
	tail, stderr := remotely(data, "tail", "r", "--state", state)
	out, err := tail.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	if line := bufio.NewScanner(out); !line.Scan() {
		t.Fatal(stderr)
	}
	tail.Process.Signal(os.Interrupt)
	if err := tail.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("after Ctrl-C: %v, %s", err, stderr)
	}
	if text, err := os.ReadFile(state); err != nil || !bytes.Contains(text, []byte(`"after":1`)) || bytes.Contains(text, []byte("pending")) {
		t.Errorf("the state is %s, %v", text, err)
	}

	tail, stderr = remotely(data, "tail", "r")
	if out, err = tail.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := tail.Start(); err != nil {
		t.Fatal(err)
	}
	if line := bufio.NewScanner(out); !line.Scan() {
		t.Fatal(stderr)
	}
	out.Close()
	send("two")
	if err := tail.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("after its reader: %v, %s", err, stderr)
	}
}
