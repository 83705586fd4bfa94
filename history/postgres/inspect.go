package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/parley-go/parley/history"
)

// Inspect reads from a database, without opening the store and changing anything, its records, and
// whether it has an index of words. A database without a store has neither.
func Inspect(ctx context.Context, url string) (records []history.Record, search bool, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, false, fmt.Errorf("parley: read history in PostgreSQL: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, ours, err := schemaVersion(ctx, tx); err != nil || !ours {
			return err
		}
		rows, _ := tx.Query(ctx, "SELECT "+recordColumns+" FROM parley.records WHERE value IS NOT NULL ORDER BY version")
		var err error
		records, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (history.Record, error) { return scanRecord(row) })
		if err != nil {
			return err
		}
		if err := tx.QueryRow(ctx, "SELECT to_regclass('parley.search') IS NOT NULL").Scan(&search); err != nil || !search {
			return err
		}
		return tx.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM parley.search)").Scan(&search)
	})
	if err != nil {
		return nil, false, fmt.Errorf("parley: read history in PostgreSQL: %w", err)
	}
	return records, search, nil
}
