// Package rooms is the membership index of a namespace: it knows the members, and the rooms of
// each. It is a data structure and does no I/O.
//
// Every member starts in a room of its own, whose name is the member's id. This room costs nothing
// until another member joins it. Joining, leaving and removing take time proportional to the number
// of the member's rooms, whatever the size of those rooms.
package rooms

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// Index holds members and rooms. It is safe for concurrent use.
//
// Lock order: a member first, then a shard or the index. Nobody holds two locks of the same kind.
type Index[V any] struct {
	seed   maphash.Seed
	shards [16]shard[V]

	mu      sync.RWMutex
	members map[string]*Member[V]
	all     []*Member[V] // for iteration; includes members whose id another member has taken
}

type shard[V any] struct {
	mu    sync.RWMutex
	rooms map[string]*room[V]
}

type room[V any] struct {
	name   string
	places []*place[V]
}

// place is one member's entry in one room.
type place[V any] struct {
	member *Member[V]
	room   *room[V]
	at     int // index in room.places; the shard's lock guards it
}

// Member is an entry of the index that can join rooms. Value is what it stands for. You can embed a
// Member in that value or keep it beside. A Member belongs to one Index.
type Member[V any] struct {
	ID    string
	Value V

	at      int // index in Index.all; Index.mu guards it
	mu      sync.Mutex
	places  []*place[V]
	present bool        // added and not removed
	own     atomic.Bool // in its own room; changes under mu
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

// Add adds m and puts it into rooms before others can find it. Set its ID and Value first. If
// another member has the same id, Get no longer finds that one, but All does until you remove it.
// Add returns the rooms that had no members before.
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

// Remove removes m from the index and from all of its rooms. It returns the rooms that m was in,
// its own last, and which of them are empty now.
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
	for _, s := range m.places {
		left = append(left, s.room.name)
		if x.vacate(s) {
			emptied = append(emptied, s.room.name)
		}
	}
	m.places = nil
	if m.own.Swap(false) {
		left = append(left, m.ID)
		if !x.exists(m.ID) {
			emptied = append(emptied, m.ID)
		}
	}
	return left, emptied
}

// vacate removes a place and reports whether its room is empty now.
func (x *Index[V]) vacate(s *place[V]) (emptied bool) {
	return x.removePlace(s) && x.owner(s.room.name) == nil
}

func (x *Index[V]) removePlace(s *place[V]) (last bool) {
	sh := x.shard(s.room.name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := s.room
	end := len(r.places) - 1
	r.places[s.at] = r.places[end]
	r.places[s.at].at = s.at
	r.places[end] = nil
	r.places = r.places[:end]
	if end == 0 {
		delete(sh.rooms, r.name)
	}
	return end == 0
}

// Join puts m into a room. joined is false if m was there already or is not in the index. created
// is true if the room had no members before. ok is false if m would be in more than limit rooms,
// not counting its own. A limit of 0 means no limit.
func (x *Index[V]) Join(m *Member[V], name string, limit int) (joined, created, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.present {
		return false, false, true
	}
	if limit > 0 && len(m.places) >= limit && name != m.ID && !m.inLocked(name) {
		return false, false, false
	}
	joined, created = x.joinLocked(m, name)
	return joined, created, true
}

// joinLocked is Join without a limit, for a member that is present.
func (x *Index[V]) joinLocked(m *Member[V], name string) (joined, created bool) {
	if name == m.ID {
		joined = !m.own.Swap(true)
		return joined, joined && !x.exists(name)
	}
	if m.inLocked(name) {
		return false, false
	}
	first := x.addPlace(m, name)
	return true, first && x.owner(name) == nil
}

func (x *Index[V]) addPlace(m *Member[V], name string) (first bool) {
	sh := x.shard(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.rooms[name]
	if r == nil {
		r = &room[V]{name: name}
		sh.rooms[name] = r
	}
	s := &place[V]{member: m, room: r, at: len(r.places)}
	r.places = append(r.places, s)
	m.places = append(m.places, s)
	return len(r.places) == 1
}

// Leave takes m out of a room. left is false if m was not there. emptied is true if the room has no
// members any more.
func (x *Index[V]) Leave(m *Member[V], name string) (left, emptied bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if name == m.ID && m.own.Swap(false) {
		return true, !x.exists(name)
	}
	i := slices.IndexFunc(m.places, func(s *place[V]) bool { return s.room.name == name })
	if i < 0 {
		return false, false
	}
	s := m.places[i]
	m.places = slices.Delete(m.places, i, i+1)
	return true, x.vacate(s)
}

// owner returns the member whose own room this is, if that member is in it.
func (x *Index[V]) owner(name string) *Member[V] {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if m := x.members[name]; m != nil && m.own.Load() {
		return m
	}
	return nil
}

// exists reports whether any member has a place in the room. Its owner has none.
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
	return name == m.ID && m.own.Load() || m.inLocked(name)
}

// inLocked is In for rooms other than m's own.
func (m *Member[V]) inLocked(name string) bool {
	return slices.ContainsFunc(m.places, func(s *place[V]) bool { return s.room.name == name })
}

// Rooms returns the names of m's rooms, its own first.
func (m *Member[V]) Rooms() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, 0, len(m.places)+1)
	if m.own.Load() {
		names = append(names, m.ID)
	}
	for _, s := range m.places {
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

// Rooms returns the number of rooms. It does not count members' own rooms in which only the owner is.
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
		n += len(r.places)
	}
	return n
}

// Sizes returns the number of members in each room. It leaves out a member's own room while no
// other member is there.
func (x *Index[V]) Sizes() map[string]int {
	sizes := map[string]int{}
	for i := range x.shards {
		sh := &x.shards[i]
		sh.mu.RLock()
		for name, r := range sh.rooms {
			sizes[name] = len(r.places)
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

// All appends to dst the values of all members that are in none of the rooms in except. Like Select,
// it copies, so that the caller can send to ten thousand members without holding a lock.
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

// Select appends to dst the values of the members that are in any of rooms and in none of except,
// each once. If rooms is empty, it selects nobody.
func (x *Index[V]) Select(dst []V, rooms, except []string) []V {
	if len(except) == 0 && len(rooms) == 1 {
		x.each(rooms[0], func(m *Member[V]) { dst = append(dst, m.Value) })
		return dst
	}
	skip := map[*Member[V]]struct{}{}
	for _, name := range except {
		x.each(name, func(m *Member[V]) { skip[m] = struct{}{} })
	}
	several := len(rooms) > 1 // only then can a member come up twice
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
		for _, s := range r.places {
			f(s.member)
		}
	}
}
