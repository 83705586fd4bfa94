package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
)

// slowStore lets the test decide when a commit completes.
type slowStore struct {
	*history.Memory
	appending chan struct{} // one value for each started commit
	commit    chan struct{} // closed to let commits complete
	log       chan string   // events, in order
}

func (s *slowStore) Append(ctx context.Context, d []history.Draft) ([]history.Appended, error) {
	s.appending <- struct{}{}
	<-s.commit
	s.log <- "commit"
	return s.Memory.Append(ctx, d)
}

func (s *slowStore) Close() error {
	s.log <- "close"
	return s.Memory.Close()
}

func newSlowStore() *slowStore {
	return &slowStore{history.NewMemory(), make(chan struct{}, 1), make(chan struct{}), make(chan string, 9)}
}

func TestGracefulShutdown(t *testing.T) {
	store := newSlowStore()
	i := startOn(t, testConfig(), store)
	a := i.dial(t)
	join(t, a, object{"roomId": "r"})
	a.Send("sendMessage", object{"roomId": "r", "message": "last words"})
	<-store.appending

	ended := make(chan error, 1)
	go func() { ended <- i.stop() }()
	<-a.Done() // the client is told at once
	for deadline := time.Now().Add(2 * time.Minute); ; {
		resp, body := request(t, "GET", i.url+"/readyz")
		if resp.StatusCode == 503 && strings.Contains(body, "shutting down") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("readyz: status %d, %q", resp.StatusCode, body)
		}
	}
	if resp, _ := request(t, "GET", i.url+"/healthz"); resp.StatusCode != 200 {
		t.Errorf("healthz: status %d", resp.StatusCode)
	}
	close(store.commit)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if first, second := <-store.log, <-store.log; first != "commit" || second != "close" {
		t.Errorf("%s, %s; want commit, close", first, second)
	}
}

// A hanging disk does not keep the process alive.
func TestShutdownIsBounded(t *testing.T) {
	store := newSlowStore()
	defer close(store.commit)
	c := testConfig()
	c.ShutdownTimeout = 50 * time.Millisecond
	i := startOn(t, c, store)
	a := i.dial(t)
	join(t, a, object{"roomId": "r"})
	a.Send("sendMessage", object{"roomId": "r", "message": 1})
	<-store.appending
	if err := i.stop(); err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("error %v", err)
	}
	i.stop = func() error { return nil }
}
