package postgres_test

import (
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
	"github.com/parley-go/parley/internal/postgrestest"
)

// Benchmark measures with a server that writes commits to the disk.
func Benchmark(b *testing.B) {
	server := postgrestest.Start(b, &postgrestest.Options{Durable: true, Settings: []string{"shared_buffers = 256MB", "max_wal_size = 4GB"}})
	url := server.URL("postgres")
	historytest.Benchmark(b, func(b testing.TB) history.Store {
		exec(b, url, "DROP SCHEMA IF EXISTS parley CASCADE")
		return openAt(b, url, nil)
	})
}
