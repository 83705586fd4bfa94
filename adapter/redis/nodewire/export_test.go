package nodewire

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/parley-go/parley/adapter"
)

const (
	Recount = recount

	ownUID   = "fedcba9876543210"
	otherUID = "0123456789abcdef"
)

// Decoder receives broadcasts without Redis, and makes those of another server.
func Decoder(local adapter.Local, isSharded bool) (hear func(channel string, data []byte), encode func(*adapter.Message) ([]byte, error)) {
	f := format(newClassic("socket.io", otherUID, "/"))
	if isSharded {
		f = newSharded("socket.io", otherUID, "/", Dynamic)
	}
	return NewPeer(local, isSharded).Hear, func(m *adapter.Message) ([]byte, error) {
		_, data, err := f.encode(m, "", false)
		return data, err
	}
}

// Peer is a server without Redis.
type Peer struct {
	*link
	classic *classicLink
	sharded *shardedLink
}

func NewPeer(local adapter.Local, isSharded bool) *Peer {
	c := &Cluster{conn: nowhere{}, opts: Options{Logger: slog.New(slog.DiscardHandler)}}
	p := &Peer{link: &link{calls: map[string]*call{}, cluster: c, namespace: "/", local: local}}
	if isSharded {
		p.sharded = &shardedLink{p.link, newSharded("socket.io", ownUID, "/", Dynamic)}
		p.own = p.sharded.room
	} else {
		p.classic = &classicLink{p.link, newClassic("socket.io", ownUID, "/")}
	}
	return p
}

// Hear receives a message of a channel.
func (p *Peer) Hear(channel string, data []byte) {
	switch {
	case p.sharded != nil:
		p.sharded.hear(channel, data)
	case strings.HasPrefix(channel, p.classic.request):
		p.classic.requested(data)
	case strings.HasPrefix(channel, p.classic.response):
		p.classic.answered(data)
	case strings.HasPrefix(channel, p.classic.broadcast):
		p.classic.hear(channel, data)
	}
}

// Answer receives an answer to a call, and describes it.
func (p *Peer) Answer(kind adapter.Kind, channel string, data []byte) map[string]any {
	var m struct {
		RequestID string `json:"requestId"`
		Data      struct {
			RequestID string `json:"requestId"`
		} `json:"data"`
	}
	_, _ = parse(data, &m)
	w := &call{kind: kind, debts: map[string]*debt{}, news: make(chan struct{}, 1)}
	p.calls[m.RequestID+m.Data.RequestID] = w
	p.Hear(channel, data)
	content := map[string]any{"call": kind}
	for _, a := range w.answers {
		if a.Kind == adapter.Sockets {
			var all []any
			for _, s := range a.Sockets {
				all = append(all, map[string]any{"id": s.ID, "rooms": s.Rooms, "data": s.Data})
			}
			content["sockets"] = all
			continue
		}
		content["value"] = json.RawMessage(a.Data)
		var all []string
		for _, b := range a.Attachments {
			all = append(all, hex.EncodeToString(b))
		}
		if all != nil {
			content["attachments"] = all
		}
	}
	for _, d := range w.debts {
		if d.said > 0 && kind == adapter.Broadcast {
			content["count"] = d.acks
		}
	}
	return content
}

// nowhere is a connection that sends nothing.
type nowhere struct{ conn }

func (nowhere) Publish(string, []byte) error { return nil }
func (nowhere) Subscribers(context.Context, ...string) (map[string]int64, error) {
	return nil, nil
}

// Probe runs a cluster over a connection that hears what it publishes, or not, for some time. It returns how
// often the connection was replaced.
func Probe(deaf bool, d time.Duration) (reconnects int) {
	c := &Cluster{done: make(chan struct{}), opts: Options{Key: "socket.io", Logger: slog.New(slog.DiscardHandler)}}
	n := &mirror{deaf: deaf}
	c.conn = n
	c.probes.Go(c.probe)
	time.Sleep(d)
	close(c.done)
	c.probes.Wait()
	return n.reconnects
}

// Open returns a link of a cluster over a connection that never becomes active, and how many messages the link has
// published.
func Open(local adapter.Local) (c *Cluster, l adapter.Link, published func() int) {
	n := &unborn{}
	c = &Cluster{links: map[string]*link{}, done: make(chan struct{}), unwatch: func() {}, conn: n, opts: Options{Key: "socket.io", Logger: slog.New(slog.DiscardHandler)}}
	return c, c.Open("/", local), func() int { return n.published }
}

// State tells a cluster what has become of its connection.
func (c *Cluster) State(s adapter.State) { c.state(s) }

// unborn is a connection that is not subscribed to anything yet.
type unborn struct {
	conn
	published int
}

func (*unborn) Subscribe(string, bool, func(string, []byte)) adapter.Listening { return pending{} }
func (*unborn) Close() error                                                   { return nil }
func (n *unborn) Publish(string, []byte) error {
	n.published++
	return nil
}

// pending is a subscription that is not there yet.
type pending struct{}

func (pending) Close()                  {}
func (pending) Active() <-chan struct{} { return nil }

// mirror delivers what is published, unless it is deaf.
type mirror struct {
	conn
	deaf       bool
	deliver    func(string, []byte)
	reconnects int
}

func (m *mirror) Subscribe(_ string, _ bool, deliver func(string, []byte)) adapter.Listening {
	m.deliver = deliver
	return active{}
}

func (m *mirror) Publish(channel string, data []byte) error {
	if !m.deaf {
		m.deliver(channel, data)
	}
	return nil
}

func (m *mirror) Reconnect() { m.reconnects++ }

// active is a subscription that is there from the start.
type active struct{}

func (active) Close() {}
func (active) Active() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
