package parley

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/parley-go/parley/internal/pace"
)

// Drain lets the clients of one server among several move to the others. It tells the other servers of
// Options.Cluster that this one will leave, refuses new clients with 503, and disconnects those that are
// there one after the other, spread evenly over d, with the reason ServerShutdown. Clients reconnect
// automatically, so not all of them at the same time. Drain returns when it has done that, or with
// ctx's error. It does not wait for what is queued: call Shutdown afterwards.
func (s *Server) Drain(ctx context.Context, d time.Duration) error {
	if c := s.opts.Cluster; c != nil {
		c.Drain()
	}
	s.engine.Drain()
	all := s.connections()
	return pace.Spread(ctx, d, len(all), func(i int) { all[i].shutDown() })
}

// connections returns the connections that have a socket.
func (s *Server) connections() []*connection {
	s.mu.RLock()
	namespaces := slices.Collect(maps.Values(s.namespaces))
	s.mu.RUnlock()
	all := map[*connection]bool{}
	for _, n := range namespaces {
		for _, socket := range n.local.index.All(nil, nil) {
			all[socket.conn] = true
		}
	}
	return slices.Collect(maps.Keys(all))
}

// shutDown sends what is queued, and closes the connection.
func (c *connection) shutDown() {
	for _, socket := range c.sockets() {
		socket.release()
		socket.close(ServerShutdown)
	}
	c.session.Close()
}
