package pubsub

import (
	"net"
	"sync"

	"github.com/nats-io/nats.go"
)

const (
	maxArrived = 1 << 15 // messages that wait to be delivered; more than fit into maxRead
	maxRead    = 1 << 20 // bytes that are read before what has arrived is delivered
)

// gate is a connection that does not read much more than is delivered. nats.go would drop messages; like
// this, NATS notices that they are not read, and ends the connection when it holds too much.
type gate struct {
	net.Conn
	waiting func() int // how many messages wait to be delivered

	read    int           // bytes since nothing waited
	empty   chan struct{} // holds one element if all were delivered
	closed  chan struct{}
	closing sync.Once
}

// Read implements net.Conn.
func (g *gate) Read(p []byte) (int, error) {
	if g.read >= maxRead {
		for g.waiting() > 0 {
			select {
			case <-g.empty:
			case <-g.closed:
				return 0, net.ErrClosed
			}
		}
		g.read = 0
	}
	n, err := g.Conn.Read(p)
	g.read += n
	return n, err
}

// Close implements net.Conn.
func (g *gate) Close() error {
	g.closing.Do(func() { close(g.closed) })
	return g.Conn.Close()
}

// dialer connects for nats.go.
type dialer struct {
	dial func(network, address string) (net.Conn, error)
	wrap func(net.Conn) net.Conn
	skip bool
}

// Dial implements nats.CustomDialer.
func (d dialer) Dial(network, address string) (net.Conn, error) {
	c, err := d.dial(network, address)
	if err != nil {
		return nil, err
	}
	return d.wrap(c), nil
}

// SkipTLSHandshake is what nats.go asks whether the dialer has done it.
func (d dialer) SkipTLSHandshake() bool { return d.skip }

// inProcess connects to a server in the process.
type inProcess struct {
	server nats.InProcessConnProvider
	wrap   func(net.Conn) net.Conn
}

// InProcessConn implements nats.InProcessConnProvider.
func (i inProcess) InProcessConn() (net.Conn, error) {
	return dialer{dial: func(string, string) (net.Conn, error) { return i.server.InProcessConn() }, wrap: i.wrap}.Dial("", "")
}
