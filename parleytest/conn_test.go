package parleytest

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
)

// The connections do what any net.Conn must do.
func TestConn(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		client, server := pipe(serverAddr)
		return client, server, func() {
			client.Close()
			server.Close()
		}, nil
	})
}
