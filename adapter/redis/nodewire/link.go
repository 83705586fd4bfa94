package nodewire

import (
	"sync"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/recent"
)

// format is how a namespace's messages look on a wire.
type format interface {
	// encode returns a message, and the channel that it is published on. id is that of the request; empty:
	// nobody shall answer. wide says that all servers shall receive it, not only those with sockets in its room.
	encode(m *adapter.Message, id string, wide bool) (channel string, data []byte, err error)
}

// link is a namespace's adapter.Link.
type link struct {
	cluster   *Cluster
	namespace string
	local     adapter.Local
	format    format
	counted   string                  // the channel that every server has subscribed to
	own       func(uid string) string // the channel that only the server with this uid has subscribed to
	interest  *interest               // nil: rooms are not subscribed one by one
	joined    recent.Names            // rooms that sockets have just joined because of us: their servers may not have subscribed yet

	subscriptions []adapter.Listening

	closed chan struct{} // closed by Close
	close  func()        // closes it

	mu    sync.Mutex
	calls map[string]*call
}

func (l *link) subscribe(channel string, pattern bool, hear func(channel string, data []byte)) {
	l.subscriptions = append(l.subscriptions, l.cluster.conn.Subscribe(channel, pattern, hear))
}

// awaited returns what has to be waited for until a subscription delivers; nil: nothing.
func (l *link) awaited(s adapter.Listening) <-chan struct{} {
	select {
	case <-s.Active():
		return nil
	default:
	}
	if l.cluster.down.Load() {
		return nil
	}
	return s.Active()
}

// Ready implements adapter.Link.
func (l *link) Ready() <-chan struct{} {
	for _, s := range l.subscriptions {
		if active := l.awaited(s); active != nil {
			return active
		}
	}
	return nil
}

// Touch implements adapter.Link.
func (l *link) Touch(room string) <-chan struct{} {
	if l.interest == nil {
		return nil
	}
	return l.interest.touch(room)
}

// Close implements adapter.Link.
func (l *link) Close() {
	c := l.cluster
	c.mu.Lock()
	if c.links[l.namespace] == l {
		delete(c.links, l.namespace)
	}
	c.mu.Unlock()
	for _, s := range l.subscriptions {
		s.Close()
	}
	if l.interest != nil {
		l.interest.close()
	}
	l.close()
}

// Publish implements adapter.Link.
func (l *link) Publish(m *adapter.Message) error {
	if m.Flags&adapter.Volatile != 0 && l.cluster.down.Load() {
		return nil // nobody could receive it at once
	}
	return l.send(m, "")
}

// send publishes a message. id is that of a request.
func (l *link) send(m *adapter.Message, id string) error {
	m.Node, m.Namespace = l.cluster.self.ID, l.namespace
	return publish(l.cluster.conn, l.format, &l.joined, m, id)
}

// publish publishes a message, and notes who joins what.
func publish(conn conn, f format, joined *recent.Names, m *adapter.Message, id string) error {
	if m.Kind == adapter.Join {
		joined.Add(m.Targets)
	}
	channel, data, err := f.encode(m, id, joined.HasOnly(m.Rooms))
	if err != nil {
		return err
	}
	return conn.Publish(channel, data)
}
