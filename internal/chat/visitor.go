package chat

import (
	"cmp"
	"encoding/json"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// visitorEvery is the shortest time between two announcements of a visitor.
const visitorEvery = 2 * time.Second

// visitors knows the users that are connected to this server, and the pages on which they are. Nothing of
// this is stored. It is safe for concurrent use.
//
// Most visitors of a site never write, and operators do not see them in any list. So only those are
// announced whose conversation an operator was shown: to all who watch the lobby and may read all
// conversations, and to those who have such a conversation open. Other servers, too, know of those only.
type visitors struct {
	service *Service
	herald  herald

	mu     sync.Mutex
	byID   map[string]*visitor
	mirror *mirror              // of where users are, by their ids
	asked  map[string]time.Time // users whom no server is known to have, and for whom all were asked then
	asking []string             // users for whom all will be asked
}

// A visitor is known while it has connections, or somebody has one of its conversations open.
// visitors.mu guards it.
type visitor struct {
	connections int                       // to this server
	page        *conversation.VisitedPage // of these
	listed      bool                      // an operator was shown one of its conversations
	readers     map[*Client]int           // operators that have its conversations open, with the number of these
	elsewhere   map[adapter.NodeID]whereabouts
}

// whereabouts are where a user is, as its server knows it.
type whereabouts struct {
	Page *conversation.VisitedPage `json:"page,omitempty"`
}

// knownLocked returns the visitor with an id, which it makes if necessary.
func (v *visitors) knownLocked(id string) *visitor {
	known := v.byID[id]
	if known == nil {
		known = new(visitor)
		v.byID = put(v.byID, id, known)
	}
	return known
}

// dropLocked forgets a visitor if nobody needs to know of it.
func (v *visitors) dropLocked(id string) {
	if known := v.byID[id]; known.connections == 0 && len(known.readers) == 0 && len(known.elsewhere) == 0 {
		delete(v.byID, id)
	}
}

// elsewhere is told of a user on another server.
func (v *visitors) elsewhere(on adapter.NodeID, id string, value json.RawMessage) {
	known := v.knownLocked(id)
	var is whereabouts
	if value == nil || json.Unmarshal(value, &is) != nil {
		delete(known.elsewhere, on)
	} else {
		known.elsewhere = put(known.elsewhere, on, is)
		known.listed = true
	}
	v.changedLocked(id, known)
	v.dropLocked(id)
}

const (
	// askVisitors is how long users are collected for whom other servers are asked.
	askVisitors = 50 * time.Millisecond
	// askedFor is how long they are not asked for the same user again, and maxAskedFor for how many.
	askedFor    = 10 * time.Second
	maxAskedFor = 10_000
)

// askLocked asks other servers for a user, who is not known to be anywhere.
func (v *visitors) askLocked(id string) {
	now := time.Now()
	if c := v.service.cluster; c == nil || now.Sub(v.asked[id]) < askedFor {
		return
	}
	if len(v.asked) >= maxAskedFor {
		clear(v.asked)
	}
	v.asked = put(v.asked, id, now)
	if v.asking = append(v.asking, id); len(v.asking) > 1 {
		return
	}
	time.AfterFunc(askVisitors, func() {
		v.mu.Lock()
		ids := v.asking
		v.asking = nil
		v.mu.Unlock()
		v.service.cluster.say(word{List: ids})
	})
}

// arrive counts a connection of a user, which may have been another user's. Call depart when it ends.
func (v *visitors) arrive(id string, c *Client) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.knownLocked(id)
	if known.connections++; known.connections == 1 {
		v.changedLocked(id, known)
	}
	if c.page != nil {
		v.visitLocked(id, known, c.page)
	}
}

// depart undoes arrive, when c is no longer among the connected clients of the user. If the user was
// where c was, it is where another of its clients is.
func (v *visitors) depart(id string, c *Client) {
	others := v.service.connected.clients(history.Member{UserID: id})
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.byID[id]
	if known.connections--; known.connections == 0 {
		known.page = nil
		v.changedLocked(id, known)
		v.dropLocked(id)
		return
	}
	if c.page == nil || known.page == nil || *known.page != *c.page {
		return
	}
	var page *conversation.VisitedPage
	for _, other := range others {
		page = cmp.Or(page, other.page)
	}
	v.visitLocked(id, known, page)
}

// visit says on which page a connected user is, with one of its clients.
func (v *visitors) visit(id string, c *Client, page *conversation.VisitedPage) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c.page = page
	if known := v.byID[id]; known != nil {
		v.visitLocked(id, known, page)
	}
}

func (v *visitors) visitLocked(id string, known *visitor, page *conversation.VisitedPage) {
	if known.page == page || known.page != nil && page != nil && *known.page == *page {
		return
	}
	known.page = page
	v.changedLocked(id, known)
}

// list says that a conversation of a user exists, so that operators are told where the user is.
func (v *visitors) list(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known := v.byID[id]; known != nil && !known.listed {
		known.listed = true
		v.changedLocked(id, known)
	}
}

// forget says that a user has no conversations any more, and no page until it says where it is.
func (v *visitors) forget(id string) {
	clients := v.service.connected.clients(history.Member{UserID: id})
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range clients {
		c.page = nil
	}
	if known := v.byID[id]; known != nil {
		known.page, known.listed = nil, false
		v.shareLocked(id, known)
	}
}

// read counts n conversations of a user more, or fewer, that an operator's client has open.
func (v *visitors) read(id string, c *Client, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.knownLocked(id)
	if known.readers = put(known.readers, c, known.readers[c]+n); known.readers[c] == 0 {
		delete(known.readers, c)
	}
	v.dropLocked(id)
}

// shown returns where a user is, for a row that an operator is shown.
func (v *visitors) shown(id string) (page *conversation.VisitedPage, online bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.byID[id]
	if known == nil || known.connections == 0 && len(known.elsewhere) == 0 {
		v.askLocked(id)
	}
	if known == nil {
		return nil, false
	}
	if !known.listed {
		known.listed = true
		v.shareLocked(id, known)
	}
	page = known.page
	for _, is := range known.elsewhere {
		page = cmp.Or(page, is.Page)
	}
	return page, known.connections > 0 || len(known.elsewhere) > 0
}

// shareLocked tells other servers where a user is, if operators may want to know.
func (v *visitors) shareLocked(id string, known *visitor) {
	if v.mirror == nil {
		return
	}
	if known.listed && known.connections > 0 {
		v.mirror.setLocked(id, whereabouts{known.page})
	} else {
		v.mirror.setLocked(id, nil)
	}
}

// changedLocked has a visitor announced, if somebody listens.
func (v *visitors) changedLocked(id string, known *visitor) {
	v.shareLocked(id, known)
	if len(known.readers) > 0 || known.listed && v.service.lobby.watched.Load() > 0 {
		v.herald.changed(id)
	}
}

// notice returns an announcement of a user.
func (v *visitors) notice(id string) *Notice {
	page, online := v.shown(id)
	n := newNotice(conversation.VisitorChanged, conversation.VisitorNews{UserID: id, Page: page, Online: online})
	n.about = id
	return n
}

// announce tells those whom it concerns where a user is now.
func (v *visitors) announce(id string) {
	n := v.notice(id)
	v.mu.Lock()
	var readers []*Client
	if known := v.byID[id]; known != nil {
		for c := range known.readers {
			readers = append(readers, c)
		}
	}
	v.mu.Unlock()
	v.service.lobby.tell(n, nil)
	for _, c := range readers {
		if c.watcher.Load() == nil || v.service.limited(c.Identity()) {
			c.peer.Announce(n)
		}
	}
}
