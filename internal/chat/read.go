package chat

import (
	"context"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
)

// A reader is a client for which the service reads from the store.
type reader struct {
	address, id string
	payer       string // who is charged as an address; empty: nobody
	reads       budget.Balance
}

// payer returns who is charged for a client with the network address remote: all clients of its
// address together, or nobody.
func (s *Service) payer(remote string) string { return address.Limited(remote, s.opts.ExemptAddresses) }

// readCost is what a read costs beside its messages, in bytes. It is about the work of finding the
// first one.
const readCost = 4 << 10

// A client with a second of debt lets others of its address go first if they ask within debtWeight
// seconds. So a client that has just read 128 KiB lets those go first that ask in the next 8 s, and
// many connections that ask for page after page do not hold up the others.
const debtWeight = 64

// reading returns a context for a read by r, when r and its address are within their budgets.
// Afterwards, call charge with what was read.
func (s *Service) reading(ctx context.Context, r *reader) (context.Context, context.CancelFunc, error) {
	if err := s.afford(ctx, budget.Reads, &r.reads, readCost); err != nil {
		return nil, nil, err
	}
	if err := s.affordTogether(ctx, r, budget.AddressReads, &s.accounts.reads, readCost); err != nil {
		return nil, nil, err
	}
	who := history.Client{Address: r.address, ID: r.id}
	who.Debt = min(debtWeight*r.reads.Debt(), s.opts.Timeout*4/5) // its turn must come in time
	ctx, cancel := s.bounded(history.WithClient(ctx, who))
	return ctx, cancel, nil
}

// charge charges r for what was read, since nobody knows the size of a page before.
func (s *Service) charge(r *reader, messages []history.Message) {
	bytes := 0
	for i := range messages {
		bytes += messages[i].Size()
	}
	s.chargeBytes(r, bytes)
}

func (s *Service) chargeBytes(r *reader, bytes int) {
	r.reads.Charge(s.opts.Budgets[budget.Reads], bytes)
	if r.payer != "" {
		s.accounts.reads.Charge(r.payer, s.opts.Budgets[budget.AddressReads], bytes)
	}
}

// affordTogether charges the address of r for n of a kind. If the address is over its budget, it
// waits first. Without such budgets, whoever makes a new connection for each request would have the
// whole burst of a client each time.
func (s *Service) affordTogether(ctx context.Context, r *reader, kind budget.Kind, of *budget.Ledger, n int) error {
	if r.payer == "" {
		return nil
	}
	wait := of.Reserve(r.payer, s.opts.Budgets[kind], n, patience)
	switch {
	case wait > patience:
		return s.overBudget(kind, wait)
	case wait > 0:
		s.slowed[kind].Add(1)
		return pause(ctx, wait)
	}
	return nil
}

// leastWait is the least time after which a feed asks again whether its address is within its
// budget, because all feeds of the address ask.
const leastWait = time.Second

// buy charges r and its address for n bytes that r may then read. If one of them is over its budget,
// it charges nothing and returns the time after which to ask again.
func (s *Service) buy(r *reader, n int) (wait time.Duration) {
	kind := budget.Reads
	own := s.opts.Budgets[kind]
	wait = r.reads.Charge(own, 0)
	if wait == 0 && r.payer != "" {
		kind = budget.AddressReads
		if wait = s.accounts.reads.Allow(r.payer, s.opts.Budgets[kind], n); wait > 0 {
			wait = max(wait, leastWait)
		}
	}
	if wait > 0 {
		s.slowed[kind].Add(1)
		return wait
	}
	r.reads.Charge(own, n)
	return 0
}
