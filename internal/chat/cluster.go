package chat

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// A Cluster is how services of several servers with one store reach each other: an adapter.Exchange.
//
// What is stored needs no more than hints. What is not stored, each server knows of its own clients, and
// the others follow it; see mirror. Subjects:
//
//	room/<room>  its members, who types, who has read: for servers that have members
//	staff        operators        \
//	visitors     users, see there  } for all
//	chat         other words      /
//	lobby        hints that conversations have changed: for servers where somebody watches
type Cluster interface {
	Send(subject string, data []byte) error
	Hear(subject string, f func(from adapter.Node, data []byte)) adapter.Listening
	Serve(subject string, f func(from adapter.Node, question []byte, reply func(answer []byte)))
	Ask(ctx context.Context, to adapter.NodeID, subject string, question []byte) (answer []byte, err error)
	Observe(f func(adapter.Event)) (stop func())
}

const (
	chatSubject  = "chat"
	lobbySubject = "lobby"
	roomSubject  = "room/" // and the room

	// hintEvery is the shortest time between two hints to the lobbies of other servers.
	hintEvery = 50 * time.Millisecond
	// digestEvery is how often a server says how far the mirrors are that it has changed.
	digestEvery = 10 * time.Second
	// askWithin is how long another server may take to say what it has, and askAgain the time until it
	// is asked again.
	askWithin = 5 * time.Second
	askAgain  = time.Second
	// maxAsked is how many mirrors a question is about.
	maxAsked = 100
)

// cluster is the service's part of a cluster. A nil cluster is that of a service that is alone. Its lock
// comes after those of mirrors.
type cluster struct {
	Cluster
	service *Service
	number  atomic.Uint64 // of the latest change of any mirror
	hinting atomic.Bool   // a hint will be sent

	mu      sync.Mutex
	servers map[adapter.NodeID]*server
	mirrors map[string]*mirror
	changed map[*mirror]bool // since the last digest
	digests bool             // a timer runs
	reread  reread
}

// A server is another one.
type server struct {
	wanted map[string]bool // mirrors about which it is to be asked
	asking bool
}

// join makes the service one of a cluster.
func (s *Service) join(in Cluster) {
	c := &cluster{Cluster: in, service: s, servers: make(map[adapter.NodeID]*server), mirrors: make(map[string]*mirror)}
	s.cluster = c
	c.Serve(chatSubject, c.answer)
	s.staff.mirror = c.mirror("staff", &s.staff.mu, s.staff.elsewhere, nil)
	s.visitors.mirror = c.mirror("visitors", &s.visitors.mu, s.visitors.elsewhere, nil)
	c.Hear(chatSubject, c.hear)
	c.Observe(c.observe)
}

// observe follows who is in the cluster. Who comes is asked for everything. So is everybody after a gap.
func (c *cluster) observe(e adapter.Event) {
	switch e.Kind {
	case adapter.Joined:
		c.mu.Lock()
		if c.servers[e.Node.ID] == nil {
			c.servers[e.Node.ID] = &server{wanted: make(map[string]bool)}
		}
		c.wantLocked(e.Node.ID, slices.Collect(maps.Keys(c.mirrors))...)
		c.mu.Unlock()
	case adapter.Left:
		c.mu.Lock()
		delete(c.servers, e.Node.ID)
		mirrors := slices.Collect(maps.Values(c.mirrors))
		c.mu.Unlock()
		for _, m := range mirrors {
			m.drop(e.Node.ID)
		}
	case adapter.Gap:
		c.mu.Lock()
		names := slices.Collect(maps.Keys(c.mirrors))
		for id := range c.servers {
			c.wantLocked(id, names...)
		}
		c.mu.Unlock()
		c.service.rereadAll()
	}
}

// A word is something that a server says about no mirror.
type word struct {
	Changed   *changedWord `json:"changed,omitempty"`
	Erased    []string     `json:"erased,omitempty"`    // rooms
	Forgotten []string     `json:"forgotten,omitempty"` // users
	List      []string     `json:"list,omitempty"`      // users that an operator was shown
	Unread    *unreadWord  `json:"unread,omitempty"`
}

// changedWord says that a conversation has changed, except its messages.
type changedWord struct {
	RoomID string `json:"roomId"`
	UserID string `json:"userId"`
}

// unreadWord says that an operator has moved its mark back.
type unreadWord struct {
	OperatorID string                `json:"operatorId"`
	News       conversation.ReadNews `json:"news"`
}

// say tells the other servers something.
func (c *cluster) say(w word) {
	if c != nil {
		c.send(chatSubject, w)
	}
}

// send sends what can be encoded. If the bus does not take it, the others learn that there is a gap.
func (c *cluster) send(subject string, what any) {
	data, _ := json.Marshal(what)
	_ = c.Send(subject, data)
}

// hear takes in what another server says.
func (c *cluster) hear(_ adapter.Node, data []byte) {
	var w word
	if json.Unmarshal(data, &w) != nil {
		return
	}
	s := c.service
	switch {
	case w.Changed != nil:
		s.rereadLater(*w.Changed)
	case w.Erased != nil:
		go s.erasedHere(w.Erased)
	case w.Forgotten != nil:
		s.forgetHere(w.Forgotten)
	case w.List != nil:
		for _, id := range w.List {
			s.visitors.list(id)
		}
	case w.Unread != nil:
		s.tellUnread(w.Unread)
	}
}

// hint tells the lobbies of other servers, soon, that conversations may have changed.
func (c *cluster) hint() {
	if c == nil || c.hinting.Swap(true) {
		return
	}
	time.AfterFunc(hintEvery, func() {
		c.hinting.Store(false)
		_ = c.Send(lobbySubject, nil)
	})
}

// reread are conversations that other servers have changed, and that are to be read from the store. The
// cluster's lock guards it.
type reread struct {
	rooms   map[string]changedWord
	running bool
}

func (s *Service) rereadLater(rooms ...changedWord) {
	c := s.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, room := range rooms {
		c.reread.rooms = put(c.reread.rooms, room.RoomID, room)
	}
	if !c.reread.running && len(c.reread.rooms) > 0 {
		c.reread.running = true
		go s.readAgain()
	}
}

// rereadAll is rereadLater for all conversations that somebody here has open.
func (s *Service) rereadAll() {
	var rooms []changedWord
	s.presence.mu.Lock()
	for id, r := range s.presence.rooms {
		if !r.free.Load() {
			rooms = append(rooms, changedWord{RoomID: id})
		}
	}
	s.presence.mu.Unlock()
	s.rereadLater(rooms...)
}

// readAgain reads conversations, one after the other, and tells those whom it concerns here how they are.
func (s *Service) readAgain() {
	c := s.cluster
	for {
		c.mu.Lock()
		var next changedWord
		for _, next = range c.reread.rooms {
			break
		}
		delete(c.reread.rooms, next.RoomID)
		if c.reread.running = next.RoomID != ""; !c.reread.running {
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		if s.can.rooms == nil || !s.concerns(next) {
			continue
		}
		ctx, cancel := s.bounded(context.Background())
		r, err := s.can.rooms.Room(ctx, next.RoomID, history.Member{})
		cancel()
		switch {
		case err == nil && r.UserID != "":
			s.reconsider(r.RoomID, r.UserID, nil)
			s.roomChangedHere(&r, nil)
		case err != nil && !errors.Is(err, history.ErrNotFound):
			s.storeError(context.Background(), "read room", err)
			time.AfterFunc(askAgain, func() { s.rereadLater(next) })
		}
	}
}

// concerns reports whether somebody here has a conversation open, or is its user.
func (s *Service) concerns(w changedWord) bool {
	return s.presence.known(w.RoomID) != nil || len(s.connected.clients(history.Member{UserID: w.UserID})) > 0 || len(s.feeds(w.RoomID)) > 0
}
