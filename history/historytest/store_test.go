package historytest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openMemory(t testing.TB) history.Store {
	store := history.NewMemory()
	t.Cleanup(func() { store.Close() })
	return store
}

func TestMemory(t *testing.T) { historytest.Run(t, openMemory) }
