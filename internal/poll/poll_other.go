//go:build !linux

package poll

import "net"

// poller is empty where the platform's readiness interface is not used: every
// connection has a goroutine.
type poller struct{}

func (*poller) init(int) {}
func (*poller) close()   {}

func (*poller) reserve(net.Conn) (seat, error) { return seat{}, nil }

// seat is empty, too.
type seat struct{}

func (seat) add(int, []byte, Handler, func(Conn)) bool { return false }
func (seat) release()                                  {}

// watchable returns nc: connections are polled on Linux only.
func watchable(nc net.Conn) net.Conn { return nc }
