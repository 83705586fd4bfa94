package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/eventtest"
)

// tokens is an authorizer for which a token is the identity: "<role>:<subject>", or "visitor:<subject>".
func tokens(_ context.Context, r *auth.Request) (*auth.Identity, error) {
	var payload struct{ Token string }
	json.Unmarshal(r.Payload, &payload)
	role, subject, ok := strings.Cut(payload.Token, ":")
	if !ok {
		return nil, &event.Error{Code: "bad_token", Message: "no token"}
	}
	id := &auth.Identity{Subject: subject, Role: auth.Role(role), Name: strings.ToUpper(subject), Expires: time.Now().Add(time.Hour)}
	if role == "visitor" {
		id.Role, id.Visitor = auth.User, true
	}
	return id, nil
}

// A desk is the ends of a test's clients.
type desk struct {
	*testing.T
	ctx context.Context
	url string
}

// dial returns a client, and the names and the payloads of the events that it receives.
func (d *desk) dial(auth any) (*eventtest.Client, chan string) {
	d.Helper()
	heard := make(chan string, 1000)
	c, err := eventtest.Dial(d.ctx, "ws"+strings.TrimPrefix(d.url, "http"), func(c *eventtest.Client) {
		c.Auth = auth
		for _, name := range []string{"newMessage", "messageChanged", "newNote", "roomChanged", "read", "error", "typing", "operatorChanged", "visitorChanged"} {
			eventtest.On(c, event.Event[json.RawMessage](name), func(payload json.RawMessage) { heard <- name + " " + string(payload) })
		}
	})
	if err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { c.Close() })
	return c, heard
}

// expect waits for an event with these parts, and drops those before it.
func (d *desk) expect(heard chan string, parts ...string) {
	d.Helper()
	for {
		select {
		case <-d.ctx.Done():
			d.Fatalf("nothing with %q came", parts)
		case said := <-heard:
			matches := true
			for _, part := range parts {
				matches = matches && strings.Contains(said, part)
			}
			if matches {
				return
			}
		}
	}
}

// call is a call that must succeed.
func call[Q, R any](d *desk, e event.RPC[Q, R], c *eventtest.Client, q Q) R {
	d.Helper()
	r, err := e.Call(d.ctx, c, q)
	if err != nil {
		d.Fatalf("%s: %v", e, err)
	}
	return r
}

// refused is a call that must be refused with a code. It returns the data of the refusal as JSON.
func refused[Q, R any](d *desk, e event.RPC[Q, R], c *eventtest.Client, q Q, code conversation.Code) string {
	d.Helper()
	_, err := e.Call(d.ctx, c, q)
	var refusal *event.Error
	if !errors.As(err, &refusal) || refusal.Code != string(code) {
		d.Fatalf("%s: %v, want %s", e, err, code)
	}
	data, _ := json.Marshal(refusal.Data)
	return string(data)
}

// A visitor and two operators, over the wire: every event finds its way, and each side its own.
func TestConversationOverTheWire(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d := &desk{t, ctx, serveWith(t, budget.Limits{}, auth.AuthorizerFunc(tokens))}
	type object = map[string]string
	visitor, heardByVisitor := d.dial(object{"token": "visitor:v_1"})
	anna, heardByAnna := d.dial(object{"token": "operator:anna"})
	bob, _ := d.dial(object{"token": "operator:bob"})

	hello := call(d, conversation.Hello, visitor, conversation.HelloRequest{Page: &conversation.VisitedPage{URL: "https://shop.example/"}})
	if !hello.Me.Visitor || hello.Me.UserID != "v_1" || hello.ExpiresAt == nil || hello.Settings.Open {
		t.Errorf("hello: %+v", hello)
	}
	started := call(d, conversation.StartConversation, visitor, conversation.StartRequest{Message: json.RawMessage(`{"text":"helo"}`), ClientID: "k"})
	room := started.RoomID
	call(d, conversation.JoinRoom, visitor, conversation.JoinRequest{RoomID: room})
	joined := call(d, conversation.JoinRoom, anna, conversation.JoinRequest{RoomID: room, Notes: true})
	if joined.Notes == nil || joined.Room == nil || joined.Room.UserID != "v_1" || len(joined.Messages) != 1 {
		t.Errorf("joined: %+v", joined)
	}
	refused(d, conversation.JoinRoom, visitor, conversation.JoinRequest{RoomID: room, Notes: true}, conversation.Forbidden)
	refused(d, conversation.JoinRoom, anna, conversation.JoinRequest{RoomID: "~notes/" + room}, conversation.BadRoom)
	refused(d, conversation.JoinRoom, visitor, conversation.JoinRequest{RoomID: "c_other"}, conversation.Forbidden)

	call(d, conversation.ClaimRoom, anna, conversation.RoomRequest{RoomID: room})
	d.expect(heardByVisitor, "roomChanged", `"operator":{"name":"ANNA","online":true}`)
	d.expect(heardByAnna, "newNote", `"event":"claimed"`, `"roomId":"`+room+`"`)
	if data := refused(d, conversation.ClaimRoom, bob, conversation.RoomRequest{RoomID: room}, conversation.Conflicted); !strings.Contains(data, `"operatorId":"anna"`) {
		t.Errorf("the conflict says %s", data)
	}
	call(d, conversation.AddNote, bob, conversation.NoteRequest{RoomID: room, Message: json.RawMessage(`{"text":"mind him"}`)})
	d.expect(heardByAnna, "newNote", "mind him")
	call(d, conversation.SendMessage, anna, conversation.SendRequest{RoomID: room, Message: json.RawMessage(`{"text":"hi"}`)})
	d.expect(heardByVisitor, "newMessage", `"operatorId":"anna"`)
	edited := call(d, conversation.EditMessage, visitor, conversation.EditRequest{RoomID: room, Seq: 1, Message: json.RawMessage(`{"text":"hello"}`), IfRev: 1})
	d.expect(heardByAnna, "messageChanged", "hello")
	if data := refused(d, conversation.EditMessage, visitor, conversation.EditRequest{RoomID: room, Seq: 1, Message: json.RawMessage(`{"text":"hullo"}`), IfRev: 1}, conversation.Conflicted); !strings.Contains(data, "hello") {
		t.Errorf("the conflict says %s", data)
	}
	if m := call(d, conversation.MarkRead, anna, conversation.MarkRequest{RoomID: room, Seq: edited.Rev}); m.Unread != 0 {
		t.Errorf("marked %+v", m)
	}
	d.expect(heardByVisitor, "read", `"by":"operators"}`)
	page := call(d, conversation.History, anna, conversation.HistoryRequest{RoomID: room, Around: new(int64(2))})
	if len(page.Messages) != 2 || page.HasBefore || page.HasAfter {
		t.Errorf("the page is %+v", page)
	}

	// The visitor signs in.
	refused(d, conversation.Refresh, visitor, conversation.TokenRequest{Token: "user:u7"}, conversation.Forbidden)
	refused(d, conversation.Identify, visitor, conversation.TokenRequest{Token: "nonsense"}, conversation.BadToken)
	refused(d, conversation.Identify, visitor, conversation.TokenRequest{Token: "operator:anna"}, conversation.Forbidden)
	refused(d, conversation.Identify, visitor, conversation.TokenRequest{}, conversation.BadPayload)
	identified := call(d, conversation.Identify, visitor, conversation.TokenRequest{Token: "user:u7"})
	if identified.Merged != 1 || identified.Me.UserID != "u7" || identified.Me.Name != "U7" {
		t.Errorf("identified: %+v", identified)
	}
	if expiry := call(d, conversation.Refresh, visitor, conversation.TokenRequest{Token: "user:u7"}); expiry.ExpiresAt == nil {
		t.Errorf("refreshed: %+v", expiry)
	}
	call(d, conversation.SendMessage, visitor, conversation.SendRequest{RoomID: room, Message: json.RawMessage(`{"text":"it is me"}`)})
	d.expect(heardByAnna, "newMessage", `"userId":"u7"`)
	call(d, conversation.CloseRoom, anna, conversation.CloseRequest{RoomID: room, Note: "done"})
	d.expect(heardByVisitor, "roomChanged", `"status":"closed"`)

	// An event without acknowledgement is refused with an event.
	if err := event.Event[object]("claimRoom").Emit(visitor, object{"roomId": room}); err != nil {
		t.Fatal(err)
	}
	d.expect(heardByVisitor, "error", `"code":"forbidden"`, `"event":"claimRoom"`)
}

// In an open server, the auth of CONNECT says who a client is.
func TestOpenServerBelieves(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	d := &desk{t, ctx, serve(t, budget.Limits{})}
	type object = map[string]any
	ann, _ := d.dial(object{"userId": "ann", "name": "Ann"})
	anna, _ := d.dial(object{"operatorId": "anna"})
	other, _ := d.dial(object{"userId": 1})
	nobody, _ := d.dial(nil)
	room := call(d, conversation.StartConversation, ann, conversation.StartRequest{Message: json.RawMessage(`"hello"`)}).RoomID
	if row := call(d, conversation.ClaimRoom, anna, conversation.RoomRequest{RoomID: room}); row.OperatorID != "anna" || row.User.Name != "Ann" || row.User.Verified {
		t.Errorf("claimed: %+v", row)
	}
	refused(d, conversation.JoinRoom, ann, conversation.JoinRequest{RoomID: "r", UserID: "ben"}, conversation.IdentityMismatch)
	for _, c := range []*eventtest.Client{other, nobody} {
		refused(d, conversation.StartConversation, c, conversation.StartRequest{}, conversation.Forbidden)
		if joined := call(d, conversation.JoinRoom, c, conversation.JoinRequest{RoomID: "r", UserID: "ben"}); joined.Member.UserID != "ben" {
			t.Errorf("joined: %+v", joined)
		}
	}
	bad, _ := d.dial(object{"userId": strings.Repeat("x", 201)})
	refused(d, conversation.Hello, bad, conversation.HelloRequest{}, conversation.BadPayload)
	call(d, conversation.Hello, bad, conversation.HelloRequest{})
}

// Whoever says who it is when it connects is there from then on, without an event.
func TestThereFromTheConnectionOn(t *testing.T) {
	type object = map[string]string
	for name, tt := range map[string]struct {
		authorizer           auth.Authorizer
		watcher, user, other object
	}{
		"closed": {auth.AuthorizerFunc(tokens), object{"token": "operator:anna"}, object{"token": "user:u7"}, object{"token": "operator:bob"}},
		"open":   {nil, object{"operatorId": "anna"}, object{"userId": "u7"}, object{"operatorId": "bob"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			d := &desk{t, ctx, serveWith(t, budget.Limits{}, tt.authorizer)}
			anna, heard := d.dial(tt.watcher)
			starts, _ := d.dial(tt.user)
			call(d, conversation.StartConversation, starts, conversation.StartRequest{Message: json.RawMessage(`"hello"`)})
			starts.Close()
			becomes := func(online bool) (w conversation.Watched) {
				for {
					if w = call(d, conversation.WatchRooms, anna, conversation.WatchRequest{}); len(w.Rooms) == 1 && w.Rooms[0].User.Online == online {
						return w
					}
				}
			}
			becomes(false)
			d.dial(tt.other)
			d.expect(heard, "operatorChanged", `"operatorId":"bob"`, `"status":"online"`)
			d.dial(tt.user)
			if w := becomes(true); len(w.Operators) != 2 {
				t.Errorf("watching: %+v", w)
			}
		})
	}
}
