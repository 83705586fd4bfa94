package app_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"

	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/postgrestest"
)

// sharedMemory is a store for several servers in one process.
type sharedMemory struct{ *history.Memory }

func (sharedMemory) Close() error { return nil }

// away is a store that can be out of reach.
type away struct {
	sharedMemory
	now atomic.Bool
}

func (s *away) Heads(ctx context.Context, rooms []string) (map[string]int64, error) {
	if s.now.Load() {
		return nil, errors.New("nobody is there")
	}
	return s.sharedMemory.Heads(ctx, rooms)
}

// nodeConfig returns the settings of a server in a cluster.
func nodeConfig(engine, name string) app.Config {
	c := testConfig()
	c.Cluster, c.ClusterName = engine, name
	return c
}

// readiness returns what /readyz says.
func readiness(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// A server is ready while it hears the others, counts them, and refuses to start under a name that is taken.
func TestNode(t *testing.T) {
	engine := redistest.Start(t)
	store := &away{sharedMemory: sharedMemory{history.NewMemory()}}
	a := startOn(t, nodeConfig("redis://"+engine.Addr, "a"), store)
	b := startOn(t, nodeConfig("redis://"+engine.Addr, "b"), store)
	if text := readiness(t, b.url); text != "ok" {
		t.Errorf("a server that has joined is not ready: %s", text)
	}
	waitFor(t, "the other server", func() bool { return metrics(t, a.url)["parley_cluster_peers"].value(t, "") == 1 })
	if s, err := app.NewServer(nodeConfig("redis://"+engine.Addr, "b"), quiet, store); err == nil || !strings.Contains(err.Error(), `"b" is taken`) {
		t.Errorf("a second server with a name: %v", err)
		if err == nil {
			s.Shutdown()
		}
	}
	engine.Stop()
	waitFor(t, "that the loss is noticed", func() bool { return strings.HasPrefix(readiness(t, a.url), "the cluster is out of reach") })
	store.now.Store(true)
	if text := readiness(t, a.url); text != "the store does not answer; the cluster is out of reach: nothing arrives from its other servers" {
		t.Errorf("without store and engine, /readyz says %s", text)
	}
	store.now.Store(false)
	if up := metrics(t, a.url)["parley_cluster_up"].value(t, ""); up != 0 {
		t.Errorf("parley_cluster_up is %v", up)
	}
	engine.Restart()
	waitFor(t, "readiness", func() bool { return readiness(t, a.url) == "ok" })
	found := metrics(t, a.url)
	for _, name := range []string{"published", "received", "holes"} {
		if found["parley_cluster_"+name].value(t, "") == 0 {
			t.Errorf("parley_cluster_%s_total is 0", name)
		}
	}
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	waitFor(t, "that it has left", func() bool { return metrics(t, a.url)["parley_cluster_peers"].value(t, "") == 0 })
}

// engines start what connects servers, and return its URL.
var engines = map[string]func(*testing.T) string{
	"Redis": func(t *testing.T) string { return "redis://" + redistest.Start(t).Addr },
	"NATS": func(t *testing.T) string {
		s, err := natsd.NewServer(&natsd.Options{Host: "127.0.0.1", Port: natsd.RANDOM_PORT, NoSigs: true})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() {
			s.Shutdown()
			s.WaitForShutdown()
		})
		if !s.ReadyForConnections(time.Minute) {
			t.Fatal("the engine does not start")
		}
		return s.ClientURL()
	},
	"PostgreSQL": func(t *testing.T) string { return postgrestest.Database(t) },
	"nothing": func(t *testing.T) string {
		var free []string
		for range 2 {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			free = append(free, l.Addr().String())
		}
		return "peers:" + strings.Join(free, ",")
	},
}

// A server among peers needs an address of its own.
func TestNoPeer(t *testing.T) {
	c := nodeConfig("peers:198.51.100.1:6222,203.0.113.1:6222", "a") // RFC 5737
	if _, err := app.NewServer(c, quiet, sharedMemory{history.NewMemory()}); err == nil || !strings.Contains(err.Error(), "name this server's, too") {
		t.Error(err)
	}
}

// Over each engine, a message that is sent to one server is live at another one at once, and so is what is
// not stored.
func TestConversationOverNodes(t *testing.T) {
	for name, engine := range engines {
		t.Run(name, func(t *testing.T) { converse(t, engine(t)) })
	}
}

func converse(t *testing.T, engine string) {
	store := sharedMemory{history.NewMemory()}
	var nodes []*instance
	for _, name := range []string{"a", "b"} {
		nodes = append(nodes, startOn(t, nodeConfig(engine, name), store))
	}
	ann, bob := nodes[0].dial(t), nodes[1].dial(t)
	join(t, ann, object{"roomId": "r", "userId": "ann"})
	join(t, bob, object{"roomId": "r", "userId": "bob"})
	sent := send(t, ann, object{"roomId": "r", "message": "hello"})
	var got message
	bob.Expect("newMessage", &got)
	if got.ID != sent.ID || got.Seq != 1 || got.Message != "hello" {
		t.Errorf("the other server's client got %+v, not %+v", got, sent)
	}
	ann.Send("typing", object{"roomId": "r", "isTyping": true})
	var typing struct{ UserID string }
	if bob.Expect("typing", &typing); typing.UserID != "ann" {
		t.Errorf("%q types", typing.UserID)
	}
}

// Without an engine, a server does not start, and says what is wrong without the password.
func TestNoEngine(t *testing.T) {
	engine := redistest.Start(t)
	engine.Stop()
	c := nodeConfig("redis://parley:very-secret@"+engine.Addr, "a")
	_, err := app.NewServer(c, quiet, sharedMemory{history.NewMemory()})
	if err == nil || !strings.Contains(err.Error(), engine.Addr) || strings.Contains(err.Error(), "very-secret") {
		t.Errorf("%v", err)
	}
}

// What accepts connections and says nothing ends the start, with advice. It takes as long as a server waits
// for its engine.
func TestEngineThatSaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for scheme, name := range map[string]string{"redis": "Redis", "rediss": "Redis", "nats": "NATS"} {
		t.Run(scheme, func(t *testing.T) {
			s, err := app.NewServer(nodeConfig(scheme+"://:very-secret@"+l.Addr().String(), "a"), quiet, sharedMemory{history.NewMemory()})
			if err == nil {
				s.Shutdown()
				t.Fatal("it starts without its engine")
			}
			if text := err.Error(); !strings.Contains(text, "does not answer as "+name+" does; look at the address") || strings.Contains(text, "secret") {
				t.Errorf("the error is %s", text)
			}
		})
	}
}
