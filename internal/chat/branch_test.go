package chat_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historybus"
	"github.com/parley-go/parley/internal/chat"
)

// A branch is the desk of one server of a cluster. All have the same store.
type branch struct {
	*desk
	node *adapter.Native
	bus  *adapter.MemoryBus
	net  *adapter.Memory
	deaf *deaf
	// another starts one more server.
	another func() *branch
}

// deaf is an exchange that does not hear some of what others say, and is slow to hear their answers.
type deaf struct {
	adapter.Exchange
	slow time.Duration
	mu   sync.Mutex
	not  func(subject string, data []byte) bool
}

func (d *deaf) Ask(ctx context.Context, to adapter.NodeID, subject string, question []byte) ([]byte, error) {
	answer, err := d.Exchange.Ask(ctx, to, subject, question)
	time.Sleep(d.slow)
	return answer, err
}

func (d *deaf) Hear(subject string, f func(adapter.Node, []byte)) adapter.Listening {
	return d.Exchange.Hear(subject, func(from adapter.Node, data []byte) {
		d.mu.Lock()
		not := d.not
		d.mu.Unlock()
		if not == nil || !not(subject, data) {
			f(from, data)
		}
	})
}

// misses makes the server deaf for what not selects; nil: for nothing.
func (b *branch) misses(not func(subject string, data []byte) bool) {
	b.deaf.mu.Lock()
	defer b.deaf.mu.Unlock()
	b.deaf.not = not
}

// atDesks runs f with the desks of n closed servers, or with what setUp makes of them.
func atDesks(t *testing.T, n int, setUp func(*chat.Options), f func(t *testing.T, b []*branch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		quiet := slog.New(slog.DiscardHandler)
		store, net := &hooked{Memory: history.NewMemory()}, adapter.NewMemory()
		net.Delay = time.Millisecond
		var branches []*branch
		start := func() *branch {
			i := len(branches)
			bus := net.Connect()
			node, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint("server", i), Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { node.Close() })
			if err := node.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
			log := history.NewLog(store, &history.LogOptions{Bus: historybus.New(node, bus), Logger: quiet})
			t.Cleanup(log.Close)
			h, exchange := &hall{members: map[string][]*peer{}}, &deaf{Exchange: node}
			o := chat.Options{
				PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, MaxMessage: maxMessage, Timeout: 10 * time.Second, Announcer: h,
				Closed: func() bool { return true }, EditWindow: 24 * time.Hour, Cluster: exchange,
				Failed: func(doing string, err error) { t.Errorf("%s: %v", doing, err) },
			}
			if setUp != nil {
				setUp(&o)
			}
			d := &desk{T: t, Service: chat.New(store, log, o), store: store, log: log, hall: h, n: 100 * i}
			branches = append(branches, &branch{desk: d, node: node, bus: bus, net: net, deaf: exchange})
			return branches[i]
		}
		for range n {
			start().another = start
		}
		time.Sleep(time.Second) // they know each other
		f(t, branches)
		synctest.Wait()
	})
}

// open makes the servers open ones.
func open(o *chat.Options) { o.Closed = nil }

// names returns who is shown, by user or operator, and how many there are.
func names(j chat.Joined) string {
	var all []string
	for _, m := range j.Members {
		all = append(all, m.UserID+m.OperatorID)
	}
	slices.Sort(all)
	return fmt.Sprint(all, " ", j.Count)
}

func wantNames(t *testing.T, j chat.Joined, want string) {
	t.Helper()
	if got := names(j); got != want {
		t.Errorf("members %s, want %s", got, want)
	}
}
