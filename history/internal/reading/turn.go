// Package reading is how both databases read: clients take turns, and what has changed in a room is put together in
// the order of its numbers.
package reading

import (
	"context"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/turns"
)

// MaxWaiting is how many reads of one client may wait for their turn.
const MaxWaiting = 64

// crowdedBytes is the limit of a page while others wait for their turn, so that a turn is short. It
// has room for MaxLimit short messages: when everybody comes back at once, most pages are complete.
const crowdedBytes = 128 << 10

// Take returns a connection of a queue when it is the turn of ctx's client.
func Take[T any](ctx context.Context, queue *turns.Queue[T]) (conn T, err error) {
	client := history.ClientOf(ctx)
	conn, err = queue.Take(ctx, turns.Client{Group: client.Address, ID: client.ID, Debt: client.Debt})
	switch {
	case err == turns.ErrClosed:
		err = history.ErrClosed
	case err != nil:
		err = history.ErrBusy.Wrap("wait for a turn to read", err)
	}
	return conn, err
}

// Shorten makes the limit of a page smaller if reads wait.
func Shorten(l *history.Limit, waiting int) {
	if waiting > 0 {
		l.Bytes = min(l.Bytes, crowdedBytes)
	}
}
