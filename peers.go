package parley

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/peers"
)

const (
	// minSecret is the least number of bytes of Options.ClusterSecret.
	minSecret = 16
	// maxForwards is how many requests and tunnels pass through a server at the same time if
	// Options.MaxConnections sets no other limit.
	maxForwards = 65_536
	// tunnelGrace is how much longer than a heartbeat takes nothing may pass through a tunnel.
	tunnelGrace = 10 * time.Second
)

// PeerHandler returns the handler for requests that other servers of the cluster pass on to this one.
// Serve it at the address that adapter.Options.Address tells them, and below Options.Path at least.
// Clients must not need that address: without the secret, every request gets 403. See ServePeers, and
// Options.ClusterSecret, without which the handler refuses everything.
func (s *Server) PeerHandler() http.Handler {
	if s.peers == nil {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.engine.LimitBody(w, r)
			http.Error(w, "403: Options.ClusterSecret is not set.", http.StatusForbidden)
		})
	}
	return s.peers.Handler(s)
}

// forward connects the server to others that pass requests on, if o has a secret for that.
func (s *Server) forward(o *Options, e *engine.Options) error {
	if o.ClusterSecret == "" {
		return nil
	}
	cluster, ok := o.Cluster.(adapter.Exchange)
	switch {
	case !ok:
		return errors.New("parley: ClusterSecret needs a Cluster whose servers know each other, as that of adapter.New")
	case len(o.ClusterSecret) < minSecret:
		return fmt.Errorf("parley: ClusterSecret needs at least %d bytes", minSecret)
	}
	address, secure := o.ClientAddress, o.ClientSecure
	if address == nil {
		address = func(r *http.Request) string { return r.RemoteAddr }
	}
	if secure == nil {
		secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	limit := maxForwards
	if o.MaxConnections > 0 {
		limit = o.MaxConnections
	}
	s.peers = peers.New(peers.Options{
		Cluster: cluster, Secret: o.ClusterSecret, TLS: o.ClusterTLS,
		MaxPayload:    orDefault(o.MaxPayload, 1_000_000),
		MaxForwards:   limit,
		WriteTimeout:  orDefault(o.WriteTimeout, 10*time.Second),
		Silence:       orDefault(o.PingInterval, 25*time.Second) + orDefault(o.PingTimeout, 20*time.Second) + tunnelGrace,
		ClientAddress: address, ClientSecure: secure,
		Sessions: func() int { return s.engine.Sessions() },
		Release:  func(sid string) { s.engine.Release(sid) },
		Notices:  s.notices,
	})
	e.Foreign = s.peers
	e.ClientAddress = func(r *http.Request) string {
		if c, ok := peers.ClientOf(r); ok {
			return c.Address
		}
		return address(r)
	}
	e.ClientSecure = func(r *http.Request) bool {
		if c, ok := peers.ClientOf(r); ok {
			return c.Secure
		}
		return secure(r)
	}
	return nil
}
