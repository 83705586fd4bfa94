package history

import "context"

// A Bus carries messages between the nodes of a cluster that have one store in common.
// It is a hint: it may lose, repeat, delay and reorder messages, and the room's
// subscribers notice nothing but the delay. Implementations are safe for concurrent use.
type Bus interface {
	// Publish sends m to the nodes that subscribe to its room; its own node may be
	// among them. It must not block. The bus may keep m and must not change it.
	Publish(m *Message)

	// Subscribe calls deliver with the room's messages, from any goroutine, concurrently
	// perhaps, until cancel is called. It returns when the subscription is active: what
	// is published later arrives unless it is lost. If the bus is known to be down it
	// fails at once. Neither call blocks the caller of deliver, and cancel does not wait
	// for a deliver that is under way.
	Subscribe(ctx context.Context, room string, deliver func(Message)) (cancel func(), err error)
}
