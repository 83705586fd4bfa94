package app

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// databaseName is the name of the database file in the data directory.
const databaseName = "parley.db"

// inMemory reports whether messages are only kept in memory.
func (c *Config) inMemory() bool { return c.Data == "memory" || c.Data == ":memory:" }

// sharedStore reports whether other servers can use the same store.
func (c *Config) sharedStore() bool { return false }

// stateDir returns the directory for what is this server's own, or "" if it keeps nothing.
func (c *Config) stateDir() string {
	if c.StateDir == "" && c.inMemory() {
		return ""
	}
	return cmp.Or(c.StateDir, c.Data)
}

// openStore also returns a description of where messages are stored.
func openStore(c Config, log *slog.Logger) (history.Store, string, error) {
	if c.inMemory() {
		return history.NewMemory(), "in memory only: gone when the server stops", nil
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
