package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"

	"github.com/jackc/pgx/v5"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema to the newest version, in one transaction. Others who start at the same time
// wait.
func migrate(ctx context.Context, conn *pgx.Conn) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	var encoding string
	if err := conn.QueryRow(ctx, "SHOW server_encoding").Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database has the encoding %s; it must be UTF8", encoding)
	}
	version, ours, err := schemaVersion(ctx, conn)
	if err != nil || ours && version == len(files) {
		return err // the usual case, in which no right to change tables is needed
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", migrateLock); err != nil {
			return err
		}
		version, ours, err := schemaVersion(ctx, tx)
		switch {
		case err != nil:
			return err
		case version > len(files):
			return fmt.Errorf("%w: its schema is version %d, this program knows %d", ErrNewer, version, len(files))
		case !ours:
			if _, err := tx.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS parley;
				CREATE TABLE parley.migrations (version int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`); err != nil {
				return err
			}
		}
		for ; version < len(files); version++ {
			script, err := migrations.ReadFile(files[version])
			if err == nil {
				_, err = tx.Exec(ctx, string(script))
			}
			if err == nil {
				_, err = tx.Exec(ctx, "INSERT INTO parley.migrations (version) VALUES ($1)", version+1)
			}
			if err != nil {
				return fmt.Errorf("migrate to version %d: %w", version+1, err)
			}
		}
		return nil
	})
}

// schemaVersion returns the version of the schema, and whether it is one of ours. If a schema parley has
// tables of another program, the error is ErrForeign.
func schemaVersion(ctx context.Context, q interface {
	QueryRow(context.Context, string, ...any) pgx.Row
}) (version int, ours bool, err error) {
	var foreign bool
	err = q.QueryRow(ctx, `SELECT to_regclass('parley.migrations') IS NOT NULL, EXISTS (
		SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = 'parley' AND c.relname IN ('rooms', 'messages', 'meta', 'counters', 'people'))`).Scan(&ours, &foreign)
	switch {
	case err != nil:
		return 0, false, err
	case ours:
		err = q.QueryRow(ctx, "SELECT coalesce(max(version), 0) FROM parley.migrations").Scan(&version)
	case foreign:
		err = ErrForeign
	}
	if err == nil && ours && version == 0 {
		err = errors.New("the schema parley is damaged: its migrations are gone")
	}
	return version, ours, err
}
