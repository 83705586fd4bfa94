package chat

import (
	"context"
	"strconv"
	"strings"

	"github.com/parley-go/parley/history"
)

// Missed messages per read. Each follower that catches up has so many in memory while its client
// receives them.
const (
	catchUpPage  = 100
	catchUpBytes = 64 << 10
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
	Address  string // the client's; see Peer
	After    *Position
	Earliest bool
	Newest   int
}

// A Follower receives a room's messages without being in the room. The calls are Missed for each
// message that it catches up with, then Opened, then Deliver for each live message.
type Follower interface {
	// Missed receives a message from before Opened. It may block. If it returns an error, Follow
	// ends.
	Missed(m *history.Message) error
	// Opened receives the messages that were not passed to Missed. It must not block.
	Opened(o Opened)
	// Deliver receives a live message. It must not block.
	Deliver(m *history.Live)
}

// Opened is what a follower receives before the live messages.
type Opened struct {
	Messages []history.Message
	At       Position // the position after Messages
	// Reset says that the store does not know the position in the request: what the follower has is
	// useless, and Messages are the newest.
	Reset bool
}

// Follow passes a room's messages to f until stop is called. It returns when live messages have
// begun, or with the error that Missed returned, or with an *Error.
func (s *Service) Follow(ctx context.Context, q FollowRequest, f Follower) (stop func(), err error) {
	if err := CheckRoom(q.RoomID); err != nil {
		return nil, err
	}
	r := &reader{address: q.Address, id: "feed " + strconv.FormatUint(s.followers.Add(1), 10)}
	epoch := s.store.Epoch()
	newest := min(max(q.Newest, 0), s.opts.MaxPage)
	from := history.OpenOptions{Limit: history.Limit{Messages: max(newest, 1), Bytes: s.opts.PageBytes}}
	if q.Earliest || q.After != nil {
		from.Epoch, from.Limit.Messages = epoch, s.opts.PageSize
	}
	if q.After != nil {
		from.Epoch, from.Since = q.After.Epoch, q.After.Number
	}
	for {
		if from.Epoch == epoch {
			if from.Since, err = s.catchUp(ctx, r, f, q.RoomID, from.Since, q.Earliest); err != nil {
				return nil, err
			}
		}
		reading, cancel, err := s.reading(ctx, r)
		if err != nil {
			return nil, err
		}
		live := &subscriber{to: f}
		live.subscription, err = s.log.Open(reading, q.RoomID, from, live, func(o history.Opened) {
			s.charge(r, o.Messages)
			switch {
			case from.Epoch == "":
				o.Messages = o.Messages[max(len(o.Messages)-newest, 0):]
			case o.HasMore && !o.Reset: // much has arrived since it caught up
				live.stopped = true
				return
			}
			f.Opened(Opened{o.Messages, Position{o.Epoch, o.LastSeq}, o.Reset})
		})
		cancel()
		if err != nil {
			return nil, s.storeError(ctx, "open room", err)
		}
		if !live.stopped {
			return live.subscription.Close, nil
		}
		live.close()
	}
}

// catchUp passes the messages after since to f, page by page, as fast as f accepts them. It returns
// the number up to which it did so. If since is not a number of this room, opening the room will
// find out.
func (s *Service) catchUp(ctx context.Context, r *reader, f Follower, room string, since int64, earliest bool) (int64, error) {
	for {
		reading, cancel, err := s.reading(ctx, r)
		if err != nil {
			return since, err
		}
		slice, err := s.store.Changes(reading, room, since, history.Limit{Messages: catchUpPage, Bytes: catchUpBytes})
		cancel()
		s.charge(r, slice.Messages)
		switch {
		case history.Code(err) == history.ErrPruned.Code && earliest && slice.Floor > since:
			since = slice.Floor // the earliest that exists
			continue
		case history.Code(err) == history.ErrPruned.Code:
			return since, nil
		case err != nil:
			return since, s.storeError(ctx, "read room", err)
		case len(slice.Messages) == 0:
			return max(since, min(slice.UpTo, slice.Head)), nil
		}
		for i := range slice.Messages {
			if err := f.Missed(&slice.Messages[i]); err != nil {
				return since, err
			}
		}
		since = slice.UpTo
	}
}
