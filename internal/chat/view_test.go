package chat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// The user of a conversation learns of operators, and of nobody and nothing else.
func TestWhatUsersSee(t *testing.T) {
	const secret = "secret"
	for _, preview := range []bool{false, true} {
		atDesk(t, func(o *chat.Options) { o.Preview = preview }, func(d *desk) {
			ctx := d.Context()
			ann, tab := d.user("ann"), d.user("ann")
			anna := d.with(&auth.Identity{Subject: "anna", Role: auth.Operator, Name: "Anna", Email: secret + "@example.com"})
			bob := d.operator("bob")
			room := ann.start("hello")
			var told []any
			note := func(v any) { told = append(told, v) }
			note(ann.join(room))
			if joined := tab.join(room); joined.Count != 1 || len(joined.Members) != 1 {
				t.Errorf("the other tab joined %+v", joined)
			}
			anna.tryJoin(conversation.JoinRequest{RoomID: room, Notes: true})
			bob.join(room)
			if joined := tab.join(room); joined.Count != 3 || len(joined.Members) != 3 || joined.Members[0].UserID != "ann" {
				t.Errorf("the other tab joined %+v", joined)
			}
			if _, err := anna.AddNote(ctx, conversation.NoteRequest{RoomID: room, Message: text(secret)}); err != nil {
				t.Fatal(err)
			}
			anna.heard()
			if err := ann.Typing(room, true, "my draft"); err != nil {
				t.Fatal(err)
			}
			said := strings.Join(anna.heard(), "\n")
			if !strings.Contains(said, "typing true of ann") || strings.Contains(said, "my draft") != preview {
				t.Errorf("with preview %v, the operator heard %q", preview, said)
			}
			if err := anna.Typing(room, true, secret); err != nil {
				t.Fatal(err)
			}
			if _, err := anna.UpdateRoom(ctx, conversation.UpdateRequest{RoomID: room, AddLabels: []string{secret}, Attributes: json.RawMessage(`{"` + secret + `":1}`)}); err != nil {
				t.Fatal(err)
			}
			if _, err := bob.mark(room, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := anna.TransferRoom(ctx, conversation.TransferRequest{RoomID: room, OperatorID: conversation.Holder{Given: true}, Note: secret}); err != nil {
				t.Fatal(err)
			}
			bob.Close()
			note(ann.heard())
			note(tab.heard())
			note(ann.join(room))
			started, err := ann.StartConversation(ctx, conversation.StartRequest{})
			if err != nil {
				t.Fatal(err)
			}
			note(started)
			hello, err := ann.Hello(ctx, conversation.HelloRequest{})
			if err != nil {
				t.Fatal(err)
			}
			note(hello)
			list, err := ann.ListRooms(ctx, conversation.ListRequest{})
			if err != nil {
				t.Fatal(err)
			}
			note(list)
			closed, err := ann.CloseRoom(ctx, conversation.CloseRequest{RoomID: room})
			if err != nil {
				t.Fatal(err)
			}
			note(closed)
			encoded, _ := json.Marshal(told)
			if strings.Contains(string(encoded), secret) {
				t.Errorf("the user has learned the secret: %s", encoded)
			}
			for _, want := range []string{"join of socket03, now 0", "typing true of anna", "leave of socket04, now 0", `"by\":\"operators\"}`} {
				if !strings.Contains(string(encoded), want) {
					t.Errorf("the user has not learned %q: %s", want, encoded)
				}
			}
			if strings.Contains(string(encoded), "my draft") || strings.Contains(string(encoded), `operatorId\":\"bob\"}`) {
				t.Errorf("the user has learned who: %s", encoded)
			}
		})
	}
}

// Notes come without a gap, after the answer, and under the id of the conversation. Only operators write
// them, and nobody writes what only the service writes.
func TestNotes(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx, ann, anna, bob := d.Context(), d.user("ann"), d.operator("anna"), d.operator("bob")
		room := ann.start("hello")
		add := func(p *person, content string) (history.Message, error) {
			return p.AddNote(ctx, conversation.NoteRequest{RoomID: room, Message: json.RawMessage(content), ClientID: content[:min(len(content), 128)]})
		}
		for _, content := range []string{
			`"text"`, `[]`, `null`, `{}`, `{"text":""}`, `{"text":1}`, `{"event":"claimed"}`, `{"text":"x","event":"claimed"}`,
			`{"text":"x","Event":"claimed"}`, `{"text":"x","from":"y"}`, `{"text":"x","seq":1}`, `{"text":"` + strings.Repeat("x", 10_001) + `"}`,
		} {
			_, err := add(anna, content)
			wantCode(t, err, chat.BadPayload)
		}
		first, err := add(anna, `{"text":"first","mentions":["bob"]}`)
		if err != nil || first.RoomID != room || first.OperatorID != "anna" || first.Seq != 1 {
			t.Fatalf("the note is %+v, %v", first, err)
		}
		if again, err := add(anna, `{"text":"first","mentions":["bob"]}`); err != nil || again.ID != first.ID {
			t.Errorf("again: %+v, %v", again, err)
		}
		joined, err := bob.tryJoin(conversation.JoinRequest{RoomID: room, Notes: true})
		if err != nil || joined.Notes == nil || joined.Notes.RoomID != room || len(joined.Notes.Messages) != 1 || joined.Notes.Messages[0].RoomID != room {
			t.Fatalf("joined %+v, %v", joined, err)
		}
		if _, err := add(anna, `{"text":"second"}`); err != nil {
			t.Fatal(err)
		}
		bob.hears(`message {"text":"second"}`)
		if page, err := bob.History(ctx, conversation.HistoryRequest{RoomID: room, Notes: true}); err != nil || len(page.Messages) != 2 || page.Messages[1].RoomID != room {
			t.Errorf("the page is %+v, %v", page, err)
		}
		one := int64(1)
		joined, err = bob.tryJoin(conversation.JoinRequest{RoomID: room, Notes: true, NotesAfter: &one})
		if err != nil || len(joined.Notes.Messages) != 1 || joined.Notes.Messages[0].Seq != 2 {
			t.Errorf("joined again: %+v, %v", joined.Notes, err)
		}
		bob.join(room) // without notes
		if _, err := add(anna, `{"text":"third"}`); err != nil {
			t.Fatal(err)
		}
		bob.hears()
		m := history.Message{RoomID: history.NotesRoom(room), Seq: 1}
		if chat.Event(&m) != "newNote" || !strings.Contains(string(chat.EncodeMessage(&m)), `"roomId":"`+room+`"`) {
			t.Errorf("a note is sent as %s %s", chat.Event(&m), chat.EncodeMessage(&m))
		}
	})
}

// Whoever is in a room that is erased is told, and is in it no longer. Feeds end.
func TestErased(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann, anna := d.user("ann"), d.operator("anna")
		room := ann.start("hello")
		ann.join(room)
		anna.join(room)
		f := &ears{peer{id: "feed", hall: d.hall}}
		stop, err := d.Follow(d.Context(), chat.FollowRequest{RoomID: room, Who: anna.Identity(), Address: "192.0.2.1"}, f)
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		ann.heard()
		d.Erased(room)
		ann.hears(`roomGone {"roomId":"` + room + `"}`)
		if said := anna.heard(); !strings.Contains(strings.Join(said, "\n"), "roomGone") {
			t.Errorf("the operator heard %q", said)
		}
		f.want(t, "lost: parley: chat: gone: the room was erased")
		_, err = ann.trySend(conversation.SendRequest{RoomID: room, Message: text("m")})
		wantCode(t, err, chat.NotJoined)
	})
}

// Of a user that was erased, nothing is left in memory either, while it is connected.
func TestForget(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann, anna := d.user("ann"), d.operator("anna")
		room := ann.start("hello")
		ann.join(room)
		if err := anna.Watch(d.Context(), conversation.WatchRequest{}, func(conversation.Watched) {}); err != nil {
			t.Fatal(err)
		}
		ann.IsAt(&conversation.VisitedPage{URL: "https://shop.example/a"})
		anna.hears("visitorChanged")
		if _, err := ann.CloseRoom(d.Context(), conversation.CloseRequest{RoomID: room}); err != nil {
			t.Fatal(err)
		}
		pending, err := ann.StartConversation(d.Context(), conversation.StartRequest{Subject: "Shoes"})
		if err != nil {
			t.Fatal(err)
		}
		erased, err := d.log.EraseUser(d.Context(), "ann")
		if err != nil {
			t.Fatal(err)
		}
		d.Erased(erased.Rooms...)
		d.Forget("ann")
		time.Sleep(time.Minute)
		if said := strings.Join(anna.heard(), "\n"); !strings.Contains(said, "roomGone") {
			t.Errorf("the operator heard %q", said)
		}
		if joined := ann.join(pending.RoomID); joined.Room.Subject != "" {
			t.Errorf("joined %+v", joined.Room)
		}
		if err := anna.Watch(d.Context(), conversation.WatchRequest{}, func(conversation.Watched) {}); err != nil {
			t.Fatal(err)
		}
		ann.IsAt(&conversation.VisitedPage{URL: "https://shop.example/b"})
		time.Sleep(time.Minute)
		anna.hears()
	})
}

// Labels, the subject and attributes change together with a note of it.
func TestUpdateRoom(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx, anna := d.Context(), d.operator("anna")
		room := d.user("ann").start("hello")
		for name, q := range map[string]conversation.UpdateRequest{
			"label":      {AddLabels: []string{strings.Repeat("x", 41)}},
			"no label":   {AddLabels: []string{""}},
			"labels":     {AddLabels: make([]string, 21)},
			"subject":    {Subject: new(strings.Repeat("x", 201))},
			"attributes": {Attributes: json.RawMessage("1")},
		} {
			q.RoomID = room
			if _, err := anna.UpdateRoom(ctx, q); err == nil {
				t.Errorf("%s is accepted", name)
			} else {
				wantCode(t, err, chat.BadPayload)
			}
		}
		row, err := anna.UpdateRoom(ctx, conversation.UpdateRequest{RoomID: room, AddLabels: []string{"vip", "shoes"}})
		if err != nil || strings.Join(row.Labels, " ") != "shoes vip" {
			t.Errorf("labelled: %+v, %v", row, err)
		}
		subject := "Shoes"
		row, err = anna.UpdateRoom(ctx, conversation.UpdateRequest{RoomID: room, Subject: &subject, RemoveLabels: []string{"vip"}, Attributes: json.RawMessage(`{"a":1}`)})
		if err != nil || row.Subject != "Shoes" || len(row.Labels) != 1 || string(row.Attributes) != `{"a":1}` {
			t.Errorf("updated: %+v, %v", row, err)
		}
		if row, err = anna.Answered(ctx, conversation.RoomRequest{RoomID: room}); err != nil || row.WaitingSince != nil {
			t.Errorf("answered: %+v, %v", row, err)
		}
		want := `{"event":"labelled","added":["vip","shoes"]} {"event":"updated","removed":["vip"]} {"event":"answered"}`
		if got := strings.Join(d.notes(room), " "); got != want {
			t.Errorf("notes %s\nwant  %s", got, want)
		}
		_, err = anna.UpdateRoom(ctx, conversation.UpdateRequest{RoomID: "free", Subject: &subject})
		wantCode(t, err, chat.NotFound)
	})
}

// Persons are for operators.
func TestPersons(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx, ann, anna := d.Context(), d.user("ann"), d.operator("anna")
		room := ann.start("hello")
		_, err := ann.GetPerson(ctx, conversation.PersonRequest{UserID: "ann"})
		wantCode(t, err, chat.Forbidden)
		_, err = anna.GetPerson(ctx, conversation.PersonRequest{UserID: "nobody"})
		wantCode(t, err, chat.NotFound)
		_, err = anna.GetPerson(ctx, conversation.PersonRequest{})
		wantCode(t, err, chat.BadPayload)
		// What a signed token says of a user stays; what nobody has proved can be changed.
		name := "Ann of Cleves"
		_, err = anna.UpdatePerson(ctx, conversation.PersonUpdate{UserID: "ann", Name: &name})
		wantCode(t, err, chat.Forbidden)
		_, err = anna.UpdatePerson(ctx, conversation.PersonUpdate{UserID: "ann", Email: new("ann@example.net")})
		wantCode(t, err, chat.Forbidden)
		p, err := anna.UpdatePerson(ctx, conversation.PersonUpdate{UserID: "ann", Name: new("ANN"), Attributes: json.RawMessage(`{"plan":"pro"}`)})
		if err != nil || p.Person.Name != "ANN" || string(p.Person.Attributes) != `{"plan":"pro"}` || !p.Person.Online || len(p.Rooms) != 1 || p.Rooms[0].RoomID != room {
			t.Errorf("the person is %+v, %v", p, err)
		}
		d.visitor("v_1").start("hello")
		p, err = anna.UpdatePerson(ctx, conversation.PersonUpdate{UserID: "v_1", Name: &name})
		if err != nil || p.Person.Name != name || len(p.Rooms) != 1 || p.Rooms[0].User.Name != name {
			t.Errorf("the visitor is %+v, %v", p, err)
		}
	})
}

// An operator who may not read all conversations sees the users of those that it may read, and describes
// the users of those that it may manage.
func TestPersonsOfALimitedOperator(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx := d.Context()
		const all = auth.Read | auth.Write | auth.See | auth.Manage
		rooms := map[string]string{}
		for _, user := range []string{"ann", "ben", "cat"} {
			rooms[user] = d.user(user).start("hello")
		}
		grants := auth.Grants{{Pattern: rooms["ann"], Rights: all}, {Pattern: rooms["ben"], Rights: all &^ auth.Manage}, {Pattern: rooms["cat"], Rights: auth.Manage}}
		for _, role := range []auth.Role{auth.Operator, auth.Admin, auth.Service} {
			limited := d.with(&auth.Identity{Subject: "lea", Role: role, Grants: grants})
			for user, may := range map[string]struct{ get, update bool }{"ann": {true, true}, "ben": {true, false}, "cat": {}, "dan": {}} {
				_, got := limited.GetPerson(ctx, conversation.PersonRequest{UserID: user})
				_, updated := limited.UpdatePerson(ctx, conversation.PersonUpdate{UserID: user, Attributes: json.RawMessage(`{"plan":"pro"}`)})
				if (got == nil) != may.get || (updated == nil) != may.update {
					t.Errorf("%s, %s: %v, %v", role, user, got, updated)
				}
				for _, err := range []error{got, updated} {
					if err != nil {
						wantCode(t, err, chat.Forbidden)
					}
				}
			}
		}
	})
}

// Where a user is stays known while a client of it is there: when a visitor becomes a user, and when another
// tab closes.
func TestPageStays(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		visitor, tab, anna := d.visitor("v_1"), d.visitor("v_1"), d.operator("anna")
		room := visitor.start("hello")
		is := func(url string) {
			t.Helper()
			list, err := anna.ListRooms(d.Context(), conversation.ListRequest{})
			if err != nil || len(list.Rooms) != 1 || list.Rooms[0].RoomID != room {
				t.Fatalf("%+v, %v", list, err)
			}
			var at string
			if page := list.Rooms[0].Page; page != nil {
				at = page.URL
			}
			if at != url {
				t.Errorf("the user is at %q, want %q", at, url)
			}
		}
		at := func(p *person, url string) {
			t.Helper()
			if _, err := p.Hello(d.Context(), conversation.HelloRequest{Page: &conversation.VisitedPage{URL: url}}); err != nil {
				t.Fatal(err)
			}
		}
		at(visitor, "/cart")
		at(tab, "/shoes")
		is("/shoes")
		tab.Close()
		is("/cart")
		if _, err := visitor.Identify(d.Context(), &auth.Identity{Subject: "u7", Role: auth.User, Name: "Ann"}); err != nil {
			t.Fatal(err)
		}
		is("/cart")
		second := d.user("u7")
		is("/cart")
		second.Close()
		is("/cart")
		at(visitor, "/pay")
		is("/pay")
		visitor.Close()
		is("")
	})
}
