package app

import (
	"net/http"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
)

// requestPatience is how long a request may wait for its budget. If that is not enough, it is
// refused.
const requestPatience = 5 * time.Second

// requests limits how many requests the clients of one address may make in a second. net/http handles
// what a connection sends as fast as it comes, so a few connections with one small request after the
// other would take all of the processor.
//
// A request over the budget waits. Over HTTP/1.1, its connection is not read from meanwhile.
type requests struct {
	limit   budget.Limit
	clients budget.Ledger
	payer   func(*http.Request) string // an address; empty: nobody
	over    func(payer string)         // is called when a request is refused
	slowed  atomic.Uint64
	refused atomic.Uint64
}

func (c *Config) newRequests(over func(payer string)) *requests {
	exempt, find := c.exemptAddresses(), c.clientAddress()
	return &requests{
		limit: c.budgets()[budget.Requests],
		payer: func(r *http.Request) string { return address.Limited(find(r), exempt) },
		over:  over,
	}
}

// guard makes each request wait for its client's budget.
func (q *requests) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		runtime.Gosched() // a connection that has sent many requests would keep the processor for 10 ms
		if wait := q.wait(r); wait > requestPatience {
			w.Header().Set("Retry-After", strconv.Itoa(budget.Seconds(wait)))
			http.Error(w, "429: too many requests from this address", http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// wait waits until the request is within its client's budget, but not longer than requestPatience. It
// returns how long the request has to wait.
func (q *requests) wait(r *http.Request) (wait time.Duration) {
	payer := q.payer(r)
	if payer == "" {
		return 0
	}
	wait = q.clients.Reserve(payer, q.limit, cost(r), requestPatience)
	switch {
	case wait == 0:
		return 0
	case wait > requestPatience:
		q.refused.Add(1)
		q.over(payer)
	default:
		q.slowed.Add(1)
	}
	over := time.NewTimer(min(wait, requestPatience))
	defer over.Stop()
	select {
	case <-over.C:
	case <-r.Context().Done():
	}
	return wait
}

// cost returns how many small requests a request costs.
func cost(r *http.Request) int {
	n := 1
	for _, values := range r.Header {
		n += len(values) / 50 // thousands of fields fit into a header
	}
	n += len(r.Header) / 50
	switch r.URL.Path {
	case "/metrics":
		return n + 50
	case "/readyz": // it asks the store
		return n + 10
	}
	return n
}
