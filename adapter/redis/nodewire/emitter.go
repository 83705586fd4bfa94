package nodewire

import (
	"sync"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/emitter"
	"github.com/parley-go/parley/adapter/internal/recent"
)

// ClassicEmitter does what @socket.io/redis-emitter does on Node.js: it sends to the servers that Classic or
// createAdapter connect. Of the options, Key, MaxQueue, MaxAge and Logger matter. It waits until Redis answers.
func ClassicEmitter(options rueidis.ClientOption, o *Options) (*emitter.Emitter, error) {
	return newEmitter(options, o, false)
}

// ShardedEmitter sends to the servers that Sharded or createShardedAdapter connect, which
// @socket.io/redis-emitter cannot. Mode matters, too.
func ShardedEmitter(options rueidis.ClientOption, o *Options) (*emitter.Emitter, error) {
	return newEmitter(options, o, true)
}

func newEmitter(options rueidis.ClientOption, o *Options, sharded bool) (*emitter.Emitter, error) {
	out := &outlet{sharded: sharded, namespaces: map[string]*way{}}
	if o != nil {
		out.opts = *o
	}
	if err := out.opts.complete(); err != nil {
		return nil, err
	}
	var err error
	if out.conn, err = out.opts.open(options, sharded); err != nil {
		return nil, err
	}
	return emitter.Over(out), nil
}

// emitterUID is what emitters on Node.js have in place of a server's uid.
const emitterUID = "emitter"

// outlet implements emitter.Outlet.
type outlet struct {
	conn    conn
	opts    Options
	sharded bool

	mu         sync.Mutex
	namespaces map[string]*way
}

// way is what an outlet knows of a namespace.
type way struct {
	format format
	joined recent.Names
}

func (o *outlet) way(namespace string) *way {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.namespaces[namespace]
	if w == nil {
		w = &way{format: format(newClassic(o.opts.Key, emitterUID, namespace))}
		if o.sharded {
			w.format = newSharded(o.opts.Key, emitterUID, namespace, o.opts.Mode)
		}
		o.namespaces[namespace] = w
	}
	return w
}

// Publish implements emitter.Outlet.
func (o *outlet) Publish(m *adapter.Message) error {
	w := o.way(m.Namespace)
	return publish(o.conn, w.format, &w.joined, m, "")
}

// Close implements emitter.Outlet.
func (o *outlet) Close() error { return o.conn.Close() }
