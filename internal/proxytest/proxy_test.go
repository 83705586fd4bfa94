package proxytest_test

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/proxytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that sends back what it receives.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// answers reports whether a line comes back; it waits long enough only if it should.
func answers(t *testing.T, c net.Conn, wait time.Duration) error {
	t.Helper()
	if _, err := c.Write([]byte("line\n")); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	_, err := bufio.NewReader(c).ReadString('\n')
	return err
}

const patience, impatience = 2 * time.Minute, 50 * time.Millisecond

func TestProxy(t *testing.T) {
	addr := echo(t)
	p := proxytest.New(t)
	c := dial(t, p.To(addr))
	if err := answers(t, c, patience); err != nil {
		t.Fatal(err)
	}

	p.Stall(true)
	_ = answers(t, c, impatience) // what was being read may pass
	if err := answers(t, c, impatience); err == nil {
		t.Error("a stalled connection answers")
	}
	p.Stall(false)
	if err := answers(t, c, patience); err != nil {
		t.Errorf("after the stall: %v", err)
	}

	p.Swallow(true)
	fresh := dial(t, p.To(addr))
	for _, half := range []net.Conn{dial(t, p.To(addr)), fresh} {
		if err, ok := answers(t, half, impatience).(net.Error); !ok || !err.Timeout() {
			t.Errorf("a half-open connection: %v", err)
		}
	}
	p.Swallow(false)
	if err := answers(t, fresh, patience); err == nil {
		t.Error("a connection that lost something goes on")
	}
	other := dial(t, p.To(addr))
	if err := answers(t, other, patience); err != nil {
		t.Errorf("a new connection: %v", err)
	}

	p.Cut()
	if err := answers(t, other, patience); err == nil {
		t.Error("a cut connection answers")
	}
}
