package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/app"
)

// come connects somebody.
func (m *deskModel) come() {
	var p persona
	switch n := m.rand.IntN(14); {
	case n < 4:
		p = persona{id: []string{"u1", "u2", "u3"}[m.rand.IntN(3)], role: auth.User, grants: m.someGrants()}
	case n < 8:
		p = persona{role: auth.User, visitor: true}
		if len(m.comers) < 6 || m.rand.IntN(20) == 0 {
			v, err := m.access.NewVisitor(context.Background(), "127.0.0.1:1")
			if err != nil {
				m.t.Fatal(err)
			}
			p.id = v.Identity.Subject
			m.visitors[p.id], m.comers = string(v.Token), append(m.comers, p.id)
		} else {
			p.id = m.comers[m.rand.IntN(len(m.comers))]
		}
	case n < 10:
		p = persona{id: []string{"ann", "bob"}[m.rand.IntN(2)], role: auth.Operator, grants: m.someGrants()}
	case n < 11:
		p = persona{id: "root", role: auth.Admin}
	case n < 12:
		p = persona{id: "bot", role: auth.Service}
	default:
		k := m.someKey()
		m.enter(k.persona, k.secret, k.id)
		return
	}
	token, jti := m.sign(&p)
	m.enter(p, token, jti)
}

// enter connects somebody with a token or a key.
func (m *deskModel) enter(p persona, token, jti string) {
	c, err := m.connect("websocket", withToken(token))
	if (err == nil) != m.admitted(&p) {
		m.leak("%q connects: %v, but admitted: %v", p.id, err, m.admitted(&p))
	}
	if err != nil {
		return
	}
	m.serial++
	m.parties = append(m.parties, &party{
		caller: c, persona: p, name: fmt.Sprint("connection ", m.serial), token: token, jti: jti, since: m.step,
		joined: map[string]bool{}, readable: map[string]int{}, notes: map[string]int{},
	})
}

// someone returns a connection, or nil.
func (m *deskModel) someone() *party {
	var here []*party
	for _, p := range m.parties {
		if p.caller != nil {
			here = append(here, p)
		}
	}
	if len(here) == 0 {
		return nil
	}
	return here[m.rand.IntN(len(here))]
}

// want compares an answer with what the model expects of it.
func (m *deskModel) want(p *party, event, room string, code string, may bool) {
	if code == "gone" || code == "not_joined" {
		return
	}
	if code == "" && !may || may && (code == "forbidden" || code == "bad_token") {
		m.leak("%s of %s %q (%v) in %s of %q: code %q, but it may: %v", event, p.role, p.id, p.grants, room, m.owners[room], code, may)
	}
}

// act takes one step.
func (m *deskModel) act() {
	m.step++
	defer m.settle()
	p := m.someone()
	if p == nil || len(m.parties) < 20 && m.rand.IntN(4) == 0 {
		m.come()
		return
	}
	room := m.rooms[m.rand.IntN(len(m.rooms))]
	if m.rand.IntN(3) > 0 {
		for _, r := range m.rooms { // most is done where somebody is, or in the own conversation
			if (p.joined[r] || m.owners[r] == p.id) && m.rand.IntN(2) == 0 {
				room = r
			}
		}
	}
	if m.owners[room] == "" && m.begunBy[room] != "" && m.isOf(m.begunBy[room], p.id) {
		room = "lounge" // it could begin the same conversation again
	}
	read, write := m.may(&p.persona, room, "r"), m.may(&p.persona, room, "w")
	desk := p.operates() && m.owners[room] != ""
	coin := m.rand.IntN(2) == 0
	switch n := m.rand.IntN(100 + m.busy); {
	case n < 14:
		q := object{"roomId": room, "notes": coin && desk}
		if m.rand.IntN(2) == 0 { // as after an absence
			q["after"], q["notesAfter"] = m.rand.IntN(8), m.rand.IntN(8)
		}
		_, code := m.ask(p, "joinRoom", q)
		m.want(p, "joinRoom", room, code, read)
		p.joined[room] = code == ""
	case n < 17: // what is not for it
		_, code := m.ask(p, "joinRoom", object{"roomId": room, "notes": true})
		m.want(p, "joinRoom with notes", room, code, read && desk)
		p.joined[room] = p.joined[room] || code == ""
	case n < 35:
		m.send(p, room, write)
	case n < 41:
		if len(m.messages) == 0 {
			return
		}
		i := m.rand.IntN(len(m.messages))
		old := m.messages[i]
		q := object{"roomId": old.room, "seq": old.seq}
		event := "deleteMessage"
		text := ""
		if coin {
			text, event = m.mark(old.room, false), "editMessage"
			q["message"] = object{"text": text}
		}
		_, code := m.ask(p, event, q)
		if code != "" {
			return // perhaps it is somebody else's
		}
		m.want(p, event, old.room, code, m.may(&p.persona, old.room, "w"))
		m.markers[old.marker].gone = m.step
		if m.messages = slices.Delete(m.messages, i, i+1); text != "" {
			m.messages = append(m.messages, sentMessage{old.room, old.seq, text, old.author})
		}
	case n < 48:
		_, code := m.ask(p, "history", object{"roomId": room, "after": 0})
		m.want(p, "history", room, code, read)
	case n < 52:
		_, code := m.ask(p, "history", object{"roomId": room, "notes": true, "after": 0})
		m.want(p, "history of notes", room, code, read && desk)
	case n < 56:
		q := object{"query": "mk", "limit": 100, "notes": coin}
		if m.rand.IntN(2) == 0 {
			q["roomId"] = room
			_, code := m.ask(p, "search", q)
			m.want(p, "search", room, code, read && (desk || !coin))
			return
		}
		m.ask(p, "search", q)
	case n < 60:
		if len(m.owners) > 20 || p.role != auth.User {
			return
		}
		text := m.mark("?", false)
		answer, code := m.ask(p, "startConversation", object{"message": object{"text": text}, "subject": "s"})
		var started struct {
			RoomID   string
			Existing bool
			Message  struct{ Seq int64 }
		}
		if json.Unmarshal(answer, &started); code == "" {
			if !started.Existing {
				m.owners[started.RoomID], m.begunBy[started.RoomID] = p.id, p.id
				m.rooms = append(m.rooms, started.RoomID)
			}
			m.markers[text].room = started.RoomID
			m.sent(p, started.RoomID, started.Message.Seq, text)
		}
	case n < 66:
		text := m.mark(room, true)
		_, code := m.ask(p, "addNote", object{"roomId": room, "message": object{"text": text}})
		m.want(p, "addNote", room, code, desk && write)
	case n < 69:
		text := m.mark(room, true)
		_, code := m.ask(p, "updateRoom", object{"roomId": room, "attributes": object{"secret": text}})
		m.want(p, "updateRoom", room, code, desk && m.may(&p.persona, room, "m"))
	case n < 74:
		event := []string{"claimRoom", "reopenRoom", "answered", "closeRoom", "transferRoom"}[m.rand.IntN(5)]
		q := object{"roomId": room}
		if event == "transferRoom" {
			q["operatorId"], q["note"] = "bob", m.mark(room, true)
		}
		_, code := m.ask(p, event, q)
		if code == "" && !m.may(&p.persona, room, "m") && !(p.role == auth.User && read) {
			m.leak("%s of %q in %s", event, p.id, room)
		}
	case n < 77:
		_, code := m.ask(p, "watchRooms", object{"filter": object{"status": "all"}})
		m.want(p, "watchRooms", room, code, p.operates())
	case n < 79:
		m.ask(p, "listRooms", object{"filter": object{"status": "all"}})
	case n < 80:
		m.ask(p, "hello", object{})
		m.ask(p, "getPerson", object{"userId": m.owners[room]})
	case n < 81:
		m.ask(p, "typing", object{"roomId": room})
		m.ask(p, "markRead", object{"roomId": room, "seq": 1})
	case n < 82:
		m.ask(p, "leaveRoom", object{"roomId": room})
	case n < 88:
		m.follow(p, room, read)
	case n < 90:
		m.identify(p)
	case n < 94:
		if p.visitor {
			return
		}
		next, token, jti := p.persona, p.token, p.jti
		if m.keys[p.id] == nil { // a key stays as it is
			next.grants = m.someGrants()
			token, jti = m.sign(&next)
		}
		if _, code := m.ask(p, "refresh", object{"token": token}); code == "" {
			p.persona, p.token, p.jti = next, token, jti
		} else if code != "gone" {
			m.leak("refresh of %q: %s", p.id, code)
		}
	case n < 95:
		p.close() // the network
		<-p.done
	case n < 97:
		m.come()
	default:
		m.administer(p)
	}
}

// send sends a message.
func (m *deskModel) send(p *party, room string, may bool) {
	text := m.mark(room, false)
	answer, code := m.ask(p, "sendMessage", object{"roomId": room, "message": object{"text": text}})
	m.want(p, "sendMessage", room, code, may)
	var stored struct{ Seq int64 }
	if json.Unmarshal(answer, &stored); code == "" {
		m.sent(p, room, stored.Seq, text)
	}
}

// sent notes a stored message.
func (m *deskModel) sent(p *party, room string, seq int64, marker string) {
	author := ""
	if p.role == auth.User {
		author = p.id
	}
	m.messages = append(m.messages, sentMessage{room, seq, marker, author})
}

// follow opens a feed with the token of a connection, or closes one.
func (m *deskModel) follow(p *party, room string, read bool) {
	feeds := 0
	for i, f := range m.parties {
		if f.feed == nil {
			continue
		}
		if feeds++; feeds > 6 {
			f.feed.resp.Body.Close()
			m.scan(f)
			m.parties = slices.Delete(m.parties, i, i+1)
			break
		}
	}
	f, err := m.feed("/rooms/"+room+"/events?lastEventId=earliest", http.Header{"Authorization": {"Bearer " + p.token}})
	if (err == nil) != read {
		m.leak("a feed of %s for %q (%v): %v, but it may: %v", room, p.id, p.grants, err, read)
	}
	if err != nil {
		return
	}
	m.serial++
	is := &party{
		persona: p.persona, name: fmt.Sprint("feed ", m.serial), feed: f, jti: p.jti, since: m.step,
		joined: map[string]bool{room: true}, readable: map[string]int{}, notes: map[string]int{},
	}
	f.lines.Buffer(nil, 1<<20)
	go func() {
		for f.lines.Scan() {
			is.mu.Lock()
			is.got = append(is.got, f.lines.Text())
			is.mu.Unlock()
		}
	}()
	m.parties = append(m.parties, is)
}

// identify makes a visitor a user.
func (m *deskModel) identify(p *party) {
	for _, q := range m.parties { // a visitor who is in its conversation with another connection, or a feed
		for _, other := range m.parties {
			for room, in := range other.joined {
				if in && q.caller != nil && q.visitor && other != q && m.owners[room] == q.id && other.id == q.id {
					p = q
				}
			}
		}
	}
	user := persona{id: []string{"u1", "u2", "u3"}[m.rand.IntN(3)], role: auth.User}
	token, jti := m.sign(&user)
	_, code := m.ask(p, "identify", object{"token": token})
	if code == "" != p.visitor && code != "gone" && code != "banned" && code != "conflict" {
		m.leak("identify of %q (visitor: %v): %q", p.id, p.visitor, code)
	}
	if code != "" {
		return
	}
	visitor := p.id
	p.persona, p.token, p.jti = user, token, jti
	// Nobody comes again as this visitor; who is here stays it.
	m.comers = slices.DeleteFunc(m.comers, func(id string) bool { return id == visitor })
	m.became[visitor] = user.id
	for _, room := range m.rooms {
		if m.owners[room] == visitor {
			m.owners[room] = user.id
			m.send(p, room, true) // which the visitor gets no more
		}
	}
}

// playDesk plays steps until one leaks, if they do.
func playDesk(t *testing.T, seed uint64, steps, busy int, breakIt func(*app.Server)) *deskModel {
	c := testConfig()
	c.TokenSecrets, c.Visitors, c.Search, c.MaxOpenConversations = []string{secret}, true, true, 4
	c.OpenRooms = auth.Grants{{Pattern: "lounge", Rights: auth.Read | auth.Write}, {Pattern: "news", Rights: auth.Read}}
	c.ShutdownTimeout = 3 * time.Second
	m := &deskModel{
		closed: openClosed(t, c, breakIt), rand: rand.New(rand.NewPCG(seed, 0)), busy: busy,
		owners: map[string]string{}, begunBy: map[string]string{}, rooms: []string{"lounge", "news", "order-1", "order-2"}, became: map[string]string{},
		visitors: map[string]string{}, markers: map[string]*marker{}, banned: map[string]bool{}, seen: map[string]int{},
		keys: map[string]*programKey{},
	}
	m.admin = app.Admin(m.server)
	t.Cleanup(m.admin.Close)
	if _, err := m.access.AddOperator(t.Context(), access.Operator{ID: "ann"}, ""); err != nil {
		t.Fatal(err)
	}
	for m.step < steps && len(m.leaks) == 0 {
		m.act()
	}
	return m
}

// deskRun returns the size of TestNobodySeesMore, which the environment may change.
func deskRun(t *testing.T) (seed uint64, steps int) {
	seed, steps = 1, 10_000
	for name, to := range map[string]func(uint64){
		"PARLEY_DESK_SEED": func(n uint64) { seed = n }, "PARLEY_DESK_STEPS": func(n uint64) { steps = int(n) },
	} {
		if v := os.Getenv(name); v != "" {
			n, err := strconv.ParseUint(v, 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			to(n)
		}
	}
	return seed, steps
}

// Whatever users, visitors, operators and programs do, nobody gets a byte of what it may not see,
// through any door.
func TestNobodySeesMore(t *testing.T) {
	seed, steps := deskRun(t)
	m := playDesk(t, seed, steps, 0, nil)
	for _, leak := range m.leaks {
		t.Error(leak)
	}
	t.Logf("PARLEY_DESK_SEED=%d PARLEY_DESK_STEPS=%d: %d conversations, %d texts; seen: %v", seed, m.step, len(m.owners), m.serial, m.seen)
	for _, door := range []string{"event", "feed", "history", "search", "joinRoom", "watchRooms", "listRooms", "export", "erase", "key", "removed key"} {
		if m.seen[door] == 0 && len(m.leaks) == 0 {
			t.Errorf("nothing came through %s", door)
		}
	}
}

// The test above notices if a rule is missing.
func TestNobodySeesMoreNotices(t *testing.T) {
	seed, _ := deskRun(t)
	for name, breakIt := range app.Faults {
		t.Run(name, func(t *testing.T) {
			m := playDesk(t, seed, 2000, 0, breakIt)
			if len(m.leaks) == 0 {
				m = playDesk(t, seed, 10_000, 30, breakIt)
			}
			if len(m.leaks) == 0 {
				t.Fatal("nobody noticed")
			}
			t.Log(m.leaks[0])
		})
	}
}
