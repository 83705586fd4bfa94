package chat_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/chat"
)

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
