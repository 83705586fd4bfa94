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

// migrate brings the schema to the newest version, with one transaction per step.
func migrate(ctx context.Context, conn *sql.Conn, now time.Time) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if err := prepareSchema(ctx, conn); err != nil {
		return err
	}
	version, err := schemaVersion(ctx, conn, len(files))
	if err != nil {
		return err
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

// prepareSchema turns an empty file into a store, and refuses another program's file.
func prepareSchema(ctx context.Context, conn *sql.Conn) error {
	id, tables, err := identity(ctx, conn)
	if err != nil || id == applicationID {
		return err
	}
	if tables > 0 {
		return ErrForeign
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	_, err = tx.ExecContext(ctx, fmt.Sprintf(`
		PRAGMA application_id = %d;
		CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT`, applicationID))
	if err != nil {
		return err
	}
	return tx.Commit()
}

// recognise refuses a file that is not a store. It changes nothing.
func recognise(ctx context.Context, conn *sql.Conn) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	id, tables, err := identity(ctx, conn)
	switch {
	case err != nil:
		return err
	case tables == 0:
		return ErrNoStore
	case id != applicationID:
		return ErrForeign
	}
	_, err = schemaVersion(ctx, conn, len(files))
	return err
}

// identity returns the file's application id, and the number of its tables and indexes.
func identity(ctx context.Context, conn *sql.Conn) (id, tables int, err error) {
	err = conn.QueryRowContext(ctx,
		"SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)").Scan(&id, &tables)
	return id, tables, err
}

// schemaVersion returns the version of a store's schema. It fails if the version is not known.
func schemaVersion(ctx context.Context, conn *sql.Conn, known int) (version int, err error) {
	err = conn.QueryRowContext(ctx, "SELECT coalesce(max(version), 0) FROM migrations").Scan(&version)
	if err == nil && version > known {
		err = fmt.Errorf("%w: its schema is version %d, this program knows %d", ErrNewer, version, known)
	}
	return version, err
}
