package webtransport_test

import (
	"bytes"
	"crypto/tls"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
	goclient "github.com/parley-go/parley/client"
	"github.com/parley-go/parley/webtransport/dialer"
)

// Package client reaches the server over WebTransport: events, binary and answers go both ways, it reconnects,
// and what it sends before Close arrives.
func TestGoClient(t *testing.T) {
	s := serve(t, nil, nil)
	s.On("echo", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Ack(v...)
	})
	s.On("cut", func(p *parley.Packet) error {
		p.Socket().CloseConnection()
		return nil
	})
	last := make(chan string, 1)
	s.On("last", func(p *parley.Packet) error {
		var text string
		err := p.Decode(&text)
		last <- text
		return err
	})
	reasons := make(chan parley.Reason, 10)
	s.OnDisconnect(func(_ *parley.Socket, why parley.Reason) { reasons <- why })
	c, err := goclient.New("https://"+s.addr, &goclient.Options{
		Transports: []string{"webtransport"}, OpenStream: dialer.New(&tls.Config{RootCAs: roots}),
		Reconnection: goclient.Reconnection{Delay: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	connected, got := make(chan bool, 10), make(chan []byte, 10)
	c.OnConnect(func(goclient.Connection) { connected <- true })
	c.On("tick", func(p *goclient.Packet) error {
		var b []byte
		err := p.Decode(&b)
		got <- b
		return err
	})
	if err := c.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		await(t, "connection", connected)
		if at := c.State().Transport; at != "webtransport" {
			t.Errorf("the transport is %s", at)
		}
		large := bytes.Repeat([]byte{1, 2, 3}, 200_000)
		reply, err := c.EmitWithAck(t.Context(), "echo", "é😀", large)
		if err != nil {
			t.Fatal(err)
		}
		var text string
		var back []byte
		if err := reply.Decode(&text, &back); err != nil || text != "é😀" || !bytes.Equal(back, large) {
			t.Errorf("%q, %d bytes, %v", text, len(back), err)
		}
		if err := s.To(c.ID()).Emit("tick", large); err != nil {
			t.Fatal(err)
		}
		if b := await(t, "tick", got); !bytes.Equal(b, large) {
			t.Errorf("a tick of %d bytes", len(b))
		}
		if round == 0 {
			if err := c.Emit("cut"); err != nil {
				t.Fatal(err)
			}
			await(t, "disconnect", reasons)
		}
	}
	long := strings.Repeat("x", 500_000)
	if err := c.Emit("last", long); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if text := await(t, "last event", last); text != long {
		t.Errorf("the last event has %d bytes", len(text))
	}
	if why := await(t, "disconnect", reasons); why != parley.ClientNamespaceDisconnect {
		t.Errorf("the client has left because of %q", why)
	}
	_, err = goclient.Dial(t.Context(), "http://"+s.addr, &goclient.Options{Transports: []string{"webtransport"}, OpenStream: dialer.New(nil)})
	if err == nil || !strings.Contains(err.Error(), "needs https") {
		t.Errorf("without TLS: %v", err)
	}
}

// A client does not link QUIC, and the dialer does not link the server.
func TestDialerLinks(t *testing.T) {
	for pkg, not := range map[string]string{
		"github.com/parley-go/parley/client":              "github.com/quic-go/quic-go",
		"github.com/parley-go/parley/webtransport/dialer": "github.com/parley-go/parley",
	} {
		out, err := exec.Command("go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			if dep == not {
				t.Errorf("%s links %s", pkg, dep)
			}
		}
	}
}
