package chat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// A conversation without a message leaves no row, and is the user's alone until it has one.
func TestPendingConversation(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx, rooms := d.Context(), d.store
		ann, ben, anna := d.user("ann"), d.user("ben"), d.operator("anna")
		started, err := ann.StartConversation(ctx, conversation.StartRequest{Subject: "Shoes"})
		if err != nil || started.Status != history.Open || started.Subject != "Shoes" || !strings.HasPrefix(started.RoomID, "c_") || len(started.RoomID) != 28 {
			t.Fatalf("started %+v, %v", started, err)
		}
		room := started.RoomID
		if again, err := ann.StartConversation(ctx, conversation.StartRequest{Subject: "Shoes"}); err != nil || again.RoomID != room {
			t.Errorf("again: %+v, %v", again, err)
		}
		if _, err := rooms.Room(ctx, room, history.Member{}); history.Code(err) != history.ErrNotFound.Code {
			t.Errorf("there is a row: %v", err)
		}
		for _, other := range []*person{ben, anna} {
			_, err := other.tryJoin(conversation.JoinRequest{RoomID: room})
			wantCode(t, err, chat.Forbidden)
		}
		if joined := ann.join(room); joined.Room == nil || joined.Room.Subject != "Shoes" || len(joined.Messages) != 0 {
			t.Errorf("joined %+v", joined)
		}
		ann.send(room, "hello")
		ann.send(room, "there")
		row, err := rooms.Room(ctx, room, history.Member{})
		if err != nil || row.UserID != "ann" || row.Subject != "Shoes" || row.Head != 2 {
			t.Errorf("the row is %+v, %v", row, err)
		}
		if anna.join(room).Room.UserID != "ann" {
			t.Error("the operator sees no conversation")
		}
		_, err = ben.tryJoin(conversation.JoinRequest{RoomID: room})
		wantCode(t, err, chat.Forbidden)
	})
}

// A pending conversation goes on, also when nothing is known of it any more: its user may join it and
// write, and it becomes a conversation. For others there is nothing.
func TestPendingConversationGoesOn(t *testing.T) {
	for _, clientID := range []string{"", "k1"} {
		for name, forget := range map[string]func(d *desk, o *chat.Options){
			"the server is restarted": func(d *desk, o *chat.Options) { d.Service = chat.New(d.store, d.log, *o) },
			"long ago":                func(*desk, *chat.Options) { time.Sleep(48 * time.Hour) },
		} {
			t.Run(name+clientID, func(t *testing.T) {
				var o *chat.Options
				atDesk(t, func(p *chat.Options) { o = p }, func(d *desk) {
					started, err := d.user("ann").StartConversation(d.Context(), conversation.StartRequest{Subject: "Shoes", ClientID: clientID})
					if err != nil {
						t.Fatal(err)
					}
					room := started.RoomID
					forget(d, o)
					ann, tab := d.user("ann"), d.user("ann")
					if _, err := ann.Hello(d.Context(), conversation.HelloRequest{Locale: "de"}); err != nil {
						t.Fatal(err)
					}
					for _, other := range []*person{d.user("ben"), d.visitor("v_1"), d.operator("anna"), d.with(nil)} {
						_, err := other.tryJoin(conversation.JoinRequest{RoomID: room})
						wantCode(t, err, chat.Forbidden)
					}
					for _, p := range []*person{ann, tab} {
						if joined := p.join(room); joined.Room == nil || joined.Room.UserID != "ann" || joined.Room.Subject != "" {
							t.Errorf("joined %+v", joined)
						}
					}
					if _, err := d.store.Room(d.Context(), room, history.Member{}); history.Code(err) != history.ErrNotFound.Code {
						t.Errorf("there is a row: %v", err)
					}
					ann.send(room, "hello")
					tab.send(room, "it is me")
					ann.send(room, "as well")
					row, err := d.store.Room(d.Context(), room, history.Member{})
					if err != nil || row.UserID != "ann" || row.Head != 3 || row.User == nil || row.User.Name != "ANN" || !strings.Contains(string(row.Attributes), `"locale":"de"`) {
						t.Errorf("the row is %+v, %v", row, err)
					}
				})
			})
		}
	}
}

// To go on with an id of which nothing is known costs as much as to begin a conversation, and a user cannot
// make an id that is another user's.
func TestIdsOfConversations(t *testing.T) {
	atDesk(t, func(o *chat.Options) {
		o.MaxOpenConversations = 100
		o.Budgets[budget.Conversations] = budget.Limit{PerSecond: 0.001, Burst: 2}
	}, func(d *desk) {
		ann, begun := d.user("ann"), 0
		for i := range 9 {
			room := chat.ConversationID("ann", fmt.Sprint(i))
			ann.join(room)
			_, err := ann.trySend(conversation.SendRequest{RoomID: room, Message: text(fmt.Sprint("hello ", i))})
			if err == nil {
				begun++
			} else {
				wantCode(t, err, chat.RateLimited)
			}
		}
		if begun < 2 || begun > 4 {
			t.Errorf("%d conversations", begun)
		}
		for _, room := range []string{chat.ConversationID("ben", ""), "c_", "c_" + strings.Repeat("a", 26), chat.ConversationID("ann", "")[:27], chat.ConversationID("ann", "") + "a"} {
			_, err := ann.tryJoin(conversation.JoinRequest{RoomID: room})
			wantCode(t, err, chat.Forbidden)
		}
	})
}

// A visitor that has begun a conversation without a message and then signs in goes on with it.
func TestPendingConversationOfOneWhoSignsIn(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		v, tab := d.visitor("v_1"), d.visitor("v_1")
		started, err := v.StartConversation(d.Context(), conversation.StartRequest{Subject: "Shoes"})
		if err != nil {
			t.Fatal(err)
		}
		room := started.RoomID
		v.join(room)
		tab.join(room)
		if _, err := v.Identify(d.Context(), &auth.Identity{Subject: "u7", Role: auth.User, Name: "Ann"}); err != nil {
			t.Fatal(err)
		}
		tab.heard()
		_, err = tab.trySend(conversation.SendRequest{RoomID: room, Message: text("I have only the visitor's token")})
		wantCode(t, err, chat.NotJoined)
		v.send(room, "hello")
		row, err := d.store.Room(d.Context(), room, history.Member{})
		if err != nil || row.UserID != "u7" || row.Subject != "Shoes" || row.User == nil || row.User.Name != "Ann" || !row.User.Verified {
			t.Errorf("the row is %+v, %v", row, err)
		}
	})
}

// All clients of a user learn that it has a new conversation, and what becomes of it, whether they have
// joined it or not. Others do not.
func TestUserLearnsOfItsConversations(t *testing.T) {
	for name, begin := range map[string]func(p *person) string{
		"with a message": func(p *person) string { return p.start("hello") },
		"without a message": func(p *person) string {
			started, err := p.StartConversation(p.desk.Context(), conversation.StartRequest{})
			if err != nil {
				p.desk.Fatal(err)
			}
			p.join(started.RoomID)
			p.send(started.RoomID, "hello")
			return started.RoomID
		},
	} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, nil, func(d *desk) {
				phone := d.user("ann")
				limited := d.with(&auth.Identity{Subject: "ann", Role: auth.User, Grants: auth.Grants{{Pattern: "order-*", Rights: auth.Read}}})
				reader := d.with(&auth.Identity{Subject: "ann", Role: auth.User, Grants: auth.Grants{{Pattern: "*", Rights: auth.Read}}})
				ben, anna := d.user("ben"), d.operator("anna")
				ann := d.user("ann")
				room := begin(ann)
				ann.heard()
				news := `roomChanged {"room":{"roomId":"` + room + `","status":"open"}}`
				phone.hears(news)
				reader.hears(news)
				reader.join(room)
				tab := d.user("ann")
				tab.join(room)
				reader.heard()
				if _, err := anna.ClaimRoom(d.Context(), conversation.RoomRequest{RoomID: room}); err != nil {
					t.Fatal(err)
				}
				for _, p := range []*person{phone, tab, reader} {
					p.hears(`"operator":{"name":"ANNA","online":true}`)
				}
				phone.start("there is one")
				phone.hears()
				if _, err := ann.CloseRoom(d.Context(), conversation.CloseRequest{RoomID: room}); err != nil {
					t.Fatal(err)
				}
				phone.hears(`"status":"closed"`)
				for _, other := range []*person{ben, limited, anna} {
					other.hears()
				}
			})
		})
	}
}

// A start with a message can be repeated. While there is an open conversation, the message goes there.
func TestStartAgain(t *testing.T) {
	for name, most := range map[string]int{"one open": 0, "two open": 2} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(o *chat.Options) { o.MaxOpenConversations = most }, func(d *desk) {
				ctx, ann := d.Context(), d.user("ann")
				q := conversation.StartRequest{Message: text("hello"), ClientID: "k1", Attributes: json.RawMessage(`{"plan":"pro"}`)}
				first, err := ann.StartConversation(ctx, q)
				if err != nil || first.Message == nil || first.Message.Seq != 1 || first.Existing {
					t.Fatalf("started %+v, %v", first, err)
				}
				again, err := ann.StartConversation(ctx, q)
				if err != nil || again.RoomID != first.RoomID || again.Message == nil || again.Message.ID != first.Message.ID {
					t.Errorf("again: %+v, %v", again, err)
				}
				next, err := ann.StartConversation(ctx, conversation.StartRequest{Message: text("another"), ClientID: "k2"})
				if err != nil || next.Existing != (most == 0) || (next.RoomID == first.RoomID) != (most == 0) {
					t.Errorf("another: %+v, %v", next, err)
				}
				row, err := d.store.Room(ctx, first.RoomID, history.Member{})
				if err != nil || string(row.Attributes) != `{"plan":"pro"}` {
					t.Errorf("the row is %+v, %v", row, err)
				}
				p, err := d.store.Person(ctx, "ann")
				if err != nil || p.Name != "ANN" || p.Email != "ann@example.com" || !p.Verified {
					t.Errorf("the user is %+v, %v", p, err)
				}
			})
		})
	}
}

// Whatever its clients do at the same time, a user has no more open conversations than it may have.
func TestStartsAtOnce(t *testing.T) {
	atDesk(t, func(o *chat.Options) { o.MaxOpenConversations = 2 }, func(d *desk) {
		const clients = 10
		var started [clients]conversation.Started
		var wg sync.WaitGroup
		for i := range started {
			ann := d.user("ann")
			wg.Go(func() {
				var err error
				if started[i], err = ann.StartConversation(d.Context(), conversation.StartRequest{Message: text(fmt.Sprint(i))}); err != nil {
					d.Error(err)
				}
			})
		}
		wg.Wait()
		rooms, existing := map[string]bool{}, 0
		for _, s := range started {
			if rooms[s.RoomID] = true; s.Existing {
				existing++
			}
		}
		if len(rooms) != 2 || existing != clients-2 {
			t.Errorf("%d conversations, %d of the starts got one that existed", len(rooms), existing)
		}
	})
}

// The first message of a pending conversation is a start, too. Clients of its user that have it open
// may all send it.
func TestPendingConversationIsCounted(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann, again := d.user("ann"), d.user("ann")
		pending, err := ann.StartConversation(d.Context(), conversation.StartRequest{})
		if err != nil {
			t.Fatal(err)
		}
		ann.join(pending.RoomID)
		again.join(pending.RoomID)
		other, err := d.user("ann").StartConversation(d.Context(), conversation.StartRequest{Message: text("hello")})
		if err != nil || other.RoomID == pending.RoomID {
			t.Fatalf("started %+v, %v", other, err)
		}
		_, err = ann.trySend(conversation.SendRequest{RoomID: pending.RoomID, Message: text("one more")})
		wantCode(t, err, chat.Conflicted)
		var e *chat.Error
		if !errors.As(err, &e) || e.Data == nil || e.Data.Room == nil || e.Data.Room.RoomID != other.RoomID {
			t.Errorf("the conflict says %+v", err)
		}
		if _, err := ann.CloseRoom(d.Context(), conversation.CloseRequest{RoomID: other.RoomID}); err != nil {
			t.Fatal(err)
		}
		ann.send(pending.RoomID, "first")
		again.send(pending.RoomID, "second")
		again.send(pending.RoomID, "third")
	})
}

// What the tokens of a user say is what operators see: at first, and when there is a newer token.
func TestUserIsDescribedByTokens(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann := d.with(&auth.Identity{Subject: "ann", Role: auth.User, Name: "Ann", Attributes: json.RawMessage(`{"plan":"pro"}`)})
		ann.start("hello")
		if p, err := d.store.Person(d.Context(), "ann"); err != nil || p.Name != "Ann" || string(p.Attributes) != `{"plan":"pro"}` || !p.Verified {
			t.Errorf("the user is %+v, %v", p, err)
		}
		later := d.with(&auth.Identity{Subject: "ann", Role: auth.User, Name: "Ann B", Email: "ann@example.com"})
		if _, err := later.Hello(d.Context(), conversation.HelloRequest{}); err != nil {
			t.Fatal(err)
		}
		if p, err := d.store.Person(d.Context(), "ann"); err != nil || p.Name != "Ann B" || p.Email != "ann@example.com" || string(p.Attributes) != `{"plan":"pro"}` {
			t.Errorf("then the user is %+v, %v", p, err)
		}
		quiet := d.user("ben")
		if _, err := quiet.Hello(d.Context(), conversation.HelloRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.store.Person(d.Context(), "ben"); history.Code(err) != history.ErrNotFound.Code {
			t.Errorf("who never wrote has a row: %v", err)
		}
	})
}

// Where the visitor was first goes with the conversation.
func TestVisit(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx, v := d.Context(), d.visitor("v_1")
		for _, url := range []string{"https://shop.example/a", "https://shop.example/b"} {
			q := conversation.HelloRequest{Page: &conversation.VisitedPage{URL: url, Referrer: strings.Repeat("r", 2000)}, Locale: "de"}
			hello, err := v.Hello(ctx, q)
			if err != nil || !hello.Me.Visitor || hello.Me.UserID != "v_1" || hello.Settings.Open || hello.Settings.EditWindow != 24*3600*1000 {
				t.Fatalf("hello: %+v, %v", hello, err)
			}
		}
		big, _ := json.Marshal(map[string]string{"x": strings.Repeat("y", 3000), "visit": "mine"})
		started, err := v.StartConversation(ctx, conversation.StartRequest{Message: text("hello"), Attributes: big})
		if err != nil {
			t.Fatal(err)
		}
		row, err := d.store.Room(ctx, started.RoomID, history.Member{})
		var attributes struct {
			X     string
			Visit struct {
				Page   conversation.VisitedPage
				Locale string
			}
		}
		if err != nil || json.Unmarshal(row.Attributes, &attributes) != nil || attributes.Visit.Page != (conversation.VisitedPage{URL: "https://shop.example/a"}) || attributes.Visit.Locale != "de" || len(attributes.X) != 3000 {
			t.Errorf("attributes %s, %v", row.Attributes, err)
		}
		if hello, err := v.Hello(ctx, conversation.HelloRequest{}); err != nil || len(hello.Open) != 1 || hello.Open[0].RoomID != started.RoomID || hello.Open[0].Attributes != nil {
			t.Errorf("hello: %+v, %v", hello, err)
		}
		if started.Attributes != nil || len(started.Labels) > 0 {
			t.Errorf("a visitor sees %+v", started)
		}
	})
}

// What cannot be is refused before anything is stored.
func TestBadStarts(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann := d.user("ann")
		for name, q := range map[string]conversation.StartRequest{
			"subject":    {Subject: strings.Repeat("x", 201)},
			"clientId":   {ClientID: strings.Repeat("x", 129), Message: text("m")},
			"attributes": {Attributes: json.RawMessage(`[1]`)},
			"much":       {Attributes: json.RawMessage(`{"x":"` + strings.Repeat("x", 5000) + `"}`)},
			"deep":       {Attributes: json.RawMessage(`{"x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`)},
			"page":       {Page: &conversation.VisitedPage{URL: strings.Repeat("x", 2001)}},
			"message":    {Message: json.RawMessage(`{`)},
		} {
			if _, err := ann.StartConversation(d.Context(), q); err == nil {
				t.Errorf("%s is accepted", name)
			} else {
				wantCode(t, err, chat.BadPayload)
			}
		}
		for _, who := range []*person{d.operator("anna"), d.with(nil), d.with(&auth.Identity{Subject: "s", Role: auth.Service}),
			d.with(&auth.Identity{Subject: "g", Role: auth.User, Grants: auth.Grants{{Pattern: "order-*", Rights: auth.Read | auth.Write}}})} {
			_, err := who.StartConversation(d.Context(), conversation.StartRequest{Message: text("m")})
			wantCode(t, err, chat.Forbidden)
		}
	})
}

// Who joins the id of a conversation that nobody knows of any more is out, or sees it as a stranger does, as
// soon as it has a message.
func TestStrangerInAPendingConversation(t *testing.T) {
	for name, open := range map[string]bool{"closed": false, "open": true} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, func(o *chat.Options) {
				o.Closed = func() bool { return !open }
				o.OpenRooms = auth.Grants{{Pattern: "*", Rights: auth.Read | auth.Write | auth.See}}
			}, func(d *desk) {
				ann, ben := d.user("ann"), d.user("ben")
				room := chat.ConversationID("ann", "")
				ben.join(room)
				ann.join(room)
				ann.heard()
				ben.heard()
				ann.send(room, "hello")
				said := strings.Join(ben.heard(), "\n")
				if !strings.Contains(said, "forbidden") || strings.Contains(said, "roomChanged") {
					t.Errorf("the stranger heard %q", said)
				}
				if said := strings.Join(ann.heard(), "\n"); strings.Contains(said, "forbidden") || !strings.Contains(said, "roomChanged") {
					t.Errorf("the user heard %q", said)
				}
			})
		})
	}
}
