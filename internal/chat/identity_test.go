package chat_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// What a client claims must agree with its identity, which says the rest.
func TestClaims(t *testing.T) {
	atDesk(t, func(o *chat.Options) {
		o.OpenRooms = auth.Grants{{Pattern: "*", Rights: auth.Read | auth.Write | auth.See}}
	}, func(d *desk) {
		ann, v, anna := d.user("ann"), d.visitor("v_1"), d.operator("anna")
		bot := d.with(&auth.Identity{Subject: "bot", Role: auth.Service})
		for _, q := range []conversation.JoinRequest{{UserID: "ben"}, {OperatorID: "anna"}, {UserID: "ann", OperatorID: "x"}} {
			q.RoomID = "r"
			_, err := ann.tryJoin(q)
			wantCode(t, err, chat.IdentityMismatch)
		}
		joined, err := ann.tryJoin(conversation.JoinRequest{RoomID: "r", UserID: "ann", Name: "Root"})
		if err != nil || joined.Member.UserID != "ann" || joined.Member.Name != "ANN" {
			t.Errorf("joined %+v, %v", joined.Member, err)
		}
		if joined, err = v.tryJoin(conversation.JoinRequest{RoomID: "r", Name: "Vera"}); err != nil || joined.Member.UserID != "v_1" || joined.Member.Name != "Vera" {
			t.Errorf("a visitor joined %+v, %v", joined.Member, err)
		}
		_, err = ann.trySend(conversation.SendRequest{RoomID: "r", UserID: "ben", Message: text("m")})
		wantCode(t, err, chat.IdentityMismatch)
		_, err = ann.trySend(conversation.SendRequest{RoomID: "r", OperatorID: "anna", Message: text("m")})
		wantCode(t, err, chat.IdentityMismatch)
		room := d.user("ben").start("hello")
		anna.join(room)
		_, err = anna.trySend(conversation.SendRequest{RoomID: room, UserID: "ann", Message: text("m")})
		wantCode(t, err, chat.IdentityMismatch)

		bot.join(room)
		for _, q := range []struct {
			conversation.SendRequest
			user, operator string
		}{
			{conversation.SendRequest{}, "ben", "bot"},
			{conversation.SendRequest{UserID: "ben"}, "ben", ""},
			{conversation.SendRequest{OperatorID: "anna"}, "ben", "anna"},
		} {
			q.RoomID, q.Message = room, text("for "+q.user+q.operator)
			if m, err := bot.trySend(q.SendRequest); err != nil || m.UserID != q.user || m.OperatorID != q.operator {
				t.Errorf("a service wrote %+v, %v", m, err)
			}
		}
	})
}

// A client whose rights end leaves the room, is told, hears nothing more, and is not shown.
func TestRightsEnd(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		guest := func(rights auth.Rights) *auth.Identity {
			return &auth.Identity{Subject: "gil", Role: auth.User, Grants: auth.Grants{{Pattern: "a", Rights: rights}, {Pattern: "b", Rights: auth.Read}}}
		}
		const most = auth.Read | auth.Write | auth.See
		gil := d.with(guest(most))
		other := d.with(&auth.Identity{Subject: "hal", Role: auth.User, Grants: auth.Grants{{Pattern: "*", Rights: most}}})
		gil.join("a")
		if joined := gil.join("b"); joined.Count != 1 || len(joined.Members) != 1 {
			t.Errorf("without the right to see, it joined %+v", joined)
		}
		other.join("a")
		other.join("b")
		gil.hears("join of socket02, now 2") // in a
		if _, err := gil.Refresh(d.Context(), &auth.Identity{Subject: "hal", Role: auth.User}); err == nil {
			t.Error("somebody else's identity is accepted")
		}
		if _, err := gil.Refresh(d.Context(), guest(auth.Write)); err != nil {
			t.Fatal(err)
		}
		gil.hears(`error {"code":"forbidden"`)
		other.hears("leave of socket01, now 1")
		other.send("a", "secret")
		gil.hears()
		_, err := gil.trySend(conversation.SendRequest{RoomID: "a", Message: text("m")})
		wantCode(t, err, chat.NotJoined)
		_, err = gil.tryJoin(conversation.JoinRequest{RoomID: "a"})
		wantCode(t, err, chat.Forbidden)
		other.send("b", "still there")
		gil.hears("still there")
		if _, err := gil.Refresh(d.Context(), guest(most)); err != nil {
			t.Fatal(err)
		}
		gil.join("a")
		gil.heard()
		other.send("a", "again")
		gil.hears("again")
	})
}

// A visitor that identifies itself is the user from now on: with its conversations, as the author of
// what it wrote, in the rooms where it is. Whoever has only the visitor's identity is out.
func TestIdentify(t *testing.T) {
	signed := &auth.Identity{Subject: "u7", Role: auth.User, Name: "Ann", Email: "ann@example.com"}
	atDesk(t, nil, func(d *desk) {
		ctx := d.Context()
		v, tab, anna := d.visitor("v_1"), d.visitor("v_1"), d.operator("anna")
		room := v.start("helo")
		v.join(room)
		tab.join(room)
		stop, err := d.Follow(ctx, chat.FollowRequest{RoomID: room, Who: tab.Identity(), Address: "192.0.2.1"}, &ears{})
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		anna.join(room)
		for _, who := range []*auth.Identity{anna.Identity(), tab.Identity(), {Subject: "s", Role: auth.Service}} {
			_, err := v.Identify(ctx, who)
			wantCode(t, err, chat.Forbidden)
		}
		_, err = anna.Identify(ctx, signed)
		wantCode(t, err, chat.Forbidden)
		v.heard()
		tab.heard()
		anna.heard()
		who, err := v.Identify(ctx, signed)
		if err != nil || who.Merged != 1 || who.Me.UserID != "u7" || !slices.Equal(who.Me.Was, []string{"v_1"}) || who.Me.Visitor {
			t.Fatalf("identified as %+v, %v", who, err)
		}
		if said := strings.Join(v.heard(), "\n"); strings.Contains(said, "forbidden") {
			t.Errorf("the user heard %q", said)
		}
		if said := strings.Join(anna.heard(), "\n"); !strings.Contains(said, `"user":{"name":"Ann","email":"ann@example.com","verified":true,"online":true}`) {
			t.Errorf("the operator heard %q", said)
		}
		if said := strings.Join(tab.heard(), "\n"); !strings.Contains(said, `error {"code":"forbidden"`) {
			t.Errorf("the other tab heard %q", said)
		}
		if m := v.send(room, "it's me"); m.UserID != "u7" {
			t.Errorf("the user wrote %+v", m)
		}
		if m, err := v.EditMessage(ctx, conversation.EditRequest{RoomID: room, Seq: 1, Message: text("hello")}); err != nil || m.UserID != "v_1" {
			t.Errorf("what the visitor wrote: %+v, %v", m, err)
		}
		if m := anna.send(room, "yes"); m.UserID != "u7" {
			t.Errorf("the operator wrote %+v", m)
		}
		tab.hears()
		_, err = tab.tryJoin(conversation.JoinRequest{RoomID: room})
		wantCode(t, err, chat.Forbidden)
		if _, err := tab.Identify(ctx, signed); err != nil { // once more
			t.Error(err)
		}
		tab.join(room)
		p, err := anna.GetPerson(ctx, conversation.PersonRequest{UserID: "u7"})
		if err != nil || p.Person.Email != "ann@example.com" || !p.Person.Verified || !p.Person.Online || len(p.Rooms) != 1 || p.Rooms[0].RoomID != room {
			t.Errorf("the person is %+v, %v", p, err)
		}
		if notes := d.notes(room); len(notes) != 1 || notes[0] != `{"event":"merged","from":"v_1","to":"u7"}` {
			t.Errorf("notes: %q", notes)
		}
	})
}

// A feed ends with the identity, with the right, and when somebody ends it.
func TestFeedsEnd(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		room := d.user("ann").start("hello")
		follow := func(who *auth.Identity) *ears {
			f := &ears{peer{id: "feed", hall: d.hall}}
			stop, err := d.Follow(d.Context(), chat.FollowRequest{RoomID: room, Who: who, Address: "192.0.2.1"}, f)
			if err != nil {
				t.Fatal(err)
			}
			d.Cleanup(stop)
			return f
		}
		short := follow(&auth.Identity{Subject: "anna", Role: auth.Operator, Expires: time.Now().Add(time.Minute)})
		long := follow(&auth.Identity{Subject: "bob", Role: auth.Operator})
		time.Sleep(time.Minute + chat.Grace - time.Second)
		short.want(t)
		time.Sleep(2 * time.Second)
		short.want(t, "lost: parley: chat: token_expired: the token has expired")
		if n := d.Cut(auth.Match{Subject: "bob"}, chat.BadToken, "revoked"); n != 1 {
			t.Errorf("%d were cut", n)
		}
		long.want(t, "lost: parley: chat: bad_token: revoked")
		ann := d.user("ann")
		ann.join(room)
		ann.send(room, "more")
		short.want(t)
		long.want(t)
		if n := d.Cut(auth.Match{}, chat.BadToken, "revoked"); n != 2 {
			t.Errorf("%d were cut", n)
		}
		ann.hears("more", "lost")
	})
}

// Somebody loses its access after a feed has asked who it is, and before anybody knows of the feed.
func TestAccessIsLostWhileAFeedOpens(t *testing.T) {
	gone := chat.Refuse(chat.BadToken, "revoked")
	atDesk(t, func(o *chat.Options) {
		o.Admitted = func(who *auth.Identity, address string) error {
			if who.Subject == "ann" && address == "192.0.2.1" {
				return gone
			}
			return nil
		}
	}, func(d *desk) {
		room := d.user("ann").start("hello")
		follow := func(who *auth.Identity) error {
			stop, err := d.Follow(d.Context(), chat.FollowRequest{RoomID: room, Who: who, Address: "192.0.2.1"}, &ears{peer{id: "feed", hall: d.hall}})
			if err == nil {
				stop()
			}
			return err
		}
		if err := follow(&auth.Identity{Subject: "ann", Role: auth.User}); err != gone {
			t.Errorf("somebody who has lost its access: %v", err)
		}
		if err := follow(&auth.Identity{Subject: "anna", Role: auth.Operator}); err != nil {
			t.Errorf("somebody else: %v", err)
		}
	})
}

// In an open server, clients are who they say, also in conversations.
func TestOpenServer(t *testing.T) {
	atDesk(t, func(o *chat.Options) { o.Closed = nil }, func(d *desk) {
		ctx, ann, guest := d.Context(), d.user("ann"), d.with(nil)
		room := ann.start("hello")
		if joined, err := guest.tryJoin(conversation.JoinRequest{RoomID: room, OperatorID: "anna", Notes: true}); err != nil || joined.Room == nil || joined.Notes == nil {
			t.Fatalf("joined %+v, %v", joined, err)
		}
		if row, err := guest.ClaimRoom(ctx, conversation.RoomRequest{RoomID: room}); err != nil || row.OperatorID != "anna" {
			t.Errorf("claimed %+v, %v", row, err)
		}
		other := d.with(nil)
		other.join(room)
		_, err := other.ClaimRoom(ctx, conversation.RoomRequest{RoomID: room})
		wantCode(t, err, chat.Forbidden)
		_, err = other.tryJoin(conversation.JoinRequest{RoomID: room, Notes: true})
		wantCode(t, err, chat.Forbidden)
		_, err = d.with(nil).ClaimRoom(ctx, conversation.RoomRequest{RoomID: room})
		wantCode(t, err, chat.NotJoined)
		if hello, err := guest.Hello(ctx, conversation.HelloRequest{}); err != nil || !hello.Settings.Open || hello.Me.Role != "" {
			t.Errorf("hello: %+v, %v", hello, err)
		}
		if m := guest.send(room, "hi"); m.UserID != "ann" || m.OperatorID != "anna" {
			t.Errorf("the operator wrote %+v", m)
		}
		if _, err := d.store.Room(ctx, "none", history.Member{}); err == nil {
			t.Error("a room")
		}
	})
}

// A client may be put out of a room at any moment, also while it joins. Nothing of it is left.
func TestPutOutWhileJoining(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann, anna := d.user("ann"), d.operator("anna")
		room := ann.start("hello")
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					d.Erased(room) // for the service; the store has it still
				}
			}
		}()
		var joiners sync.WaitGroup
		for _, p := range []*person{ann, anna} {
			joiners.Go(func() {
				for i := range 300 {
					q := conversation.JoinRequest{RoomID: room, Notes: p == anna && i%2 == 0}
					if _, err := p.tryJoin(q); err != nil {
						wantCode(t, err, chat.NotJoined)
					}
					if i%3 == 0 {
						p.Leave(room)
					}
				}
			})
		}
		joiners.Wait()
		close(stop)
		<-stopped
		for _, p := range []*person{ann, anna} {
			p.join(room)
			p.heard()
			ann.send(room, p.peer.id)
			p.hears(p.peer.id)
		}
		ann.Close()
		anna.Close()
		if d.Rooms() != 0 || d.Memberships() != 0 {
			t.Errorf("%d rooms and %d memberships are left", d.Rooms(), d.Memberships())
		}
	})
}

// The same, at the worst moment: while a page is read for a client that joins again, or joins.
func TestPutOutWhileThePageIsRead(t *testing.T) {
	for _, before := range []bool{false, true} {
		atDesk(t, nil, func(d *desk) {
			ann, anna := d.user("ann"), d.operator("anna")
			room := ann.start("hello")
			anna.join(room)
			if before {
				ann.join(room)
			}
			d.store.hook.Store(new(func() { d.Erased(room) }))
			answered := false
			err := ann.Join(d.Context(), chat.Principal{}, conversation.JoinRequest{RoomID: room}, func(chat.Joined) { answered = true })
			if before { // it was in the room, and so it was put out
				wantCode(t, err, chat.NotJoined)
			} else if err != nil {
				t.Error(err)
			}
			if answered == before {
				t.Errorf("answered: %v", answered)
			}
			if joined := anna.join(room); (joined.Count == 1) != before {
				t.Errorf("then there are %+v", joined.Members)
			}
			ann.heard()
			anna.send(room, "secret")
			if heard := ann.heard(); (len(heard) == 0) != before {
				t.Errorf("heard %q", heard)
			}
			ann.Close()
			anna.Close()
			if d.Rooms() != 0 || d.Memberships() != 0 {
				t.Errorf("%d rooms and %d memberships are left", d.Rooms(), d.Memberships())
			}
		})
	}
}
