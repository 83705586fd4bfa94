package adapter

// Bus carries bytes between servers, at most once. A driver implements it. It is safe for concurrent
// use, and none of its methods waits for the network, except Close.
//
// What a bus promises ([Caps].Order says for which topics): what one server publishes arrives in the
// order in which it was published, at each server that listens.
type Bus interface {
	// Publish queues data for all that listen to the topic, this server included if it does. The bus
	// keeps data. The errors are ErrFull, ErrTooLarge and ErrClosed.
	Publish(topic string, data []byte) error

	// Listen calls deliver with everything that is published to the topic, until the Listening is
	// closed. A bus makes one call at a time. Listening goes on after the connection
	// was lost and restored. deliver must not block, and must not change data, but may keep it.
	Listen(topic string, deliver func(data []byte)) Listening

	// Watch calls f when the state of the bus changes, never at the same time as deliver.
	Watch(f func(State)) (stop func())

	Caps() Caps

	// Close sends what is queued, waiting a second at most, and then stops all calls.
	Close() error
}

// Listening is what Bus.Listen returns.
type Listening interface {
	// Active is closed when everything that is published from then on arrives.
	Active() <-chan struct{}

	// Close ends it. A call of deliver that is running continues; no other one follows.
	Close()
}

// State is news about a bus.
type State uint8

const (
	Down   State = iota + 1 // the connection is lost; what others publish meanwhile does not arrive
	Up                      // the connection is restored, and listens to everything again
	Lost                    // messages were lost, although the connection was there
	Unsent                  // a message that Publish had accepted was not sent; each counts
)

// Caps says what a bus can do.
type Caps struct {
	MaxMessage int  // bytes of a message
	Interest   bool // a topic for each room is cheap; otherwise there is one for each namespace
	Order      Order

	// Lanes has topics without a use of their own, if Order is PerTopic. What is sent to any topic keeps its
	// order with what is sent to one of these.
	Lanes []string
}

// Order says which messages of one server keep their order.
type Order uint8

const (
	PerSender Order = iota // all of them
	PerTopic               // those of one topic
)

// Reconnecter is a Bus that can be told that its connection has become deaf.
type Reconnecter interface {
	// Reconnect replaces the connection. Watchers see Down and Up.
	Reconnect()
}
