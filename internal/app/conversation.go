package app

import (
	"errors"
	"log/slog"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/events"
	"github.com/parley-go/parley/internal/chat/feeds"
	"github.com/parley-go/parley/sse"
)

// storeTimeout limits how long a client waits for the store. Tests shorten it.
var storeTimeout = 10 * time.Second

// openConversations creates the service for conversations and binds it to Socket.IO and to the
// feeds.
func (s *Server) openConversations() {
	c := s.config
	o := chat.Options{
		PageSize: c.PageSize, MaxPage: c.MaxPage,
		PageBytes:  int(c.MaxOutbox) / 2, // otherwise the page itself would make the client a slow one
		MaxMessage: int(c.MaxMessage),
		Timeout:    storeTimeout,
		EditWindow: c.EditWindow, MaxOpenConversations: c.MaxOpenConversations, Preview: c.Preview, Search: c.Search, OpenRooms: c.OpenRooms,
		Closed: s.gate.access.Closed, Admitted: s.gate.admitted,
		Operator: s.gate.access.Colleague, Arrived: s.gate.access.Meet, Active: s.gate.access.Touch,
		Announcer: events.Announcer(s.sockets),
		Budgets:   c.budgets(), ExemptAddresses: c.exemptAddresses(), OverQuota: s.overQuota,
		Appended: s.metrics.stored,
		Failed:   s.metrics.failed,
	}
	if s.node != nil {
		o.Cluster = s.node.native
	}
	service := chat.New(s.store, s.history, o)
	s.chat = service
	if lacks := service.Lacks(); len(lacks) > 0 {
		s.log.Warn("the store cannot do everything: some events answer unavailable", "lacks", lacks)
	}
	events.Register(s.sockets, service)
	s.feeds = feeds.New(service, s.gate.follower, &sse.Options{
		// Devices on the way cut any silent connection, whatever its kind.
		KeepAlive: min(c.PingInterval, 20*time.Second),
		Lifetime:  c.FeedLifetime, MaxQueue: int(c.MaxOutbox), MaxTotal: int(c.MaxMemory / 4),
		MaxStreams: c.MaxConnections, MaxPerAddress: c.MaxConnectionsPerAddress,
		ExemptAddresses: c.exemptAddresses(), ClientAddress: c.clientAddress(),
		CORS: sse.CORS{Origins: c.CORSOrigins, Credentials: c.CORSCredentials},
	})
}

// admit refuses a handshake if too many came from the client's address.
func (s *Server) admit(remote string) error {
	var e *chat.Error
	if err := s.chat.Admit(remote); errors.As(err, &e) {
		return &parley.ConnectError{Message: e.Message, RetryAfter: e.RetryAfter}
	}
	return nil
}

// quotas are the settings of what an address may not go over, and what is refused then.
var quotas = map[budget.Kind]struct{ setting, refused string }{
	budget.Rooms:       {"rooms-per-hour", "messages"},
	budget.Stored:      {"stored-per-hour", "messages"},
	budget.Openings:    {"max-connections-per-address", "new connections"},
	budget.Memberships: {"max-connections-per-address", "further rooms"},
	budget.Requests:    {"max-connections-per-address", "requests"},
}

// sharedAddress says what to do about an address that is over a limit for one address.
const sharedAddress = "if many people share this address, raise the setting; if it is a proxy, name it in trusted-proxies"

// overQuota tells the operator that somebody at an address was refused something.
func (s *Server) overQuota(kind budget.Kind, address string) {
	q := quotas[kind]
	s.notices.Post(slog.LevelWarn, kind.String()+"\n"+address, "an address is over its quota: "+q.refused+" are refused",
		"address", address, "setting", q.setting,
		"hint", sharedAddress)
}
