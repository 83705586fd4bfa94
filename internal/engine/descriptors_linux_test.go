package engine_test

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/wiretest"
)

// If no descriptor is left, the server refuses a WebSocket before the upgrade and counts it as
// refused, not as opened. It accepts the next one that gets a descriptor.
func TestOutOfDescriptors(t *testing.T) {
	var l log
	s := overTCP(t, engine.Options{Logger: l.logger(), Open: echo})
	dial := func() net.Conn {
		nc, err := s.dial(t.Context(), "tcp", s.host)
		if err != nil {
			t.Fatal(err)
		}
		// Once the server answers, its side of the connection exists.
		if _, err := fmt.Fprintf(nc, "HEAD /engine.io/ HTTP/1.1\r\nHost: %s\r\n\r\n", s.host); err != nil {
			t.Fatal(err)
		}
		r := s.handshake("")
		r.Method = "HEAD"
		newPeer(t, nc, r)
		return nc
	}
	opened, refused := &s.Stats().Opened[1], &s.Stats().Refused[slices.Index(engine.Refusals[:], "descriptors")]
	sid, o := s.open()
	first, probe, second := dial(), dial(), dial()
	free := wiretest.Exhaust(t)
	l.lines()
	for query, nc := range map[string]net.Conn{newWebSocket: first, ofWebSocket(sid): probe} {
		r := s.handshake(query)
		if err := r.Write(nc); err != nil {
			t.Fatal(err)
		}
		p := newPeer(t, nc, r)
		if p.resp.StatusCode != 503 || p.resp.Header.Get("Retry-After") != "5" || !p.resp.Close {
			t.Errorf("%s: answer %v, want 503 with Retry-After and the end of the connection", query, p.resp)
		}
		p.wantBody("Too many connections")
	}
	if opened.Load() != 0 || refused.Load() != 2 {
		t.Errorf("%d opened, %d refused for want of descriptors, want 0 and 2", opened.Load(), refused.Load())
	}
	l.want(t, "level=WARN", "reason=descriptors", "too many open files", "ulimit -n")
	eventually(t, "the refused connections are forgotten", func() bool { return s.Conns() == 0 && s.Sessions() == 1 })

	free()
	r := s.handshake(newWebSocket)
	if err := r.Write(second); err != nil {
		t.Fatal(err)
	}
	p := newPeer(t, second, r)
	if p.resp.StatusCode != 101 {
		t.Fatalf("answer %v once there are descriptors", p.resp)
	}
	p.read()
	p.text("4a")
	p.wantText("4a")
	if opened.Load() != 1 {
		t.Errorf("%d opened, want 1", opened.Load())
	}
	s.stillWorks(sid) // the server has forgotten the refused candidate
	o.session.Close()
	s.poll(sid)
}
