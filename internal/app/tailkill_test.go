package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/soak"
)

// remotely returns a command in a process of its own that talks to the server of a data directory.
func remotely(data string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append(args, "--data", data)...)
	cmd.Env = append(os.Environ(), asServer+"=1", "XDG_CONFIG_HOME="+data)
	cmd.Stderr = os.Stderr
	return cmd
}

// appending returns a file to which a command appends, as with >> in a shell.
func appending(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// countLines returns how many lines a file has.
func countLines(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

// checkTail checks that a file has each message of the room once, in order.
func checkTail(t *testing.T, path string, messages int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := int64(1)
	for line := range bytes.Lines(text) {
		var m message
		if err := json.Unmarshal(line, &m); err != nil || m.Seq != next {
			t.Fatalf("%s: want message %d, have %s (%v)", filepath.Base(path), next, line, err)
		}
		next++
	}
	if next != int64(messages)+1 {
		t.Errorf("%s: %d messages, want %d", filepath.Base(path), next-1, messages)
	}
}

// Tail with a state prints each message once and in order, however often the server is killed meanwhile,
// and tail itself.
func TestTailThroughKills(t *testing.T) {
	const senders = 3
	kills := soak.Times(10, 300)
	messages := 30 * kills // of each sender
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(kills)*time.Minute)
	defer cancel()
	data := shortDir(t)
	server := startChild(t, data)
	var url atomic.Value
	url.Store(server.url)

	// One that lives on, and one that is killed again and again.
	lasting := filepath.Join(data, "lasting.jsonl")
	state := filepath.Join(data, "lasting.state")
	survivor := remotely(data, "tail", "r", "--json", "--limit", "1000000", "--state", state)
	survivor.Stdout = appending(t, lasting)
	if err := survivor.Start(); err != nil {
		t.Fatal(err)
	}
	defer survivor.Process.Kill()
	killed := filepath.Join(data, "killed.jsonl")
	var deaths int
	mortal := make(chan struct{})
	done := make(chan struct{}) // closed when all is sent
	go func() {
		defer close(mortal)
		for ctx.Err() == nil {
			cmd := remotely(data, "tail", "--state", filepath.Join(data, "killed.state"), "r", "--limit", "1000000", "--json")
			cmd.Stdout, cmd.Stderr = appending(t, killed), nil
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }() // it ends with 3 if it finds no server
			more := countLines(t, killed) + 1 + rand.IntN(30)
			for alive := true; alive && countLines(t, killed) < more; {
				select {
				case <-ended:
					alive = false
				case <-time.After(time.Millisecond):
				}
				select {
				case <-done:
					if countLines(t, killed) >= senders*messages {
						alive = false
					}
				default:
				}
			}
			cmd.Process.Kill()
			<-ended
			deaths++
			select {
			case <-done:
				if countLines(t, killed) >= senders*messages {
					return
				}
			default:
			}
		}
	}()

	progress := make(chan struct{})
	var wg sync.WaitGroup
	for n := range senders {
		s := &sender{user: fmt.Sprint("u", n), progress: progress}
		wg.Go(func() {
			if err := s.run(ctx, messages, &url); err != nil {
				t.Error(err)
			}
		})
	}
	go func() { wg.Wait(); close(progress) }()
	for range kills {
		for range 20 + rand.IntN(40) {
			<-progress
		}
		waitFor(t, "the first line", func() bool { return countLines(t, lasting) > 0 }) // tail wants a server when it begins
		server.kill()
		server = startChild(t, data)
		url.Store(server.url)
	}
	for range progress {
	}
	close(done)
	waitFor(t, "the last message", func() bool { return countLines(t, lasting) >= senders*messages })
	if err := survivor.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := survivor.Wait(); err != nil {
		t.Errorf("tail ended with %v", err)
	}
	<-mortal
	checkTail(t, lasting, senders*messages)
	checkTail(t, killed, senders*messages)
	if deaths < kills {
		t.Errorf("tail was killed %d times: too little to prove anything", deaths)
	}

	// Another run goes on where the last one has ended.
	send := remotely(data, "send", "r", "the last one")
	if out, err := send.Output(); err != nil || string(out) != fmt.Sprintln(senders*messages+1) {
		t.Errorf("send: %q, %v", out, err)
	}
	again := remotely(data, "tail", "r", "--state", state, "--json", "--count", "1")
	again.Stdout = appending(t, lasting)
	if err := again.Run(); err != nil {
		t.Error(err)
	}
	checkTail(t, lasting, senders*messages+1)
}

// Send stores each line of its standard input once and in order, however often the server is killed.
func TestSendThroughKills(t *testing.T) {
	kills := soak.Times(5, 100)
	data := shortDir(t)
	server := startChild(t, data)
	send := remotely(data, "send", "r", "-", "--timeout", "10m")
	in, err := send.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := send.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := send.Start(); err != nil {
		t.Fatal(err)
	}
	defer send.Process.Kill()
	var lines atomic.Int64
	stop := make(chan struct{})
	go func() {
		defer in.Close()
		for n := int64(1); ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := fmt.Fprintln(in, "line", n); err != nil {
				return
			}
			lines.Store(n)
		}
	}()
	answers := bufio.NewScanner(out)
	var seqs int64
	next := func() bool {
		if !answers.Scan() {
			return false
		}
		seqs++
		if answers.Text() != fmt.Sprint(seqs) {
			t.Fatalf("answer %d is %q", seqs, answers.Text())
		}
		return true
	}
	for range kills {
		for range 10 + rand.IntN(30) {
			if !next() {
				t.Fatal("send has ended")
			}
		}
		server.kill()
		server = startChild(t, data)
	}
	close(stop)
	for next() {
	}
	if err := send.Wait(); err != nil || seqs != lines.Load() {
		t.Errorf("%d answers to %d lines, %v", seqs, lines.Load(), err)
	}
	tail := remotely(data, "tail", "r", "--json", "--limit", "1000000", "--count", fmt.Sprint(seqs))
	text, err := tail.Output()
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for line := range bytes.Lines(text) {
		n++
		var m message
		if err := json.Unmarshal(line, &m); err != nil || m.Message != fmt.Sprint("line ", n) {
			t.Fatalf("message %d is %s", n, line)
		}
	}
	if n != seqs {
		t.Errorf("%d messages, want %d", n, seqs)
	}
	io.Copy(io.Discard, out)
}
