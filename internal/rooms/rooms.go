// Package rooms is the membership index of a namespace: who is there, and who is
// in which room. It is a data structure and does no I/O.
//
// Every member is in the room that has its own id as a name, which costs nothing until
// somebody else joins it. Joining, leaving and removing a member take time in the number
// of that member's rooms, whatever the rooms' sizes.
package rooms

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Index holds members and rooms. It is safe for concurrent use.
//
// Locks are taken in the order member, shard or index; no two of a kind at once.
type Index[V any] struct {
	seed   maphash.Seed
	shards [16]shard[V]

	mu      sync.RWMutex
	members map[string]*Member[V]
	all     []*Member[V] // the same, to be walked
}

type shard[V any] struct {
	mu    sync.RWMutex
	rooms map[string]*room[V]
}

type room[V any] struct {
	name  string
	seats []*seat[V]
}

// seat is one member's place in one room.
type seat[V any] struct {
	member *Member[V]
	room   *room[V]
	at     int // index in room.seats, guarded by the shard's lock
}

// Member is somebody who can be in rooms; Value says who. It is embedded in that value or
// kept beside it, and belongs to one Index.
type Member[V any] struct {
	ID    string
	Value V

	at      int // index in Index.all, guarded by Index.mu
	mu      sync.Mutex
	seats   []*seat[V]
	present bool        // added and not removed
	own     atomic.Bool // in the room named by its id; changed under mu
}

// New returns an empty index.
func New[V any]() *Index[V] {
	x := &Index[V]{seed: maphash.MakeSeed(), members: map[string]*Member[V]{}}
	for i := range x.shards {
		x.shards[i].rooms = map[string]*room[V]{}
	}
	return x
}

func (x *Index[V]) shard(name string) *shard[V] {
	return &x.shards[maphash.String(x.seed, name)%uint64(len(x.shards))]
}

// Add adds m, whose ID and Value are set, and puts it into rooms before anybody can find
// it. If another member has the same id, that one is not found by it any more, but stays among
// all until it is removed. Add returns those rooms that had no members before.
func (x *Index[V]) Add(m *Member[V], rooms ...string) (created []string) {
	m.mu.Lock()
	m.present = true
	m.own.Store(true)
	for _, name := range rooms {
		if _, first := x.joinLocked(m, name); first {
			created = append(created, name)
		}
	}
	m.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.members[m.ID] = m
	m.at = len(x.all)
	x.all = append(x.all, m)
	return created
}

// Remove takes m out of the index and all of its rooms. It returns the rooms it was in,
// its own last, and those among them that are empty now.
func (x *Index[V]) Remove(m *Member[V]) (left, emptied []string) {
	x.mu.Lock()
	if x.members[m.ID] == m {
		delete(x.members, m.ID)
	}
	if m.at < len(x.all) && x.all[m.at] == m {
		last := len(x.all) - 1
		x.all[m.at] = x.all[last]
		x.all[m.at].at = m.at
		x.all[last] = nil
		x.all = x.all[:last]
	}
	x.mu.Unlock()

	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.present {
		return nil, nil
	}
	m.present = false
	for _, s := range m.seats {
		left = append(left, s.room.name)
		if x.vacate(s) {
			emptied = append(emptied, s.room.name)
		}
	}
	m.seats = nil
	if m.own.Swap(false) {
		left = append(left, m.ID)
		if !x.exists(m.ID) {
			emptied = append(emptied, m.ID)
		}
	}
	return left, emptied
}

// vacate takes a seat away and reports whether its room is empty now.
func (x *Index[V]) vacate(s *seat[V]) (emptied bool) {
	return x.removeSeat(s) && x.owner(s.room.name) == nil
}

func (x *Index[V]) removeSeat(s *seat[V]) (last bool) {
	sh := x.shard(s.room.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := s.room
	end := len(r.seats) - 1
	r.seats[s.at] = r.seats[end]
	r.seats[s.at].at = s.at
	r.seats[end] = nil
	r.seats = r.seats[:end]
	if end == 0 {
		delete(sh.rooms, r.name)
	}
	return end == 0
}

// Join puts m into a room. joined is false if it was there already or has been removed;
// created says that the room had no members before; ok is false if m would be in more
// than limit rooms, not counting its own.
func (x *Index[V]) Join(m *Member[V], name string, limit int) (joined, created, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.present {
		return false, false, true
	}
	if limit > 0 && len(m.seats) >= limit && name != m.ID && !m.seatedLocked(name) {
		return false, false, false
	}
	joined, created = x.joinLocked(m, name)
	return joined, created, true
}

// joinLocked is Join of a member that is present, without limit.
func (x *Index[V]) joinLocked(m *Member[V], name string) (joined, created bool) {
	if name == m.ID {
		joined = !m.own.Swap(true)
		return joined, joined && !x.exists(name)
	}
	if m.seatedLocked(name) {
		return false, false
	}
	first := x.addSeat(m, name)
	return true, first && x.owner(name) == nil
}

func (x *Index[V]) addSeat(m *Member[V], name string) (first bool) {
	sh := x.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[name]
	if r == nil {
		r = &room[V]{name: name}
		sh.rooms[name] = r
	}
	s := &seat[V]{member: m, room: r, at: len(r.seats)}
	r.seats = append(r.seats, s)
	m.seats = append(m.seats, s)
	return len(r.seats) == 1
}

// Leave takes m out of a room. left is false if it was not there; emptied says that nobody
// is there any more.
func (x *Index[V]) Leave(m *Member[V], name string) (left, emptied bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == m.ID && m.own.Swap(false) {
		return true, !x.exists(name)
	}
	i := slices.IndexFunc(m.seats, func(s *seat[V]) bool { return s.room.name == name })
	if i < 0 {
		return false, false
	}
	s := m.seats[i]
	m.seats = slices.Delete(m.seats, i, i+1)
	return true, x.vacate(s)
}

// owner returns the member whose own room this is, if it is there.
func (x *Index[V]) owner(name string) *Member[V] {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if m := x.members[name]; m != nil && m.own.Load() {
		return m
	}
	return nil
}

// exists reports whether anybody has a seat in the room.
func (x *Index[V]) exists(name string) bool {
	sh := x.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.rooms[name] != nil
}

// In reports whether m is in the room.
func (m *Member[V]) In(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return name == m.ID && m.own.Load() || m.seatedLocked(name)
}

// seatedLocked is In for rooms that are not m's own.
func (m *Member[V]) seatedLocked(name string) bool {
	return slices.ContainsFunc(m.seats, func(s *seat[V]) bool { return s.room.name == name })
}

// Rooms returns the names of m's rooms, its own first.
func (m *Member[V]) Rooms() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.seats)+1)
	if m.own.Load() {
		names = append(names, m.ID)
	}
	for _, s := range m.seats {
		names = append(names, s.room.name)
	}
	return names
}

// Get returns the member with the id.
func (x *Index[V]) Get(id string) (v V, ok bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if m := x.members[id]; m != nil {
		return m.Value, true
	}
	return v, false
}

// Len returns the number of members.
func (x *Index[V]) Len() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.all)
}

// Rooms returns the number of rooms that are not a member's own.
func (x *Index[V]) Rooms() int {
	n := 0
	for i := range x.shards {
		sh := &x.shards[i]
		sh.mu.RLock()
		n += len(sh.rooms)
		sh.mu.RUnlock()
	}
	return n
}

// Size returns how many members are in the room.
func (x *Index[V]) Size(name string) int {
	n := 0
	if x.owner(name) != nil {
		n++
	}
	sh := x.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if r := sh.rooms[name]; r != nil {
		n += len(r.seats)
	}
	return n
}

// Sizes returns the rooms and how many members are in each. A member's own room is left out while
// nobody else is there.
func (x *Index[V]) Sizes() map[string]int {
	sizes := map[string]int{}
	for i := range x.shards {
		sh := &x.shards[i]
		sh.mu.RLock()
		for name, r := range sh.rooms {
			sizes[name] = len(r.seats)
		}
		sh.mu.RUnlock()
	}
	for name := range sizes {
		if x.owner(name) != nil {
			sizes[name]++
		}
	}
	return sizes
}

// All appends to dst the values of all members that are in none of the rooms of except. Like
// Select it is a copy: sending to ten thousand members holds no lock.
func (x *Index[V]) All(dst []V, except []string) []V {
	skip := map[*Member[V]]struct{}{}
	for _, name := range except {
		x.each(name, func(m *Member[V]) { skip[m] = struct{}{} })
	}
	x.eachMember(func(m *Member[V]) {
		if _, found := skip[m]; !found {
			dst = append(dst, m.Value)
		}
	})
	return dst
}

// Select appends to dst the values of those members that are in any of the rooms and in none
// of except, each once. Of no rooms it selects nobody.
func (x *Index[V]) Select(dst []V, rooms, except []string) []V {
	if len(except) == 0 && len(rooms) == 1 {
		x.each(rooms[0], func(m *Member[V]) { dst = append(dst, m.Value) })
		return dst
	}
	skip := map[*Member[V]]struct{}{}
	for _, name := range except {
		x.each(name, func(m *Member[V]) { skip[m] = struct{}{} })
	}
	several := len(rooms) > 1 // or else nobody is met twice
	for _, name := range rooms {
		x.each(name, func(m *Member[V]) {
			if _, found := skip[m]; found {
				return
			}
			if several {
				skip[m] = struct{}{}
			}
			dst = append(dst, m.Value)
		})
	}
	return dst
}

func (x *Index[V]) eachMember(f func(*Member[V])) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, m := range x.all {
		f(m)
	}
}

// each calls f for the room's members; f must not use the index.
func (x *Index[V]) each(name string, f func(*Member[V])) {
	if m := x.owner(name); m != nil {
		f(m)
	}
	sh := x.shard(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	if r := sh.rooms[name]; r != nil {
		for _, s := range r.seats {
			f(s.member)
		}
	}
}
