package app

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/parley-go/parley/internal/address"
)

// A crowd counts the TCP connections of each address, and closes those of an address that has too
// many, before anything is read from them. A connection that became a WebSocket no longer counts:
// other limits apply to it.
type crowd struct {
	most    int            // of one address; 0: any number
	exempt  []netip.Prefix // networks to which the limit does not apply
	refuse  func(client string)
	refused atomic.Uint64

	mu    sync.Mutex
	conns map[string]int
}

// connectionsPerClient is how many TCP connections a client may have on average, if its address has as
// many clients as it may have: two for polling, one for a feed, and one that a browser keeps.
const connectionsPerClient = 4

func (s *Server) newCrowd() *crowd {
	return &crowd{
		most: connectionsPerClient * s.config.MaxConnectionsPerAddress, exempt: s.config.exemptAddresses(), conns: make(map[string]int),
		refuse: func(client string) {
			s.notices.Post(slog.LevelWarn, "crowd"+client, "an address has too many TCP connections: new ones are closed",
				"address", client, "setting", "max-connections-per-address",
				"hint", sharedAddress)
		},
	}
}

// connState is the ConnState of the servers.
func (c *crowd) connState(nc net.Conn, state http.ConnState) {
	begun := state == http.StateNew
	if c.most == 0 || !begun && state != http.StateHijacked && state != http.StateClosed {
		return
	}
	client := address.Limited(nc.RemoteAddr().String(), c.exempt)
	if client == "" {
		return
	}
	if tooMany := c.count(client, begun); tooMany {
		c.refused.Add(1)
		c.refuse(client)
		nc.Close()
	}
}

// count counts a connection that has begun or ended. It reports whether one that has begun is too much.
func (c *crowd) count(client string, begun bool) (tooMany bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if begun {
		c.conns[client]++
		return c.conns[client] > c.most
	}
	if c.conns[client]--; c.conns[client] == 0 {
		delete(c.conns, client)
	}
	return false
}
