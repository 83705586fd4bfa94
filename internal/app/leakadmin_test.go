package app_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/admin"
)

// administer does what only an administrator may.
func (m *deskModel) administer(p *party) {
	switch n := m.rand.IntN(24); {
	case n < 9:
		m.lock(p)
	case n < 16:
		m.export(p)
	case n < 23:
		m.useRemoved()
	default: // more often, and there would be little to see
		m.erase()
	}
}

// A programKey is the key of a program.
type programKey struct {
	persona
	secret string
	id     string
}

// someKey returns a key, and makes it if there is none.
func (m *deskModel) someKey() *programKey {
	m.seen["key"]++
	name := []string{"key1", "key2", "key3"}[m.rand.IntN(3)]
	if m.keys[name] != nil {
		return m.keys[name]
	}
	k := &programKey{persona: persona{id: name, role: auth.Service, grants: m.someGrants()}}
	isAdmin := m.rand.IntN(3) == 0
	if isAdmin {
		k.role = auth.Admin
	}
	var made admin.MadeKey
	if err := m.admin.Call(context.Background(), "POST", "/api/keys", admin.NewKey{Name: name, Admin: isAdmin, Rooms: k.grants}, &made); err != nil {
		m.t.Fatal(err)
	}
	for _, of := range m.access.Keys() {
		if of.Name == name {
			k.id = of.ID
		}
	}
	k.secret = made.Secret
	m.keys[name] = k
	return k
}

// removeKey removes a key, after it was used at a feed: what remembers keys knows it.
func (m *deskModel) removeKey(name string) error {
	secret := m.keys[name].secret
	if f, err := m.feed("/rooms/lounge/events", withBearer(secret).header); err == nil {
		f.resp.Body.Close()
	}
	m.removed = append(m.removed, secret)
	delete(m.keys, name)
	return m.admin.Call(context.Background(), "DELETE", admin.Path("/api/keys/%s", name), nil, nil)
}

// useRemoved shows a key that was removed at every door.
func (m *deskModel) useRemoved() {
	if len(m.removed) == 0 {
		return
	}
	secret := m.removed[m.rand.IntN(len(m.removed))]
	m.seen["removed key"]++
	if c, err := m.connect("websocket", withToken(secret)); err == nil {
		m.leak("a removed key connects")
		c.close()
	}
	if f, err := m.feed("/rooms/lounge/events", withBearer(secret).header); err == nil {
		m.leak("a removed key opens a feed")
		f.resp.Body.Close()
	}
	if status, _, _ := m.request("GET", "/api/me", withBearer(secret).header, ""); status != http.StatusUnauthorized {
		m.leak("a removed key is answered with %d", status)
	}
}

// lock revokes, bans or disables somebody, or lets somebody in again.
func (m *deskModel) lock(p *party) {
	ctx := context.Background()
	var err error
	over := func(*party) bool { return false }
	for _, q := range m.parties {
		if (q.feed != nil || m.keys[q.id] != nil) && m.rand.IntN(4) == 0 {
			p = q
		}
	}
	switch n := m.rand.IntN(4); {
	case n > 1 && m.keys[p.id] != nil:
		over = func(q *party) bool { return q.jti == p.jti }
		err = m.removeKey(p.id)
	case n == 0 && p.jti != "" && m.keys[p.id] == nil:
		over = func(q *party) bool { return q.jti == p.jti }
		_, err = m.access.Revoke(ctx, access.Revocation{Subject: "jti:" + p.jti})
	case n == 1 && p.role == auth.User && len(m.banned) == 0:
		m.banned[p.id] = true
		over = func(q *party) bool { return q.role == auth.User && q.id == p.id }
		_, err = m.access.Ban(ctx, access.Ban{Subject: "user:" + p.id})
	case n == 2 && p.id == "ann":
		m.disabled = true
		over = func(q *party) bool { return q.id == "ann" }
		err = m.access.SetDisabled(ctx, "ann", true)
	default:
		for id := range m.banned {
			delete(m.banned, id)
			err = m.access.Unban(ctx, "user:"+id)
		}
		if m.disabled {
			m.disabled = false
			err = errors.Join(err, m.access.SetDisabled(ctx, "ann", false))
		}
	}
	if err != nil {
		m.t.Fatal(err)
	}
	for _, q := range m.parties {
		if over(q) && q.caller != nil {
			<-q.done
		} else if over(q) {
			q.persona = persona{} // from now on, it gets nothing
		}
	}
}

// isOf reports whether an id is a user's, or that of a visitor that it was.
func (m *deskModel) isOf(id, user string) bool { return id == user || m.became[id] == user }

// somebody returns the id of a user or a visitor.
func (m *deskModel) somebody() string {
	return append([]string{"u1", "u2", "u3"}, m.comers...)[m.rand.IntN(3+len(m.comers))]
}

// export exports a room, a user or everything, and compares that with what there is. A party tries it
// as well.
func (m *deskModel) export(p *party) {
	path, has := "/api/export", func(string) bool { return true }
	switch m.rand.IntN(3) {
	case 0:
		room := m.rooms[m.rand.IntN(len(m.rooms))]
		path, has = admin.Path("/api/rooms/%s/export", room), func(of string) bool { return of == room }
	case 1:
		user := m.somebody()
		path, has = admin.Path("/api/users/%s/export", user), func(of string) bool { return m.owners[of] != "" && m.isOf(m.owners[of], user) }
	}
	if status, answer, _ := m.request("GET", path, withBearer(p.token).header, ""); status < 400 || markers.Match(answer) {
		m.leak("%s, %s %q, exports %s: %d %.300s", p.name, p.role, p.id, path, status, answer)
	}
	var text bytes.Buffer
	err := m.admin.Stream(context.Background(), &text, path)
	if err == nil {
		_, err = history.CheckExport(bytes.NewReader(text.Bytes()))
	}
	if err != nil && !hasCode(err, conversation.NotFound) {
		m.t.Fatal(err)
	}
	exported := map[string]bool{}
	for _, text := range markers.FindAllString(text.String(), -1) {
		if k := m.markers[text]; !has(k.room) || k.gone > 0 {
			m.leak("%s has %s of %s, changed or erased in step %d", path, text, k.room, k.gone)
		}
		exported[text] = true
		m.seen["export"]++
	}
	for _, message := range m.messages {
		if has(message.room) && !exported[message.marker] {
			m.leak("%s lacks %s of %s", path, message.marker, message.room)
		}
	}
}

// erase erases a room or a user.
func (m *deskModel) erase() {
	path, room, user := "", "", ""
	if m.rand.IntN(2) == 0 {
		room = m.rooms[m.rand.IntN(len(m.rooms))]
		path = admin.Path("/api/rooms/%s", room)
	} else {
		user = m.somebody()
		path = admin.Path("/api/users/%s", user)
	}
	var erased admin.Erasure
	if err := m.admin.Call(context.Background(), "DELETE", path, nil, &erased); hasCode(err, conversation.NotFound) {
		return
	} else if err != nil {
		m.t.Fatal(err)
	}
	var rooms []string
	for _, r := range m.rooms {
		if r == room || user != "" && m.owners[r] != "" && m.isOf(m.owners[r], user) {
			rooms = append(rooms, r)
		}
	}
	for _, r := range rooms {
		if m.owners[r] != "" {
			delete(m.owners, r)
			m.emptied = append(m.emptied, r)
		}
		for _, p := range m.parties {
			delete(p.joined, r)
		}
	}
	if len(m.emptied) > 2 { // some are asked for, to see that they are gone
		old := m.emptied[0]
		m.emptied = m.emptied[1:]
		m.rooms = slices.DeleteFunc(m.rooms, func(r string) bool { return r == old })
		m.messages = slices.DeleteFunc(m.messages, func(s sentMessage) bool { return s.room == old })
	}
	for _, k := range m.markers {
		if slices.Contains(rooms, k.room) && k.gone == 0 {
			k.gone = m.step
		}
	}
	m.messages = slices.DeleteFunc(m.messages, func(s sentMessage) bool {
		if user != "" && s.author != "" && m.isOf(s.author, user) {
			m.markers[s.marker].gone = m.step
		}
		return m.markers[s.marker].gone > 0
	})
	for visitor, is := range m.became {
		if is == user {
			delete(m.became, visitor)
		}
	}
	if len(rooms) != len(erased.Erased.Rooms) {
		m.leak("erased are %v, want %v", erased.Erased.Rooms, rooms)
	}
	m.seen["erase"]++
}

// hasCode reports whether a call was refused with a code.
func hasCode(err error, code conversation.Code) bool {
	var refused *access.Error
	return errors.As(err, &refused) && refused.Code == code
}
