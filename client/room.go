package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
)

// RoomOptions say who the client is in a room, and where it goes on.
type RoomOptions struct {
	// UserID, OperatorID and Name say who the client is, to an open server.
	UserID, OperatorID, Name string

	// Epoch and After are the position of what you have, as RoomEvent says it; without an Epoch, the room
	// begins with its newest Limit messages.
	Epoch string
	After int64

	// Limit is how many messages a page has. The server's default is 50.
	Limit int
}

// RoomEvent is a message of a room, or a change of one.
type RoomEvent struct {
	conversation.Message

	// Reset says that what you have of the room is no longer valid, or that what you have missed is gone: forget
	// it. This event and the next ones are the newest messages, without a Reset of their own. An event
	// with Reset and without a message (ID is empty) says that there are none.
	Reset bool

	// Changed says that you have had the message: it was edited or deleted. Otherwise it is a new one.
	Changed bool

	// Epoch and After are the position after this event. With them, another Room goes on from here.
	Epoch string
	After int64
}

// Room is a room of a server of Parley that keeps its messages. It joins again whenever the client has
// connected, and delivers each message once and in order, without a gap. It is safe for concurrent use,
// except that Next and Events belong to one goroutine.
type Room struct {
	c        *Client
	id       string
	o        RoomOptions
	handlers []*Registration

	joins sync.Mutex // is held while the client joins

	mu      sync.Mutex
	on      context.Context // the connection on which it has joined
	queue   []RoomEvent     // to be delivered
	epoch   string
	last    int64                  // the number up to which everything is delivered or queued
	upTo    int64                  // the number up to which pages are to be read before held
	held    []conversation.Message // live messages that wait for older ones
	live    bool                   // the client has joined or is joining, on this connection
	joining bool
	skipped map[int64]bool // numbers below last that did not come: they come later, because they have changed
	err     error
	news    chan struct{} // holds one element if there is something new
	ctx     context.Context
	cancel  context.CancelFunc
}

const (
	maxQueued  = 500  // events that wait for Next, and live messages that wait for older ones
	maxSkipped = 1000 // numbers that are remembered
	roomWait   = 15 * time.Second
	pause      = time.Second // before the server is asked again that wants that
)

// Room joins a room, and waits for that until ctx ends. The client must be connected, or connect. If the
// server refuses the client in the room, the error is an *event.Error.
func (c *Client) Room(ctx context.Context, id string, o *RoomOptions) (*Room, error) {
	r := &Room{c: c, id: id, skipped: map[int64]bool{}, news: make(chan struct{}, 1)}
	if o != nil {
		r.o = *o
	}
	r.epoch, r.last = r.o.Epoch, r.o.After
	r.ctx, r.cancel = context.WithCancel(context.Background())
	hear := func(_ context.Context, m conversation.Message) error { r.hear(m); return nil }
	r.handlers = []*Registration{
		On(c, conversation.NewMessage, hear), On(c, conversation.MessageChanged, hear),
		c.OnDisconnect(func(error) { r.away() }),
		c.OnConnect(func(Connection) { r.rejoin() }),
		c.OnConnectError(func(error) { r.tell() }),
	}
	if err := r.enter(ctx); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// enter joins the room for the first time.
func (r *Room) enter(ctx context.Context) error {
	for {
		err := r.join(ctx, true)
		if !errors.Is(err, ErrNotConnected) && !errors.Is(err, ErrDisconnected) {
			return err
		}
		r.mu.Lock()
		err = r.err
		r.mu.Unlock()
		if err = cmp.Or(err, r.c.idle()); err != nil {
			return err
		}
		select {
		case <-r.news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// idle returns why the client does not try to connect; nil if it does, or is connected.
func (c *Client) idle() error {
	if s := c.State(); s.Status == Idle {
		return cmp.Or(s.Err, ErrClosed)
	}
	return nil
}

// away notes that the connection is lost. What was read of the room stays.
func (r *Room) away() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on, r.live, r.joining, r.held = nil, false, false, nil
	r.tell()
}

// rejoin joins again. It runs before the events of the new connection are handled. If the server does not
// answer, or wants to be asked later, it is repeated.
func (r *Room) rejoin() {
	if r.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, roomWait)
	defer cancel()
	err := r.join(ctx, true)
	var refused *event.Error
	switch {
	case err == nil || r.ctx.Err() != nil || errors.Is(err, ErrNotConnected) || errors.Is(err, ErrDisconnected) || errors.Is(err, ErrClosed):
	case errors.As(err, &refused) && !passes(refused):
		r.fail(err)
	default:
		time.AfterFunc(pause, r.rejoin)
	}
	r.tell()
}

// passes reports whether a refusal ends by itself.
func passes(refused *event.Error) bool {
	return slices.Contains(passing, conversation.Code(refused.Code))
}

// join joins the room, from the position that it has; with once, only if it has not done so on this
// connection. It does not wait for a connection, because OnConnect waits for it.
func (r *Room) join(ctx context.Context, once bool) error {
	r.joins.Lock()
	defer r.joins.Unlock()
	on := r.c.connection()
	r.mu.Lock()
	if once && r.on != nil && on == r.on {
		r.mu.Unlock()
		return nil
	}
	q := conversation.JoinRequest{RoomID: r.id, UserID: r.o.UserID, OperatorID: r.o.OperatorID, Name: r.o.Name, Limit: r.o.Limit, Epoch: r.epoch}
	if r.epoch != "" {
		after := r.last
		q.After = &after
	}
	r.live, r.joining, r.upTo, r.held = true, true, 0, nil // live messages may come before we see the answer
	r.mu.Unlock()
	joined, err := conversation.JoinRoom.Call(ctx, present{r.c}, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.live, r.joining, r.held = false, false, nil
		return err
	}
	if !r.joining { // the connection was lost meanwhile: it joins again
		return nil
	}
	r.on = on
	r.joining, r.upTo = false, max(r.upTo, joined.LastSeq)
	reset := joined.Reset || joined.Epoch != r.epoch
	if reset && joined.Epoch == r.epoch && q.After != nil && *q.After <= joined.LastSeq {
		r.tell() // there is more than fits into an answer, or it is gone: reading it tells
		return nil
	}
	if reset {
		r.epoch, r.last, r.queue = joined.Epoch, 0, nil
		clear(r.skipped)
	}
	r.takeLocked(&joined.Page, reset)
	return nil
}

// hear takes a live message.
func (r *Room) hear(m conversation.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.RoomID != r.id || !r.live {
		return // the answer to join has it
	}
	if !r.joining && r.last >= r.upTo && len(r.held) == 0 && len(r.queue) < maxQueued {
		r.deliverLocked([]conversation.Message{m}, false)
		return
	}
	if len(r.held) < maxQueued {
		r.held = append(r.held, m)
		return
	}
	r.held, r.upTo = nil, m.Number() // they are read again
}

// takeLocked takes a page, and if it was the last one, the live messages that have waited.
func (r *Room) takeLocked(p *conversation.Page, reset bool) {
	r.deliverLocked(p.Messages, reset)
	// The newest page is complete. Another one that is not ends with its last change.
	if reset || !p.HasMore {
		r.last = max(r.last, p.LastSeq)
	}
	if r.joining || r.last < r.upTo {
		r.tell()
		return
	}
	r.releaseLocked()
}

// releaseLocked delivers what was held, if nothing is missing before it.
func (r *Room) releaseLocked() {
	held := r.held
	r.held = nil
	r.deliverLocked(held, false)
}

// deliverLocked queues what is new of messages. A message that has changed counts as new if its own number
// did not come.
func (r *Room) deliverLocked(messages []conversation.Message, reset bool) {
	for _, m := range messages {
		n := m.Number()
		if n <= r.last && !reset {
			continue
		}
		if !reset {
			for number := max(r.last+1, n-maxSkipped); number < n; number++ {
				r.skipped[number] = true
			}
		}
		r.last = max(r.last, n)
		changed := !reset && m.Rev > 0 && !r.skipped[m.Seq]
		delete(r.skipped, m.Seq)
		r.queue = append(r.queue, RoomEvent{Message: m, Changed: changed, Epoch: r.epoch, After: r.last})
	}
	if reset {
		if len(r.queue) == 0 {
			r.queue = append(r.queue, RoomEvent{Epoch: r.epoch})
		}
		r.queue[0].Reset = true
	}
	if len(r.skipped) > 2*maxSkipped {
		for number := range r.skipped {
			if number < r.last-maxSkipped {
				delete(r.skipped, number)
			}
		}
	}
	r.tell()
}

func (r *Room) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

func (r *Room) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	r.tell()
}

// Next returns the next message or change, and waits for it until ctx ends. The error is ctx's, ErrClosed
// after Close, the *event.Error with which the server refuses the client in the room, or State.Err of a client
// that does not try to connect any more. In the last case you may Connect it and call Next again.
func (r *Room) Next(ctx context.Context) (RoomEvent, error) {
	for {
		r.mu.Lock()
		if len(r.queue) > 0 {
			e := r.queue[0]
			if r.queue = r.queue[1:]; len(r.queue) == 0 {
				r.queue = nil
				if !r.joining && r.last >= r.upTo {
					r.releaseLocked()
				}
			}
			r.mu.Unlock()
			return e, nil
		}
		err, behind, epoch, after := r.err, r.live && !r.joining && r.last < r.upTo, r.epoch, r.last
		r.mu.Unlock()
		if err != nil {
			return RoomEvent{}, err
		}
		if behind {
			if err := r.read(ctx, epoch, after); err != nil {
				return RoomEvent{}, err
			}
			continue
		}
		if err := r.c.idle(); err != nil {
			return RoomEvent{}, err
		}
		select {
		case <-r.news:
		case <-ctx.Done():
			return RoomEvent{}, ctx.Err()
		}
	}
}

// read reads the page after a number.
func (r *Room) read(ctx context.Context, epoch string, after int64) error {
	wait, cancel := context.WithTimeout(ctx, roomWait)
	defer cancel()
	page, err := conversation.History.Call(wait, r.c, conversation.HistoryRequest{RoomID: r.id, After: &after, Limit: r.o.Limit})
	var refused *event.Error
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrDisconnected) || errors.Is(err, context.DeadlineExceeded):
		return nil // it joins again, or asks again
	case errors.As(err, &refused) && passes(refused): // not_joined: the connection was lost meanwhile
		return r.rest(ctx)
	case errors.As(err, &refused) && refused.Code == string(conversation.Gone): // deleted for its age
		r.mu.Lock()
		r.epoch = "" // the newest page is what is left
		r.mu.Unlock()
	case err != nil:
		return err
	}
	if page.Epoch != epoch { // the numbers have begun anew
		err := r.join(ctx, false)
		if errors.Is(err, ErrNotConnected) || errors.Is(err, ErrDisconnected) || errors.As(err, &refused) && passes(refused) {
			return r.rest(ctx)
		}
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.last == after && r.epoch == epoch {
		r.takeLocked(&page, false)
	}
	return nil
}

// rest waits before the server is asked again.
func (r *Room) rest(ctx context.Context) error {
	select {
	case <-time.After(pause):
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
	}
	return nil
}

// Events returns what Next returns, until an error ends it, which comes last.
//
//	for e, err := range room.Events(ctx) {
//		if err != nil {
//			return err
//		}
//		…
//	}
func (r *Room) Events(ctx context.Context) iter.Seq2[RoomEvent, error] {
	return func(yield func(RoomEvent, error) bool) {
		for {
			e, err := r.Next(ctx)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Send stores a message, which may be any value that encoding/json encodes, and returns it as it is stored.
// It sends it again, under the same client id, until the server has answered or ctx ends; the server stores
// it once. The message also comes as an event.
func (r *Room) Send(ctx context.Context, message any) (conversation.Message, error) {
	return r.SendAs(ctx, rand.Text(), message)
}

// SendAs is Send with a client id of yours: a random text that you use once. With it, you can send the
// message again after a restart of your program.
func (r *Room) SendAs(ctx context.Context, clientID string, message any) (stored conversation.Message, err error) {
	q := sendRequest{r.id, clientID, message}
	for {
		attempt, cancel := context.WithTimeout(ctx, roomWait)
		stored, err = sendMessage.Call(attempt, r.c, q)
		cancel()
		var refused *event.Error
		again := errors.Is(err, ErrDisconnected) || errors.Is(err, context.DeadlineExceeded) ||
			errors.As(err, &refused) && passes(refused)
		if err == nil || !again || ctx.Err() != nil || r.ctx.Err() != nil {
			return stored, err
		}
		if refused != nil {
			if r.rest(ctx) != nil {
				return stored, err
			}
			if r.ctx.Err() != nil {
				return stored, ErrClosed
			}
		}
	}
}

// passing are the refusals that end by themselves. not_joined is one because the room joins again.
var passing = []conversation.Code{conversation.RateLimited, conversation.NotJoined, conversation.Unavailable, conversation.UnknownOutcome, conversation.NotReady}

// sendMessage is conversation.SendMessage with any message.
const sendMessage = event.RPC[sendRequest, conversation.Message](conversation.SendMessage)

type sendRequest struct {
	RoomID   string `json:"roomId"`
	ClientID string `json:"clientId"`
	Message  any    `json:"message"`
}

// Before returns the page of messages before a seq, the newest last.
func (r *Room) Before(ctx context.Context, seq int64) (conversation.Page, error) {
	return conversation.History.Call(ctx, r.c, conversation.HistoryRequest{RoomID: r.id, Before: &seq, Limit: r.o.Limit})
}

// Close leaves the room. Next returns ErrClosed once it has returned what is queued.
func (r *Room) Close() {
	r.cancel()
	for _, h := range r.handlers {
		h.Remove()
	}
	r.fail(ErrClosed)
	_ = r.c.Volatile().Emit(string(conversation.LeaveRoom), conversation.RoomRequest{RoomID: r.id})
}
