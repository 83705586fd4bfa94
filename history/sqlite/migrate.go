package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks a file as ours: "Prly".
const applicationID = 0x50726c79

// migrate brings the schema to the newest version, each step in a transaction.
func migrate(ctx context.Context, conn *sql.Conn, now time.Time) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := schemaVersion(ctx, conn)
	if err != nil {
		return err
	}
	if version > len(files) {
		return fmt.Errorf("%w: its schema is version %d, this program knows %d", ErrNewer, version, len(files))
	}
	for ; version < len(files); version++ {
		if err := migrateStep(ctx, conn, version+1, files[version], now); err != nil {
			return fmt.Errorf("migrate to version %d: %w", version+1, err)
		}
	}
	return nil
}

func migrateStep(ctx context.Context, conn *sql.Conn, version int, file string, now time.Time) error {
	script, err := migrations.ReadFile(file)
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO migrations VALUES (?, ?)", version, now.UnixMilli()); err != nil {
		return err
	}
	return tx.Commit()
}

// schemaVersion returns the version of the file's schema; it prepares an empty file.
func schemaVersion(ctx context.Context, conn *sql.Conn) (version int, err error) {
	var id, tables int
	err = conn.QueryRowContext(ctx,
		"SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)").Scan(&id, &tables)
	if err != nil {
		return 0, err
	}
	if id != applicationID {
		if tables > 0 {
			return 0, ErrForeign
		}
		tx, err := conn.BeginTx(ctx, nil)
		if err != nil {
			return 0, err
		}
		defer tx.Rollback()
		_, err = tx.ExecContext(ctx, fmt.Sprintf(`
			PRAGMA application_id = %d;
			CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT`, applicationID))
		if err != nil {
			return 0, err
		}
		if err := tx.Commit(); err != nil {
			return 0, err
		}
	}
	err = conn.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM migrations").Scan(&version)
	return version, err
}
