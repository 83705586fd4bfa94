package chat

import (
	"context"
	"time"

	"github.com/parley-go/parley/history"
)

// Options configure a [Service].
type Options struct {
	PageSize int // messages of a page when a client names no limit
	MaxPage  int // messages of a page at most
	// PageBytes bounds a page, about. One message always fits.
	PageBytes int
	// Timeout bounds how long a client waits for the store.
	Timeout time.Duration
	// Announcer tells the members of a room what is not stored.
	Announcer Announcer
	// Appended, if not nil, is called for each message that is acknowledged.
	Appended func(duplicate bool)
	// Failed, if not nil, is called when the store fails.
	Failed func(doing string, err error)
}

// An Announcer tells all members of a room but one what is not stored. Its methods are called
// in the room's order, so they must not block.
type Announcer interface {
	Presence(p Presence, except Peer) // nil: all members
	Typing(t Typing, except Peer)
}

// A Service is the conversations. It is safe for concurrent use.
type Service struct {
	store    history.Store
	log      *history.Log
	opts     Options
	presence presence
}

// New returns a service over log, whose store is store. You need not close it.
func New(store history.Store, log *history.Log, o Options) *Service {
	return &Service{store: store, log: log, opts: o, presence: presence{announcer: o.Announcer, rooms: make(map[string]*room)}}
}

// Epoch names the numbering of the messages; see history.Store.
func (s *Service) Epoch() string { return s.store.Epoch() }

// bounded returns ctx with the time that a client waits for the store.
func (s *Service) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.Timeout)
}
