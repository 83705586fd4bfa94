package access

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
)

// A Cluster is how servers with the same records ask each other about tickets: an adapter.Exchange.
type Cluster interface {
	Self() adapter.Node
	Tagged(tag string) (adapter.Node, bool)
	Serve(subject string, f func(from adapter.Node, question []byte, reply func(answer []byte)))
	Ask(ctx context.Context, to adapter.NodeID, subject string, question []byte) (answer []byte, err error)
	Observe(f func(adapter.Event)) (stop func())
}

const (
	ticketSubject = "tickets"
	// ticketWithin is how long another server may take to say whether a ticket is good.
	ticketWithin = 3 * time.Second
)

// An office lets the clients of one server use tickets that another one has issued. The server that has
// issued a ticket, which is in its secret, remains the one that decides. The nil office is that of a
// server that is alone.
type office struct {
	Cluster
	tickets *Tickets
	tag     string // of this server

	mu     sync.Mutex
	last   uint64
	abroad map[uint64]func() // feeds here, with tickets of other servers: see Tickets.Open
	lent   map[lent]*Feed    // feeds of other servers, with tickets of this one
}

// lent names a feed on another server.
type lent struct {
	on   adapter.NodeID
	feed uint64
}

// Join makes tickets good on all servers of a cluster. Call it before all others. A ticket ends with the
// server that has issued it.
func (t *Tickets) Join(c Cluster) {
	o := &office{Cluster: c, tickets: t, tag: c.Self().Tag, abroad: make(map[uint64]func()), lent: make(map[lent]*Feed)}
	t.office = o
	c.Serve(ticketSubject, o.serve)
	c.Observe(func(e adapter.Event) {
		if e.Kind == adapter.Left {
			o.forget(e.Node.ID)
		}
	})
}

// mark returns what the secrets of tickets end with.
func (o *office) mark() string {
	if o == nil {
		return ""
	}
	return "." + o.tag
}

// home returns the tag of the server that has issued a ticket, and whether that is another one.
func (o *office) home(secret Secret) (tag string, away bool) {
	if o == nil {
		return "", false
	}
	_, tag, _ = strings.Cut(string(secret), ".")
	return tag, tag != o.tag
}

// A ticketQuestion is what a server asks the one that has issued a ticket; or, if it is "over", what
// that asks where its feed is.
type ticketQuestion struct {
	Op       string `json:"op"` // use, open, close, over
	ID       string `json:"id,omitempty"`
	Method   string `json:"method,omitempty"`
	Path     string `json:"path,omitempty"`
	Position int64  `json:"position,omitempty"`
	Feed     uint64 `json:"feed,omitempty"`
}

type ticketAnswer struct {
	Who *auth.Identity `json:"who,omitempty"` // nil: the ticket is no good
}

var errAway = refuse(conversation.Unavailable, "the server that has issued the ticket does not answer: ask for a new one")

// ask asks whoever has issued a ticket.
func (o *office) ask(ctx context.Context, tag string, q *ticketQuestion) (*auth.Identity, error) {
	home, ok := o.Tagged(tag)
	if !ok {
		return nil, errTicket
	}
	ctx, cancel := context.WithTimeout(ctx, ticketWithin)
	defer cancel()
	question, _ := json.Marshal(q)
	data, err := o.Ask(ctx, home.ID, ticketSubject, question)
	var answer ticketAnswer
	switch {
	case errors.Is(err, adapter.ErrNoNode):
		return nil, errTicket
	case err != nil || json.Unmarshal(data, &answer) != nil:
		return nil, errAway
	case answer.Who == nil:
		return nil, errTicket
	}
	if string(answer.Who.Attributes) == "null" {
		answer.Who.Attributes = nil
	}
	return answer.Who, nil
}

// open opens a feed here with the ticket of another server.
func (o *office) open(ctx context.Context, tag string, q *ticketQuestion, over func()) (*Feed, error) {
	o.mu.Lock()
	o.last++
	q.Feed = o.last
	o.abroad[q.Feed] = over
	o.mu.Unlock()
	closed := sync.OnceFunc(func() {
		o.mu.Lock()
		delete(o.abroad, q.Feed)
		o.mu.Unlock()
		go o.ask(context.WithoutCancel(ctx), tag, &ticketQuestion{Op: "close", Feed: q.Feed})
	})
	who, err := o.ask(ctx, tag, q)
	if err != nil {
		closed() // it may have been opened
		return nil, err
	}
	return &Feed{Identity: who, close: closed}, nil
}

// serve answers another server.
func (o *office) serve(from adapter.Node, question []byte, reply func([]byte)) {
	var q ticketQuestion
	var answer ticketAnswer
	if json.Unmarshal(question, &q) == nil {
		feed := lent{from.ID, q.Feed}
		switch q.Op {
		case "use":
			answer.Who, _ = o.tickets.use(q.ID, q.Method, q.Path)
		case "open":
			answer.Who = o.lend(feed, &q)
		case "close":
			o.takeBack(feed)
		case "over":
			o.mu.Lock()
			over := o.abroad[q.Feed]
			o.mu.Unlock()
			if over != nil {
				over()
			}
		}
	}
	data, _ := json.Marshal(answer) // can always be encoded
	reply(data)
}

// lend opens a feed of another server.
func (o *office) lend(feed lent, q *ticketQuestion) *auth.Identity {
	f, err := o.tickets.open(q.ID, q.Path, q.Position, func() {
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), ticketWithin)
			defer cancel()
			question, _ := json.Marshal(&ticketQuestion{Op: "over", Feed: feed.feed})
			_, _ = o.Ask(ctx, feed.on, ticketSubject, question)
		}()
	})
	if err != nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lent[feed] = f
	return f.Identity
}

// takeBack closes a feed of another server.
func (o *office) takeBack(feed lent) {
	o.mu.Lock()
	f := o.lent[feed]
	delete(o.lent, feed)
	o.mu.Unlock()
	if f != nil {
		f.Close()
	}
}

// forget closes the feeds of a server that has left.
func (o *office) forget(server adapter.NodeID) {
	o.mu.Lock()
	var left []lent
	for feed := range o.lent {
		if feed.on == server {
			left = append(left, feed)
		}
	}
	o.mu.Unlock()
	for _, feed := range left {
		o.takeBack(feed)
	}
}
