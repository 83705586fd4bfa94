package history

import (
	"context"
	"time"
)

// A Client says for whom a store reads. Stores that read for few clients at a time take turns among
// the addresses that wait, and among the clients of each address. So nobody waits for all that
// another client wants, however many connections that one has.
type Client struct {
	// Address is from where it connects, such as an IPv4 address, or a network of IPv6. What a Log
	// reads for all subscribers of a room who lack the same messages has the address "rooms". So
	// these reads together have their turn like those of one address.
	Address string
	ID      string // of the connection or, with the address "rooms", of the room
	// Debt says how much the client has read lately. Of the clients of an address, those with less
	// debt go first; the others wait as much longer at most.
	Debt time.Duration
}

type clientKey struct{}

// WithClient returns a context for reads on behalf of c. Reads without a client go first: they are
// the server's own, and small.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// withRoom returns a context for reads on behalf of all subscribers of a room.
func withRoom(ctx context.Context, room string) context.Context {
	return WithClient(ctx, Client{Address: "rooms", ID: room})
}

// ClientOf returns the client of ctx. Stores call it.
func ClientOf(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}
