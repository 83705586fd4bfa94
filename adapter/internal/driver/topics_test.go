package driver_test

import (
	"fmt"
	"testing"

	"github.com/parley-go/parley/adapter/internal/driver"
)

// While there is no connection, topics that nobody listens to any more leave nothing behind, however often they
// come and go.
func TestTopicsOfAnOutage(t *testing.T) {
	core := driver.New[string](driver.Options{Logger: quiet})
	stays := core.Listen("stays", nil)
	core.Renew()
	if add, remove := core.Change(); len(add) != 1 || len(remove) != 0 || !core.Activate(add) {
		t.Fatalf("subscribed %v, unsubscribed %v", add, remove)
	}
	for round := range 2 {
		for i := range 100 {
			core.Listen(fmt.Sprint("topic ", i), nil).Close()
			core.Listen("stays", nil).Close()
		}
		if topics, dirty := core.Remembered(); topics != 1 || dirty > 1 {
			t.Errorf("round %d: %d topics, %d of them dirty", round, topics, dirty)
		}
		core.Renew() // the connection is back
	}
	core.Listen("new", nil)
	added := map[string]bool{}
	for range 2 {
		add, _ := core.Change()
		for _, topic := range add {
			added[topic] = true
		}
	}
	if len(added) != 2 || !added["stays"] || !added["new"] {
		t.Errorf("subscribed %v", added)
	}
	stays.Close() // it is subscribed, so it has to be unsubscribed
	if _, remove := core.Change(); len(remove) != 1 {
		t.Errorf("unsubscribed %v", remove)
	}
}
