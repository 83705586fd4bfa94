//go:build !linux

package poll

import "net"

// poller is empty where the platform's readiness interface is not used: every
// connection has a goroutine.
type poller struct{}

func (*poller) init(int) {}
func (*poller) close()   {}

func (*Poller) addPolled(net.Conn, []byte, Handler, func(Conn)) bool { return false }

// Listen returns l: connections are polled on Linux only.
func Listen(l net.Listener) net.Listener { return l }
