package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/parleytest"
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

// dial returns a client that says who it is, if who is not nil.
func dial(s *parleytest.Server, who any) *parleytest.Client { return s.MustDial(parleytest.Auth(who)) }

// expect waits for an event with these parts.
func expect(t *testing.T, c *parleytest.Client, name string, parts ...string) {
	t.Helper()
	c.Until(name, func(p *client.Packet) bool {
		return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(string(p.Args()[0]), part) })
	})
}

// refused is a call that must be refused with a code. It returns the data of the refusal as JSON.
func refused[Q, R any](t *testing.T, e event.RPC[Q, R], c *parleytest.Client, q Q, code conversation.Code) string {
	t.Helper()
	_, err := parleytest.Call(c, e, q)
	var refusal *event.Error
	if !errors.As(err, &refusal) || refusal.Code != string(code) {
		t.Fatalf("%s: %v, want %s", e, err, code)
	}
	data, _ := json.Marshal(refusal.Data)
	return string(data)
}

// A visitor and two operators, over the wire: every event finds its way, and each side its own.
func TestConversationOverTheWire(t *testing.T) {
	s := parleytest.NewServer(t, newServer(t, budget.Limits{}, auth.AuthorizerFunc(tokens)))
	type object = map[string]string
	visitor := dial(s, object{"token": "visitor:v_1"})
	anna := dial(s, object{"token": "operator:anna"})
	bob := dial(s, object{"token": "operator:bob"})

	hello := parleytest.MustCall(visitor, conversation.Hello, conversation.HelloRequest{Page: &conversation.VisitedPage{URL: "https://shop.example/"}})
	if !hello.Me.Visitor || hello.Me.UserID != "v_1" || hello.ExpiresAt == nil || hello.Settings.Open {
		t.Errorf("hello: %+v", hello)
	}
	started := parleytest.MustCall(visitor, conversation.StartConversation, conversation.StartRequest{Message: json.RawMessage(`{"text":"helo"}`), ClientID: "k"})
	room := started.RoomID
	parleytest.MustCall(visitor, conversation.JoinRoom, conversation.JoinRequest{RoomID: room})
	joined := parleytest.MustCall(anna, conversation.JoinRoom, conversation.JoinRequest{RoomID: room, Notes: true})
	if joined.Notes == nil || joined.Room == nil || joined.Room.UserID != "v_1" || len(joined.Messages) != 1 {
		t.Errorf("joined: %+v", joined)
	}
	refused(t, conversation.JoinRoom, visitor, conversation.JoinRequest{RoomID: room, Notes: true}, conversation.Forbidden)
	refused(t, conversation.JoinRoom, anna, conversation.JoinRequest{RoomID: "~notes/" + room}, conversation.BadRoom)
	refused(t, conversation.JoinRoom, visitor, conversation.JoinRequest{RoomID: "c_other"}, conversation.Forbidden)

	parleytest.MustCall(anna, conversation.ClaimRoom, conversation.RoomRequest{RoomID: room})
	expect(t, visitor, "roomChanged", `"operator":{"name":"ANNA","online":true}`)
	expect(t, anna, "newNote", `"event":"claimed"`, `"roomId":"`+room+`"`)
	if data := refused(t, conversation.ClaimRoom, bob, conversation.RoomRequest{RoomID: room}, conversation.Conflicted); !strings.Contains(data, `"operatorId":"anna"`) {
		t.Errorf("the conflict says %s", data)
	}
	parleytest.MustCall(bob, conversation.AddNote, conversation.NoteRequest{RoomID: room, Message: json.RawMessage(`{"text":"mind him"}`)})
	expect(t, anna, "newNote", "mind him")
	parleytest.MustCall(anna, conversation.SendMessage, conversation.SendRequest{RoomID: room, Message: json.RawMessage(`{"text":"hi"}`)})
	expect(t, visitor, "newMessage", `"operatorId":"anna"`)
	edited := parleytest.MustCall(visitor, conversation.EditMessage, conversation.EditRequest{RoomID: room, Seq: 1, Message: json.RawMessage(`{"text":"hello"}`), IfRev: 1})
	expect(t, anna, "messageChanged", "hello")
	if data := refused(t, conversation.EditMessage, visitor, conversation.EditRequest{RoomID: room, Seq: 1, Message: json.RawMessage(`{"text":"hullo"}`), IfRev: 1}, conversation.Conflicted); !strings.Contains(data, "hello") {
		t.Errorf("the conflict says %s", data)
	}
	if m := parleytest.MustCall(anna, conversation.MarkRead, conversation.MarkRequest{RoomID: room, Seq: edited.Rev}); m.Unread != 0 {
		t.Errorf("marked %+v", m)
	}
	expect(t, visitor, "read", `"by":"operators"}`)
	page := parleytest.MustCall(anna, conversation.History, conversation.HistoryRequest{RoomID: room, Around: new(int64(2))})
	if len(page.Messages) != 2 || page.HasBefore || page.HasAfter {
		t.Errorf("the page is %+v", page)
	}

	// The visitor signs in.
	refused(t, conversation.Refresh, visitor, conversation.TokenRequest{Token: "user:u7"}, conversation.Forbidden)
	refused(t, conversation.Identify, visitor, conversation.TokenRequest{Token: "nonsense"}, conversation.BadToken)
	refused(t, conversation.Identify, visitor, conversation.TokenRequest{Token: "operator:anna"}, conversation.Forbidden)
	refused(t, conversation.Identify, visitor, conversation.TokenRequest{}, conversation.BadPayload)
	identified := parleytest.MustCall(visitor, conversation.Identify, conversation.TokenRequest{Token: "user:u7"})
	if identified.Merged != 1 || identified.Me.UserID != "u7" || identified.Me.Name != "U7" {
		t.Errorf("identified: %+v", identified)
	}
	if expiry := parleytest.MustCall(visitor, conversation.Refresh, conversation.TokenRequest{Token: "user:u7"}); expiry.ExpiresAt == nil {
		t.Errorf("refreshed: %+v", expiry)
	}
	parleytest.MustCall(visitor, conversation.SendMessage, conversation.SendRequest{RoomID: room, Message: json.RawMessage(`{"text":"it is me"}`)})
	expect(t, anna, "newMessage", `"userId":"u7"`)
	parleytest.MustCall(anna, conversation.CloseRoom, conversation.CloseRequest{RoomID: room, Note: "done"})
	expect(t, visitor, "roomChanged", `"status":"closed"`)

	// An event without acknowledgement is refused with an event.
	visitor.Emit("claimRoom", object{"roomId": room})
	expect(t, visitor, "error", `"code":"forbidden"`, `"event":"claimRoom"`)
}

// In an open server, the auth of CONNECT says who a client is.
func TestOpenServerBelieves(t *testing.T) {
	s := parleytest.NewServer(t, newServer(t, budget.Limits{}, nil))
	type object = map[string]any
	ann := dial(s, object{"userId": "ann", "name": "Ann"})
	anna := dial(s, object{"operatorId": "anna"})
	other := dial(s, object{"userId": 1})
	nobody := dial(s, nil)
	room := parleytest.MustCall(ann, conversation.StartConversation, conversation.StartRequest{Message: json.RawMessage(`"hello"`)}).RoomID
	if row := parleytest.MustCall(anna, conversation.ClaimRoom, conversation.RoomRequest{RoomID: room}); row.OperatorID != "anna" || row.User.Name != "Ann" || row.User.Verified {
		t.Errorf("claimed: %+v", row)
	}
	refused(t, conversation.JoinRoom, ann, conversation.JoinRequest{RoomID: "r", UserID: "ben"}, conversation.IdentityMismatch)
	for _, c := range []*parleytest.Client{other, nobody} {
		refused(t, conversation.StartConversation, c, conversation.StartRequest{}, conversation.Forbidden)
		if joined := parleytest.MustCall(c, conversation.JoinRoom, conversation.JoinRequest{RoomID: "r", UserID: "ben"}); joined.Member.UserID != "ben" {
			t.Errorf("joined: %+v", joined)
		}
	}
	bad := dial(s, object{"userId": strings.Repeat("x", 201)})
	refused(t, conversation.Hello, bad, conversation.HelloRequest{}, conversation.BadPayload)
	parleytest.MustCall(bad, conversation.Hello, conversation.HelloRequest{})
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
			s := parleytest.NewServer(t, newServer(t, budget.Limits{}, tt.authorizer))
			anna := dial(s, tt.watcher)
			starts := dial(s, tt.user)
			parleytest.MustCall(starts, conversation.StartConversation, conversation.StartRequest{Message: json.RawMessage(`"hello"`)})
			starts.Close()
			becomes := func(online bool) (w conversation.Watched) {
				for {
					if w = parleytest.MustCall(anna, conversation.WatchRooms, conversation.WatchRequest{}); len(w.Rooms) == 1 && w.Rooms[0].User.Online == online {
						return w
					}
				}
			}
			becomes(false)
			dial(s, tt.other)
			expect(t, anna, "operatorChanged", `"operatorId":"bob"`, `"status":"online"`)
			dial(s, tt.user)
			if w := becomes(true); len(w.Operators) != 2 {
				t.Errorf("watching: %+v", w)
			}
		})
	}
}
