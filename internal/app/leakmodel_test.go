package app_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/admin"
	"github.com/parley-go/parley/internal/tokentest"
)

// A persona is an identity as the model knows it.
type persona struct {
	id      string
	role    auth.Role
	visitor bool
	grants  map[string]string // rights by pattern; nil: those of the role
}

func (p *persona) operates() bool { return p.role != auth.User && p.role != "" }

// A party is somebody who is connected, or a feed.
type party struct {
	*caller // nil: a feed
	persona
	name     string // of the connection
	jti      string // of its token; the id of its key
	token    string
	since    int // the step in which it came
	joined   map[string]bool
	readable map[string]int // the last step in which it could read a room
	notes    map[string]int // and its notes
	asked    string         // the event of the latest request

	feed *feedReader
	mu   sync.Mutex
	got  []string // by the feed
}

// A marker is a text that occurs once.
type marker struct {
	room  string
	note  bool // for operators only
	since int  // the step in which it was sent
	gone  int  // the step in which it was edited, deleted or erased; 0: it is there
}

var markers = regexp.MustCompile(`mk[0-9]{6}x`)

// A stored message, as its author knows it.
type sentMessage struct {
	room   string
	seq    int64
	marker string
	author string // a user
}

// A desk model knows who may see what. It does not know the code.
type deskModel struct {
	*closed
	admin    *admin.Client
	rand     *rand.Rand
	step     int
	busy     int               // how often administrators do something: 3 + busy of 100 + busy steps
	owners   map[string]string // users by conversation
	rooms    []string
	emptied  []string          // conversations that were erased, among the rooms
	begunBy  map[string]string // who has begun a conversation
	became   map[string]string // users by the visitor that they were
	visitors map[string]string // tokens by id
	comers   []string          // the visitors that have become nobody else
	markers  map[string]*marker
	messages []sentMessage
	parties  []*party
	banned   map[string]bool
	disabled bool // ann
	keys     map[string]*programKey
	removed  []string // keys
	serial   int
	seen     map[string]int // markers by the door through which they came, and how often something was done
	leaks    []string
}

// may reports whether a persona has a right in a room. Without the one to read, the others are of no use.
func (m *deskModel) may(p *persona, room, right string) bool {
	owner := m.owners[room]
	if p.role == "" { // nobody any more
		return false
	}
	if p.grants != nil {
		longest, rights := -1, ""
		for pattern, r := range p.grants {
			prefix, open := strings.CutSuffix(pattern, "*")
			if (pattern == room || open && strings.HasPrefix(room, prefix)) && len(prefix) > longest {
				longest, rights = len(prefix), r
			}
		}
		return strings.Contains(rights, "r") && strings.Contains(rights, right)
	}
	switch {
	case p.role == auth.Service, owner != "" && p.operates():
		return true
	case owner != "" && p.role == auth.User && (owner == p.id || !p.visitor && m.became[owner] == p.id):
		return right != "m"
	}
	return strings.Contains(everybodys[room], right)
}

// everybodys are everybody's rights in free rooms.
var everybodys = map[string]string{"lounge": "rw", "news": "r"}

// sees reports whether a persona may see a marker now.
func (m *deskModel) sees(p *persona, k *marker) bool {
	return m.may(p, k.room, "r") && (!k.note || p.operates() && m.owners[k.room] != "")
}

func (m *deskModel) leak(format string, args ...any) {
	m.leaks = append(m.leaks, fmt.Sprintf("step %d: ", m.step)+fmt.Sprintf(format, args...))
}

// mark returns a new marker.
func (m *deskModel) mark(room string, note bool) string {
	m.serial++
	text := fmt.Sprintf("mk%06dx", m.serial)
	m.markers[text] = &marker{room: room, note: note, since: m.step}
	return text
}

// ask sends an event of a party, and checks its answer by what it may see now.
func (m *deskModel) ask(p *party, event string, arg object) (answer json.RawMessage, code string) {
	p.asked = event
	return p.caller.ask(event, arg)
}

// scan looks at everything that a party has received since the last step.
func (m *deskModel) scan(p *party) {
	var packets []string
	if p.caller != nil {
		p.caller.mu.Lock()
		packets, p.caller.received = p.caller.received, nil
		p.caller.mu.Unlock()
	} else {
		p.mu.Lock()
		packets, p.got = p.got, nil
		p.mu.Unlock()
	}
	for _, packet := range packets {
		answer, door := strings.HasPrefix(packet, "43"), "feed"
		switch {
		case answer:
			door = p.asked
		case p.caller != nil:
			door = "event"
		}
		for _, text := range markers.FindAllString(packet, -1) {
			k := m.markers[text]
			latest := p.readable
			if k.note {
				latest = p.notes
			}
			switch at, ever := latest[k.room]; {
			case answer && !m.sees(&p.persona, k):
				m.leak("%s, %s %q, got %s of %s: %.300s", p.name, p.role, p.id, text, k.room, packet)
			case answer && k.gone > 0, k.gone > 0 && k.gone < p.since:
				m.leak("%s got %s, which was changed or erased: %.300s", p.name, text, packet)
			case !answer && (!ever || at < k.since):
				m.leak("%s, %s %q, got %s of %s, which it could not read: %.300s", p.name, p.role, p.id, text, k.room, packet)
			}
			m.seen[door]++
		}
	}
}

// settle ends a step.
func (m *deskModel) settle() {
	for _, p := range m.parties {
		for _, room := range m.rooms {
			if m.may(&p.persona, room, "r") {
				p.readable[room] = m.step
				if p.operates() && m.owners[room] != "" {
					p.notes[room] = m.step
				}
			}
		}
		m.scan(p)
	}
	m.parties = slices.DeleteFunc(m.parties, func(p *party) bool {
		if p.caller == nil {
			return false
		}
		select {
		case <-p.done:
			return true
		default:
			return false
		}
	})
}

// admitted reports whether a persona gets in at all.
func (m *deskModel) admitted(p *persona) bool {
	return !(p.role == auth.User && m.banned[p.id]) && !(p.id == "ann" && m.disabled)
}

// sign makes a token for a persona.
func (m *deskModel) sign(p *persona) (token, jti string) {
	if p.visitor {
		return m.visitors[p.id], ""
	}
	m.serial++
	jti = fmt.Sprint("t", m.serial)
	claims := object{"role": p.role}
	if p.grants != nil {
		claims["rooms"] = p.grants
	}
	parley, _ := json.Marshal(claims)
	now := time.Now() // to the millisecond, because an operator may have been let in again in this second
	claims = object{"sub": p.id, "jti": jti, "iat": float64(now.UnixMilli()+2) / 1000, "exp": now.Unix() + 3600, "parley": json.RawMessage(parley)}
	encoded, _ := json.Marshal(claims)
	return tokentest.Sign(`{"alg":"HS256"}`, string(encoded), "HS256", []byte(secret)), jti
}

// someGrants returns grants, or none.
func (m *deskModel) someGrants() map[string]string {
	all := []map[string]string{nil, nil, nil, {}, {"order-*": "rw"}, {"order-1": "r", "c_*": ""}, {"lounge": "rwp", "order-*": "r", "c_*": "rp"},
		{"order-1": "w", "c_*": "wm"}}
	return all[m.rand.IntN(len(all))]
}
