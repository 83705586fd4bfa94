package chat

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// Options configure a [Service].
type Options struct {
	PageSize int // messages per page if a client gives no limit
	MaxPage  int // maximum number of messages per page
	// PageBytes is the approximate maximum size of a page. One message always fits.
	PageBytes int
	// MaxMessage is the maximum size of a message, in bytes of compact JSON. The log has the same
	// limit. Here it keeps what is too large from waiting for a budget. 0 means that it may wait.
	MaxMessage int
	// Timeout limits how long a client waits for the store.
	Timeout time.Duration
	// Announcer tells the members of a room about things that are not stored.
	Announcer Announcer
	// Budgets limit what one client, and all clients of a room, may send; see [Budgets]. The zero
	// value limits nothing.
	Budgets budget.Limits
	// ExemptAddresses are networks to which the budgets of an address do not apply: budget.Rooms
	// and those that follow it.
	ExemptAddresses []netip.Prefix
	// OverQuota, if not nil, is called for each message, connection and feed that a quota does not
	// allow.
	OverQuota func(kind budget.Kind, address string)
	// Appended, if not nil, is called for each acknowledged message.
	Appended func(duplicate bool)
	// Failed, if not nil, is called when the store fails.
	Failed func(doing string, err error)
}

// An Announcer tells all members of a room, or all but one, about things that are not stored. Its
// methods are called in the room's order, so they must not block.
type Announcer interface {
	Presence(p Presence, except Peer) // nil: all members
	Typing(t Typing, except Peer)
}

// A Service implements the conversations. It is safe for concurrent use.
type Service struct {
	store    history.Store
	log      *history.Log
	opts     Options
	presence presence
	slowed   counters
	refused  counters
	accounts accounts

	followers atomic.Uint64 // since the start
}

// New returns a service over log, whose store is store. You do not need to close it.
func New(store history.Store, log *history.Log, o Options) *Service {
	s := &Service{store: store, log: log, opts: o}
	s.presence = presence{service: s, rooms: make(map[string]*room)}
	return s
}

// Epoch identifies the numbering of the messages; see history.Store.
func (s *Service) Epoch() string { return s.store.Epoch() }

// bounded returns ctx with the deadline for clients that wait for the store.
func (s *Service) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.Timeout)
}
