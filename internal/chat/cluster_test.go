package chat_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historybus"
	"github.com/parley-go/parley/internal/chat"
)

// A branch is the desk of one server of a cluster. All have the same store.
type branch struct {
	*desk
	node *adapter.Native
	bus  *adapter.MemoryBus
	net  *adapter.Memory
	deaf *deaf
	// another starts one more server.
	another func() *branch
}

// deaf is an exchange that does not hear some of what others say, and is slow to hear their answers.
type deaf struct {
	adapter.Exchange
	slow time.Duration
	mu   sync.Mutex
	not  func(subject string, data []byte) bool
}

func (d *deaf) Ask(ctx context.Context, to adapter.NodeID, subject string, question []byte) ([]byte, error) {
	answer, err := d.Exchange.Ask(ctx, to, subject, question)
	time.Sleep(d.slow)
	return answer, err
}

func (d *deaf) Hear(subject string, f func(adapter.Node, []byte)) adapter.Listening {
	return d.Exchange.Hear(subject, func(from adapter.Node, data []byte) {
		d.mu.Lock()
		not := d.not
		d.mu.Unlock()
		if not == nil || !not(subject, data) {
			f(from, data)
		}
	})
}

// misses makes the server deaf for what not selects; nil: for nothing.
func (b *branch) misses(not func(subject string, data []byte) bool) {
	b.deaf.mu.Lock()
	defer b.deaf.mu.Unlock()
	b.deaf.not = not
}

// atDesks runs f with the desks of n closed servers, or with what setUp makes of them.
func atDesks(t *testing.T, n int, setUp func(*chat.Options), f func(t *testing.T, b []*branch)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		quiet := slog.New(slog.DiscardHandler)
		store, net := &hooked{Memory: history.NewMemory()}, adapter.NewMemory()
		net.Delay = time.Millisecond
		var branches []*branch
		start := func() *branch {
			i := len(branches)
			bus := net.Connect()
			node, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint("server", i), Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { node.Close() })
			if err := node.Join(t.Context()); err != nil {
				t.Fatal(err)
			}
			log := history.NewLog(store, &history.LogOptions{Bus: historybus.New(node, bus), Logger: quiet})
			t.Cleanup(log.Close)
			h, exchange := &hall{members: map[string][]*peer{}}, &deaf{Exchange: node}
			o := chat.Options{
				PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, MaxMessage: maxMessage, Timeout: 10 * time.Second, Announcer: h,
				Closed: func() bool { return true }, EditWindow: 24 * time.Hour, Cluster: exchange,
				Failed: func(doing string, err error) { t.Errorf("%s: %v", doing, err) },
			}
			if setUp != nil {
				setUp(&o)
			}
			d := &desk{T: t, Service: chat.New(store, log, o), store: store, log: log, hall: h, n: 100 * i}
			branches = append(branches, &branch{desk: d, node: node, bus: bus, net: net, deaf: exchange})
			return branches[i]
		}
		for range n {
			start().another = start
		}
		time.Sleep(time.Second) // they know each other
		f(t, branches)
		synctest.Wait()
	})
}

// open makes the servers open ones.
func open(o *chat.Options) { o.Closed = nil }

// names returns who is shown, by user or operator, and how many there are.
func names(j chat.Joined) string {
	var all []string
	for _, m := range j.Members {
		all = append(all, m.UserID+m.OperatorID)
	}
	slices.Sort(all)
	return fmt.Sprint(all, " ", j.Count)
}

func wantNames(t *testing.T, j chat.Joined, want string) {
	t.Helper()
	if got := names(j); got != want {
		t.Errorf("members %s, want %s", got, want)
	}
}

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

// What happens to a conversation on one server is known to all that it concerns on the others.
func TestConversationOfSeveralServers(t *testing.T) {
	atDesks(t, 3, nil, func(t *testing.T, b []*branch) {
		ctx := t.Context()
		ann, tab := b[0].user("ann"), b[1].user("ann")
		anna, bob := b[1].operator("anna"), b[2].operator("bob")
		room := ann.start("hello")
		tab.hears(`"status":"open"`) // a new conversation, of which another of the user's clients is told
		ann.join(room)
		anna.tryJoin(conversation.JoinRequest{RoomID: room, Notes: true})
		bob.join(room)
		for _, p := range []*person{ann, tab, anna, bob} {
			p.heard()
		}
		if _, err := bob.ClaimRoom(ctx, conversation.RoomRequest{RoomID: room}); err != nil {
			t.Fatal(err)
		}
		ann.hears(`"operator":{"name":"BOB","online":true}`)
		tab.hears(`"operator":{"name":"BOB","online":true}`)
		anna.hears(`message {"event":"claimed","to":"bob"}`, `"operatorId":"bob"`)
		bob.hears(`"operatorId":"bob"`)

		// Read marks: operators learn of each other, the user of all of them as one.
		if _, err := bob.mark(room, 1); err != nil {
			t.Fatal(err)
		}
		anna.hears(`read {"roomId":"` + room + `","seq":1,"by":"operators","operatorId":"bob"}`)
		ann.hears(`read {"roomId":"` + room + `","seq":1,"by":"operators"}`)
		bob.heard()
		time.Sleep(2 * time.Second)
		second := b[0].operator("bob")
		if _, err := bob.MarkUnread(ctx, conversation.MarkRequest{RoomID: room, Seq: 1}); err != nil {
			t.Fatal(err)
		}
		second.hears(`"seq":0,"by":"operators","operatorId":"bob"}`)
		anna.hears()

		// The end, and a new beginning.
		bob.heard()
		if _, err := bob.CloseRoom(ctx, conversation.CloseRequest{RoomID: room}); err != nil {
			t.Fatal(err)
		}
		ann.hears(`"status":"closed"`)
		ann.send(room, "one more thing")
		ann.hears(`message {"text":"one more thing"}`, `"status":"open"`)
		bob.hears(`message {"text":"one more thing"}`, `"status":"open"`, `"status":"closed"`)
	})
}

// Whoever has lost the right to be in a conversation, because it has become that of another user, leaves it
// on all servers.
func TestOwnersOnSeveralServers(t *testing.T) {
	atDesks(t, 2, nil, func(t *testing.T, b []*branch) {
		visitor := b[0].visitor("v_1")
		room := visitor.start("hello")
		synctest.Wait()
		tab := b[1].visitor("v_1")
		tab.join(room)
		bob := b[1].operator("bob")
		bob.join(room)
		tab.heard()
		bob.heard()
		ann := &auth.Identity{Subject: "ann", Role: auth.User}
		if _, err := visitor.Identify(t.Context(), ann); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		joined := b[1].with(ann).join(room)
		if joined.Room.UserID != "ann" {
			t.Errorf("the room is %+v", joined.Room)
		}
		if said := strings.Join(bob.heard(), "\n"); !strings.Contains(said, `"userId":"ann"`) {
			t.Errorf("the operator heard %s", said)
		}
		tab.hears("your rights in this room have changed")
		_, err := tab.trySend(conversation.SendRequest{RoomID: room, Message: text("still me")})
		wantCode(t, err, chat.NotJoined)
	})
}

// What is erased on one server is gone on all: whoever is in it is told, feeds end, lobbies drop it.
func TestErasureOnSeveralServers(t *testing.T) {
	for _, down := range []bool{false, true} {
		atDesks(t, 2, nil, func(t *testing.T, b []*branch) {
			ann, tab := b[0].user("ann"), b[1].user("ann")
			tab.IsAt(&conversation.VisitedPage{URL: "https://example.com/secret"})
			room := ann.start("hello")
			bob, feed := b[1].operator("bob"), &ears{peer: peer{hall: b[1].hall}}
			bob.join(room)
			if _, err := b[1].Follow(t.Context(), chat.FollowRequest{RoomID: room, Who: bob.Identity()}, feed); err != nil {
				t.Fatal(err)
			}
			console := newConsole(t, b[1].Service, b[1].hall, "carl")
			defer console.client.Close()
			console.watch(t, conversation.WatchRequest{})
			time.Sleep(time.Second)
			bob.heard()
			b[1].bus.Cut(down)
			erased, err := b[0].log.EraseUser(t.Context(), "ann")
			if err != nil {
				t.Fatal(err)
			}
			b[0].Erased(erased.Rooms...)
			b[0].Forget("ann")
			if down {
				time.Sleep(10 * time.Second)
			}
			time.Sleep(time.Second)
			if said := strings.Join(bob.heard(), "\n"); strings.Count(said, "roomGone") != 1 {
				t.Errorf("down %v: the member heard %s", down, said)
			}
			if said := fmt.Sprint(feed.said); !strings.Contains(said, "erased") {
				t.Errorf("down %v: the feed heard %s", down, said)
			}
			if gone := fmt.Sprint(console.noticed()); down && !strings.Contains(gone, `"code":"gone"`) || !down && !strings.Contains(gone, "roomGone") {
				t.Errorf("down %v: the lobby heard %s", down, gone)
			}
			if down {
				return
			}
			// What was in memory is gone as well.
			again := ann.start("hello again")
			list, err := bob.ListRooms(t.Context(), conversation.ListRequest{})
			if err != nil || len(list.Rooms) != 1 || list.Rooms[0].Page != nil {
				t.Errorf("the new conversation is %+v, %v", list.Rooms, err)
			}
			// The lobby hears of rooms that nobody there has open, too.
			console.watch(t, conversation.WatchRequest{})
			console.noticed()
			if erased, err = b[0].log.EraseRoom(t.Context(), again); err != nil {
				t.Fatal(err)
			}
			b[0].Erased(erased.Rooms...)
			time.Sleep(time.Second)
			if gone := fmt.Sprint(console.noticed()); !strings.Contains(gone, `roomGone {"roomId":"`+again) {
				t.Errorf("the lobby heard %s", gone)
			}
		})
	}
}

// The lobby of a server knows within 300 ms what has changed on another one, and within a second without
// the bus.
func TestLobbyOfSeveralServers(t *testing.T) {
	atDesks(t, 2, nil, func(t *testing.T, b []*branch) {
		console := newConsole(t, b[1].Service, b[1].hall, "anna")
		defer console.client.Close()
		console.watch(t, conversation.WatchRequest{})
		time.Sleep(2500 * time.Millisecond)
		for _, within := range []time.Duration{300 * time.Millisecond, time.Second} {
			ann := b[0].user(fmt.Sprint("ann", within))
			console.changed()
			room := ann.start("hello")
			time.Sleep(within)
			if got := console.changed(); !slices.Contains(got, room) {
				t.Errorf("%v later, the lobby was told of %v", within, got)
			}
			b[1].bus.Cut(true)
		}
		console.client.Unwatch()
		b[1].bus.Cut(false)
		time.Sleep(10 * time.Second)
		received := b[1].bus.Received()
		b[0].user("bob").start("hello")
		time.Sleep(time.Millisecond) // less than until the next beat
		if n := b[1].bus.Received() - received; n > 3 {
			t.Errorf("%d messages for a lobby that nobody watches", n)
		}
	})
}

// Operators are seen on all servers: whether they are there or away, and in which rooms they are.
func TestOperatorsOfSeveralServers(t *testing.T) {
	const soon, later = 300 * time.Millisecond, 3 * time.Second
	atDesks(t, 3, nil, func(t *testing.T, b []*branch) {
		room := b[0].user("ann").start("hello")
		anna := newConsole(t, b[0].Service, b[0].hall, "anna")
		defer anna.client.Close()
		anna.watch(t, conversation.WatchRequest{})
		time.Sleep(later)
		anna.presences(t)

		bob := b[1].operator("bob")
		anna.wantPresences(t, soon, "BOB online [] 0")
		bob.join(room)
		anna.wantPresences(t, soon, "BOB online ["+room+"] 0")
		status := func(p *person, s string) {
			t.Helper()
			if _, err := p.SetStatus(conversation.StatusRequest{Status: s}); err != nil {
				t.Fatal(err)
			}
		}
		status(bob, "away")
		anna.wantPresences(t, soon, "BOB away ["+room+"] 0")
		again := b[2].operator("bob") // who is away remains so
		anna.wantPresences(t, soon)
		status(again, "online")
		anna.wantPresences(t, soon, "BOB online ["+room+"] 0")
		status(bob, "away")
		anna.wantPresences(t, soon, "BOB away ["+room+"] 0")
		status(bob, "online")
		anna.wantPresences(t, soon, "BOB online ["+room+"] 0")
		bob.Close()
		anna.wantPresences(t, soon, "BOB online [] 0")
		time.Sleep(11 * time.Second)
		anna.wantPresences(t, soon)
		if _, online := row(t, b[0], room); online {
			t.Error("nobody has the conversation, and its operator is there")
		}
		if _, err := again.ClaimRoom(t.Context(), conversation.RoomRequest{RoomID: room}); err != nil {
			t.Fatal(err)
		}
		anna.wantPresences(t, later, "BOB online [] 1")
		if operator, online := row(t, b[1], room); operator != "BOB" || !online {
			t.Errorf("the operator is %s, %v", operator, online)
		}
		b[2].bus.Cut(true) // its server dies
		anna.wantPresences(t, 8*time.Second, "bob offline [] 0")
		if _, online := row(t, b[1], room); online {
			t.Error("the operator of a dead server is there")
		}
		b[2].bus.Cut(false)
		anna.wantPresences(t, 8*time.Second, "BOB online [] 1")
		again.Close()
		anna.wantPresences(t, 11*time.Second, "bob offline [] 0")
	})
}

// A server that starts learns who is there from the others.
func TestServerStarts(t *testing.T) {
	atDesks(t, 2, nil, func(t *testing.T, b []*branch) {
		room := b[0].user("ann").start("hello")
		anna := b[0].operator("anna")
		if _, err := anna.ClaimRoom(t.Context(), conversation.RoomRequest{RoomID: room}); err != nil {
			t.Fatal(err)
		}
		late := b[0].another()
		time.Sleep(time.Second)
		if operator, online := row(t, late, room); operator != "ANNA" || !online {
			t.Errorf("the operator is %s, %v", operator, online)
		}
	})
}

// A conversation can be given to an operator of whom only another server knows, because it is there.
func TestTransferToAnOperatorOfAnotherServer(t *testing.T) {
	knows := func(o *chat.Options) {
		var mu sync.Mutex
		met := map[string]bool{}
		o.Arrived = func(who *auth.Identity) {
			mu.Lock()
			defer mu.Unlock()
			met[who.Subject] = true
		}
		o.Operator = func(id string) (string, bool) {
			mu.Lock()
			defer mu.Unlock()
			return "", met[id]
		}
	}
	atDesks(t, 2, knows, func(t *testing.T, b []*branch) {
		room, anna := b[0].user("ann").start("hello"), b[0].operator("anna")
		give := func() error {
			synctest.Wait()
			_, err := anna.TransferRoom(t.Context(), conversation.TransferRequest{RoomID: room, OperatorID: holder("bob")})
			return err
		}
		wantCode(t, give(), chat.NotFound)
		b[1].operator("bob")
		if err := give(); err != nil {
			t.Error(err)
		}
	})
}

// row returns who has a conversation, as the list of a server shows it.
func row(t *testing.T, b *branch, room string) (operator string, online bool) {
	t.Helper()
	list, err := b.operator("zoe").ListRooms(t.Context(), conversation.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Rooms {
		if r.RoomID == room && r.Operator != nil {
			return r.Operator.Name, r.Operator.Online
		}
	}
	return "", false
}

// Operators see on which page the user of a conversation is, whatever server has it.
func TestVisitorsOfSeveralServers(t *testing.T) {
	atDesks(t, 2, nil, func(t *testing.T, b []*branch) {
		ann := b[0].user("ann")
		room := ann.start("hello")
		ann.IsAt(&conversation.VisitedPage{URL: "https://example.com/a"})
		console := newConsole(t, b[1].Service, b[1].hall, "anna")
		defer console.client.Close()
		synctest.Wait()
		if r := console.watch(t, conversation.WatchRequest{}).Rooms[0]; r.RoomID != room || !r.User.Online || r.Page == nil || r.Page.URL != "https://example.com/a" {
			t.Errorf("the row is %+v", r)
		}
		where := func(want string) {
			t.Helper()
			time.Sleep(3 * time.Second)
			var last string
			for _, n := range console.noticed() {
				if strings.HasPrefix(n, "visitorChanged") {
					last = n
				}
			}
			if last != want {
				t.Errorf("told %s, want %s", last, want)
			}
		}
		ann.IsAt(&conversation.VisitedPage{URL: "https://example.com/b"})
		where(`visitorChanged {"userId":"ann","page":{"url":"https://example.com/b"},"online":true}`)
		list, err := console.client.ListRooms(t.Context(), conversation.ListRequest{})
		if err != nil || list.Rooms[0].RoomID != room || !list.Rooms[0].User.Online || list.Rooms[0].Page.URL != "https://example.com/b" {
			t.Errorf("the row is %+v, %v", list.Rooms, err)
		}
		person, err := console.client.GetPerson(t.Context(), conversation.PersonRequest{UserID: "ann"})
		if err != nil || !person.Person.Online {
			t.Errorf("the person is %+v, %v", person.Person, err)
		}
		ann.Close()
		where(`visitorChanged {"userId":"ann","online":false}`)
		// A user who is back, and whom no operator has been shown there. The operator is shown the
		// conversation of a user whom no server is known to have. So all are asked.
		b[0].user("ann")
		time.Sleep(11 * time.Second)
		console.noticed()
		if _, err := console.client.ListRooms(t.Context(), conversation.ListRequest{}); err != nil {
			t.Fatal(err)
		}
		where(`visitorChanged {"userId":"ann","online":true}`)
		// Those who never write concern nobody.
		before := b[1].bus.Received()
		lurker := b[0].user("lurker")
		lurker.IsAt(&conversation.VisitedPage{URL: "https://example.com/a"})
		time.Sleep(time.Millisecond)
		if n := b[1].bus.Received() - before; n > 0 {
			t.Errorf("%d messages about a user who has written nothing", n)
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

// What has happened to a conversation while the bus was down, its members learn when it is back.
func TestConversationIsReadAgain(t *testing.T) {
	atDesks(t, 2, nil, func(t *testing.T, b []*branch) {
		ann, bob := b[0].user("ann"), b[1].operator("bob")
		room := ann.start("hello")
		ann.join(room)
		synctest.Wait()
		ann.heard()
		// While the bus is down, nobody is told. Afterwards, whoever has the conversation open is.
		b[0].bus.Cut(true)
		if _, err := bob.ClaimRoom(t.Context(), conversation.RoomRequest{RoomID: room}); err != nil {
			t.Fatal(err)
		}
		ann.hears()
		b[0].bus.Cut(false)
		time.Sleep(time.Second)
		if said := fmt.Sprint(ann.heard()); !strings.Contains(said, `"operator":{"name":"BOB"`) {
			t.Errorf("heard %s", said)
		}
	})
}
