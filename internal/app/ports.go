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

// Ports are what a Server is reached at.
type Ports struct {
	Main  net.Listener
	UDP   net.PacketConn // for WebTransport: Main's number; nil without
	Plain net.Listener   // whose requests are redirected to Main; nil without
}

// anyPortAttempts is how often a port is looked for that is free for TCP and UDP.
const anyPortAttempts = 10

// Listen opens the ports that the configuration wants.
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
	return p, nil
}

func listenMain(c Config) (*Ports, error) {
	if path, ok := strings.CutPrefix(c.Addr, socketPrefix); ok {
		l, err := listenSocket(path)
		return &Ports{Main: l}, err
	}
	_, port, _ := net.SplitHostPort(c.Addr)
	for attempt := 1; ; attempt++ {
		l, err := net.Listen("tcp", c.Addr)
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

// socketPrefix of an address says that the path of a Unix socket follows.
const socketPrefix = "unix:"

func isSocket(addr string) bool { return strings.HasPrefix(addr, socketPrefix) && addr != socketPrefix }

// listenSocket opens a Unix socket, to which user and group of this process may connect. A
// socket that a process left behind when it was killed is replaced; closing removes it.
func listenSocket(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("listen unix %s: there is a file that is no socket", path)
		}
		conn, err := net.Dial("unix", path)
		switch {
		case err == nil:
			conn.Close() // and listening fails
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

// fromThisMachine gives requests that come over a Unix socket an address, which they lack.
func fromThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r2 := *r
		r2.RemoteAddr = "127.0.0.1:0"
		next.ServeHTTP(w, &r2)
	})
}

// Close closes those that are open.
func (p *Ports) Close() {
	p.Main.Close()
	if p.UDP != nil {
		p.UDP.Close()
	}
	if p.Plain != nil {
		p.Plain.Close()
	}
}
