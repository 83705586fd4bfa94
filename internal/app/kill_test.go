package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app/apptest"
	"github.com/parley-go/parley/internal/soak"
)

// child is a server in its own process.
type child struct {
	cmd *exec.Cmd
	url string
}

func startChild(t *testing.T, data string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "--addr", "127.0.0.1:0", "--data", data, "--events-per-second", "0", "--bytes-per-second", "0", "--log-level", "error")
	cmd.Env = append(os.Environ(), asServer+"=1")
	return launch(t, cmd, os.Stderr)
}

// launch starts a server and waits until it reports its address.
func launch(t *testing.T, cmd *exec.Cmd, log io.Writer) *child {
	t.Helper()
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd}
	t.Cleanup(c.kill)
	for lines := bufio.NewScanner(stdout); c.url == "" && lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 2 && fields[0] == "open" {
			c.url = strings.TrimSuffix(fields[1], "/")
		}
	}
	if c.url == "" {
		t.Fatal("the server has not started")
	}
	return c
}

// kill ends the process like a crash.
func (c *child) kill() {
	if c.cmd.ProcessState == nil {
		c.cmd.Process.Kill()
		c.cmd.Wait()
	}
}

// sender sends its messages one after the other. It sends each with the same client id until it is
// acknowledged, whatever happens to the server meanwhile.
type sender struct {
	user     string
	acked    []message
	breaks   int // of its connection
	progress chan<- struct{}
}

func (s *sender) run(ctx context.Context, messages int, url *atomic.Value) error {
	for len(s.acked) < messages {
		before := len(s.acked)
		err := s.session(ctx, messages, url.Load().(string))
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("%s has %d of %d: %w", s.user, len(s.acked), messages, err)
		}
		if err != nil && len(s.acked) > before {
			s.breaks++
		}
	}
	return nil
}

// session sends until the connection breaks.
func (s *sender) session(ctx context.Context, messages int, url string) error {
	c, err := apptest.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.Call(ctx, "joinRoom", object{"roomId": "r", "userId": s.user}, new(answer)); err != nil {
		return err
	}
	for len(s.acked) < messages {
		n := len(s.acked)
		var stored struct {
			message
			Error refusal
		}
		err := c.Call(ctx, "sendMessage", object{"roomId": "r", "message": n, "clientId": fmt.Sprint(n)}, &stored)
		if err != nil {
			return err
		}
		if stored.Error.Code == "" {
			s.acked = append(s.acked, stored.message)
			s.progress <- struct{}{}
		}
	}
	return nil
}

// What was acknowledged survives kill -9, once and in order.
func TestKill(t *testing.T) {
	const senders = 4
	kills := soak.Times(6, 300)
	messages := 50 * kills // of each sender
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(kills)*time.Minute)
	defer cancel()
	data := t.TempDir()
	server := startChild(t, data)
	var url atomic.Value
	url.Store(server.url)

	all := make([]*sender, senders)
	progress := make(chan struct{}) // one value per acknowledgement; closed at the end
	var wg sync.WaitGroup
	for n := range all {
		all[n] = &sender{user: fmt.Sprint("u", n), progress: progress}
		wg.Go(func() {
			if err := all[n].run(ctx, messages, &url); err != nil {
				t.Error(err)
			}
		})
	}
	go func() { wg.Wait(); close(progress) }()
	for range kills {
		for range 20 + rand.IntN(60) {
			<-progress
		}
		instant := time.After(rand.N(3 * time.Millisecond))
		for waiting := true; waiting; {
			select {
			case <-progress:
			case <-instant:
				waiting = false
			}
		}
		server.kill()
		server = startChild(t, data)
		url.Store(server.url)
	}
	for range progress {
	}

	reader := apptest.Dial(t, server.url)
	join(t, reader, object{"roomId": "r", "limit": 1})
	var log []message
	for more := true; more; {
		var page answer
		reader.Ask("history", object{"roomId": "r", "after": len(log), "limit": 500}, &page)
		log, more = append(log, page.Messages...), page.HasMore
	}
	if len(log) != senders*messages {
		t.Errorf("%d messages, want %d", len(log), senders*messages)
	}
	next := map[string]int{}
	for i, m := range log {
		if m.Seq != int64(i+1) {
			t.Fatalf("message %d has seq %d", i, m.Seq)
		}
		var n int
		if _, err := fmt.Sscan(m.ClientID, &n); err != nil || n != next[m.UserID] {
			t.Fatalf("%s: message %q after %d", m.UserID, m.ClientID, next[m.UserID]-1)
		}
		next[m.UserID]++
	}
	breaks := 0
	for _, s := range all {
		breaks += s.breaks
		for _, acked := range s.acked {
			kept, _ := json.Marshal(log[acked.Seq-1])
			if told, _ := json.Marshal(acked); string(told) != string(kept) {
				t.Errorf("acknowledged %s, kept %s", told, kept)
			}
		}
	}
	if breaks < kills {
		t.Errorf("the senders were interrupted %d times: too little to prove anything", breaks)
	}
}
