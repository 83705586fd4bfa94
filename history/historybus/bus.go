package historybus

import (
	"context"
	"errors"
	"sync"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/history"
)

// maxWhole is the size of the largest message that crosses as a whole, in bytes. To send one of this size
// to three servers costs Redis about as much as three reads of it cost the store.
const maxWhole = 64 << 10

// Bus is a [history.GapBus]. It is safe for concurrent use.
type Bus struct {
	exchange adapter.Exchange

	mu   sync.Mutex
	down chan struct{} // closed while the bus of the servers is down
}

// A Watcher tells when the bus of the servers goes down and comes back, as adapter.Bus does.
type Watcher interface {
	Watch(f func(adapter.State)) (stop func())
}

// New returns a bus for a log. With a watcher, a room that is opened while the bus is down does not wait
// for it; nil: it waits for a second. The bus has no end of its own: it ends with the cluster.
func New(e adapter.Exchange, w Watcher) *Bus {
	b := &Bus{exchange: e, down: make(chan struct{})}
	if w != nil {
		w.Watch(b.state)
	}
	return b
}

func (b *Bus) state(s adapter.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch s {
	case adapter.Down:
		select {
		case <-b.down:
		default:
			close(b.down)
		}
	case adapter.Up:
		b.down = make(chan struct{})
	}
}

func subject(room string) string { return "h/" + room }

// Publish implements [history.Bus]. If the bus does not take the message, the other servers learn that
// they may miss something.
func (b *Bus) Publish(m *history.Message) {
	_ = b.exchange.Send(subject(m.RoomID), encode(m))
}

var errDown = errors.New("parley: the bus is down")

// Subscribe implements [history.Bus].
func (b *Bus) Subscribe(ctx context.Context, room string, deliver func(history.Message)) (cancel func(), err error) {
	b.mu.Lock()
	down := b.down
	b.mu.Unlock()
	select {
	case <-down:
		return nil, errDown
	default:
	}
	l := b.exchange.Hear(subject(room), func(_ adapter.Node, data []byte) {
		if m, ok := decode(room, data); ok {
			deliver(m)
		}
	})
	select {
	case <-l.Active():
		return l.Close, nil
	case <-down:
		err = errDown
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.Close()
	return nil, err
}

// OnGap implements [history.GapBus]. What a server says that is not known yet is not heard, so there is
// a gap before it is.
func (b *Bus) OnGap(f func()) (stop func()) {
	return b.exchange.Observe(func(e adapter.Event) {
		if e.Kind == adapter.Gap || e.Kind == adapter.Joined {
			f()
		}
	})
}
