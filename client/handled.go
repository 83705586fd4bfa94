package client

import "context"

// Handled waits until the handlers have run for everything that the client has received so far, or until ctx
// ends. Do not call it in a handler.
func (c *Client) Handled(ctx context.Context) error {
	done := make(chan struct{})
	c.inbox.push(c, 0, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
