package app_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/soak"
)

// When a server is killed, its clients go on at the others, and nothing is lost that was acknowledged.
func TestNodesKilled(t *testing.T) {
	n := newNodes(t)
	servers := []*child{n.start("a"), n.start("b"), n.start("c")}
	proxy := newRoundRobin(t, servers...)
	all := n.travel(proxy, func(acked func() int) {
		for kill := range soak.Times(3, 100) {
			i := kill % len(servers)
			before := acked()
			waitFor(t, "messages", func() bool { return acked() > before+50 })
			servers[i].kill()
			servers[i] = n.start(string("abc"[i]))
			proxy.put(i, servers[i])
		}
	})
	complete(t, servers[1].url, all)
}

// Three servers are replaced one after the other while people talk, over polling and WebSocket and without
// sticky sessions. Nobody loses a message, and no client is told that its session is unknown.
func TestNodesRolled(t *testing.T) {
	n := newNodes(t, "--shutdown-timeout", "2s")
	servers := []*child{n.start("a"), n.start("b"), n.start("c")}
	proxy := newRoundRobin(t, servers...)
	all := n.travel(proxy, func(acked func() int) {
		for roll := range 3 * soak.Times(1, 20) {
			i := roll % len(servers)
			before := acked()
			waitFor(t, "messages", func() bool { return acked() > before+50 })
			servers[i].stop(t)
			servers[i] = n.start(string("abc"[i]))
			proxy.put(i, servers[i])
		}
	})
	complete(t, servers[0].url, all)
	for _, v := range all {
		if v.breaks == 0 || v.lost != nil {
			t.Errorf("%s, over %s: interrupted %d times, %v", v.user, v.transport, v.breaks, v.lost)
		}
		if soak.On() && v.longest > 2*time.Second {
			t.Errorf("%s had to wait for %v", v.user, v.longest)
		}
	}
}

// A server that ends says so, and takes no new clients, while those that it has leave one after the other.
func TestNodesDrain(t *testing.T) {
	n := newNodes(t, "--shutdown-timeout", "4m")
	a := n.start("a")
	n.start("b")
	for range 100 {
		(&instance{url: a.url}).dial(t)
	}
	a.cmd.Process.Signal(syscall.SIGTERM)
	waitFor(t, "that it is not ready", func() bool { return readiness(t, a.url) == "shutting down" })
	if _, err := n.at(a.url).connect("polling", shows{}); err == nil {
		t.Error("it takes a new client")
	}
	if left := metrics(t, a.url)["parley_connections"].value(t, ""); left == 0 {
		t.Error("all clients have left at once")
	}
}
