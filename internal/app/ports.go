package app

import (
	"errors"
	"fmt"
	"net"
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
