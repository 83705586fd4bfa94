package parleytest

import (
	"errors"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
)

// Send sends an event, and fails the test if that cannot be.
func Send[T any](c *Client, e event.Event[T], v T) {
	c.t.Helper()
	c.Emit(string(e), event.Encode(v)...)
}

// Send2 is Send for an event with two arguments.
func Send2[A, B any](c *Client, e event.Event2[A, B], a A, b B) {
	c.t.Helper()
	c.Emit(string(e), a, b)
}

// Call calls the server. The error is an *event.Error if the server refuses that. Whatever else goes wrong
// fails the test.
func Call[Q, R any](c *Client, e event.RPC[Q, R], q Q) (R, error) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	answer, err := e.Call(ctx, c, q)
	var refusal *event.Error
	if err != nil && !errors.As(err, &refusal) {
		c.t.Fatalf("parleytest: call %q: %s", string(e), c.failure(err))
	}
	return answer, err
}

// MustCall is Call, and fails the test if the server refuses.
func MustCall[Q, R any](c *Client, e event.RPC[Q, R], q Q) R {
	c.t.Helper()
	answer, err := Call(c, e, q)
	if err != nil {
		c.t.Fatalf("parleytest: call %q: %v", string(e), err)
	}
	return answer
}

// Next returns the argument of the next event e, as [Client.Next] does.
func Next[T any](c *Client, e event.Event[T]) T {
	c.t.Helper()
	p := c.next(string(e))
	v, err := e.Decode(p)
	if err != nil {
		c.t.Fatalf("parleytest: %v in %s", err, show(p))
	}
	return v
}

// Until returns the argument of the next event e that fits, as [Client.Until] does.
func Until[T any](c *Client, e event.Event[T], fits func(T) bool) (found T) {
	c.t.Helper()
	c.Until(string(e), func(p *client.Packet) bool {
		c.t.Helper()
		v, err := e.Decode(p)
		if err != nil {
			c.t.Fatalf("parleytest: %v in %s", err, show(p))
		}
		found = v
		return fits(v)
	})
	return found
}

// Next2 is Next for an event with two arguments.
func Next2[A, B any](c *Client, e event.Event2[A, B]) (A, B) {
	c.t.Helper()
	p := c.next(string(e))
	a, b, err := e.Decode(p)
	if err != nil {
		c.t.Fatalf("parleytest: %v in %s", err, show(p))
	}
	return a, b
}

// Handle answers the server's calls with f, as [Client.Handle] does.
func Handle[Q, R any](c *Client, e event.RPC[Q, R], f func(Q) (R, error)) {
	c.t.Helper()
	c.Handle(string(e), func(p *client.Packet) any {
		q, err := e.Decode(p)
		if err != nil {
			c.log.errorf("parleytest: %v in %s", err, show(p))
			return &event.Error{Code: event.CodeBadPayload, Message: err.Error()}
		}
		r, err := f(q)
		if err != nil {
			return err
		}
		return event.Encode(r)
	})
}
