package parley_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/soak"
)

// said is an event of the model: the sockets that it is for.
type said struct {
	all         bool
	room, but   string
	to          string // a socket's id
	from, n     int
	attachments bool
}

func (e *said) concerns(id string, rooms []string) bool {
	switch {
	case e.to != "":
		return e.to == id
	case e.but != "" && slices.Contains(rooms, e.but):
		return false
	}
	return e.all || slices.Contains(rooms, e.room)
}

// world is servers that speak, and clients that go from one to another.
type world struct {
	*testing.T
	net    *adapter.Memory
	skewed bool

	mu      sync.RWMutex // held for writing while servers come and go
	members []*member
	made    int

	speaking atomic.Bool
	talk     sync.WaitGroup
	idsMu    sync.Mutex
	ids      []string
	clients  []*roamer
}

// member is a server that speaks.
type member struct {
	n      int
	server *parley.Server
	url    string
	said   []said
}

// roamer is a client of the world.
type roamer struct {
	w       *world
	at      *member
	conn    *client
	session connected
	last    string
	rooms   []string
	since   map[*member]int // what each server had said when the client began
	heard   map[int][]int   // by sender
}

var roamRooms = []string{"one", "two", "three", "four"}

func (w *world) addServer() *member {
	bus := w.net.Connect()
	var b adapter.Bus = bus
	if w.skewed {
		b = skew(bus)
	}
	log, _ := logBuffer()
	c, err := adapter.New(b, &adapter.Options{Name: fmt.Sprint("node ", w.made), Logger: log})
	ok(w.T, err)
	server, url := serve(w.T, &parley.Options{Cluster: c, Recovery: &parley.Recovery{}})
	server.SetMoveTimeForTest(patience)
	m := &member{n: w.made, server: server, url: url}
	w.made++
	w.members = append(w.members, m)
	for _, other := range w.members {
		eventually(w.T, "acquaintance", func() bool { return len(other.server.Nodes()) == len(w.members) })
	}
	return m
}

// speak makes all servers speak until hush.
func (w *world) speak() {
	w.speaking.Store(true)
	for _, m := range w.members {
		w.talk.Go(func() {
			for w.speaking.Load() {
				w.mu.RLock()
				if slices.Contains(w.members, m) {
					m.say(w)
				}
				w.mu.RUnlock()
				time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			}
		})
	}
}

func (m *member) say(w *world) {
	e := said{from: m.n, n: len(m.said), attachments: rand.IntN(8) == 0}
	var b *parley.Broadcast
	switch rand.IntN(6) {
	case 0:
		e.all = true
		b = m.server.All()
	case 1:
		e.all, e.but = true, roamRooms[rand.IntN(len(roamRooms))]
		b = m.server.Except(e.but)
	case 2:
		w.idsMu.Lock()
		e.to = w.ids[rand.IntN(len(w.ids))]
		w.idsMu.Unlock()
		b = m.server.To(e.to)
	default:
		e.room = roamRooms[rand.IntN(len(roamRooms))]
		b = m.server.To(e.room)
	}
	m.said = append(m.said, e)
	args := []any{m.n, e.n}
	if e.attachments {
		args = append(args, parley.Binary{1, 2, 3})
	}
	ok(w.T, b.Emit("say", args...))
}

// hush waits until everything that was said has arrived.
func (w *world) hush() {
	w.speaking.Store(false)
	w.talk.Wait()
	for range 2 {
		for _, m := range w.members {
			ctx, cancel := context.WithTimeout(w.Context(), patience)
			_, err := m.server.Count(ctx)
			ok(w.T, err)
			cancel()
		}
	}
}

func (w *world) join() *roamer {
	c := &roamer{w: w}
	c.at = w.members[rand.IntN(len(w.members))]
	c.conn = dial(w.T, c.at.url)
	c.session = c.conn.connect("", "")
	w.ids = append(w.ids, c.session.SID)
	c.begin()
	w.clients = append(w.clients, c)
	return c
}

// begin makes a client expect everything from now on. Nobody speaks.
func (c *roamer) begin() {
	c.since, c.heard = map[*member]int{}, map[int][]int{}
	for _, m := range c.w.members {
		c.since[m] = len(m.said)
	}
}

// take handles one event. It reports whether it was the marker.
func (c *roamer) take(message string) (marker bool) {
	var args []any
	i := strings.IndexByte(message, '[')
	if i < 0 || json.Unmarshal([]byte(message[i:]), &args) != nil {
		c.w.Errorf("received %q", message)
		return false
	}
	if offset, text := args[len(args)-1].(string); text {
		c.last = offset
	}
	if args[0] == "marker" {
		return true
	}
	if strings.HasPrefix(message, "451-") {
		c.conn.recvBinary()
	}
	from, n := int(args[1].(float64)), int(args[2].(float64))
	c.heard[from] = append(c.heard[from], n)
	return false
}

// move makes the client lose its connection, and come back, to any server.
func (c *roamer) move() {
	if rand.IntN(2) == 0 {
		for range rand.IntN(20) { // it has read some of what has come
			m, err := c.conn.tryRecv()
			if err != nil || m == "41" {
				break // the server shuts down
			}
			c.take(m)
		}
	}
	c.conn.cut()
	if rand.IntN(2) == 0 {
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond)
	}
	c.comeBack()
}

// comeBack goes to any server, until one lets it in.
func (c *roamer) comeBack() {
	for tries := 0; ; tries++ {
		c.w.mu.RLock()
		c.at = c.w.members[rand.IntN(len(c.w.members))]
		url := c.at.url
		c.w.mu.RUnlock()
		conn, err := tryDial(c.w.T, url)
		if err != nil { // it is shutting down
			continue
		}
		c.conn = conn
		if c.answered(back(c.session.PID, c.last)) {
			return
		}
	}
}

// answered joins, and reads what the client has missed. Sometimes it is cut off before it has the answer.
func (c *roamer) answered(auth string) bool {
	if c.conn.trySend("40"+auth) != nil {
		return false
	}
	cut := -1
	if rand.IntN(3) == 0 {
		cut = rand.IntN(10)
	}
	for i := 0; ; i++ {
		if i == cut {
			c.conn.cut()
			return false
		}
		m, err := c.conn.tryRecv()
		if err != nil {
			return false
		}
		if rest, found := strings.CutPrefix(m, "40"); found {
			var answer connected
			ok(c.w.T, json.Unmarshal([]byte(rest), &answer))
			if answer != c.session {
				c.w.Errorf("not recovered: %+v, not %+v, after %q", answer, c.session, c.last)
				c.session = answer
			}
			return true
		}
		if strings.HasPrefix(m, "41") {
			return false
		}
		c.take(m)
	}
}

// untilMarker reads until the marker. It reports false if the connection ends before.
func (c *roamer) untilMarker() bool {
	for {
		m, err := c.conn.tryRecv()
		if err != nil || m == "41" {
			return false
		}
		if c.take(m) {
			return true
		}
	}
}

// check compares what a client has heard with what was said.
func (c *roamer) check() {
	s := c.at.server.Socket(c.session.SID)
	for s == nil || s.Emit("marker") != nil || !c.untilMarker() {
		// The server has shut down, or an earlier attempt, which was slow, has taken the session from the
		// client. It comes back.
		c.untilMarker()
		c.comeBack()
		s = c.at.server.Socket(c.session.SID)
	}
	for m, since := range c.since {
		var want []int
		for _, e := range m.said[since:] {
			if e.concerns(c.session.SID, c.rooms) {
				want = append(want, e.n)
			}
		}
		if got := c.heard[m.n]; !slices.Equal(got, want) {
			i := 0
			for i < len(got) && i < len(want) && got[i] == want[i] {
				i++
			}
			tail := func(of []int) (all []said) {
				for _, n := range of[min(i, len(of)):min(i+3, len(of))] {
					all = append(all, m.said[n])
				}
				return all
			}
			c.w.Errorf("%s in %q heard of server %d, after %d events,\n%+v instead of\n%+v", c.session.SID, c.rooms, m.n, i, tail(got), tail(want))
		}
	}
	// Now it changes its rooms.
	if rand.IntN(2) == 0 {
		room := roamRooms[rand.IntN(len(roamRooms))]
		if i := slices.Index(c.rooms, room); i >= 0 {
			s.Leave(room)
			c.rooms = slices.Delete(c.rooms, i, i+1)
		} else {
			ok(c.w.T, s.Join(room))
			c.rooms = append(c.rooms, room)
		}
	}
}

// drain replaces a server while its clients are there.
func (w *world) drain() {
	w.mu.Lock()
	m := w.members[0]
	w.members = slices.Delete(slices.Clone(w.members), 0, 1)
	w.mu.Unlock()
	ok(w.T, m.server.Shutdown(w.Context()))
}

// Clients go from server to server while everybody speaks, are cut off at any moment, change their
// rooms, and servers leave. Everybody hears what is for them, once and in order.
func TestRoaming(t *testing.T) {
	for _, skewed := range []bool{false, true} {
		t.Run(fmt.Sprintf("skewed: %v", skewed), func(t *testing.T) {
			w := &world{T: t, net: adapter.NewMemory(), skewed: skewed}
			w.net.Delay = time.Millisecond
			for range 3 {
				w.addServer()
			}
			for range 6 {
				w.join()
			}
			for round := range soak.Times(6, 300) {
				w.speak()
				var moves sync.WaitGroup
				for _, c := range w.clients {
					moves.Go(func() {
						for range 4 {
							c.move()
						}
					})
				}
				if round%3 == 2 {
					w.drain()
				}
				moves.Wait()
				w.hush()
				for _, c := range w.clients {
					c.check()
					c.begin()
				}
				if t.Failed() {
					t.Fatalf("in round %d", round)
				}
				if len(w.members) < 3 {
					w.addServer()
					for _, c := range w.clients {
						c.begin()
					}
				}
			}
		})
	}
}
