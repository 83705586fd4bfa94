package app

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
)

// Ports are the ports on which a Server listens.
type Ports struct {
	Main    net.Listener
	UDP     net.PacketConn // for WebTransport, with Main's number; nil without WebTransport
	Plain   net.Listener   // redirects requests to Main; nil without a redirect
	Metrics net.Listener   // nil if Main serves the metrics
}

// anyPortAttempts is how often Listen looks for a port that is free for both TCP and UDP.
const anyPortAttempts = 10

// Listen opens the configured ports.
func Listen(c Config) (*Ports, error) {
	p, err := listenMain(c)
	if err != nil {
		return nil, err
	}
	if c.HTTPRedirect != redirectOff {
		if p.Plain, err = net.Listen("tcp", c.HTTPRedirect); err != nil {
			p.Close()
			return nil, fmt.Errorf("http-redirect: %w", err)
		}
	}
	if c.MetricsAddr != "" {
		if p.Metrics, err = listen(c.MetricsAddr); err != nil {
			p.Close()
			return nil, fmt.Errorf("metrics-addr: %w", err)
		}
	}
	return p, nil
}

// listen listens at a TCP address or on a Unix socket.
func listen(addr string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, socketPrefix); ok {
		return listenSocket(path)
	}
	return net.Listen("tcp", addr)
}

func listenMain(c Config) (*Ports, error) {
	_, port, _ := net.SplitHostPort(c.Addr)
	for attempt := 1; ; attempt++ {
		l, err := listen(c.Addr)
		if err != nil || !c.webTransport() {
			return &Ports{Main: l}, err
		}
		udp, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return &Ports{Main: l, UDP: udp}, nil
		}
		l.Close()
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) || attempt == anyPortAttempts {
			return nil, fmt.Errorf("webtransport: %w", err)
		}
	}
}

// socketPrefix is the prefix of an address that is the path of a Unix socket.
const socketPrefix = "unix:"

func isSocket(addr string) bool { return strings.HasPrefix(addr, socketPrefix) && addr != socketPrefix }

// listenSocket opens a Unix socket to which the user and the group of this process may connect. It
// replaces a socket that a killed process left behind. Closing the listener removes the socket.
func listenSocket(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("listen unix %s: there is a file that is no socket", path)
		}
		conn, err := net.Dial("unix", path)
		switch {
		case err == nil:
			conn.Close() // listening then fails
		case errors.Is(err, syscall.ECONNREFUSED):
			if err := os.Remove(path); err != nil {
				return nil, err
			}
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// fromThisMachine sets an address for requests over a Unix socket, which have none.
func fromThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r2 := *r
		r2.RemoteAddr = "127.0.0.1:0"
		next.ServeHTTP(w, &r2)
	})
}

// Close closes the open ports.
func (p *Ports) Close() {
	p.Main.Close()
	if p.UDP != nil {
		p.UDP.Close()
	}
	for _, l := range []net.Listener{p.Plain, p.Metrics} {
		if l != nil {
			l.Close()
		}
	}
}
