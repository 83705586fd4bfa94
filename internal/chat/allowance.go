package chat

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/budget"
)

// Allowances are budgets of those who have an identity, in a closed server: of each identity, however
// many connections it has, and of the users at an address together. Nobody waits for an allowance.

// An allowance says which kinds pay for an activity.
type allowance struct {
	user, address, operator []budget.Kind
}

var (
	messagesOf      = &allowance{[]budget.Kind{budget.UserMessages, budget.UserMessagesHourly}, []budget.Kind{budget.AddressMessages}, []budget.Kind{budget.OperatorMessages}}
	conversationsOf = &allowance{[]budget.Kind{budget.Conversations}, []budget.Kind{budget.AddressConversations}, nil}
	typingOf        = &allowance{[]budget.Kind{budget.UserTyping}, nil, []budget.Kind{budget.OperatorSignals}}
	visitsOf        = &allowance{[]budget.Kind{budget.UserVisits}, nil, []budget.Kind{budget.OperatorSignals}}
	marksOf         = &allowance{[]budget.Kind{budget.UserMarks}, nil, []budget.Kind{budget.OperatorSignals}}
	searchesOf      = &allowance{[]budget.Kind{budget.UserSearches}, []budget.Kind{budget.AddressSearches}, []budget.Kind{budget.OperatorSearches}}
)

// hour is the number of seconds in an hour.
const hour = 3600.0

// allowances are the limits of these kinds. One more than the burst is allowed; see budget.Balance.
var allowances = map[budget.Kind]budget.Limit{
	budget.UserMessages:         {PerSecond: 1, Burst: 10 - 1},
	budget.UserMessagesHourly:   {PerSecond: 300 / hour, Burst: 300 - 1},
	budget.AddressMessages:      {PerSecond: 5, Burst: 50 - 1},
	budget.OperatorMessages:     {PerSecond: 20, Burst: 100 - 1},
	budget.Conversations:        {PerSecond: 3 / hour, Burst: 3 - 1},
	budget.AddressConversations: {PerSecond: 20 / hour, Burst: 20 - 1},
	budget.UserTyping:           {PerSecond: 1, Burst: 1},
	budget.UserVisits:           {PerSecond: 1, Burst: 1},
	budget.UserMarks:            {PerSecond: 1, Burst: 1},
	budget.OperatorSignals:      {PerSecond: 5, Burst: 10},
	budget.UserSearches:         {PerSecond: 1, Burst: 2},
	budget.AddressSearches:      {PerSecond: 5, Burst: 10},
	budget.OperatorSearches:     {PerSecond: 5, Burst: 10},
}

// wait charges the client for an activity. If it may not pursue it now, wait charges nothing and
// returns the time until it may.
func (c *Client) wait(of *allowance) time.Duration { return c.waitAs(c.who.Load(), of) }

// waitAs is wait for the identity that the client had when it asked.
func (c *Client) waitAs(who *auth.Identity, of *allowance) time.Duration {
	s := c.service
	if !s.isClosed() || who == nil {
		return 0
	}
	m := member(who)
	type account struct {
		kind budget.Kind
		name string
	}
	var accounts []account
	kinds := of.user
	if operates(who) {
		kinds = of.operator
	}
	for _, kind := range kinds {
		accounts = append(accounts, account{kind, m.UserID + "\n" + m.OperatorID})
	}
	if !operates(who) && c.reader.payer != "" {
		for _, kind := range of.address {
			accounts = append(accounts, account{kind, c.reader.payer})
		}
	}
	for i, a := range accounts {
		wait := s.allowances[a.kind].Allow(a.name, s.opts.Budgets[a.kind], 1)
		if wait == 0 {
			continue
		}
		for _, paid := range accounts[:i] {
			s.allowances[paid.kind].Refund(paid.name, s.opts.Budgets[paid.kind], 1)
		}
		s.refused[a.kind].Add(1)
		return wait
	}
	return 0
}

// spend charges the client for an activity, or refuses it.
func (c *Client) spend(of *allowance) error {
	if wait := c.wait(of); wait > 0 {
		return c.tooMuch("too much at once: try again later", wait)
	}
	return nil
}

// may charges the client for an activity whose refusal nobody needs to hear of.
func (c *Client) may(of *allowance) bool {
	return c.wait(of) == 0
}

// tooMuch refuses an activity. A client that goes on all the same is disconnected.
func (c *Client) tooMuch(message string, wait time.Duration) error {
	if c.refusals.add(time.Now()) {
		c.peer.Lost()
	}
	return &Error{Code: RateLimited, Message: message, RetryAfter: wait}
}

// A client that was refused maxRefusals activities within refusalsWithin is disconnected.
const (
	maxRefusals    = 10
	refusalsWithin = time.Minute
)

// refusals are the times of a client's latest refusals.
type refusals []time.Time

// add reports whether this is one too many.
func (r *refusals) add(now time.Time) bool {
	if *r = append(*r, now); len(*r) < maxRefusals {
		return false
	}
	first := (*r)[0]
	*r = (*r)[1:]
	return now.Sub(first) < refusalsWithin
}

// repeatsWithin is the time in which a user may send the same text maxRepeats times.
const (
	maxRepeats    = 3
	repeatsWithin = time.Minute
	// maxKnown limits the texts that are remembered. They take about 200 bytes each.
	maxKnown = 1 << 16
)

// repeats remember what users have sent lately.
type repeats struct {
	mu    sync.Mutex
	sent  map[repeat][]sending
	swept time.Time
}

type repeat struct {
	user    string
	content [sha256.Size]byte
}

type sending struct {
	at       time.Time
	clientID string
}

// add returns how long a user must wait before it sends the same again; 0: it may now. What has a
// client id that is known here is the same message once more.
func (r *repeats) add(now time.Time, what repeat, clientID string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.swept) >= repeatsWithin {
		for known, times := range r.sent {
			if now.Sub(times[len(times)-1].at) >= repeatsWithin {
				delete(r.sent, known)
			}
		}
		r.swept = now
	}
	times := r.sent[what]
	if times == nil && len(r.sent) >= maxKnown {
		return 0
	}
	if clientID != "" && slices.ContainsFunc(times, func(s sending) bool { return s.clientID == clientID }) {
		return 0
	}
	if len(times) == maxRepeats {
		if since := now.Sub(times[0].at); since < repeatsWithin {
			return repeatsWithin - since
		}
		times = times[1:]
	}
	r.sent = put(r.sent, what, append(times, sending{now, clientID}))
	return 0
}

// spendMessage charges the client for a message.
func (c *Client) spendMessage(content json.RawMessage, clientID string) error {
	who := c.who.Load()
	if !c.service.isClosed() || who == nil {
		return nil
	}
	if who.Role == auth.User {
		if wait := c.service.repeats.add(time.Now(), repeat{who.Subject, sha256.Sum256(content)}, clientID); wait > 0 {
			return c.tooMuch("the same was sent too often: try again later", wait)
		}
	}
	return c.spend(messagesOf)
}
