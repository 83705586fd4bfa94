package reactor_test

import (
	"net"
	"testing"

	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/wiretest"
)

// Accept reports that there are no descriptors, and continues when there are some.
func TestAcceptWithoutDescriptors(t *testing.T) {
	short := make(chan error, 1000)
	l := reactor.Listen(listenTCP(t), func(err error) { short <- err })
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String()) // waits in the kernel's queue
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	free := wiretest.Exhaust(t)
	accepted := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			nc.Close()
		}
		accepted <- err
	}()
	for range 2 { // it reports more than once
		if err := <-short; !reactor.IsShortage(err) {
			t.Errorf("reported %v, want a shortage", err)
		}
	}
	select {
	case err := <-accepted:
		t.Errorf("Accept returned, with %v", err)
	default:
	}
	free()
	if err := <-accepted; err != nil {
		t.Errorf("Accept: %v", err)
	}
	l.Close()
	if _, err := l.Accept(); err == nil || reactor.IsShortage(err) {
		t.Errorf("after Close: %v", err)
	}
}

// If Reserve fails, the caller still owns the connection.
func TestReserveWithoutDescriptors(t *testing.T) {
	for _, kind := range []struct {
		name string
		pair func(testing.TB) (client, server net.Conn)
	}{
		{"TCP", func(t testing.TB) (client, server net.Conn) { return tcpPair(t, true) }},
		{"TLS", func(t testing.TB) (client, server net.Conn) { return tlsPair(t, true, nil) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			p := newReactor(t)
			client, server := kind.pair(t)
			defer server.Close()
			free := wiretest.Exhaust(t)
			_, err := p.Reserve(server)
			if !reactor.IsShortage(err) {
				t.Errorf("Reserve: %v", err)
			}
			say := func(what string) {
				if _, err := server.Write([]byte(what)); err != nil {
					t.Fatal(err)
				}
				got := make([]byte, len(what))
				if _, err := client.Read(got); err != nil || string(got) != what {
					t.Fatalf("read %q, %v", got, err)
				}
			}
			say("no")
			free()
			r, err := p.Reserve(server)
			if err != nil {
				t.Fatal(err)
			}
			r.Release()
			say("perhaps")
			if r, err = p.Reserve(server); err != nil {
				t.Fatal(err)
			}
			say("yes")
			h := newHandler(t).echo()
			r.Add([]byte("first, "), h, h.attach)
			go client.Write([]byte("second"))
			h.wantReceived([]byte("first, second"))
			h.conn.Close()
			h.wantClosed()
		})
	}
}
