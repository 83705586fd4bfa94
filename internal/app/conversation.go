package app

import (
	"time"

	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/events"
	"github.com/parley-go/parley/internal/chat/feeds"
	"github.com/parley-go/parley/sse"
)

// storeTimeout bounds how long a client waits for the store. Tests shorten it.
var storeTimeout = 10 * time.Second

// openConversations makes the service of the conversations, and binds it to Socket.IO and to
// the feeds.
func (s *Server) openConversations() {
	c := s.config
	service := chat.New(s.store, s.history, chat.Options{
		PageSize: c.PageSize, MaxPage: c.MaxPage,
		PageBytes: int(c.MaxOutbox) / 2, // or the page itself would make the client a slow one
		Timeout:   storeTimeout,
		Announcer: events.Announcer(s.sockets),
		Appended:  s.metrics.stored,
		Failed:    s.metrics.failed,
	})
	events.Register(s.sockets, service)
	s.feeds = feeds.New(service, &sse.Options{
		// What is between us cuts off one kind of connection that is silent like the other.
		KeepAlive: min(c.PingInterval, 20*time.Second),
		Lifetime:  c.FeedLifetime, MaxQueue: int(c.MaxOutbox),
		MaxStreams: c.MaxConnections, MaxPerAddress: c.MaxConnectionsPerAddress,
		ClientAddress: c.clientAddress(),
		CORS:          sse.CORS{Origins: c.CORSOrigins, Credentials: c.CORSCredentials},
	})
}
