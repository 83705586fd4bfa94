package pubsub

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// mesh knows the servers of a cluster of NATS that pass messages on.
//
// When a server of NATS has confirmed a subscription, the others may not have heard of it yet. So every
// bus asks each of them, through one of the buses that are connected to it: the question travels on the
// connection between the servers, behind the subscription. The answers name further servers.
//
//	question  <prefix>sync, to one bus of each server  {"server": whose bus asks, "round": n}
//	answer    the question's reply subject             {"server": whose bus answers, "round": n, "routes": [its other servers]}
type mesh struct {
	round     int    // owned by hear
	self      string // the connected server
	questions *nats.Subscription
	answers   *nats.Subscription

	mu       sync.Mutex
	answered map[string]int  // the last round that a server has answered
	named    map[string]bool // those that answers of this round have named
	silent   map[string]bool // those that did not answer in time: nobody waits for them
	news     chan struct{}   // holds one element after an answer
}

type syncMessage struct {
	Server string   `json:"server"`
	Round  int      `json:"round"`
	Routes []string `json:"routes,omitempty"`
}

const (
	settleTime = 250 * time.Millisecond // for answers to the first question, if nobody knows how many there are
	firstTime  = 2 * time.Second        // for all answers to the first question
	answerTime = time.Second            // for all answers to a later one
	repeatTime = 20 * time.Millisecond  // before a question is repeated; then it doubles
)

func newMesh() mesh {
	return mesh{answered: map[string]int{}, named: map[string]bool{}, silent: map[string]bool{}, news: make(chan struct{}, 1)}
}

// join subscribes to questions and answers.
func (m *mesh) join(c *conn) (err error) {
	m.self = c.nats.ConnectedServerId()
	if m.answers, err = c.nats.ChanSubscribe(c.bus.opts.Prefix+"sync."+nats.NewInbox()[len(nats.InboxPrefix):], c.arrived); err != nil {
		return err
	}
	m.questions, err = c.nats.ChanQueueSubscribe(c.bus.opts.Prefix+"sync", m.self, c.arrived)
	return err
}

// sync returns when all servers know what is subscribed.
func (m *mesh) sync(c *conn) error {
	if c.nats.ConnectedClusterName() == "" {
		return c.nats.FlushTimeout(c.bus.patience())
	}
	m.mu.Lock()
	m.round++
	clear(m.named)
	m.mu.Unlock()
	patience, settled := answerTime, c.bus.opts.Routes != nil
	if m.round == 1 {
		patience = firstTime
	} else {
		settled = true
	}
	question, err := json.Marshal(syncMessage{Server: m.self, Round: m.round})
	if err != nil {
		return err
	}
	deadline, settle := time.After(patience), time.After(settleTime)
	for pause := repeatTime; ; pause *= 2 {
		if err := c.nats.PublishRequest(c.bus.opts.Prefix+"sync", m.answers.Subject, question); err != nil {
			return err
		}
		for again := time.After(pause); again != nil; {
			if settled && len(m.owing(c)) == 0 {
				return nil
			}
			select {
			case <-m.news:
			case <-again:
				again = nil
			case <-settle:
				settled = true
			case <-deadline:
				return m.giveUp(c)
			case <-c.lost:
				return nats.ErrConnectionClosed
			case <-c.bus.core.Done():
				return nil
			}
		}
	}
}

// owing returns the servers that have not answered this round.
func (m *mesh) owing(c *conn) (ids []string) {
	var routes []string
	if c.bus.opts.Routes != nil {
		routes = c.bus.opts.Routes()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]bool{m.self: true}
	maps.Copy(all, m.named)
	for _, id := range routes {
		all[id] = true
	}
	if c.bus.opts.Routes == nil {
		for id := range m.answered {
			all[id] = true
		}
	}
	for id := range all {
		if m.answered[id] < m.round && !m.silent[id] {
			ids = append(ids, id)
		}
	}
	return ids
}

// giveUp stops waiting for those that do not answer.
func (m *mesh) giveUp(c *conn) error {
	late := m.owing(c)
	if slices.Contains(late, m.self) {
		return errors.New("nats: the server does not answer")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range late {
		m.silent[id] = true
		delete(m.answered, id)
	}
	c.bus.core.Logger.Warn("servers of NATS may not deliver yet", "servers", late)
	return nil
}

// handle handles a question or an answer. It returns false if the message is another one.
func (m *mesh) handle(c *conn, msg *nats.Msg) bool {
	if msg.Sub != m.questions && msg.Sub != m.answers {
		return false
	}
	var got syncMessage
	if json.Unmarshal(msg.Data, &got) != nil || got.Server == "" {
		return true
	}
	m.mu.Lock()
	back := m.silent[got.Server]
	delete(m.silent, got.Server)
	if msg.Sub == m.answers {
		m.answered[got.Server] = max(m.answered[got.Server], got.Round)
		for _, id := range got.Routes {
			m.named[id] = true
		}
		signal(m.news)
	}
	m.mu.Unlock()
	if back { // what was sent there meanwhile may be lost
		c.bus.Lost()
	}
	if msg.Sub == m.questions && msg.Reply != "" {
		m.answer(c, msg, got.Round)
	}
	return true
}

// answer answers a question.
func (m *mesh) answer(c *conn, question *nats.Msg, round int) {
	a := syncMessage{Server: m.self, Round: round}
	if c.bus.opts.Routes != nil {
		a.Routes = c.bus.opts.Routes()
	} else {
		m.mu.Lock()
		a.Routes = slices.Collect(maps.Keys(m.answered))
		m.mu.Unlock()
	}
	data, err := json.Marshal(a)
	if err == nil {
		err = c.nats.Publish(question.Reply, data)
	}
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		c.bus.core.Logger.Warn("a question of another server was not answered", "error", err)
	}
}
