package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/sse"
)

// The rooms as Server-Sent Events, GET /rooms/{room}/events: what a room's members get,
// without joining it. docs/protocol.md describes it.
//
//	newMessage  a message; its id is the position after it
//	live        what came before is complete up to its id
//	reset       the client's id was no position to go on from; the newest page follows

// earliest, as the id of the last event, is the position before all messages.
const earliest = "earliest"

// catchUpPage is how many missed messages are read at once.
const catchUpPage = 100

// roomState is the data of live and reset.
type roomState struct {
	RoomID  string `json:"roomId"`
	LastSeq int64  `json:"lastSeq"`
	Epoch   string `json:"epoch"`
}

// position is a place in a room's order of changes, as an id of an event.
func position(epoch string, number int64) string {
	return epoch + "-" + strconv.FormatInt(number, 10)
}

// parsePosition is the inverse of position.
func parsePosition(id string) (epoch string, number int64, ok bool) {
	i := strings.LastIndexByte(id, '-')
	if i < 1 {
		return "", 0, false
	}
	number, err := strconv.ParseInt(id[i+1:], 10, 64)
	return id[:i], number, err == nil && number >= 0
}

// newEvents returns the handler of the feeds.
func (c *conversations) newEvents(cfg Config) *sse.Handler {
	return sse.New(c.openEvents, &sse.Options{
		// What is between us cuts off one kind of connection that is silent like the other.
		KeepAlive: min(cfg.PingInterval, 20*time.Second),
		Lifetime:  cfg.FeedLifetime, MaxQueue: int(cfg.MaxOutbox),
		MaxStreams: cfg.MaxConnections, MaxPerAddress: cfg.MaxPerAddress,
		ClientAddress: cfg.clientAddress(),
		CORS:          sse.CORS{Origins: cfg.CORSOrigins, Credentials: cfg.CORSCredentials},
	})
}

// openEvents implements sse.Open.
func (c *conversations) openEvents(s *sse.Stream, r *http.Request, lastID string) (func(), error) {
	f := &eventFeed{stream: s, room: r.PathValue("room"), epoch: c.store.Epoch()}
	if history.CheckRoom(f.room) != nil {
		return nil, badRequest("the room's id must have 1 to " + strconv.Itoa(history.MaxRoomID) + " bytes of UTF-8 without control characters")
	}
	from, newest, err := c.eventsFrom(r, lastID)
	if err != nil {
		return nil, err
	}
	if from.Epoch == f.epoch {
		if from.Since, err = c.catchUp(f, from.Since, lastID == earliest); err != nil {
			return nil, c.endEvents("read room", err)
		}
	}
	ctx, cancel := context.WithTimeout(s.Context(), storeTimeout)
	defer cancel()
	subscription, err := c.log.Open(ctx, f.room, from, f, func(o history.Opened) {
		messages := o.Messages
		switch {
		case o.Reset:
			f.state("reset", o)
			messages, _ = c.fit(messages, false)
		case from.Epoch == "":
			messages, _ = c.fit(messages[max(len(messages)-newest, 0):], false)
		}
		for i := range messages {
			f.send((&encodings{message: &messages[i]}).forFeed(f.epoch))
		}
		f.state("live", o)
	})
	if err != nil {
		return nil, c.endEvents("open room", err)
	}
	return subscription.Close, nil
}

// eventsFrom returns where a feed begins, and how many messages one without a position wants.
func (c *conversations) eventsFrom(r *http.Request, lastID string) (o history.OpenOptions, newest int, err error) {
	if limit := r.URL.Query().Get("limit"); limit != "" {
		if newest, err = strconv.Atoi(limit); err != nil || newest < 0 {
			return o, 0, badRequest("limit must be a number, how many messages to begin with")
		}
		newest = min(newest, c.maxPage)
	}
	switch epoch, number, ok := parsePosition(lastID); {
	case lastID == "":
		return history.OpenOptions{Limit: max(newest, 1)}, newest, nil
	case lastID == earliest:
		return history.OpenOptions{Epoch: c.store.Epoch(), Limit: c.pageSize}, 0, nil
	case ok:
		return history.OpenOptions{Epoch: epoch, Since: number, Limit: c.pageSize}, 0, nil
	}
	return o, 0, badRequest("the id of the last event is none of this server's, nor " + earliest)
}

// catchUp sends what came after a position, page by page, as fast as the client takes it, and
// returns the position up to which it did. If that is none of the room's, opening the room
// will find out.
func (c *conversations) catchUp(f *eventFeed, since int64, fromFloor bool) (int64, error) {
	for {
		ctx, cancel := context.WithTimeout(f.stream.Context(), storeTimeout)
		slice, err := c.store.Changes(ctx, f.room, since, catchUpPage)
		cancel()
		switch {
		case history.Code(err) == history.ErrPruned.Code && fromFloor && slice.Floor > since:
			since = slice.Floor // the earliest that there is
			continue
		case history.Code(err) == history.ErrPruned.Code:
			return since, nil
		case err != nil:
			return since, err
		case len(slice.Messages) == 0:
			return max(since, min(slice.UpTo, slice.Head)), nil
		}
		for i := range slice.Messages {
			f.send((&encodings{message: &slice.Messages[i]}).forFeed(f.epoch))
			if err := f.stream.Flush(); err != nil {
				return since, err
			}
		}
		since = slice.UpTo
	}
}

func badRequest(message string) error {
	return &sse.Refusal{Status: http.StatusBadRequest, Message: message}
}

// endEvents returns the error with which a feed cannot go on: not the store's own, of which
// only the operator should know.
func (c *conversations) endEvents(doing string, err error) error {
	var e *history.Error
	if !errors.As(err, &e) {
		return err // the client's connection
	}
	c.refuseStore(doing, err)
	return errors.New("the store failed")
}

// eventFeed sends a room's messages to one feed. It is a history.Subscriber.
type eventFeed struct {
	stream *sse.Stream
	room   string
	epoch  string
}

// Deliver implements history.Subscriber.
func (f *eventFeed) Deliver(live *history.Live) { f.send(encodingsOf(live).forFeed(f.epoch)) }

// send queues an event. If it cannot, the stream has ended, and the client will come back.
func (f *eventFeed) send(event []byte) {
	if event != nil {
		f.stream.SendEncoded(event)
	}
}

func (f *eventFeed) state(name string, o history.Opened) {
	data, err := json.Marshal(roomState{f.room, o.LastSeq, o.Epoch})
	if err == nil {
		f.stream.Send(&sse.Event{ID: position(o.Epoch, o.LastSeq), Name: name, Data: data})
	}
}

// connKey is that of a request's connection in its context.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// smallBuffer bounds what the kernel keeps for a client that does not read: 64 KiB asked for
// are 0.27 MB, its own choice up to 3.9 MB. Over HTTP/2 the client's window bounds it.
func smallBuffer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connKey{}).(net.Conn)
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		if b, ok := c.(interface{ SetWriteBuffer(int) error }); ok && r.ProtoMajor == 1 {
			b.SetWriteBuffer(64 << 10) // without it the client is served all the same
		}
		next.ServeHTTP(w, r)
	})
}

// smallBufferOfStreams does the same for the streams of the transport sse.
func smallBufferOfStreams(sockets http.Handler) http.Handler {
	streams := smallBuffer(sockets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && slices.Contains(r.URL.Query()["transport"], "sse") { // written "%73se", too
			streams.ServeHTTP(w, r)
			return
		}
		sockets.ServeHTTP(w, r)
	})
}
