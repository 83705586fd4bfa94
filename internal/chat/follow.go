package chat

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
)

// A Position is a position in a room's order of changes. Its text form is "<epoch>-<number>".
type Position struct {
	Epoch  string
	Number int64 // everything up to this number
}

// String returns the position as text.
func (p Position) String() string { return p.Epoch + "-" + strconv.FormatInt(p.Number, 10) }

// ParsePosition is the inverse of String.
func ParsePosition(text string) (p Position, ok bool) {
	i := strings.LastIndexByte(text, '-')
	if i < 1 {
		return p, false
	}
	number, err := strconv.ParseInt(text[i+1:], 10, 64)
	return Position{text[:i], number}, err == nil && number >= 0
}

// A FollowRequest says which room to follow and where to begin: after a position, at the earliest
// existing message, or otherwise with the Newest messages.
type FollowRequest struct {
	RoomID   string
	Who      *auth.Identity // nil: has proved nothing
	Address  string         // the client's network address, with or without a port
	After    *Position
	Earliest bool
	Newest   int
}

// A Follower receives a room's messages without being in the room, as fast as its client takes them.
// The calls are Opened, then Deliver for each message that it missed, then CaughtUp, then Deliver for
// each later message. They must not block.
type Follower interface {
	// Opened says after which position the follower begins. reset says that this is not the position
	// in the request, because the store does not know that: what the follower has is useless.
	Opened(at Position, reset bool)
	// CaughtUp says that the follower has everything up to a position.
	CaughtUp(at Position)
	// Deliver receives the next message.
	Deliver(m *history.Live)
	// Behind and WhenDrained are those of history.Paced.
	Behind() bool
	WhenDrained(f func())
	// Lost says why the rest cannot be delivered, with an *Error. No call follows.
	Lost(err error)
}

// follower is a Follower as a history.Paced. Until it has caught up, it is behind not only if its
// client is slow, but also if it has read more than its budget allows. The subscription calls its
// methods one at a time.
type follower struct {
	Follower
	service  *Service
	room     string
	who      *auth.Identity
	remote   string // the client's network address
	reader   reader
	paid     int           // bytes that it may still read
	wait     time.Duration // until it may pay for more; 0 if its client is slow
	caughtUp bool

	mu           sync.Mutex
	subscription *history.Subscription // nil: ended, or has not begun
	ended        bool
	expiry       *time.Timer // nil: never
}

// readPiece is how many bytes a follower pays for at a time. It is about a page of history.Log.
const readPiece = 256 << 10

// Behind implements history.Paced.
func (f *follower) Behind() bool {
	f.wait = 0
	switch {
	case f.Follower.Behind():
		return true
	case f.caughtUp || f.paid > 0:
		return false
	}
	if f.wait = f.service.buy(&f.reader, readPiece); f.wait > 0 {
		return true
	}
	f.paid = readPiece
	return false
}

// WhenDrained implements history.Paced.
func (f *follower) WhenDrained(resume func()) {
	if f.wait > 0 {
		time.AfterFunc(f.wait, resume)
		return
	}
	f.Follower.WhenDrained(resume)
}

// Deliver implements history.Subscriber.
func (f *follower) Deliver(m *history.Live) {
	f.paid -= m.Message.Size()
	f.Follower.Deliver(m)
}

// Lost implements history.Paced.
func (f *follower) Lost(_ string, err error) {
	if errors.Is(err, history.ErrNotFound) {
		f.cut(erased)
	} else if f.end() {
		f.Follower.Lost(f.service.storeError(context.Background(), "read room", err))
	}
}

// Identity implements connection.
func (f *follower) Identity() *auth.Identity { return f.who }

// RemoteAddress implements connection.
func (f *follower) RemoteAddress() string { return f.remote }

// cut implements connection.
func (f *follower) cut(why *Error) {
	if f.end() {
		f.Follower.Lost(why)
	}
}

// end ends the feed. It reports false if the feed had ended.
func (f *follower) end() bool {
	f.mu.Lock()
	subscription, ended := f.subscription, f.ended
	f.ended = true
	if f.expiry != nil {
		f.expiry.Stop()
	}
	f.mu.Unlock()
	if ended {
		return false
	}
	if f.who != nil {
		f.service.connected.leave(member(f.who), f)
	}
	if subscription != nil {
		subscription.Close()
	}
	return true
}

// begin gives the feed its subscription, unless it has ended meanwhile.
func (f *follower) begin(subscription *history.Subscription) {
	f.mu.Lock()
	ended := f.ended
	f.subscription = subscription
	f.mu.Unlock()
	if ended {
		subscription.Close()
	}
}

// Grace is how long a client may stay after its identity has ended.
const Grace = 25 * time.Second

// Follow passes a room's messages to f until stop is called, or the right to read ends. It returns
// after Opened, or with an *Error.
func (s *Service) Follow(ctx context.Context, q FollowRequest, to Follower) (stop func(), err error) {
	if err := CheckRoom(q.RoomID); err != nil {
		return nil, err
	}
	if err := s.open(q.Address, 1); err != nil {
		return nil, err
	}
	id := "feed " + strconv.FormatUint(s.followers.Add(1), 10)
	f := &follower{
		Follower: to, service: s, room: q.RoomID, who: q.Who, remote: q.Address,
		reader: reader{address: address.Client(q.Address), id: id, payer: s.payer(q.Address)},
	}
	reading, cancel, err := s.reading(ctx, &f.reader)
	if err != nil {
		return nil, err
	}
	defer cancel()
	if q.Who != nil { // from now on, changes of rights are noticed
		s.connected.enter(member(q.Who), f)
		if s.opts.Admitted != nil { // those before were not
			if err := s.opts.Admitted(q.Who, q.Address); err != nil {
				f.end()
				return nil, err
			}
		}
		if !q.Who.Expires.IsZero() {
			f.mu.Lock()
			f.expiry = time.AfterFunc(time.Until(q.Who.Expires)+Grace, func() {
				f.cut(&Error{Code: conversation.TokenExpired, Message: "the token has expired"})
			})
			f.mu.Unlock()
		}
	}
	if s.isClosed() {
		if a, _, err := s.access(reading, principalOf(q.Who), q.Who, q.RoomID); err != nil {
			f.end()
			return nil, err
		} else if err := a.need(auth.Read); err != nil {
			f.end()
			return nil, err
		}
	}
	epoch := s.store.Epoch()
	from := history.OpenOptions{
		Limit: history.Limit{Messages: s.opts.PageSize},
		CaughtUp: func(upTo int64) {
			f.caughtUp = true
			f.CaughtUp(Position{epoch, upTo})
		},
	}
	switch {
	case q.After != nil:
		from.Epoch, from.Since = q.After.Epoch, q.After.Number
	case q.Earliest:
		from.Epoch, from.Since = epoch, -1
	case q.Newest > 0:
		from.Limit.Messages = min(q.Newest, s.opts.MaxPage)
	default:
		from.Limit.Messages = -1
	}
	subscription, err := s.log.Open(reading, q.RoomID, from, f, func(o history.Opened) {
		f.Opened(Position{epoch, o.LastSeq}, o.Reset)
	})
	if err != nil {
		f.end()
		return nil, s.storeError(ctx, "open room", err)
	}
	f.begin(subscription)
	return func() { f.end() }, nil
}
