package parley

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// counters is what the package itself counts; the engine counts the rest.
type counters struct {
	connected   atomic.Uint64
	reasons     [len(reasons)]atomic.Uint64
	eventsIn    atomic.Uint64
	packetsOut  atomic.Uint64
	recovered   atomic.Uint64
	malformed   atomic.Uint64
	rateLimited atomic.Uint64
	flooded     atomic.Uint64
	failed      atomic.Uint64
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

// Stats is what a server is doing (the first five) and has done since it was made.
type Stats struct {
	Sessions   int            // connections, of which polling ones may linger after their end
	Open       map[string]int // sessions that have not ended, by the transport they have
	Sockets    int
	Rooms      int // those named by a socket's id not counted
	Namespaces int

	Connected    uint64            // sockets
	Disconnected map[Reason]uint64 // sockets
	Recovered    uint64            // sockets
	Opened       map[string]uint64 // sessions, by the transport they began with
	Upgrades     uint64            // to another transport
	Refused      map[string]uint64 // requests, nearly all of them handshakes, by reason
	EventsIn     uint64
	EventsOut    uint64 // and acknowledgements, each receiver counted
	BytesIn      uint64
	BytesOut     uint64

	VolatileDrops uint64 // volatile events that were dropped
	SlowConsumers uint64 // sessions ended because they did not take what was sent
	Malformed     uint64 // packets for which a client was rejected
	RateLimited   uint64 // clients rejected for their rate
	InboxFloods   uint64 // clients rejected for events that they sent while they owed an acknowledgement
	HandlerErrors uint64 // other than those meant for the client
}

// Stats returns the present figures.
func (s *Server) Stats() Stats {
	e := s.engine.Stats()
	st := Stats{
		Sessions:      s.engine.Sessions(),
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
		VolatileDrops: e.VolatileDrops.Load(),
		SlowConsumers: e.SlowConsumers.Load(),
		Malformed:     s.stats.malformed.Load(),
		RateLimited:   s.stats.rateLimited.Load(),
		InboxFloods:   s.stats.flooded.Load(),
		HandlerErrors: s.stats.failed.Load(),
	}
	for i, t := range engine.Transports {
		st.Open[t] = int(e.Open[i].Load())
		st.Opened[t] = e.Opened[i].Load()
	}
	for i, r := range engine.Refusals {
		st.Refused[r] = e.Refused[i].Load()
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

// SocketStats is what a socket is at some moment, and what its connection, which all sockets of a
// client share, has carried until then. Bytes are those of WebSocket and WebTransport connections
// and of HTTP bodies, after compression and before TLS.
type SocketStats struct {
	Transport string    `json:"transport"`         // TransportPolling and so on
	Protocol  int       `json:"protocol"`          // revision of Engine.IO: 4, or 3 of Socket.IO 2
	Opened    time.Time `json:"opened"`            // when the connection began
	LastPong  time.Time `json:"lastPong,omitzero"` // when it last answered a ping, to 0.1 s; zero: not yet
	Rooms     int       `json:"rooms"`             // that the socket is in, its own not counted

	InboxEvents int  `json:"inboxEvents"` // that wait for the socket's handlers; see Options.MaxInbox
	InboxBytes  int  `json:"inboxBytes"`  // that wait for handlers; see Options.MaxInboxBytes
	OutboxBytes int  `json:"outboxBytes"` // that wait for the client; see Options.MaxOutbox
	PendingAcks int  `json:"pendingAcks"` // that the client owes; see Options.MaxPendingAcks
	Paused      bool `json:"paused"`      // nothing is read from the client, as an inbox is full

	PacketsIn  uint64 `json:"packetsIn"`  // of Engine.IO, modulo 2^32
	PacketsOut uint64 `json:"packetsOut"` // likewise
	BytesIn    uint64 `json:"bytesIn"`
	BytesOut   uint64 `json:"bytesOut"`
}

// Stats returns the present figures. With clients of Socket.IO 2, which send the pings, LastPong is
// when the last ping came.
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

// logHandlerError logs what went wrong in a handler. What is meant for the client, or its
// own fault, or that it is gone, is not the operator's concern.
func (s *Server) logHandlerError(socket *Socket, event string, err error) {
	var forClient *Error
	var refusal *ConnectError
	if errors.As(err, &forClient) || errors.As(err, &refusal) || errors.Is(err, ErrDisconnected) {
		s.log.Debug("parley: request refused", "socket", socket.ID(), "event", event, "error", err)
		return
	}
	s.stats.failed.Add(1)
	var p *PanicError
	if errors.As(err, &p) {
		s.log.Error("parley: handler panicked", "socket", socket.ID(), "event", event, "error", err, "stack", string(p.Stack))
		return
	}
	s.log.Error("parley: handler failed", "socket", socket.ID(), "event", event, "error", err)
}

var _ engine.Handler = (*connection)(nil)
