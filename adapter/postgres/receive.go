package postgres

import (
	"context"
	"errors"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/adapter"
)

// hear receives on one connection until that is lost.
func (b *Bus) hear(connected func()) error {
	ctx, cancel := context.WithCancel(b.core.Late())
	defer cancel()
	conn, err := b.dial(ctx)
	if err != nil {
		return err
	}
	// Waiting with a context that can end would cost a goroutine for each message. So whatever ends the
	// wait closes the connection below it.
	end := sync.OnceFunc(func() { conn.PgConn().Conn().Close() })
	defer end()
	defer context.AfterFunc(ctx, end)()
	b.core.EndWith(end)
	err = b.within(ctx, func(ctx context.Context) error {
		_, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{b.channel}.Sanitize())
		return err
	})
	if err != nil {
		return err
	}
	// From here on, everything arrives. What is listened to only has to be looked up.
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	b.core.Renew()
	looking.Go(func() { b.look(ctx, end, connected) })
	for {
		n, err := conn.WaitForNotification(context.Background())
		if n != nil {
			if err := b.receive(ctx, conn, n.Payload); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// within calls f with a context that ends when PostgreSQL should have answered.
func (b *Bus) within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, b.patience())
	defer cancel()
	return f(ctx)
}

// look says what is listened to, until the connection is lost or the bus is closed.
func (b *Bus) look(ctx context.Context, end, connected func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.core.Done():
			end()
			return
		case <-b.core.Stirred():
		}
		add, _ := b.core.Change()
		if b.core.Activate(add) {
			connected()
		}
	}
}

// receive delivers what has arrived.
func (b *Bus) receive(ctx context.Context, conn *pgx.Conn, text string) error {
	p, err := parse(text)
	if err != nil {
		return nil // of another version, or of a stranger
	}
	if !p.isRow {
		b.core.Deliver(p.topic, "", p.data)
		return nil
	}
	if p.topic != "" && !b.core.Listens(p.topic) {
		return nil
	}
	var topic, data []byte
	err = b.within(ctx, func(ctx context.Context) error {
		return conn.QueryRow(ctx, "SELECT topic, message FROM "+b.table+" WHERE id = $1", p.id).Scan(&topic, &data)
	})
	if errors.Is(err, pgx.ErrNoRows) { // it came too late
		b.core.Tell(adapter.Lost)
		return nil
	}
	if err == nil {
		b.core.Deliver(string(topic), "", data)
	}
	return err
}
