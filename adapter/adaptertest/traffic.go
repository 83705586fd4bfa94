package adaptertest

import (
	"encoding/binary"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
)

// Traffic makes servers send to each other all the time, and counts what arrives. It is for tests of faults:
// whatever happens, what a server misses, it must know about.
type Traffic struct {
	// Late says that the network holds back what was sent before an outage until after it. It may then
	// arrive after what was sent over a new connection. A server that it comes to must know of a gap.
	Late bool

	t       *testing.T
	servers []*trafficServer
	stop    chan struct{}
	sending sync.WaitGroup
}

const trafficRooms = 20

// trafficServer is an adapter.Local with a member in each room.
type trafficServer struct {
	adapter.Local // the methods that are not called: nobody asks
	link          adapter.Link
	number        int
	sent          atomic.Int64

	mu      sync.Mutex
	streams map[trafficStream]*received
	gaps    int // how often it was told that it may have missed something
	strange []string
}

// trafficStream is what one server sends to one room.
type trafficStream struct{ from, room int }

// received is what has arrived of a stream.
type received struct {
	last  uint64
	holes []int // the gaps that the server knew of when it received the last message before each hole
	gaps  int   // those that it knew of when it received the last message
	lost  int
}

func room(n int) string { return fmt.Sprint("room ", n) }

// NewTraffic starts the traffic. It must be stopped before the servers are closed.
func NewTraffic(t *testing.T, clusters ...adapter.Cluster) *Traffic {
	tr := &Traffic{t: t, stop: make(chan struct{})}
	for i, c := range clusters {
		s := &trafficServer{number: i, streams: map[trafficStream]*received{}}
		s.link = c.Open("/traffic", s)
		wait(s.link.Ready())
		for r := range trafficRooms {
			wait(s.link.Touch(room(r)))
		}
		tr.servers = append(tr.servers, s)
	}
	for _, c := range clusters {
		Eventually(t, "each server knows the others", func() bool { return len(c.Nodes()) == len(clusters) })
	}
	for _, s := range tr.servers {
		tr.sending.Go(func() { s.send(tr.stop) })
	}
	tr.Flows()
	return tr
}

// send sends to one room after the other, about 500 messages a second.
func (s *trafficServer) send(stop <-chan struct{}) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for n := uint64(1); ; n++ {
		for r := range trafficRooms {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			data := binary.BigEndian.AppendUint64([]byte{byte(s.number), byte(r)}, n)
			// The error says that it will not arrive; the others learn it otherwise.
			_ = s.link.Publish(&adapter.Message{Kind: adapter.Broadcast, Selection: in(room(r)), Data: data})
			s.sent.Add(1)
		}
	}
}

// Has implements adapter.Local.
func (s *trafficServer) Has(room string) bool { return strings.HasPrefix(room, "room ") }

// Count implements adapter.Local.
func (s *trafficServer) Count(adapter.Selection) int { return trafficRooms }

// Gap implements adapter.Local.
func (s *trafficServer) Gap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps++
}

// Deliver implements adapter.Local.
func (s *trafficServer) Deliver(m *adapter.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from, n := trafficStream{int(m.Data[0]), int(m.Data[1])}, binary.BigEndian.Uint64(m.Data[2:])
	r := s.streams[from]
	if r == nil {
		r = &received{}
		s.streams[from] = r
	}
	switch {
	case n <= r.last:
		s.strange = append(s.strange, fmt.Sprintf("%v: %d after %d", from, n, r.last))
		return
	case r.last > 0 && n > r.last+1: // what comes first may have been sent before it listened
		r.holes = append(r.holes, r.gaps)
		r.lost += int(n - r.last - 1)
	}
	r.last, r.gaps = n, s.gaps
}

// Flows waits until each server hears from each other one in each room, again.
func (tr *Traffic) Flows() {
	tr.t.Helper()
	tr.FlowsIn(trafficRooms)
}

// FlowsIn waits until each server hears from each other one in some rooms, whichever.
func (tr *Traffic) FlowsIn(rooms int) {
	tr.t.Helper()
	before := make([]map[trafficStream]uint64, len(tr.servers))
	for i, s := range tr.servers {
		before[i] = s.heard()
	}
	for i, to := range tr.servers {
		for from := range tr.servers {
			if from == i {
				continue
			}
			Eventually(tr.t, fmt.Sprintf("server %d hears server %d in %d rooms", i, from, rooms), func() bool {
				now, n := to.heard(), 0
				for r := range trafficRooms {
					of := trafficStream{from, r}
					if now[of] > max(before[i][of], 1) { // the first one may come before a hole
						n++
					}
				}
				return n >= rooms
			})
		}
	}
}

// heard returns the number of the last message of each stream.
func (s *trafficServer) heard() map[trafficStream]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[trafficStream]uint64, len(s.streams))
	for of, r := range s.streams {
		all[of] = r.last
	}
	return all
}

// Sends waits until each server has sent some more messages. That does not depend on any bus.
func (tr *Traffic) Sends() {
	tr.t.Helper()
	for _, s := range tr.servers {
		before := s.sent.Load()
		Eventually(tr.t, "a server sends", func() bool { return s.sent.Load() > before+100 })
	}
}

// Gaps returns how often a server was told that it may have missed something.
func (tr *Traffic) Gaps(server int) int {
	s := tr.servers[server]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps
}

// Silent returns how many times a server misses something and does not know it, or not yet.
func (tr *Traffic) Silent() (n int) {
	for _, s := range tr.servers {
		s.mu.Lock()
		for _, r := range s.streams {
			for _, known := range r.holes {
				if known >= s.gaps {
					n++
				}
			}
		}
		s.mu.Unlock()
	}
	return n
}

// Stop ends the traffic. It checks that nothing arrived twice or in another order, and that each server
// knows of a gap for everything that it has not received. It returns how much that is.
func (tr *Traffic) Stop() (lost int) {
	tr.t.Helper()
	tr.Flows() // so that each hole has an end
	close(tr.stop)
	tr.sending.Wait()
	Eventually(tr.t, "the servers know of what they have missed", func() bool { return tr.Silent() == 0 })
	for _, s := range tr.servers {
		s.mu.Lock()
		for _, r := range s.streams {
			lost += r.lost
		}
		if len(s.strange) > 0 && !(tr.Late && s.gaps > 0) {
			tr.t.Errorf("server %d received %d messages twice or in the wrong order, such as %s", s.number, len(s.strange), s.strange[0])
		}
		s.mu.Unlock()
	}
	return lost
}
