package chat

import (
	"context"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/auth"
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
	// Announcer tells several clients about things that are not stored.
	Announcer Announcer
	// Closed reports whether each client has to prove who it is, see [Client.SetIdentity], and may do
	// only what its identity allows. Otherwise, or if Closed is nil, clients are who they say, and
	// every room is open to them. When that changes, the clients must connect again.
	Closed func() bool
	// OpenRooms are rights that every identity without grants of its own has, in a closed server.
	OpenRooms auth.Grants
	// EditWindow is how long users may change and delete their messages. 0: they may not.
	EditWindow time.Duration
	// MaxOpenConversations is how many open conversations a user may have that starts another one. If
	// zero, 1. It is exact for the clients of one service. Of several services with the same store, each
	// may let one more begin at the same moment.
	MaxOpenConversations int
	// Preview shows operators what users are typing.
	Preview bool
	// Search says that operators can search in all rooms, because the store has an index.
	Search bool
	// Operator, if not nil, says what is known of an operator, who may not be connected: a name, for which
	// the id stands if it is empty, and whether conversations can be given to it. It must not block.
	Operator func(operatorID string) (name string, active bool)
	// Arrived, if not nil, is called when an operator has come to a closed server, this one or another
	// one of the cluster. It must not block.
	Arrived func(*auth.Identity)
	// Admitted, if not nil, refuses an identity that has lost its access since it was proved; with an
	// *Error. Follow asks when [Service.Cut] knows the feed, so that no loss goes unnoticed.
	Admitted func(who *auth.Identity, address string) error
	// Active, if not nil, is called for each event of a client that has an identity. It must not
	// block.
	Active func(*auth.Identity)
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
	// Cluster connects the service with those of other servers that have the same store; nil: there are
	// none. Then the log must have a bus, too.
	Cluster Cluster
	// Failed, if not nil, is called when the store fails.
	Failed func(doing string, err error)
}

// An Announcer sends events about things that are not stored. A call reaches every peer of this server
// that has entered the channel, except one; nil: all. So a binding encodes each event once. The calls for a
// channel come in the order in which its peers have to receive them, so they must not block.
type Announcer interface {
	Announce(channel, event string, payload any, except Peer)
}

// A Service implements the conversations. It is safe for concurrent use.
type Service struct {
	store      history.Store
	log        *history.Log
	opts       Options
	can        capabilities
	presence   presence
	connected  connected
	lobby      lobby
	staff      staff
	visitors   visitors
	pending    pendings
	starts     starts
	repeats    repeats
	allowances [budget.Kinds]budget.Ledger // those of identities
	slowed     counters
	refused    counters
	accounts   accounts
	cluster    *cluster // nil: the service is alone

	followers atomic.Uint64 // since the start
	changes   atomic.Uint64 // of conversations, as far as this service has made them
}

// capabilities are what the store can do beside storing messages. Nil: it cannot.
type capabilities struct {
	rooms  history.Rooms
	people history.People
	editor history.Editor
	reads  history.Reads
	search history.Searcher
}

func capabilitiesOf(store history.Store) (c capabilities) {
	c.rooms, _ = store.(history.Rooms)
	c.people, _ = store.(history.People)
	c.editor, _ = store.(history.Editor)
	c.reads, _ = store.(history.Reads)
	c.search, _ = store.(history.Searcher)
	return c
}

// New returns a service over log, whose store is store. You do not need to close it.
func New(store history.Store, log *history.Log, o Options) *Service {
	s := &Service{store: store, log: log, opts: o, can: capabilitiesOf(store)}
	s.presence = presence{service: s, rooms: make(map[string]*room)}
	s.lobby.service, s.lobby.poll = s, lobbyPoll
	log.OnChange(s.hint)
	s.staff.service, s.staff.herald = s, herald{every: staffEvery, announce: s.staff.announce}
	s.visitors.service, s.visitors.herald = s, herald{every: visitorEvery, announce: s.visitors.announce}
	if o.Cluster != nil {
		s.join(o.Cluster)
	}
	return s
}

// hint says that conversations may have changed.
func (s *Service) hint() {
	s.lobby.hint()
	s.cluster.hint()
}

func (s *Service) isClosed() bool { return s.opts.Closed != nil && s.opts.Closed() }

// Epoch identifies the numbering of the messages; see history.Store.
func (s *Service) Epoch() string { return s.store.Epoch() }

// Lacks returns what the store cannot do, for people. What clients ask of it then is refused.
func (s *Service) Lacks() (lacks []string) {
	for _, c := range []struct {
		has  bool
		what string
	}{
		{s.can.rooms != nil, "conversations"},
		{s.can.people != nil, "users"},
		{s.can.editor != nil, "changing and deleting messages"},
		{s.can.reads != nil, "read marks"},
		{s.can.search != nil, "searching"},
	} {
		if !c.has {
			lacks = append(lacks, c.what)
		}
	}
	return lacks
}

// bounded returns ctx with the deadline for clients that wait for the store.
func (s *Service) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.Timeout)
}
