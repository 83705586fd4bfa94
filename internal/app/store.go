package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/admin"
)

// databaseName is the name of the database file in the data directory.
const databaseName = "parley.db"

// defaultStateDir is the directory for what is a server's own if its messages are elsewhere.
const defaultStateDir = "parley-data"

// inMemory reports whether messages are only kept in memory.
func (c *Config) inMemory() bool { return c.Data == "memory" || c.Data == ":memory:" }

// inPostgres reports whether messages are in a PostgreSQL database, which several servers can use.
func (c *Config) inPostgres() bool {
	return strings.HasPrefix(c.Data, "postgres://") || strings.HasPrefix(c.Data, "postgresql://")
}

// stateDir returns the directory for what is this server's own, or "" if it keeps nothing.
func (c *Config) stateDir() string {
	switch {
	case c.StateDir == "" && c.inMemory():
		return ""
	case c.StateDir == "" && c.inPostgres():
		return defaultStateDir
	}
	return cmp.Or(c.StateDir, c.Data)
}

// takeStateDir makes the directory for what is this server's own. Where no store is locked, it checks that
// no other server uses it.
func (c *Config) takeStateDir() error {
	dir := c.stateDir()
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("state-dir: %w", err)
	}
	if dir == c.Data {
		return nil
	}
	other, err := admin.Connect(context.Background(), filepath.Join(dir, admin.SocketName))
	if err != nil {
		return nil
	}
	other.Close()
	return fmt.Errorf("state-dir: another server uses %s: give each its own with --state-dir", dir)
}

// place accepts a directory, memory, and the URL of a database. It does not repeat a URL.
func place(to *string) value {
	v := parsed(to, "a directory, memory, or a URL such as postgres://parley@10.0.0.6/parley", func(s string) (string, error) {
		c := Config{Data: s}
		return allowed(s, s != "" && (c.inPostgres() || !strings.Contains(s, "://")))
	})
	v.show = func(s string) string {
		if c := (Config{Data: s}); c.inPostgres() {
			return withoutPassword(s)
		}
		return s
	}
	return v
}

// openStore also returns a description of where messages are stored.
func openStore(ctx context.Context, c Config, log *slog.Logger) (history.Store, string, error) {
	if c.inMemory() {
		return history.NewMemory(), "in memory only: gone when the server stops", nil
	}
	if c.inPostgres() {
		store, err := postgres.Open(ctx, c.Data, &postgres.Options{Search: c.Search, Logger: log})
		if err != nil {
			return nil, "", err
		}
		return store, withoutPassword(c.Data), nil
	}
	path, err := filepath.Abs(filepath.Join(c.Data, databaseName))
	if err != nil {
		return nil, "", err
	}
	store, err := sqlite.Open(path, &sqlite.Options{MinFree: c.MinFreeDisk, Search: c.Search, Logger: log})
	switch {
	case errors.Is(err, sqlite.ErrInUse):
		return nil, "", fmt.Errorf("%w: stop that one, or choose another directory with --data", err)
	case err != nil:
		return nil, "", fmt.Errorf("%w; or choose another directory with --data", mayNot(path, err))
	}
	return store, path, nil
}
