// Package postgres connects the servers of a cluster through PostgreSQL, by NOTIFY. It suits a cluster that
// has a PostgreSQL already, and up to about ten servers: each message goes to all of them, and PostgreSQL
// commits messages one after the other.
//
// Connections are direct, or through a pooler that lends a connection for as long as a client wants it.
// PgBouncer with pool_mode=transaction does not: nothing would arrive.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/internal/driver"
)

// Options configure New.
type Options struct {
	// Channel is the channel of NOTIFY, so that several clusters can share a database. A table with its
	// name and "_bus" holds large messages for a minute. The default is "parley". It has 50 bytes at most.
	Channel string

	// MaxQueue is how many bytes may wait to be sent; 8 MiB. Beyond that, Publish returns
	// adapter.ErrFull.
	MaxQueue int

	// MaxAge is how long a message may wait to be sent; 5 s. Older ones are dropped, which the other
	// servers learn.
	MaxAge time.Duration

	// Logger receives what an operator should know. The default is slog.Default().
	Logger *slog.Logger
}

const (
	maxMessage = 16 << 20
	maxChannel = 50
	firstPause = 50 * time.Millisecond // between attempts to connect the sender; then it doubles
	maxPause   = 2 * time.Second
)

// Bus is an adapter.Bus over PostgreSQL.
type Bus struct {
	core    *driver.Core[string]
	config  *pgx.ConnConfig
	channel string
	table   string // quoted
	ended   sync.WaitGroup

	sending sync.Mutex // held while conn is used
	conn    *pgx.Conn  // sends; nil: none
	stored  time.Time  // when this server stored a large message; zero: all are deleted
}

// New connects to the database with this URL, such as "postgres://user:password@host/database", or
// this text of keywords and values. It creates the table for large messages, if there is none, for which the
// user needs the right to create tables in the schema.
func New(url string, o *Options) (*Bus, error) {
	if o == nil {
		o = &Options{}
	}
	b := &Bus{channel: cmp.Or(o.Channel, "parley")}
	if len(b.channel) > maxChannel {
		return nil, fmt.Errorf("postgres: the channel's name is longer than %d bytes", maxChannel)
	}
	b.table = pgx.Identifier{b.channel + "_bus"}.Sanitize()
	var err error
	if b.config, err = pgx.ParseConfig(url); err != nil {
		return nil, errors.New("postgres: the address of the database is not valid") // the cause may show a password
	}
	b.core = driver.New[string](driver.Options{MaxQueue: o.MaxQueue, MaxAge: o.MaxAge, Logger: o.Logger})
	if err := b.prepare(); err != nil {
		b.Close()
		return nil, fmt.Errorf("postgres: %w", err)
	}
	b.core.Start(b.send, b.hear)
	b.ended.Go(b.clean)
	return b, nil
}

// prepare connects the sender, and creates the table.
func (b *Bus) prepare() error {
	ctx, cancel := context.WithTimeout(b.core.Late(), b.config.ConnectTimeout+b.patience())
	defer cancel()
	if err := b.connect(ctx); err != nil {
		return err
	}
	_, err := b.conn.Exec(ctx, "SELECT 1 FROM "+b.table+" LIMIT 0")
	if err == nil {
		return nil
	}
	// Rows are of no use after a crash, so the table is unlogged. Two servers may start at the same time.
	tx, err := b.conn.Begin(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback(ctx)
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext($1))", b.table); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "CREATE UNLOGGED TABLE IF NOT EXISTS "+b.table+
		" (id bigint PRIMARY KEY, topic bytea NOT NULL, message bytea NOT NULL, stored timestamptz NOT NULL DEFAULT now())"); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// patience is how long to wait for what PostgreSQL answers at once.
func (b *Bus) patience() time.Duration { return min(b.core.MaxAge, 5*time.Second) }

// dial returns a new connection.
func (b *Bus) dial(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(b.config.ConnectTimeout, b.patience()))
	defer cancel()
	return pgx.ConnectConfig(ctx, b.config)
}

// connect connects the sender.
func (b *Bus) connect(ctx context.Context) error {
	conn, err := b.dial(ctx)
	if err != nil {
		return err
	}
	// A message is not worth a write to the disk.
	if _, err := conn.Exec(ctx, "SET synchronous_commit = off"); err != nil {
		return errors.Join(err, conn.Close(ctx))
	}
	b.conn = conn
	return nil
}

// Publish implements adapter.Bus.
func (b *Bus) Publish(topic string, data []byte) error {
	if len(data) > maxMessage {
		return adapter.ErrTooLarge
	}
	return b.core.Publish(topic, data)
}

// Listen implements adapter.Bus.
func (b *Bus) Listen(topic string, deliver func([]byte)) adapter.Listening {
	return b.core.Listen(topic, func(_ string, data []byte) { deliver(data) })
}

// Watch implements adapter.Bus.
func (b *Bus) Watch(f func(adapter.State)) (stop func()) { return b.core.Watch(f) }

// Caps implements adapter.Bus. All messages go to all servers, so a topic for each room would be of no use.
func (b *Bus) Caps() adapter.Caps {
	return adapter.Caps{MaxMessage: maxMessage, Interest: false, Order: adapter.PerSender}
}

// Reconnect implements adapter.Reconnecter.
func (b *Bus) Reconnect() { b.core.Reconnect() }

// Close implements adapter.Bus.
func (b *Bus) Close() error {
	if !b.core.Close() {
		return nil
	}
	b.ended.Wait()
	if b.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = b.conn.Close(ctx) // there is nothing left to send
	}
	return nil
}
