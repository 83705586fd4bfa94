package parley

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/notice"
)

// counters holds what this package counts itself; the engine counts the rest.
type counters struct {
	connected  atomic.Uint64
	reasons    [len(reasons)]atomic.Uint64
	eventsIn   atomic.Uint64
	packetsOut atomic.Uint64
	recovered  atomic.Uint64
	malformed  atomic.Uint64
	flooded    atomic.Uint64
	failed     atomic.Uint64

	unauthorized atomic.Uint64
	expired      atomic.Uint64
}

var reasons = [...]Reason{
	TransportError, TransportClose, ForcedClose, PingTimeout, ParseError,
	ServerShutdown, ClientNamespaceDisconnect, ServerNamespaceDisconnect,
}

func (c *counters) disconnected(reason Reason) {
	for i, r := range reasons {
		if r == reason {
			c.reasons[i].Add(1)
		}
	}
}

// Stats describes what a server is doing (the first seven fields) and what it has done since its
// creation.
type Stats struct {
	Sessions   int            // connections; polling connections may remain for a while after their end
	Pending    int            // connections that wait for the client to join; see Options.MaxPendingConnections
	Open       map[string]int // sessions that have not ended, by their current transport
	Sockets    int
	Rooms      int // not counting rooms that have a socket's id as name
	Namespaces int
	Tunnels    int // WebSockets of other servers' sessions that pass through this one; see Options.ClusterSecret

	Connected    uint64            // sockets
	Disconnected map[Reason]uint64 // sockets
	Recovered    uint64            // sockets
	Opened       map[string]uint64 // sessions, by their first transport
	Upgrades     uint64            // to another transport
	Refused      map[string]uint64 // requests by reason; nearly all of them are handshakes
	EventsIn     uint64
	EventsOut    uint64 // including acknowledgements; each receiver counts
	BytesIn      uint64
	BytesOut     uint64

	JoinTimeouts  uint64 // connections that ended because the client did not join within ConnectTimeout
	MadeRoom      uint64 // pending connections that ended to make room for newer ones
	VolatileDrops uint64 // volatile events that were dropped
	SlowConsumers uint64 // sessions that ended because the client did not read fast enough
	Evicted       uint64 // sessions that ended because of Options.MaxMemory
	Held          int64  // bytes that count for Options.MaxMemory, rounded down for each session
	Malformed     uint64 // packets for which a client was rejected
	// Slowed counts how often a client was read from more slowly because it exceeded a limit per
	// second, by kind: "frames", "bytes", "inflated", "events".
	Slowed        map[string]uint64
	InboxFloods   uint64 // clients rejected for too many events while they owed an acknowledgement
	HandlerErrors uint64 // except those meant for the client

	Unauthorized uint64 // attempts to join or to renew an identity that were refused
	Expired      uint64 // sockets that were disconnected because their identity had expired

	// With Options.ClusterSecret, requests and WebSockets of other servers' sessions:
	Forwarded    uint64 // passed on to other servers
	NotForwarded uint64 // that could not be passed on; the client connects again
	// Requests at PeerHandler: of other servers, and those that were refused, since nothing shows that
	// a server of the cluster has sent them.
	ForwardsAccepted, ForwardsRejected uint64

	// Cluster describes what this server is to its cluster, and what they have said to each other. It is nil
	// without Options.Cluster, and if that does not count.
	Cluster *adapter.Stats
}

// Stats returns the current values.
func (s *Server) Stats() Stats {
	e := s.engine.Stats()
	st := Stats{
		Sessions:      s.engine.Sessions(),
		Pending:       s.engine.Pending(),
		Connected:     s.stats.connected.Load(),
		Disconnected:  map[Reason]uint64{},
		Recovered:     s.stats.recovered.Load(),
		Open:          map[string]int{},
		Opened:        map[string]uint64{},
		Upgrades:      e.Upgrades.Load(),
		Refused:       map[string]uint64{},
		EventsIn:      s.stats.eventsIn.Load(),
		EventsOut:     s.stats.packetsOut.Load(),
		BytesIn:       e.BytesIn.Load(),
		BytesOut:      e.BytesOut.Load(),
		JoinTimeouts:  e.JoinTimeouts.Load(),
		MadeRoom:      e.MadeRoom.Load(),
		VolatileDrops: e.VolatileDrops.Load(),
		SlowConsumers: e.SlowConsumers.Load(),
		Evicted:       e.Evicted.Load(),
		Held:          s.engine.Held(),
		Malformed:     s.stats.malformed.Load(),
		Slowed:        map[string]uint64{},
		InboxFloods:   s.stats.flooded.Load(),
		HandlerErrors: s.stats.failed.Load(),
		Unauthorized:  s.stats.unauthorized.Load(),
		Expired:       s.stats.expired.Load(),
	}
	if s.peers != nil {
		p := s.peers.Stats()
		st.Tunnels = int(p.Tunnels.Load())
		st.Forwarded, st.NotForwarded = p.Forwarded.Load(), p.Failed.Load()
		st.ForwardsAccepted, st.ForwardsRejected = p.Accepted.Load(), p.Rejected.Load()
	}
	if c, counts := s.opts.Cluster.(interface{ Stats() adapter.Stats }); counts {
		cluster := c.Stats()
		st.Cluster = &cluster
	}
	for i, t := range engine.Transports {
		st.Open[t] = int(e.Open[i].Load())
		st.Opened[t] = e.Opened[i].Load()
	}
	for i, r := range engine.Refusals {
		st.Refused[r] = e.Refused[i].Load()
	}
	for k := range e.Slowed {
		st.Slowed[budget.Kind(k).String()] = e.Slowed[k].Load()
	}
	for i, r := range reasons {
		st.Disconnected[r] = s.stats.reasons[i].Load()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.Namespaces = len(s.namespaces)
	for _, n := range s.namespaces {
		st.Sockets += n.local.index.Len()
		st.Rooms += n.local.index.Rooms()
	}
	return st
}

// SocketStats describes the current state of a socket, and the traffic so far of its connection,
// which all sockets of a client share. Bytes count WebSocket and WebTransport data and HTTP bodies,
// after compression and before TLS.
type SocketStats struct {
	Transport string    `json:"transport"`         // TransportPolling and so on
	Protocol  int       `json:"protocol"`          // revision of Engine.IO: 4, or 3 for Socket.IO 2
	Opened    time.Time `json:"opened"`            // when the connection began
	LastPong  time.Time `json:"lastPong,omitzero"` // when it last answered a ping, to 0.1 s; zero: not yet
	Rooms     int       `json:"rooms"`             // that the socket is in, not counting its own

	InboxEvents int  `json:"inboxEvents"` // waiting for the socket's handlers; see Options.MaxInbox
	InboxBytes  int  `json:"inboxBytes"`  // waiting for handlers; see Options.MaxInboxBytes
	OutboxBytes int  `json:"outboxBytes"` // queued for the client; see Options.MaxOutbox
	PendingAcks int  `json:"pendingAcks"` // that the client owes; see Options.MaxPendingAcks
	Paused      bool `json:"paused"`      // the server does not read from the client now: an inbox is full, or the client exceeds a limit per second

	PacketsIn  uint64 `json:"packetsIn"`  // of Engine.IO, modulo 2^32
	PacketsOut uint64 `json:"packetsOut"` // of Engine.IO, modulo 2^32
	BytesIn    uint64 `json:"bytesIn"`
	BytesOut   uint64 `json:"bytesOut"`
}

// Stats returns the current values. Clients of Socket.IO 2 send the pings themselves; for them,
// LastPong is the time of their last ping.
func (s *Socket) Stats() SocketStats {
	e := s.conn.session.Stats()
	st := SocketStats{
		Transport: e.Transport, Protocol: e.Protocol,
		Opened: s.conn.session.Handshake().Time(), LastPong: e.LastPong,
		InboxBytes: int(s.conn.inboxed.Load()), OutboxBytes: e.Queued, Paused: e.Paused,
		PacketsIn: uint64(e.PacketsIn), PacketsOut: uint64(e.PacketsOut), BytesIn: e.BytesIn, BytesOut: e.BytesOut,
	}
	for _, room := range s.Rooms() {
		if room != s.ID() {
			st.Rooms++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.InboxEvents, st.PendingAcks = s.inbox.Len(), len(s.acks)
	return st
}

// logConnected logs, at debug level, that the socket is connected.
func (s *Socket) logConnected() {
	if log := s.nsp.srv.log; log.Enabled(context.Background(), slog.LevelDebug) {
		h := s.conn.session.Handshake()
		log.Debug("parley: socket connected", "socket", s.ID(), "namespace", notice.Quote(s.nsp.name), "address", h.Address,
			"transport", s.conn.session.Stats().Transport, "recovered", s.recovered)
	}
}

// logDisconnected logs, at debug level, that the socket has disconnected. The transport is the connection's last one.
func (s *Socket) logDisconnected(reason Reason) {
	if log := s.nsp.srv.log; log.Enabled(context.Background(), slog.LevelDebug) {
		e := s.conn.session
		log.Debug("parley: socket disconnected", "socket", s.ID(), "namespace", notice.Quote(s.nsp.name), "reason", string(reason),
			"transport", e.Stats().Transport, "connection_age", time.Since(e.Handshake().Time()).Round(time.Millisecond))
	}
}

// logHandlerError logs the failure of a handler. Errors meant for the client, mistakes of the
// client and lost connections do not concern the operator, so they are logged at debug level only.
func (s *Server) logHandlerError(socket *Socket, event string, err error) {
	s.logError(err, "socket", socket.ID(), "event", notice.Quote(event))
}

func (s *Server) logError(err error, where ...any) {
	var forClient *Error
	var refusal *ConnectError
	where = append(where, "error", err)
	if errors.As(err, &forClient) || errors.As(err, &refusal) || errors.Is(err, ErrDisconnected) {
		s.log.Debug("parley: request refused", where...)
		return
	}
	s.stats.failed.Add(1)
	var p *PanicError
	if errors.As(err, &p) {
		s.log.Error("parley: handler panicked", append(where, "stack", string(p.Stack))...)
		return
	}
	s.log.Error("parley: handler failed", where...)
}

var _ engine.Handler = (*connection)(nil)
