// Package adaptertest is the conformance suite for what connects servers: RunBus for drivers, and
// RunCluster for implementations of adapter.Cluster.
package adaptertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/parley-go/parley/adapter"
)

// Space is a namespace without a network: an adapter.Local whose sockets write down what they receive.
// It behaves as a server's namespace does: its own sockets first, then the others.
type Space struct {
	Link adapter.Link

	mu      sync.Mutex
	sockets map[string]*Socket
	order   []string
	events  []string
	handler func(data []byte) (answer []byte, handled bool)
	gaps    int
	made    int
	markers map[string]bool
}

// Socket is a socket of a Space.
type Socket struct {
	space  *Space
	id     string
	rooms  map[string]bool
	heard  []string
	answer []byte // acknowledges events; nil: never does
}

// NewSpace returns a namespace, connected to c.
func NewSpace(c adapter.Cluster, name string) *Space {
	s := &Space{sockets: map[string]*Socket{}, markers: map[string]bool{}}
	s.Link = c.Open(name, s)
	wait(s.Link.Ready())
	wait(s.Link.Touch(flushRoom))
	return s
}

// Connect adds a socket. Its id is the name of a room.
func (s *Space) Connect(id string) *Socket {
	socket := &Socket{space: s, id: id, rooms: map[string]bool{id: true}, answer: []byte(`["` + id + `"]`)}
	s.mu.Lock()
	s.sockets[id] = socket
	s.order = append(s.order, id)
	s.mu.Unlock()
	wait(s.Link.Touch(id))
	return socket
}

func wait(active <-chan struct{}) {
	if active != nil {
		<-active
	}
}

// Join makes the socket join, and waits as rule J asks.
func (k *Socket) Join(rooms ...string) {
	for _, active := range k.join(rooms) {
		wait(active)
	}
}

func (k *Socket) join(rooms []string) (active []<-chan struct{}) {
	k.space.mu.Lock()
	for _, room := range rooms {
		k.rooms[room] = true
	}
	k.space.mu.Unlock()
	for _, room := range rooms {
		active = append(active, k.space.Link.Touch(room))
	}
	return active
}

// Leave makes the socket leave rooms.
func (k *Socket) Leave(rooms ...string) {
	k.space.mu.Lock()
	for _, room := range rooms {
		delete(k.rooms, room)
	}
	k.space.mu.Unlock()
	for _, room := range rooms {
		k.space.Link.Touch(room)
	}
}

// Heard returns what the socket has received.
func (k *Socket) Heard() []string {
	k.space.mu.Lock()
	defer k.space.mu.Unlock()
	return slices.Clone(k.heard)
}

// Rooms returns the rooms of the socket, without its own.
func (k *Socket) Rooms() []string {
	k.space.mu.Lock()
	defer k.space.mu.Unlock()
	rooms := slices.Sorted(maps.Keys(k.rooms))
	return slices.DeleteFunc(rooms, func(room string) bool { return room == k.id })
}

// Silence makes the socket acknowledge nothing.
func (k *Socket) Silence() { k.Answer(nil) }

// Answer sets what the socket acknowledges events with: a JSON array.
func (k *Socket) Answer(array []byte) {
	k.space.mu.Lock()
	defer k.space.mu.Unlock()
	k.answer = array
}

// Gaps returns how often the namespace was told that it may have missed something.
func (s *Space) Gaps() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps
}

// Events returns what came for servers.
func (s *Space) Events() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

// Handle sets what answers events for servers.
func (s *Space) Handle(f func(data []byte) (answer []byte, handled bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = f
}

// Emit sends an event with a text to the sockets of all servers. They hear the text.
func (s *Space) Emit(to adapter.Selection, text string) error {
	data, err := json.Marshal([]string{"event", text})
	if err != nil {
		return err
	}
	m := &adapter.Message{Kind: adapter.Broadcast, Selection: to, Data: data}
	s.Deliver(m)
	return s.Link.Publish(m)
}

// SocketsJoin makes the sockets of all servers join rooms.
func (s *Space) SocketsJoin(which adapter.Selection, rooms ...string) error {
	m := &adapter.Message{Kind: adapter.Join, Selection: which, Targets: rooms}
	s.Change(m)
	return s.Link.Publish(m)
}

// SocketsLeave makes the sockets of all servers leave rooms.
func (s *Space) SocketsLeave(which adapter.Selection, rooms ...string) error {
	m := &adapter.Message{Kind: adapter.Leave, Selection: which, Targets: rooms}
	s.Change(m)
	return s.Link.Publish(m)
}

// chooseLocked returns the selected sockets, in the order in which they connected.
func (s *Space) chooseLocked(which adapter.Selection) (chosen []*Socket) {
	in := func(k *Socket) func(string) bool { return func(room string) bool { return k.rooms[room] } }
	for _, id := range s.order {
		k := s.sockets[id]
		if k != nil && (len(which.Rooms) == 0 || slices.ContainsFunc(which.Rooms, in(k))) && !slices.ContainsFunc(which.Except, in(k)) {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

// Has implements adapter.Local.
func (s *Space) Has(room string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return room == flushRoom || len(s.chooseLocked(adapter.Selection{Rooms: []string{room}})) > 0
}

// Deliver implements adapter.Local.
func (s *Space) Deliver(m *adapter.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := textOf(m.Data)
	if slices.Equal(m.Rooms, []string{flushRoom}) {
		s.markers[text] = true
	}
	for _, a := range m.Attachments {
		text += fmt.Sprintf(" %x", a)
	}
	for _, k := range s.chooseLocked(m.Selection) {
		k.heard = append(k.heard, text)
	}
}

// textOf returns the first argument of an event, if it is a text.
func textOf(data []byte) string {
	var args []json.RawMessage
	var text string
	if json.Unmarshal(data, &args) != nil || len(args) < 2 || json.Unmarshal(args[1], &text) != nil {
		return string(data)
	}
	return text
}

// DeliverAck implements adapter.Local.
func (s *Space) DeliverAck(m *adapter.Message, counted func(int), answered func([]byte, [][]byte)) {
	s.Deliver(m)
	s.mu.Lock()
	chosen := s.chooseLocked(m.Selection)
	answers := make([][]byte, len(chosen))
	for i, k := range chosen {
		answers[i] = k.answer
	}
	s.mu.Unlock()
	counted(len(chosen))
	for _, a := range answers {
		if a != nil {
			answered(a, nil)
		}
	}
}

// Fetch implements adapter.Local.
func (s *Space) Fetch(which adapter.Selection) (all []adapter.SocketInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.chooseLocked(which) {
		all = append(all, adapter.SocketInfo{
			ID: k.id, Rooms: slices.Sorted(maps.Keys(k.rooms)), Handshake: []byte(`{"address":"127.0.0.1"}`), Data: []byte(`{"of":"` + k.id + `"}`),
		})
	}
	return all
}

// Count implements adapter.Local.
func (s *Space) Count(which adapter.Selection) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.chooseLocked(which))
}

// RoomSizes implements adapter.Local.
func (s *Space) RoomSizes(which adapter.Selection) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	sizes := map[string]int{}
	for _, k := range s.chooseLocked(which) {
		for room := range k.rooms {
			if room != k.id {
				sizes[room]++
			}
		}
	}
	return sizes
}

// Change implements adapter.Local.
func (s *Space) Change(m *adapter.Message) (refused int) {
	s.mu.Lock()
	var touched []string
	for _, k := range s.chooseLocked(m.Selection) {
		switch m.Kind {
		case adapter.Join:
			for _, room := range m.Targets {
				k.rooms[room] = true
			}
			touched = append(touched, m.Targets...)
		case adapter.Leave:
			for _, room := range m.Targets {
				delete(k.rooms, room)
			}
			touched = append(touched, m.Targets...)
		case adapter.Disconnect:
			delete(s.sockets, k.id)
			touched = append(touched, slices.Collect(maps.Keys(k.rooms))...)
		}
	}
	s.mu.Unlock()
	for _, room := range touched {
		s.Link.Touch(room)
	}
	return 0
}

// Event implements adapter.Local.
func (s *Space) Event(m *adapter.Message, answer func([]byte, [][]byte)) bool {
	s.mu.Lock()
	s.events = append(s.events, string(m.Data))
	f := s.handler
	s.mu.Unlock()
	if f == nil {
		return false
	}
	data, handled := f(m.Data)
	if data != nil {
		answer(data, nil)
	}
	return handled
}

// Gap implements adapter.Local.
func (s *Space) Gap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gaps++
}

func (s *Space) socket(id string) *Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sockets[id]
}

// flushRoom is a room without sockets, in which a Space hears markers.
const flushRoom = "~flush"

// marker returns a text that no flush has used.
func (s *Space) marker() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made++
	return fmt.Sprintf("%p %d", s, s.made)
}

func (s *Space) flushed(marker string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.markers[marker]
}
