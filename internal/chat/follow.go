package chat

import (
	"context"
	"strconv"
	"strings"

	"github.com/parley-go/parley/history"
)

// catchUpPage is how many missed messages are read at once.
const catchUpPage = 100

// A Position is a place in a room's order of changes. As text it is "<epoch>-<number>".
type Position struct {
	Epoch  string
	Number int64 // everything up to this one
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

// A FollowRequest says which room to follow and where to begin: after a position, at the
// earliest message that there is, or, if neither is given, with the Newest messages.
type FollowRequest struct {
	RoomID   string
	After    *Position
	Earliest bool
	Newest   int
}

// A Follower gets a room's messages without being in it: Missed for each that it catches up
// with, then Opened, then Deliver for each live one.
type Follower interface {
	// Missed takes a message from before Opened. It may wait. Its error ends Follow.
	Missed(m *history.Message) error
	// Opened takes the messages that Missed was not called for. It must not block.
	Opened(o Opened)
	// Deliver takes a live message. It must not block.
	Deliver(m *history.Live)
}

// Opened is what a follower gets before the live messages.
type Opened struct {
	Messages []history.Message
	At       Position // after Messages
	// Reset says that the position in the request was none of the store's: what the follower
	// has is worthless, and Messages are the newest.
	Reset bool
}

// Follow hands a room's messages to f until stop is called. It returns when live messages have
// begun, or with the error that Missed returned, or an *Error.
func (s *Service) Follow(ctx context.Context, q FollowRequest, f Follower) (stop func(), err error) {
	if err := CheckRoom(q.RoomID); err != nil {
		return nil, err
	}
	epoch := s.store.Epoch()
	newest := min(max(q.Newest, 0), s.opts.MaxPage)
	from := history.OpenOptions{Limit: max(newest, 1)}
	if q.Earliest || q.After != nil {
		from = history.OpenOptions{Epoch: epoch, Limit: s.opts.PageSize}
	}
	if q.After != nil {
		from.Epoch, from.Since = q.After.Epoch, q.After.Number
	}
	if from.Epoch == epoch {
		if from.Since, err = s.catchUp(ctx, f, q.RoomID, from.Since, q.Earliest); err != nil {
			return nil, err
		}
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	subscription, err := s.log.Open(bounded, q.RoomID, from, f, func(o history.Opened) {
		messages := o.Messages
		switch {
		case o.Reset:
			messages, _ = s.fit(messages, false)
		case from.Epoch == "":
			messages, _ = s.fit(messages[max(len(messages)-newest, 0):], false)
		}
		f.Opened(Opened{messages, Position{o.Epoch, o.LastSeq}, o.Reset})
	})
	if err != nil {
		return nil, s.storeError(ctx, "open room", err)
	}
	return subscription.Close, nil
}

// catchUp hands f what came after a number, page by page, as fast as f takes it, and returns
// the number up to which it did. If that is none of the room's, opening the room will find out.
func (s *Service) catchUp(ctx context.Context, f Follower, room string, since int64, earliest bool) (int64, error) {
	for {
		bounded, cancel := s.bounded(ctx)
		slice, err := s.store.Changes(bounded, room, since, catchUpPage)
		cancel()
		switch {
		case history.Code(err) == history.ErrPruned.Code && earliest && slice.Floor > since:
			since = slice.Floor // the earliest that there is
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
