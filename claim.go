package parley

import (
	"context"
	"time"
)

// claim makes s, which is not connected yet, continue the client's former socket, if the client
// names one and that is possible. It waits for the old socket's handlers.
func (r *recovery) claim(s *Socket) {
	var last struct {
		PID    string `json:"pid"`
		Offset string `json:"offset"`
	}
	if s.DecodeAuth(&last) != nil || last.PID == "" {
		return
	}
	r.handover.fetch(s.Context(), &wanted{pid: last.PID, offset: last.Offset, who: s.Identity()})
	a := &attempt{socket: s}
	c := r.occupy(s.Context(), a, last.PID, func(c *comeback) bool {
		_, known := c.position(r, last.Offset)
		return known && c.who().Same(s.Identity())
	})
	if c == nil {
		return
	}
	defer r.unlock()
	switch at, _ := c.position(r, last.Offset); {
	case !r.reachesLocked(c, at):
		r.dropLocked(c) // it will never be possible again
	case !s.resume(c, at):
		r.disclaimLocked(c, a)
	}
}

// occupy gives an attempt the right to take a comeback over, if may agrees. It ends an earlier attempt
// and the old connection, and waits until the old socket's last handler has run. If it succeeds, it
// returns the comeback and keeps the lock; otherwise it returns nil.
func (r *recovery) occupy(ctx context.Context, a *attempt, pid string, may func(*comeback) bool) *comeback {
	r.mu.Lock()
	c := r.comebacks[pid]
	if c == nil || !may(c) {
		r.unlock()
		return nil
	}
	var displaced *Socket
	switch {
	case c.claimant != nil: // the client has given up that earlier attempt
		displaced = c.claimant.socket
	case c.live: // the connection is lost, but the server has not noticed yet
		displaced = c.socket
	default:
		c.turn++ // it no longer waits
		r.absent--
	}
	c.claim(a)
	r.unlock()
	if displaced != nil && (a.socket == nil || displaced.conn != a.socket.conn) {
		displaced.conn.session.Close()
	}

	r.mu.Lock()
	for c.claimant == a && c.socket != nil && ctx.Err() == nil {
		r.awaitFinishedLocked(ctx, c)
	}
	if c.claimant == a && c.socket == nil {
		return c
	}
	r.disclaimLocked(c, a)
	r.unlock()
	return nil
}

// reachesLocked reports whether everything is there that the comeback's client has missed since a
// position.
func (r *recovery) reachesLocked(c *comeback, at position) bool {
	return at.offset <= r.last && at.offset >= max(r.hole, r.dropped, c.floor) &&
		time.Since(r.born)-c.left <= r.opts.MaxDisconnection && r.handover.has(c.moved.after(at))
}

// awaitFinishedLocked waits until the last handler of the comeback's socket has run, or until ctx
// ends. It releases the lock while it waits.
func (r *recovery) awaitFinishedLocked(ctx context.Context, c *comeback) {
	if c.finished == nil {
		c.finished = make(chan struct{})
	}
	finished := c.finished
	r.unlock()
	select {
	case <-finished:
	case <-ctx.Done():
	}
	r.mu.Lock()
}

// disclaim gives up the claim of a socket that will not become connected.
func (r *recovery) disclaim(s *Socket) {
	r.mu.Lock()
	defer r.unlock()
	if c := s.comeback; c != nil && c.claimedBy(s) {
		r.disclaimLocked(c, c.claimant)
	}
}

func (r *recovery) disclaimLocked(c *comeback, a *attempt) {
	if c.claimant != a {
		return
	}
	c.claim(nil)
	if !c.live { // else it starts to wait when its socket leaves
		r.awaitLocked(c)
	}
}
