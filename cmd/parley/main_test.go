//go:build unix

package main

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asParley is the environment variable that makes the test binary run as the command.
const asParley = "BE_PARLEY"

func TestMain(m *testing.M) {
	if os.Getenv(asParley) != "" {
		os.Unsetenv(asParley)
		main()
	}
	os.Exit(m.Run())
}

// parley is a running server and its output.
type parley struct {
	cmd *exec.Cmd
	url string
	log *os.File // the reading end of its standard error
}

// start starts the server. before, if given, is a command that runs it, such as a shell.
func start(t *testing.T, data string, before ...string) *parley {
	t.Helper()
	args := append(before, os.Args[0], "--addr", "127.0.0.1:0", "--data", data)
	p := &parley{cmd: exec.Command(args[0], args[1:]...)}
	p.cmd.Env = append(os.Environ(), asParley+"=1")
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	log, stderr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.log, p.cmd.Stderr = log, stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stderr.Close()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		log.Close()
	})
	for lines := bufio.NewScanner(stdout); p.url == "" && lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "open" {
			p.url = fields[1]
		}
	}
	if p.url == "" {
		t.Fatal("the server has not started")
	}
	return p
}

// answers reports whether the server answers requests.
func (p *parley) answers() bool {
	resp, err := http.Get(p.url + "healthz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return true
}

// endsGracefully waits for the process to end and checks that it closed the store, which removes the
// write-ahead log.
func (p *parley) endsGracefully(t *testing.T, data string) {
	t.Helper()
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if _, err := os.Stat(filepath.Join(data, "parley.db-wal")); !os.IsNotExist(err) {
		t.Error("the store was not closed")
	}
}

// Every signal that asks a process to end, even SIGHUP from a closed terminal, ends the server
// gracefully.
func TestSignalsEndGracefully(t *testing.T) {
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		data := t.TempDir()
		p := start(t, data)
		p.cmd.Process.Signal(signal)
		log, err := io.ReadAll(p.log)
		if err != nil || !strings.Contains(string(log), "shutting down") {
			t.Errorf("%v: log %q, %v", signal, log, err)
		}
		p.endsGracefully(t, data)
	}
}

// A server started with nohup continues when its terminal is closed.
func TestNohup(t *testing.T) {
	data := t.TempDir()
	p := start(t, data, "sh", "-c", `trap '' HUP; exec "$@"`, "sh")
	p.cmd.Process.Signal(syscall.SIGHUP)
	for range 50 {
		if !p.answers() {
			t.Fatal("the server has ended")
		}
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	log, err := io.ReadAll(p.log)
	if err != nil || strings.Count(string(log), "shutting down") != 1 {
		t.Errorf("log %q, %v", log, err)
	}
	p.endsGracefully(t, data)
}

// If the program that reads the log ends, writing to the log does not end the server.
func TestBrokenLog(t *testing.T) {
	data := t.TempDir()
	p := start(t, data)
	p.log.Close()
	p.cmd.Process.Signal(syscall.SIGTERM) // the server logs it
	p.endsGracefully(t, data)
}
