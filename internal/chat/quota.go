package chat

import (
	"errors"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// Quotas limit what all clients with one address create and store: budget.Rooms and budget.Stored.
// Connections and identities would be no measure, because anybody can have any number of them.
// Nobody waits for a quota, since that could take an hour.

// accounts has what the clients of an address have left.
type accounts struct{ rooms, stored, reads budget.Ledger }

// A reservation is what a message was charged for before it was stored.
type reservation struct {
	payer   string // empty: nobody pays
	newRoom bool
	bytes   int
}

// reserve charges a message. It takes the room to be new until one of its messages is known here.
func (c *Client) reserve(d *history.Draft) (r reservation, err error) {
	if c.reader.payer == "" {
		return r, nil
	}
	s := c.service
	newRoom := c.memberships[d.RoomID].live.subscription.Head() == 0
	r = reservation{c.reader.payer, newRoom, d.Footprint(newRoom)}
	if newRoom {
		if wait := s.accounts.rooms.Allow(r.payer, s.opts.Budgets[budget.Rooms], 1); wait > 0 {
			return r, c.overQuota(budget.Rooms, "too many new rooms from this address: try again later", wait)
		}
	}
	if wait := s.accounts.stored.Allow(r.payer, s.opts.Budgets[budget.Stored], r.bytes); wait > 0 {
		s.refundRoom(r)
		return r, c.overQuota(budget.Stored, "too much from this address was stored: try again later", wait)
	}
	return r, nil
}

func (c *Client) overQuota(kind budget.Kind, message string, wait time.Duration) error {
	c.service.refused[kind].Add(1)
	if c.service.opts.OverQuota != nil {
		c.service.opts.OverQuota(kind, c.reader.payer)
	}
	return &Error{RateLimited, message, wait}
}

// settle takes back what the store did not need.
func (s *Service) settle(r reservation, stored history.Appended, err error) {
	switch {
	case errors.Is(err, history.ErrUnknownOutcome):
	case err != nil || stored.Dup:
		s.refundRoom(r)
		s.accounts.stored.Refund(r.payer, s.opts.Budgets[budget.Stored], r.bytes)
	case stored.Message.Seq > 1:
		s.refundRoom(r)
	}
}

func (s *Service) refundRoom(r reservation) {
	if r.newRoom {
		s.accounts.rooms.Refund(r.payer, s.opts.Budgets[budget.Rooms], 1)
	}
}
