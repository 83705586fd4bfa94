package history

import "context"

// A Bus carries messages between the nodes of a cluster that share one store. It is only a hint: it
// may lose, repeat, delay and reorder messages, and the room's subscribers notice nothing but the
// delay. Implementations are safe for concurrent use.
//
// Instead of a message, a bus may deliver a hint: a Message with RoomID and Seq, but without ID. It
// says that the room has a change with this number; the log reads it from the store. Seq 0 says that
// the room may have been erased.
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

// A GapBus is a Bus that learns when messages may have been lost. The log then compares its open rooms
// with the store at once.
type GapBus interface {
	Bus
	// OnGap calls f when messages may have been lost, until stop is called. f does not block.
	OnGap(f func()) (stop func())
}
