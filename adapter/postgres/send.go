package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/parley-go/parley/adapter/internal/driver"
)

// send sends a batch, with one statement.
func (b *Bus) send(ctx context.Context, batch []driver.Message) (failed int) {
	b.sending.Lock()
	defer b.sending.Unlock()
	for pause := firstPause; len(batch) > 0; pause = min(2*pause, maxPause) {
		err := b.notify(ctx, batch)
		if err == nil {
			return failed
		}
		var refusal *pgconn.PgError
		if b.conn != nil && !b.conn.IsClosed() || !pgconn.SafeToRetry(err) {
			// PostgreSQL has refused it, or may have got it.
			if errors.As(err, &refusal) {
				b.core.Logger.Error("PostgreSQL refuses messages to the cluster", "error", err)
			}
			return failed + len(batch)
		}
		select {
		case <-ctx.Done():
			return failed + len(batch)
		case <-time.After(pause):
		}
		for len(batch) > 0 && time.Since(batch[0].Since) > b.core.MaxAge {
			batch = batch[1:]
			failed++
		}
	}
	return failed
}

// notDialed is the error of an attempt to connect: nothing was sent.
type notDialed struct{ error }

// SafeToRetry is what pgconn.SafeToRetry asks.
func (notDialed) SafeToRetry() bool { return true }

func (b *Bus) notify(ctx context.Context, batch []driver.Message) error {
	if b.conn == nil || b.conn.IsClosed() {
		if err := b.connect(ctx); err != nil {
			return notDialed{err}
		}
	}
	payloads := make([]string, len(batch))
	var ids []int64
	var topics, large [][]byte
	for i, m := range batch {
		if payloads[i] = inline(i, m.Topic, m.Data); payloads[i] == "" {
			id := rand.Int64()
			ids, topics, large = append(ids, id), append(topics, []byte(m.Topic)), append(large, m.Data)
			payloads[i] = stored(i, id, m.Topic)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience())
	defer cancel()
	if ids == nil {
		return drain(b.conn.Query(ctx, "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", b.channel, payloads))
	}
	b.stored = time.Now()
	return drain(b.conn.Query(ctx, "WITH large AS (INSERT INTO "+b.table+" (id, topic, message) SELECT * FROM unnest($3::bigint[], $4::bytea[], $5::bytea[]))"+
		" SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", b.channel, payloads, ids, topics, large))
}

// drain reads what a query answers, which says nothing.
func drain(rows pgx.Rows, err error) error {
	if err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}

const (
	cleanTime = 30 * time.Second // between deletions of large messages
	keepTime  = time.Minute      // for which they are kept at least
)

// clean deletes what servers have stored, also those that have died.
func (b *Bus) clean() {
	tick := time.NewTicker(cleanTime)
	defer tick.Stop()
	for {
		select {
		case <-b.core.Done():
			return
		case now := <-tick.C:
			b.cleanAt(now)
		}
	}
}

func (b *Bus) cleanAt(now time.Time) {
	b.sending.Lock()
	defer b.sending.Unlock()
	if b.stored.IsZero() || b.conn == nil || b.conn.IsClosed() {
		return
	}
	ctx, cancel := context.WithTimeout(b.core.Late(), b.patience())
	defer cancel()
	if _, err := b.conn.Exec(ctx, "DELETE FROM "+b.table+" WHERE stored < now() - $1::interval", keepTime); err != nil {
		b.core.Logger.Warn("large messages of the cluster were not deleted", "error", err)
		return
	}
	if now.Sub(b.stored) > keepTime {
		b.stored = time.Time{}
	}
}
