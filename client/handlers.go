package client

import (
	"context"
	"slices"
	"sync"

	"github.com/parley-go/parley/event"
)

// Handler handles one event. If it returns an *event.Error and the server wants an acknowledgement, the
// server gets that error. For any other error the server gets the code "internal", and the client's logger
// gets the error.
type Handler func(*Packet) error

// Registration represents a registered handler.
type Registration struct{ remove func() }

// Remove removes the handler. A call that is running continues.
func (r *Registration) Remove() { r.remove() }

// handlers are what a program wants to be called. They run one at a time, in the order of what happens.
type handlers struct {
	lock       sync.Mutex
	events     map[string][]*Handler
	any        []*Handler
	connect    []*func(Connection)
	disconnect []*func(error)
	failures   []*func(error)
	errors     []*func(event string, err error)
}

// add adds f to a list.
func add[F any](h *handlers, list *[]*F, f F) *Registration {
	h.lock.Lock()
	defer h.lock.Unlock()
	entry := &f
	*list = append(slices.Clip(*list), entry)
	return &Registration{func() {
		h.lock.Lock()
		defer h.lock.Unlock()
		*list = slices.DeleteFunc(slices.Clone(*list), func(other *F) bool { return other == entry })
	}}
}

// all returns what a list has now.
func all[F any](h *handlers, list *[]*F) []*F {
	h.lock.Lock()
	defer h.lock.Unlock()
	return *list
}

// On calls h for each event of this name.
func (c *Client) On(event string, h Handler) *Registration {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.events == nil {
		c.events = map[string][]*Handler{}
	}
	entry := &h
	c.events[event] = append(slices.Clip(c.events[event]), entry)
	return &Registration{func() {
		c.lock.Lock()
		defer c.lock.Unlock()
		c.events[event] = slices.DeleteFunc(slices.Clone(c.events[event]), func(other *Handler) bool { return other == entry })
	}}
}

// Once calls h for the next event of this name.
func (c *Client) Once(event string, h Handler) *Registration {
	var r *Registration
	var once sync.Once
	ready := make(chan struct{})
	r = c.On(event, func(p *Packet) (err error) {
		once.Do(func() {
			<-ready
			r.Remove()
			err = h(p)
		})
		return err
	})
	close(ready)
	return r
}

// OnAny calls h for each event, before the handlers of its name.
func (c *Client) OnAny(h Handler) *Registration { return add(&c.handlers, &c.any, h) }

// of returns the handlers of an event.
func (h *handlers) of(event string) (found []Handler) {
	h.lock.Lock()
	defer h.lock.Unlock()
	for _, list := range [2][]*Handler{h.any, h.events[event]} {
		for _, entry := range list {
			found = append(found, *entry)
		}
	}
	return found
}

// Connection is what the handlers of OnConnect get.
type Connection struct {
	Client    *Client
	Recovered bool // the server has kept the state of the last connection: no event was missed
}

// OnConnect calls f each time the client has connected. What f sends goes out before what has waited for the
// connection.
func (c *Client) OnConnect(f func(Connection)) *Registration { return add(&c.handlers, &c.connect, f) }

// OnDisconnect calls f each time the connection is lost, with the reason: ErrClosed, ErrServerDisconnect, or
// a *LostError.
func (c *Client) OnDisconnect(f func(why error)) *Registration {
	return add(&c.handlers, &c.disconnect, f)
}

// OnConnectError calls f each time an attempt to connect has failed. If err is a *ConnectError, the client
// does not try again by itself, unless Options.RetryRefused says so.
func (c *Client) OnConnectError(f func(err error)) *Registration {
	return add(&c.handlers, &c.failures, f)
}

// OnError calls f with each error of a handler that is not an *event.Error, instead of the logger.
func (c *Client) OnError(f func(event string, err error)) *Registration {
	return add(&c.handlers, &c.errors, f)
}

func (c *Client) welcomed(n Connection) {
	for _, f := range all(&c.handlers, &c.connect) {
		c.notify("connect", func() { (*f)(n) })
	}
}

func (c *Client) disconnected(why error) {
	for _, f := range all(&c.handlers, &c.disconnect) {
		c.notify("disconnect", func() { (*f)(why) })
	}
}

func (c *Client) connectError(err error) {
	for _, f := range all(&c.handlers, &c.failures) {
		c.notify("connect_error", func() { (*f)(err) })
	}
}

// notify calls f and reports its panic.
func (c *Client) notify(event string, f func()) {
	if err := guard(func() error { f(); return nil }); err != nil {
		c.report(event, err)
	}
}

// report tells the error of a handler.
func (c *Client) report(event string, err error) {
	observers := all(&c.handlers, &c.errors)
	for _, f := range observers {
		_ = guard(func() error { (*f)(event, err); return nil })
	}
	if len(observers) == 0 {
		c.conn.o.Logger.Error("a handler of the client failed", "event", event, "namespace", c.name, "error", err)
	}
}

// On calls h for each event e of the server. ctx ends with the connection. If the argument is missing or is
// not a T, h is not called, and the server gets the code CodeBadPayload.
func On[T any](c *Client, e event.Event[T], h func(ctx context.Context, v T) error) *Registration {
	return c.On(string(e), func(p *Packet) error {
		v, err := e.Decode(p)
		if err != nil {
			return badPayload(err)
		}
		return h(p.Context(), v)
	})
}

// On2 is On for an event with two arguments.
func On2[A, B any](c *Client, e event.Event2[A, B], h func(ctx context.Context, a A, b B) error) *Registration {
	return c.On(string(e), func(p *Packet) error {
		a, b, err := e.Decode(p)
		if err != nil {
			return badPayload(err)
		}
		return h(p.Context(), a, b)
	})
}

// Handle calls h for each event e of the server, and answers with its result or its error.
func Handle[Q, R any](c *Client, e event.RPC[Q, R], h func(ctx context.Context, q Q) (R, error)) *Registration {
	return c.On(string(e), func(p *Packet) error {
		q, err := e.Decode(p)
		if err != nil {
			return badPayload(err)
		}
		r, err := h(p.Context(), q)
		if err != nil || !p.WantsAck() {
			return err
		}
		return p.Ack(event.Encode(r)...)
	})
}

func badPayload(err error) error {
	return &event.Error{Code: event.CodeBadPayload, Message: err.Error()}
}

var (
	_ event.Emitter = (*Client)(nil)
	_ event.Caller  = (*Client)(nil)
)
