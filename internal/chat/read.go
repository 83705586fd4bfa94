package chat

import (
	"context"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
)

// A reader is for whom the service reads from the store.
type reader struct {
	address, id string
	reads       budget.Balance
}

// readCost is what a read costs beside its messages, in bytes. It is about the work of finding the
// first one.
const readCost = 4 << 10

// debtWeight is for how many seconds a client with a second of debt lets others of its address go
// first. A client that has just read 128 KiB lets those go first that ask in the next 8 s. So many
// connections that ask for page after page do not hold up those that rarely do.
const debtWeight = 64

// reading returns a context for a read by r, when r is within its budget. Afterwards, call charge
// with what was read.
func (s *Service) reading(ctx context.Context, r *reader) (context.Context, context.CancelFunc, error) {
	if err := s.afford(ctx, budget.Reads, &r.reads, readCost); err != nil {
		return nil, nil, err
	}
	who := history.Client{Address: r.address, ID: r.id}
	who.Debt = min(debtWeight*r.reads.Debt(), s.opts.Timeout*4/5) // its turn must come in time
	ctx, cancel := s.bounded(history.WithClient(ctx, who))
	return ctx, cancel, nil
}

// charge charges r for what was read. What that is, nobody knows before.
func (s *Service) charge(r *reader, messages []history.Message) {
	bytes := 0
	for i := range messages {
		bytes += messages[i].Size()
	}
	r.reads.Charge(s.opts.Budgets[budget.Reads], bytes)
}
