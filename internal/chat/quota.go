package chat

import (
	"errors"
	"sync"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// Quotas limit what all clients with one address create and store, and how often they come:
// budget.Rooms, budget.Stored and budget.Openings. Connections and identities would be no measure,
// because anybody can have any number of them. Nobody waits for a quota: that could take an hour, or
// hold as many connections as somebody likes to begin.

// accounts has what the clients of an address have left, and the rooms that they are in.
type accounts struct {
	rooms, stored, events, reads, openings budget.Ledger
	memberships                            memberships
}

// memberships counts the rooms that the clients of an address are in, each client by itself.
type memberships struct {
	mu sync.Mutex
	of map[string]int // by payer
}

// enter counts a room for a client of a payer, if there may be one more. The caller calls leave for
// it later.
func (m *memberships) enter(payer string, most float64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if payer != "" && most > 0 && float64(m.of[payer]) >= most {
		return false
	}
	if m.of == nil {
		m.of = make(map[string]int)
	}
	m.of[payer]++
	return true
}

func (m *memberships) leave(payer string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of[payer]--; m.of[payer] == 0 {
		delete(m.of, payer)
	}
}

// enter makes the peer a member of a room that it is not in.
func (c *Client) enter(room string, as view) error {
	s, payer := c.service, c.reader.payer
	if !s.accounts.memberships.enter(payer, s.opts.Budgets[budget.Memberships].Burst) {
		s.countOverQuota(budget.Memberships, payer)
		return Refuse(TooManyRooms, "all clients of this address together are in too many rooms")
	}
	err := c.peer.Enter(as.channel(room))
	if err != nil {
		s.accounts.memberships.leave(payer)
	}
	return err
}

// exit undoes enter.
func (c *Client) exit(room string, as view) {
	c.peer.Exit(as.channel(room))
	c.service.accounts.memberships.leave(c.reader.payer)
}

// leastRetry is the shortest time after which a client that may not come in is told to try again.
// Clients come back at different times after it.
const leastRetry = 5 * time.Second

// Admit reports whether a client may begin a connection. remote is its network address, with or
// without a port. The error says when to try again.
//
// A connection is charged for when its client first asks for something, see Connect. One that does
// not get that far must not keep its neighbors out: for those, there is a limit on pending
// connections.
func (s *Service) Admit(remote string) error { return s.open(remote, 0) }

// open charges for n connections or feeds.
func (s *Service) open(remote string, n int) error {
	payer := s.payer(remote)
	if payer == "" {
		return nil
	}
	if wait := s.accounts.openings.Allow(payer, s.opts.Budgets[budget.Openings], n); wait > 0 {
		return s.overQuota(budget.Openings, payer, "too many new connections from this address: try again later", max(wait, leastRetry))
	}
	return nil
}

// A reservation is what a message was charged for before it was stored.
type reservation struct {
	payer   string // empty: nobody pays
	newRoom bool
	bytes   int
}

// reserve charges a message. newRoom says that the room is new as far as is known here.
func (c *Client) reserve(d *history.Draft, newRoom bool) (r reservation, err error) {
	if c.reader.payer == "" {
		return r, nil
	}
	s := c.service
	r = reservation{c.reader.payer, newRoom, d.Footprint(newRoom)}
	if newRoom {
		if wait := s.accounts.rooms.Allow(r.payer, s.opts.Budgets[budget.Rooms], 1); wait > 0 {
			return r, s.overQuota(budget.Rooms, r.payer, "too many new rooms from this address: try again later", wait)
		}
	}
	if wait := s.accounts.stored.Allow(r.payer, s.opts.Budgets[budget.Stored], r.bytes); wait > 0 {
		s.refundRoom(r)
		return r, s.overQuota(budget.Stored, r.payer, "too much from this address was stored: try again later", wait)
	}
	return r, nil
}

func (s *Service) overQuota(kind budget.Kind, payer, message string, wait time.Duration) error {
	s.countOverQuota(kind, payer)
	return &Error{Code: RateLimited, Message: message, RetryAfter: wait}
}

func (s *Service) countOverQuota(kind budget.Kind, payer string) {
	s.refused[kind].Add(1)
	if s.opts.OverQuota != nil {
		s.opts.OverQuota(kind, payer)
	}
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
