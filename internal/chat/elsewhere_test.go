package chat_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/chat"
)

// Members of a room on different servers see each other, and what they do, as on one server.
func TestRoomOfSeveralServers(t *testing.T) {
	atDesks(t, 3, open, func(t *testing.T, b []*branch) {
		ann, bob, carl := b[0].with(nil), b[1].with(nil), b[2].with(nil)
		as := func(p *person, id string) chat.Joined {
			t.Helper()
			j, err := p.tryJoin(conversation.JoinRequest{RoomID: "r", UserID: id, Name: id})
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		wantNames(t, as(ann, "ann"), "[ann] 1")
		wantNames(t, as(bob, "bob"), "[ann bob] 2")
		ann.hears("join of socket101, now 2")
		wantNames(t, as(carl, "carl"), "[ann bob carl] 3")
		ann.hears("join of socket201, now 3")
		bob.hears("join of socket201, now 3")
		wantNames(t, as(ann, "ann"), "[ann bob carl] 3")

		if err := carl.Typing("r", true, ""); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*person{ann, bob} {
			p.hears("typing true of carl")
		}
		carl.send("r", "hello")
		for _, p := range []*person{ann, bob, carl} {
			p.hears("message")
		}
		carl.Leave("r")
		for _, p := range []*person{ann, bob} {
			p.hears("typing false of carl", "leave of socket201, now 2")
		}
		// A name changes.
		if j, err := ann.tryJoin(conversation.JoinRequest{RoomID: "r", UserID: "ann", Name: "Ann"}); err != nil || names(j) != "[ann bob] 2" {
			t.Errorf("joined again: %v, %v", j, err)
		}
		bob.hears("join of socket01, now 2")
		wantNames(t, as(carl, "carl"), "[ann bob carl] 3")
	})
}

// A server without members of a room gets nothing of it.
func TestOnlyServersWithMembersHearOfARoom(t *testing.T) {
	atDesks(t, 3, open, func(t *testing.T, b []*branch) {
		ann, bob := b[0].with(nil), b[1].with(nil)
		ann.join("r")
		bob.join("r")
		synctest.Wait()
		carl, topics := b[2].with(nil), b[2].bus.Topics()
		carl.join("r")
		carl.Leave("r")
		time.Sleep(time.Second)
		if n := b[2].bus.Topics(); n != topics {
			t.Errorf("listens to %d topics after the last member has left, before the first one has come to %d", n, topics)
		}
		heard := false
		b[2].misses(func(subject string, data []byte) bool {
			heard = heard || strings.HasSuffix(subject, "r")
			return false
		})
		for range 10 {
			ann.send("r", "hello")
			if err := bob.Typing("r", true, ""); err != nil {
				t.Fatal(err)
			}
			bob.Leave("r")
			bob.join("r")
		}
		synctest.Wait()
		if heard {
			t.Error("heard of a room without members")
		}
	})
}

// shownTo applies what a member has heard to whom it has been shown, and returns how many of its events
// were about members.
type shownTo struct {
	ids   map[string]bool
	count int
}

func (s *shownTo) joined(j chat.Joined) {
	s.ids, s.count = map[string]bool{}, j.Count
	for _, m := range j.Members {
		s.ids[m.ID] = true
	}
}

func (s *shownTo) apply(t *testing.T, heard []string) (events int) {
	t.Helper()
	for _, said := range heard {
		var kind, id string
		if n, _ := fmt.Sscanf(strings.ReplaceAll(said, ",", " "), "%s of %s now %d", &kind, &id, &s.count); n != 3 {
			if n, _ := fmt.Sscanf(said, "count of , now %d", &s.count); n == 1 {
				events++
			}
			continue
		}
		events++
		switch kind {
		case "join":
			s.ids[id] = true
		case "leave":
			if !s.ids[id] {
				t.Errorf("%s left, but was not shown", id)
			}
			delete(s.ids, id)
		}
		if len(s.ids) > 100 {
			t.Errorf("%d are shown", len(s.ids))
		}
	}
	return events
}

// In a room with many members on each server, all know how many there are, and are shown a hundred.
func TestManyMembersOfSeveralServers(t *testing.T) {
	const each = 150
	atDesks(t, 3, open, func(t *testing.T, b []*branch) {
		var all []*person
		watchers := make([]*person, 3)
		views := make([]shownTo, 3)
		for i := range b {
			watchers[i] = b[i].with(nil)
			views[i].joined(watchers[i].join("r"))
		}
		for range each - 1 {
			for _, branch := range b {
				p := branch.with(nil)
				p.join("r")
				all = append(all, p)
			}
		}
		settle := func(count int) {
			t.Helper()
			time.Sleep(5 * time.Second)
			for i := range views {
				views[i].apply(t, watchers[i].heard())
				if v := views[i]; v.count != count || len(v.ids) != min(count, 100) {
					t.Errorf("on server %d, %d are shown of %d, want %d", i, len(v.ids), v.count, count)
				}
			}
		}
		settle(3 * each)
		for _, p := range all[:3*each-90] {
			p.Leave("r")
		}
		settle(90)
		for i := range views[1:] {
			for id := range views[0].ids {
				if !views[i+1].ids[id] {
					t.Errorf("on server %d, %s is not shown", i+1, id)
				}
			}
		}
	})
}

// The members of a server that dies are gone after 7 s at the latest, and so is that they type. When a
// server that was cut off is back, all is as before within 12 s.
func TestPresenceAfterAPartition(t *testing.T) {
	atDesks(t, 3, open, func(t *testing.T, b []*branch) {
		ann, bob, carl := b[0].with(nil), b[1].with(nil), b[2].with(nil)
		for _, p := range []*person{ann, bob, carl} {
			p.join("r")
		}
		if err := carl.Typing("r", true, ""); err != nil {
			t.Fatal(err)
		}
		for _, p := range []*person{ann, bob, carl} {
			p.heard()
		}
		b[2].bus.Cut(true)
		time.Sleep(7 * time.Second)
		for _, p := range []*person{ann, bob} {
			p.hears("typing false of guest", "leave of socket201, now 2")
		}
		carl.hears("leave of socket", "leave of socket")
		// Meanwhile, somebody comes, and somebody goes, on both sides.
		dora, emil := b[0].with(nil), b[2].with(nil)
		wantCount := func(p *person, count int) {
			t.Helper()
			if j := p.join("r"); j.Count != count || len(j.Members) != count {
				t.Errorf("%d members of %d, want %d", len(j.Members), j.Count, count)
			}
		}
		wantCount(dora, 3)
		wantCount(emil, 2)
		bob.Leave("r")
		time.Sleep(13 * time.Second)
		b[2].bus.Cut(false)
		time.Sleep(12 * time.Second)
		synctest.Wait()
		for _, p := range []*person{ann, carl, dora, emil} {
			wantCount(p, 4)
		}
		// Shorter than it takes to be taken for dead.
		b[2].bus.Cut(true)
		dora.Leave("r")
		frida := b[1].with(nil)
		wantCount(frida, 2) // who is on the server that is cut off is not known yet
		time.Sleep(3 * time.Second)
		b[2].bus.Cut(false)
		time.Sleep(12 * time.Second)
		for _, p := range []*person{ann, carl, emil, frida} {
			wantCount(p, 4)
		}
	})
}

// A change that nobody knows was lost is noticed with the next one, or with the digest after 10 s.
func TestLostChangesOfMembers(t *testing.T) {
	atDesks(t, 2, open, func(t *testing.T, b []*branch) {
		ann, bob := b[0].with(nil), b[1].with(nil)
		ann.join("r")
		bob.join("r")
		ann.heard()
		room := func(subject string, _ []byte) bool { return subject == "room/r" }
		b[0].misses(room)
		bob.Leave("r")
		synctest.Wait()
		b[0].misses(nil)
		ann.hears()
		time.Sleep(11 * time.Second)
		ann.hears("leave of socket101, now 1")

		b[0].misses(room)
		bob.join("r")
		synctest.Wait()
		b[0].misses(nil)
		carl := b[1].with(nil)
		carl.join("r")
		ann.hears("join of socket101", "join of socket102")
	})
}

// An answer that is older than what has been heard since changes nothing.
func TestLateAnswer(t *testing.T) {
	atDesks(t, 2, open, func(t *testing.T, b []*branch) {
		b[0].with(nil).join("another room")
		b[1].deaf.slow = 100 * time.Millisecond
		time.AfterFunc(50*time.Millisecond, func() { b[0].with(nil).join("r") })
		bob := b[1].with(nil)
		bob.join("r")
		time.Sleep(time.Second)
		if j := bob.join("r"); j.Count != 2 {
			t.Errorf("%d members", j.Count)
		}
	})
}

// Whoever opens a room first on a server is answered when the other servers have said who is there, and
// waits for one that is stopped no longer than 150 ms.
func TestFirstJoin(t *testing.T) {
	atDesks(t, 3, open, func(t *testing.T, b []*branch) {
		b[0].with(nil).join("r")
		took := func(p *person, want time.Duration) {
			t.Helper()
			started := time.Now()
			p.join("r")
			if took := time.Since(started); took != want {
				t.Errorf("the join took %v, want %v", took, want)
			}
		}
		took(b[1].with(nil), 2*time.Millisecond) // two rooms of the bus become active: of messages and of members
		took(b[1].with(nil), 0)
		b[0].node.Serve("chat", func(adapter.Node, []byte, func([]byte)) {}) // stopped
		took(b[2].with(nil), 151*time.Millisecond)
		took(b[2].with(nil), 0)
	})
}

// If the bus takes its time, who is in a room is known later.
func TestSlowBus(t *testing.T) {
	atDesks(t, 2, open, func(t *testing.T, b []*branch) {
		b[0].with(nil).join("r")
		b[1].net.Delay = time.Second
		bob := b[1].with(nil)
		bob.join("r")
		time.Sleep(time.Second)
		if j := bob.join("r"); j.Count != 2 {
			t.Errorf("%d members", j.Count)
		}
	})
}

// A connection that another server has recovered is one member, whichever news comes first.
func TestMemberMoves(t *testing.T) {
	for _, comesFirst := range []bool{false, true} {
		atDesks(t, 3, open, func(t *testing.T, b []*branch) {
			watcher := b[0].with(nil)
			watcher.join("r")
			old := b[1].with(nil)
			old.join("r")
			watcher.heard()
			b[2].n = b[1].n - 1 // the same id
			moved := b[2].with(nil)
			if comesFirst {
				moved.join("r")
				synctest.Wait()
				old.Leave("r")
			} else {
				old.Leave("r")
				synctest.Wait()
				moved.join("r")
			}
			time.Sleep(5 * time.Second)
			j := watcher.join("r")
			if len(j.Members) != 2 || j.Count != 2 {
				t.Errorf("%d members of %d", len(j.Members), j.Count)
			}
			leaves := 0
			for _, said := range watcher.heard() {
				if strings.HasPrefix(said, "leave") {
					leaves++
				}
			}
			if comesFirst && leaves != 0 {
				t.Error("the member that is there has left")
			}
		})
	}
}
