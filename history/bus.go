package history

import "context"

// A Bus carries messages between the nodes of a cluster that share one store. It is only a hint: it
// may lose, repeat, delay and reorder messages, and the room's subscribers notice nothing but the
// delay. Implementations are safe for concurrent use.
type Bus interface {
	// Publish sends m to the nodes that subscribe to its room, possibly including its own node. It
	// must not block. The bus may keep m but must not change it.
	Publish(m *Message)

	// Subscribe calls deliver with the room's messages until cancel is called. The calls may come
	// from any goroutine and may be concurrent. Subscribe returns when the subscription is active:
	// what is published later arrives unless it is lost. If the bus is known to be down, Subscribe
	// fails at once. Neither Subscribe nor cancel blocks a running deliver, and cancel does not
	// wait for it.
	Subscribe(ctx context.Context, room string, deliver func(Message)) (cancel func(), err error)
}
