package adaptertest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/proxytest"
	"github.com/parley-go/parley/internal/soak"
)

// Faulty is three servers that send to each other all the time, over a bus that is going to fail.
type Faulty struct {
	*Traffic
	Servers []*adapter.Native
	Proxies []*proxytest.Proxy // through which each server reaches the bus
}

// Fail starts the servers, with the beat and the logger of some options. connect returns the bus of a server,
// and reaches it through the proxy. The bus works when Fail returns.
func Fail(t *testing.T, o adapter.Options, connect func(server int, through *proxytest.Proxy) adapter.Bus) *Faulty {
	t.Helper()
	f := &Faulty{}
	var all []adapter.Cluster
	for i := range 3 {
		proxy := proxytest.New(t)
		o := o
		o.Name = fmt.Sprint("server ", i)
		n, err := adapter.New(connect(i, proxy), &o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		f.Servers, f.Proxies, all = append(f.Servers, n), append(f.Proxies, proxy), append(all, n)
	}
	f.Traffic = NewTraffic(t, all...)
	f.up() // or Down would take one that has just joined for one that has noticed
	return f
}

func (f *Faulty) up() {
	f.t.Helper()
	for _, n := range f.Servers {
		Eventually(f.t, "the bus is up", func() bool { return n.Stats().Up })
	}
}

// Down waits until a server knows that the bus is away, or does not hear the others.
func (f *Faulty) Down(server int) {
	f.t.Helper()
	n := f.Servers[server]
	Eventually(f.t, "a server notices", func() bool { return !n.Stats().Up || len(n.Nodes()) < len(f.Servers) })
}

// AllDown is Down for all servers.
func (f *Faulty) AllDown() {
	f.t.Helper()
	for i := range f.Servers {
		f.Down(i)
	}
}

// Sees waits until a server knows a number of servers.
func (f *Faulty) Sees(server, n int) {
	f.t.Helper()
	Eventually(f.t, fmt.Sprintf("server %d knows %d servers", server, n), func() bool { return len(f.Servers[server].Nodes()) == n })
}

// Gapped waits until some servers, or all if none is named, have been told that they may have missed something.
func (f *Faulty) Gapped(servers ...int) {
	f.t.Helper()
	for i := range f.Servers {
		if len(servers) == 0 || slices.Contains(servers, i) {
			Eventually(f.t, fmt.Sprintf("server %d knows of a gap", i), func() bool { return f.Gaps(i) > 0 })
		}
	}
}

// Outage takes the bus away from all servers until they have noticed, and for some time more.
func (f *Faulty) Outage(begin, end func(), more time.Duration) {
	f.t.Helper()
	begin()
	f.AllDown()
	f.Sends()
	time.Sleep(more)
	end()
	f.Gapped()
}

// HalfOpen makes all vanish that passes the proxy of one server, while its connections stay open.
func (f *Faulty) HalfOpen() {
	f.t.Helper()
	f.Proxies[0].Swallow(true)
	f.Down(0)
	f.Down(1)
	f.Sends()
	time.Sleep(soak.Time(0, 20*time.Second))
	f.Proxies[0].Swallow(false)
	f.Gapped(1, 2)
}

// Cut cuts the connections of one server again and again.
func (f *Faulty) Cut() {
	f.t.Helper()
	for range soak.Times(5, 100) {
		f.Proxies[0].Cut()
		f.Flows()
	}
}

// Over waits until everybody hears everybody again, and ends the traffic. What was lost, they know, and nobody
// has received what it did not understand.
func (f *Faulty) Over() {
	f.t.Helper()
	back := time.Now()
	f.Flows()
	f.t.Logf("everything flows again after %v", time.Since(back).Round(10*time.Millisecond))
	for i, n := range f.Servers {
		f.Sees(i, len(f.Servers))
		if s := n.Stats(); s.Malformed > 0 {
			f.t.Errorf("server %d: %+v", i, s)
		}
	}
	f.up()
	f.t.Logf("%d messages were lost, and everybody knows", f.Stop())
}
