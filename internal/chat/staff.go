package chat

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

const (
	// staffEvery is the shortest time between two announcements of an operator.
	staffEvery = 250 * time.Millisecond
	// staffLeaves is how long an operator whose last connection has ended counts as there, so that a
	// connection that breaks is not taken for an operator who goes.
	staffLeaves = 10 * time.Second
	// staffCounts is the shortest time between two counts of what operators have.
	staffCounts = 2 * time.Second
	// maxViewing is how many rooms an announcement names.
	maxViewing = 50
)

// staff knows the operators that are connected to this server or another one, and what they are doing.
// Whoever watches the lobby is told of changes. It is safe for concurrent use.
type staff struct {
	service *Service
	herald  herald

	mu       sync.Mutex
	byID     map[string]*operator
	mirror   *mirror   // of colleagues by their ids
	counting time.Time // when the conversations of operators were last counted
	stale    bool      // these numbers may have changed
}

// An operator is there while it has connections, to any server, and for a while after that. staff.mu
// guards it.
type operator struct {
	name        string
	connections int // to this server
	away        bool
	said        int64          // when the operator said that; the latest counts
	viewing     map[string]int // rooms, with the number of connections that are in them
	open        int
	here        bool        // it has connections to this server, or had some a while ago
	leaves      *time.Timer // runs while there are none; made when first needed
	elsewhere   map[adapter.NodeID]colleague
}

// A colleague is an operator as its server knows it.
type colleague struct {
	Name    string   `json:"name,omitempty"`
	Away    bool     `json:"away,omitempty"`
	Said    int64    `json:"said,omitempty"` // in milliseconds since 1970; 0: never
	Viewing []string `json:"viewing,omitempty"`
}

// arrive counts a connection of an operator. Call depart when it ends.
func (s *staff) arrive(who *auth.Identity) {
	id, name := who.Subject, who.Name
	s.mu.Lock()
	defer s.mu.Unlock()
	s.arrivedLocked(who)
	o := s.knownLocked(id)
	if o.connections == 0 && o.leaves != nil {
		o.leaves.Stop()
	}
	o.connections++
	o.here, o.name = true, cmp.Or(name, o.name)
	s.changedLocked(id)
}

// knownLocked returns the operator with an id, which it makes if necessary.
func (s *staff) knownLocked(id string) *operator {
	o := s.byID[id]
	if o == nil {
		o = new(operator)
		s.byID = put(s.byID, id, o)
		s.counting, s.stale = time.Time{}, true
		s.service.lobby.hint()
	}
	return o
}

func (s *staff) depart(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	if o.connections--; o.connections > 0 {
		return
	}
	if o.leaves == nil {
		o.leaves = time.AfterFunc(staffLeaves, func() { s.forget(id, o) })
	} else {
		o.leaves.Reset(staffLeaves)
	}
}

// forget drops an operator that has not come back.
func (s *staff) forget(id string, o *operator) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.connections == 0 && s.byID[id] == o {
		o.here = false
		s.changedLocked(id)
		s.dropLocked(id, o)
	}
}

// dropLocked drops an operator that is nowhere.
func (s *staff) dropLocked(id string, o *operator) {
	if !o.here && len(o.elsewhere) == 0 {
		delete(s.byID, id)
	}
}

// elsewhere is told of an operator on another server.
func (s *staff) elsewhere(on adapter.NodeID, id string, value json.RawMessage) {
	o := s.knownLocked(id)
	var is colleague
	if value == nil || json.Unmarshal(value, &is) != nil {
		delete(o.elsewhere, on)
	} else {
		if _, known := o.elsewhere[on]; !known {
			s.arrivedLocked(&auth.Identity{Subject: id, Role: auth.Operator, Name: is.Name})
		}
		o.elsewhere = put(o.elsewhere, on, is)
		o.name = cmp.Or(o.name, is.Name)
		if is.Said > o.said {
			o.away, o.said = is.Away, is.Said
		}
	}
	s.changedLocked(id)
	s.dropLocked(id, o)
}

// arrivedLocked says that an operator has come to a closed server.
func (s *staff) arrivedLocked(who *auth.Identity) {
	if s.service.opts.Arrived != nil && s.service.isClosed() {
		s.service.opts.Arrived(who)
	}
}

// Staff returns the number of operators that are there, on this server.
func (s *Service) Staff() (n int) {
	s.staff.mu.Lock()
	defer s.staff.mu.Unlock()
	for _, o := range s.staff.byID {
		if o.here {
			n++
		}
	}
	return n
}

// view counts n connections of an operator more, or fewer, that are in a room.
func (s *staff) view(id, room string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	o.viewing = put(o.viewing, room, o.viewing[room]+n)
	switch {
	case o.viewing[room] == 0:
		delete(o.viewing, room)
	case o.viewing[room] != n:
		return
	}
	s.changedLocked(id)
}

// setAway says whether an operator is away.
func (s *staff) setAway(id string, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.byID[id]; o != nil && o.away != away {
		o.away, o.said = away, max(time.Now().UnixMilli(), o.said+1)
		s.changedLocked(id)
	}
}

// shown returns an operator's name, and whether it is there and not away.
func (s *staff) shown(id string) (name string, online bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.byID[id]
	return s.nameLocked(id), o != nil && !o.away
}

// nameLocked returns the name of an operator, or its id.
func (s *staff) nameLocked(id string) (name string) {
	if o := s.byID[id]; o != nil {
		name = o.name
	}
	if name == "" && s.service.opts.Operator != nil {
		name, _ = s.service.opts.Operator(id)
	}
	return cmp.Or(name, id)
}

// namesIn returns the names of the operators who wrote messages, by their ids, as far as they are known;
// nil: none. It reads nothing from the store.
func (s *staff) namesIn(messages []history.Message) (names map[string]string) {
	last := ""
	for i := range messages {
		id := messages[i].OperatorID
		if id == "" || id == last {
			continue
		}
		last = id
		if _, known := names[id]; known {
			continue
		}
		names = put(names, id, "")
		if name, _ := s.shown(id); name != id {
			names[id] = name
		}
	}
	maps.DeleteFunc(names, func(_, name string) bool { return name == "" })
	return names
}

// exists reports whether there is an operator to whom a conversation can be given. An open server
// believes that there is.
func (s *staff) exists(id string) bool {
	if s.service.opts.Operator == nil || !s.service.isClosed() {
		return true
	}
	_, active := s.service.opts.Operator(id)
	return active
}

// withoutRooms returns an operator as those see it who may not read all conversations.
func withoutRooms(p conversation.OperatorPresence) conversation.OperatorPresence {
	p.Viewing = nil
	return p
}

// all returns the operators that are there, as who sees them.
func (s *staff) all(who *auth.Identity) []conversation.OperatorPresence {
	limited := s.service.limited(who)
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]conversation.OperatorPresence, 0, len(s.byID))
	for id := range s.byID {
		p := s.presenceLocked(id)
		if limited {
			p = withoutRooms(p)
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b conversation.OperatorPresence) int { return strings.Compare(a.OperatorID, b.OperatorID) })
	return all
}

// presenceLocked returns an operator as colleagues see it.
func (s *staff) presenceLocked(id string) conversation.OperatorPresence {
	p := conversation.OperatorPresence{OperatorID: id, Name: s.nameLocked(id), Status: "offline"}
	if o := s.byID[id]; o != nil {
		p.Status, p.Open = "online", o.open
		if o.away {
			p.Status = "away"
		}
		p.Viewing = o.rooms()
	}
	return p
}

// rooms returns the rooms that the operator has open, as many as an announcement names.
func (o *operator) rooms() []string {
	rooms := slices.Collect(maps.Keys(o.viewing))
	for _, is := range o.elsewhere {
		rooms = append(rooms, is.Viewing...)
	}
	slices.Sort(rooms)
	rooms = slices.Compact(rooms)
	return rooms[:min(len(rooms), maxViewing)]
}

// shareLocked tells other servers how an operator is here.
func (s *staff) shareLocked(id string) {
	if s.mirror == nil {
		return
	}
	if o := s.byID[id]; o.here {
		here := operator{viewing: o.viewing}
		s.mirror.setLocked(id, colleague{o.name, o.away, o.said, here.rooms()})
	} else {
		s.mirror.setLocked(id, nil)
	}
}

// changedLocked has an operator announced, if somebody listens.
func (s *staff) changedLocked(id string) {
	s.shareLocked(id)
	if s.service.lobby.watched.Load() > 0 {
		s.herald.changed(id)
	}
}

// announce tells those that watch the lobby how an operator is now.
func (s *staff) announce(id string) {
	s.mu.Lock()
	p := s.presenceLocked(id)
	s.mu.Unlock()
	of := func(p conversation.OperatorPresence) *Notice { return newNotice(conversation.OperatorChanged, p) }
	s.service.lobby.tell(of(p), of(withoutRooms(p)))
}

// recount counts the conversations of the operators that are there, if that is due.
func (s *staff) recount(ctx context.Context) error {
	s.mu.Lock()
	if !s.stale || time.Since(s.counting) < staffCounts {
		s.mu.Unlock()
		return nil
	}
	s.stale, s.counting = false, time.Now()
	ids := slices.Collect(maps.Keys(s.byID))
	s.mu.Unlock()
	for _, id := range ids {
		counts, err := s.service.can.rooms.CountRooms(ctx, history.Member{OperatorID: id})
		s.mu.Lock()
		if o := s.byID[id]; err != nil {
			s.stale = true
		} else if o != nil && o.open != counts.Mine {
			o.open = counts.Mine
			s.changedLocked(id)
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// changed says that operators may have other conversations than before.
func (s *staff) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
}
