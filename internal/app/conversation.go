package app

import (
	"log/slog"
	"time"

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
	service := chat.New(s.store, s.history, chat.Options{
		PageSize: c.PageSize, MaxPage: c.MaxPage,
		PageBytes:  int(c.MaxOutbox) / 2, // otherwise the page itself would make the client a slow one
		MaxMessage: int(c.MaxMessage),
		Timeout:    storeTimeout,
		Announcer:  events.Announcer(s.sockets),
		Budgets:    c.budgets(), ExemptAddresses: c.exemptAddresses(), OverQuota: s.overQuota,
		Appended: s.metrics.stored,
		Failed:   s.metrics.failed,
	})
	s.chat = service
	events.Register(s.sockets, service)
	s.feeds = feeds.New(service, &sse.Options{
		// Devices on the way cut any silent connection, whatever its kind.
		KeepAlive: min(c.PingInterval, 20*time.Second),
		Lifetime:  c.FeedLifetime, MaxQueue: int(c.MaxOutbox), MaxTotal: int(c.MaxMemory / 4),
		MaxStreams: c.MaxConnections, MaxPerAddress: c.MaxConnectionsPerAddress,
		ExemptAddresses: c.exemptAddresses(), ClientAddress: c.clientAddress(),
		CORS: sse.CORS{Origins: c.CORSOrigins, Credentials: c.CORSCredentials},
	})
}

// quotas are the settings of the kinds of budgets that are per hour.
var quotas = map[budget.Kind]string{budget.Rooms: "rooms-per-hour", budget.Stored: "stored-per-hour"}

// overQuota tells the operator that a message of an address was refused.
func (s *Server) overQuota(kind budget.Kind, address string) {
	s.notices.Post(slog.LevelWarn, kind.String()+address, "an address is over its quota: messages are refused",
		"address", address, "setting", quotas[kind],
		"hint", "if many people share this address, raise the setting; if it is a proxy, name it in trusted-proxies")
}
