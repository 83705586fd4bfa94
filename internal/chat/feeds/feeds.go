// Package feeds binds the conversations to Server-Sent Events: GET /rooms/{room}/events delivers
// what a room's members receive, without joining the room. docs/protocol.md describes it.
//
//	newMessage      a message; its id is the position after it
//	messageChanged  a message that has changed; likewise
//	live            everything up to its id is complete
//	reset           the feed cannot continue from the client's id; the newest page follows
//	error           the store failed, or a right has ended; the feed ends, and a client that comes back misses nothing
package feeds

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/sse"
)

// earliest, as a last event id, is the position before all messages.
const earliest = "earliest"

// New returns the handler for all feeds. It takes the room from the path's wildcard {room}. Identify
// returns who asks, or an error, which may be a *chat.Error; nil: nobody has to say who they are.
func New(service *chat.Service, identify func(*http.Request) (*auth.Identity, error), o *sse.Options) *sse.Handler {
	return sse.New(func(s *sse.Stream, r *http.Request, lastID string) (func(), error) {
		q, err := request(r, lastID, o.ClientAddress)
		if err != nil {
			return nil, refusal(err)
		}
		if identify != nil {
			if q.Who, err = identify(r); err != nil {
				return nil, refusal(err)
			}
		}
		stop, err := service.Follow(s.Context(), q, &feed{s, q.RoomID, service.Epoch()})
		if err != nil {
			return nil, refusal(err)
		}
		return stop, nil
	}, o)
}

// request converts a client's request.
func request(r *http.Request, lastID string, clientAddress func(*http.Request) string) (q chat.FollowRequest, err error) {
	q.RoomID = r.PathValue("room")
	q.Address = r.RemoteAddr
	if clientAddress != nil {
		q.Address = clientAddress(r)
	}
	if limit := r.URL.Query().Get("limit"); limit != "" {
		if q.Newest, err = strconv.Atoi(limit); err != nil || q.Newest < 0 {
			return q, chat.Refuse(chat.BadPayload, "limit must be a number, how many messages to begin with")
		}
	}
	switch position, ok := chat.ParsePosition(lastID); {
	case lastID == "":
	case lastID == earliest:
		q.Earliest = true
	case ok:
		q.After = &position
	default:
		return q, chat.Refuse(chat.BadPayload, "the id of the last event is none of this server's, nor %s", earliest)
	}
	return q, nil
}

// refusal converts an error of the service to an HTTP status.
func refusal(err error) error {
	var e *chat.Error
	if !errors.As(err, &e) {
		return err // the client is gone
	}
	return &sse.Refusal{Status: e.Code.Status(), Message: e.Message, RetryAfter: e.RetryAfter}
}

// failed converts an error of the service to the last event of a feed that has begun.
func failed(err error) *sse.Event {
	var e *chat.Error
	if !errors.As(err, &e) {
		return nil // the client is gone
	}
	data, _ := json.Marshal(failure{e.Code, e.Message}) // cannot fail
	return &sse.Event{Name: "error", Data: data}
}

// failure is the data of the error event.
type failure struct {
	Code    chat.Code `json:"code"`
	Message string    `json:"message"`
}

// feed is a chat.Follower.
type feed struct {
	*sse.Stream // has Behind and WhenDrained
	room        string
	epoch       string
}

// Opened implements chat.Follower.
func (f *feed) Opened(at chat.Position, reset bool) {
	if reset {
		f.state("reset", at)
	}
}

// CaughtUp implements chat.Follower.
func (f *feed) CaughtUp(at chat.Position) { f.state("live", at) }

// Lost implements chat.Follower.
func (f *feed) Lost(err error) { f.Fail(failed(err)) }

// encoding is the kind of encoding that all feeds share.
type encoding struct{}

// Deliver implements chat.Follower.
func (f *feed) Deliver(m *history.Live) {
	f.SendEncoded(m.Encoded(encoding{}, func(m *history.Message) any { return f.encode(m) }).([]byte))
}

func (f *feed) encode(m *history.Message) []byte {
	id := chat.Position{Epoch: f.epoch, Number: m.Number()}.String()
	e := sse.Event{ID: id, Name: chat.Event(m), Data: chat.EncodeMessage(m)}
	b, _ := e.Append(nil) // an epoch has no line breaks
	return b
}

// roomState is the data of live and reset.
type roomState struct {
	RoomID  string `json:"roomId"`
	LastSeq int64  `json:"lastSeq"`
	Epoch   string `json:"epoch"`
}

func (f *feed) state(name string, at chat.Position) {
	data, _ := json.Marshal(roomState{f.room, at.Number, at.Epoch}) // cannot fail
	f.Send(&sse.Event{ID: at.String(), Name: name, Data: data})
}
