package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/app/apptest"
)

func TestConversation(t *testing.T) {
	i := start(t, testConfig())
	user, operator := i.dial(t), i.dial(t)

	joined := join(t, user, object{"roomId": "room", "userId": "u1", "name": "Ann", "colour": "ignored"})
	me := member{ID: user.ID, UserID: "u1", Name: "Ann"}
	if joined.RoomID != "room" || len(joined.Messages) != 0 || joined.Messages == nil || joined.HasMore || joined.LastSeq != 0 ||
		joined.Epoch == "" || joined.Reset || joined.Member != me || !reflect.DeepEqual(joined.Members, []member{me}) || joined.Count != 1 {
		t.Errorf("joined: %+v", joined)
	}
	stored := send(t, user, object{"roomId": "room", "message": object{"text": "hello <you>"}, "clientId": "c1"})
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`).MatchString(stored.Timestamp) || stored.ID == "" {
		t.Errorf("stored: %+v", stored)
	}
	want := message{ID: stored.ID, RoomID: "room", Seq: 1, UserID: "u1", Message: object{"text": "hello <you>"}, Timestamp: stored.Timestamp, ClientID: "c1"}
	if !reflect.DeepEqual(stored, want) {
		t.Errorf("stored: %+v, want %+v", stored, want)
	}
	var live message
	user.Expect("newMessage", &live)
	if !reflect.DeepEqual(live, want) {
		t.Errorf("the sender gets %+v, want %+v", live, want)
	}

	joined = join(t, operator, object{"roomId": "room", "operatorId": "op"})
	if !reflect.DeepEqual(joined.Messages, []message{want}) || joined.LastSeq != 1 || joined.Count != 2 || len(joined.Members) != 2 || joined.Members[0] != me {
		t.Errorf("joined: %+v", joined)
	}
	var p presence
	user.Expect("presence", &p)
	if (p != presence{"room", "join", member{ID: operator.ID, OperatorID: "op"}, 2}) {
		t.Errorf("presence: %+v", p)
	}

	// An operator's message carries the user's id if the operator gives it.
	stored = send(t, operator, object{"roomId": "room", "message": "hi", "userId": "u1"})
	if stored.OperatorID != "op" || stored.UserID != "u1" || stored.Seq != 2 {
		t.Errorf("stored: %+v", stored)
	}
	user.Expect("newMessage", &live)
	if !reflect.DeepEqual(live, stored) {
		t.Errorf("the user gets %+v, want %+v", live, stored)
	}

	var left answer
	var typing struct {
		RoomID, UserID, OperatorID, Name string
		Typing                           bool
	}
	operator.Ask("typing", object{"roomId": "room"}, new(answer)) // may be dropped; the end is not
	operator.Ask("typing", object{"roomId": "room", "typing": false}, &left)
	for typing.Typing = true; typing.Typing; {
		user.Expect("typing", &typing)
		if typing.RoomID != "room" || typing.OperatorID != "op" {
			t.Errorf("typing: %+v", typing)
		}
	}
	if left.RoomID != "room" {
		t.Errorf("acknowledgement %+v", left)
	}

	operator.Ask("leaveRoom", object{"roomId": "room"}, &left)
	if left.RoomID != "room" || left.Error.Code != "" {
		t.Errorf("left: %+v", left)
	}
	user.Expect("presence", &p)
	if p.Type != "leave" || p.Member.ID != operator.ID || p.Count != 1 {
		t.Errorf("presence: %+v", p)
	}
	operator.Ask("leaveRoom", object{"roomId": "room"}, &left)
	if left.Error.Code != "" {
		t.Errorf("leaving twice: %+v", left)
	}
}

func TestJoiningAgainIsIdempotent(t *testing.T) {
	i := start(t, testConfig())
	a, b, witness := i.dial(t), i.dial(t), i.dial(t)
	join(t, witness, object{"roomId": "r", "userId": "w"})
	join(t, b, object{"roomId": "r", "userId": "b"})
	// The others are told after the answer. Wait for that, or a could be one of them.
	witness.Expect("presence", new(presence))
	witness.Ask("leaveRoom", object{"roomId": "r"}, new(answer))
	b.Expect("presence", new(presence))
	join(t, a, object{"roomId": "r", "userId": "a", "name": "old"})
	// b learns exactly this: no second join without a change, and nothing twice.
	expectJoin := func(name string) {
		t.Helper()
		var p presence
		b.Expect("presence", &p)
		if p.Type != "join" || p.Member.Name != name || p.Count != 2 {
			t.Errorf("presence: %+v, want %q to join", p, name)
		}
	}
	// Once each, although a has joined three times.
	expectMessage := func(seq int64) {
		t.Helper()
		for _, c := range []*apptest.Peer{a, b} {
			var m message
			c.Expect("newMessage", &m)
			if m.Seq != seq {
				t.Errorf("message %d, want %d", m.Seq, seq)
			}
		}
	}
	expectJoin("old")
	send(t, a, object{"roomId": "r", "message": 1})
	expectMessage(1)
	again := join(t, a, object{"roomId": "r", "userId": "a", "name": "old"})
	if len(again.Messages) != 1 || again.Count != 2 || again.Reset {
		t.Errorf("joined again: %+v", again)
	}
	renamed := join(t, a, object{"roomId": "r", "userId": "a", "name": "new"})
	if renamed.Member.Name != "new" || renamed.Count != 2 {
		t.Errorf("renamed: %+v", renamed)
	}
	expectJoin("new")
	send(t, a, object{"roomId": "r", "message": 2})
	expectMessage(2)
	a.Ask("leaveRoom", object{"roomId": "r"}, new(answer))
	var left presence
	if b.Expect("presence", &left); left.Type != "leave" || left.Count != 1 {
		t.Errorf("presence: %+v", left)
	}
	send(t, b, object{"roomId": "r", "message": 3})
	var last answer
	a.Ask("leaveRoom", object{"roomId": "r"}, &last)
	a.Send("nothing")
	if p := a.Next(); p.Event != "error" {
		t.Errorf("after leaving: %+v", p)
	}
	var third message
	if b.Expect("newMessage", &third); third.Seq != 3 {
		t.Errorf("message %d, want 3", third.Seq)
	}
}

func TestComingBack(t *testing.T) {
	i := start(t, testConfig())
	a := i.dial(t)
	first := join(t, a, object{"roomId": "r", "userId": "a"})
	for n := range 5 {
		send(t, a, object{"roomId": "r", "message": n})
	}
	b := i.dial(t)
	for _, test := range []struct {
		name    string
		request object
		seqs    string
		reset   bool
		hasMore bool
	}{
		{"after and epoch", object{"after": 2, "epoch": first.Epoch}, "[3 4 5]", false, false},
		{"after alone", object{"after": 4}, "[5]", false, false},
		{"nothing missed", object{"after": 5, "epoch": first.Epoch}, "[]", false, false},
		{"another epoch", object{"after": 2, "epoch": "gone", "limit": 2}, "[4 5]", true, true},
		{"ahead of the room", object{"after": 99, "epoch": first.Epoch}, "[1 2 3 4 5]", true, false},
		{"limit", object{"limit": 2}, "[4 5]", false, true},
		{"epoch alone", object{"epoch": "gone", "limit": 1}, "[5]", false, true},
	} {
		test.request["roomId"] = "r"
		got := join(t, b, test.request)
		if fmt.Sprint(seqs(got.Messages)) != test.seqs || got.Reset != test.reset || got.LastSeq != 5 || got.HasMore != test.hasMore {
			t.Errorf("%s: %v, reset %v, lastSeq %d, hasMore %v", test.name, seqs(got.Messages), got.Reset, got.LastSeq, got.HasMore)
		}
	}
}

func seqs(messages []message) []int64 {
	s := []int64{}
	for _, m := range messages {
		s = append(s, m.Seq)
	}
	return s
}

func TestHistoryPages(t *testing.T) {
	c := testConfig()
	c.PageSize, c.MaxPage = 3, 4
	i := start(t, c)
	a := i.dial(t)
	epoch := join(t, a, object{"roomId": "r"}).Epoch
	for n := range 10 {
		send(t, a, object{"roomId": "r", "message": n})
	}
	for _, test := range []struct {
		name    string
		request object
		seqs    string
		hasMore bool
	}{
		{"newest", object{}, "[8 9 10]", true},
		{"before", object{"before": 4}, "[1 2 3]", false},
		{"before, limit", object{"before": 9, "limit": 2}, "[7 8]", true},
		{"before the first", object{"before": 1}, "[]", false},
		{"after", object{"after": 7}, "[8 9 10]", false},
		{"from the first", object{"after": 0, "limit": 2}, "[1 2]", true},
		{"after the last", object{"after": 10}, "[]", false},
		{"limit over the largest", object{"limit": 100}, "[7 8 9 10]", true},
	} {
		test.request["roomId"] = "r"
		var got answer
		a.Ask("history", test.request, &got)
		if fmt.Sprint(seqs(got.Messages)) != test.seqs || got.HasMore != test.hasMore || got.LastSeq != 10 || got.Epoch != epoch || got.RoomID != "r" || got.Error.Code != "" {
			t.Errorf("%s: %+v", test.name, got)
		}
	}
}

// A page never makes its receiver a slow one, however large its messages are.
func TestPagesAreBoundedInBytes(t *testing.T) {
	c := testConfig()
	c.MaxOutbox = 64 << 10
	i := start(t, c)
	a := i.dial(t)
	epoch := join(t, a, object{"roomId": "r"}).Epoch
	const count = 8
	for range count {
		send(t, a, object{"roomId": "r", "message": strings.Repeat("x", 10<<10)})
	}
	b := i.dial(t)
	newest := join(t, b, object{"roomId": "r"})
	if n := len(newest.Messages); n == 0 || n == count || newest.Messages[n-1].Seq != count || !newest.HasMore {
		t.Errorf("newest page: %v, hasMore %v", seqs(newest.Messages), newest.HasMore)
	}
	// A client that comes back continues with history until nothing is missing.
	back := join(t, b, object{"roomId": "r", "after": 0, "epoch": epoch})
	all := seqs(back.Messages)
	for more := back.HasMore; more; {
		var next answer
		b.Ask("history", object{"roomId": "r", "after": all[len(all)-1]}, &next)
		if len(next.Messages) == 0 {
			t.Fatalf("empty page after %v", all)
		}
		all, more = append(all, seqs(next.Messages)...), next.HasMore
	}
	if fmt.Sprint(all) != "[1 2 3 4 5 6 7 8]" || len(back.Messages) == count {
		t.Errorf("came back to %v, then %v", seqs(back.Messages), all)
	}
}

func TestWithoutAcknowledgement(t *testing.T) {
	i := start(t, testConfig())
	a := i.dial(t)
	a.Send("joinRoom", object{"roomId": "r", "userId": "u"})
	var page answer
	a.Expect("history", &page)
	if page.RoomID != "r" || page.Count != 1 || page.Member.UserID != "u" {
		t.Errorf("history: %+v", page)
	}
	a.Send("sendMessage", object{"roomId": "r", "message": 1})
	var m message
	a.Expect("newMessage", &m)
	if m.Seq != 1 {
		t.Errorf("message: %+v", m)
	}
	a.Send("history", object{"roomId": "r"})
	a.Expect("history", &page)
	if len(page.Messages) != 1 {
		t.Errorf("history: %+v", page)
	}
	a.Send("leaveRoom", object{"roomId": "r"})
	a.Send("typing", object{"roomId": "r"})
	var problem refusal
	a.Expect("error", &problem)
	if problem.Code != "not_joined" || problem.Event != "typing" || problem.Message == "" {
		t.Errorf("error: %+v", problem)
	}
}

func TestSendingAgain(t *testing.T) {
	i := start(t, testConfig())
	a := i.dial(t)
	join(t, a, object{"roomId": "r"}) // as a guest
	first := send(t, a, object{"roomId": "r", "message": object{"n": 1}, "clientId": "c"})
	if first.UserID != "guest-"+a.ID[:8] {
		t.Errorf("a guest is %q", first.UserID)
	}
	if again := send(t, a, object{"roomId": "r", "message": object{"n": 1}, "clientId": "c"}); !reflect.DeepEqual(again, first) {
		t.Errorf("again: %+v, want %+v", again, first)
	}
	var refused answer
	a.Ask("sendMessage", object{"roomId": "r", "message": "other", "clientId": "c"}, &refused)
	if refused.Error.Code != "key_reuse" {
		t.Errorf("another message: %+v", refused)
	}
	send(t, a, object{"roomId": "r", "message": 2})
	var m message
	a.Expect("newMessage", &m)
	a.Expect("newMessage", &m)
	if m.Seq != 2 {
		t.Errorf("the second message has seq %d", m.Seq)
	}
	// A different author may use the same id.
	b := i.dial(t)
	join(t, b, object{"roomId": "r", "userId": "b"})
	if other := send(t, b, object{"roomId": "r", "message": object{"n": 1}, "clientId": "c"}); other.Seq != 3 {
		t.Errorf("another author: %+v", other)
	}
}

func TestMistakesAreAnswered(t *testing.T) {
	c := testConfig()
	c.MaxMessage, c.MaxRooms = 100, 1
	i := start(t, c)
	a := i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "u"})
	long := strings.Repeat("x", 201)
	for _, test := range []struct {
		name  string
		event string
		arg   any
		code  string
	}{
		{"null", "joinRoom", nil, "bad_payload"},
		{"string", "joinRoom", "r", "bad_payload"},
		{"array", "sendMessage", []int{1}, "bad_payload"},
		{"no room", "joinRoom", object{}, "bad_payload"},
		{"no room", "leaveRoom", object{}, "bad_payload"},
		{"room is a number", "joinRoom", object{"roomId": 7}, "bad_payload"},
		{"long room", "joinRoom", object{"roomId": long}, "bad_room"},
		{"control character", "joinRoom", object{"roomId": "a\nb"}, "bad_room"},
		{"bad room", "leaveRoom", object{"roomId": long}, "bad_room"},
		{"bad room", "sendMessage", object{"roomId": long, "message": 1}, "bad_room"},
		{"user is an object", "joinRoom", object{"roomId": "r", "userId": object{}}, "bad_payload"},
		{"long user", "joinRoom", object{"roomId": "r", "userId": long}, "bad_payload"},
		{"long name", "joinRoom", object{"roomId": "r", "name": long}, "bad_payload"},
		{"control character in a name", "joinRoom", object{"roomId": "r", "name": "\u0000"}, "bad_payload"},
		{"after is negative", "joinRoom", object{"roomId": "r", "after": -1}, "bad_payload"},
		{"after is a fraction", "joinRoom", object{"roomId": "r", "after": 1.5}, "bad_payload"},
		{"limit is negative", "joinRoom", object{"roomId": "r", "limit": -1}, "bad_payload"},
		{"too many rooms", "joinRoom", object{"roomId": "second"}, "too_many_rooms"},
		{"not joined", "sendMessage", object{"roomId": "other", "message": 1}, "not_joined"},
		{"not joined", "history", object{"roomId": "other"}, "not_joined"},
		{"not joined", "typing", object{"roomId": "other"}, "not_joined"},
		{"no message", "sendMessage", object{"roomId": "r"}, "bad_payload"},
		{"long clientId", "sendMessage", object{"roomId": "r", "message": 1, "clientId": long}, "bad_payload"},
		{"long message", "sendMessage", object{"roomId": "r", "message": long}, "too_large"},
		{"deep message", "sendMessage", object{"roomId": "r", "message": nested(65)}, "bad_payload"},
		{"another user", "sendMessage", object{"roomId": "r", "message": 1, "userId": "v"}, "identity_mismatch"},
		{"a guest", "joinRoom", object{"roomId": "r", "userId": "guest-00000000"}, "identity_mismatch"},
		{"long operator", "sendMessage", object{"roomId": "r", "message": 1, "operatorId": long}, "bad_payload"},
		{"typing is a string", "typing", object{"roomId": "r", "typing": "yes"}, "bad_payload"},
		{"both directions", "history", object{"roomId": "r", "before": 1, "after": 1}, "bad_payload"},
		{"before is 0", "history", object{"roomId": "r", "before": 0}, "bad_payload"},
		{"after is negative", "history", object{"roomId": "r", "after": -1}, "bad_payload"},
		{"limit is negative", "history", object{"roomId": "r", "limit": -1}, "bad_payload"},
		{"unknown event", "jionRoom", object{"roomId": "r"}, "unknown_event"},
	} {
		var got answer
		a.Ask(test.event, test.arg, &got)
		if got.Error.Code != test.code || got.Error.Message == "" {
			t.Errorf("%s, %s: %+v, want %s", test.event, test.name, got, test.code)
		}
		a.Send(test.event, test.arg)
		var told refusal
		a.Expect("error", &told)
		if told.Code != test.code || told.Event != test.event {
			t.Errorf("%s, %s, without acknowledgement: %+v, want %s", test.event, test.name, told, test.code)
		}
	}
	a.Send("joinRoom") // no argument at all
	var told refusal
	a.Expect("error", &told)
	if told.Code != "bad_payload" {
		t.Errorf("no argument: %+v", told)
	}
	var got answer
	a.Ask("joinRoom", object{"roomId": 7, "ignored": nested(5000)}, &got)
	if got.Error.Code != "bad_payload" {
		t.Errorf("a deep member that is ignored: %+v", got)
	}
	// None of this has changed anything.
	if stored := send(t, a, object{"roomId": "r", "message": "fine", "userId": "u"}); stored.Seq != 1 {
		t.Errorf("stored: %+v", stored)
	}
}

// nested returns arrays nested depth times.
func nested(depth int) json.RawMessage {
	return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
}

func TestDeepMessage(t *testing.T) {
	i := start(t, testConfig())
	a := i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "u"})
	for _, message := range []any{
		nested(64),
		strings.Repeat(`[{"\\"`, 100), // brackets in a string do not count
		[]object{{"a": 1}, {"b": []int{}}},
	} {
		if stored := send(t, a, object{"roomId": "r", "message": message}); stored.Seq == 0 {
			t.Errorf("%.100s: %+v", message, stored)
		}
	}
}

// typeIn makes a client type and stop. Others may miss the beginning, which is volatile, but not the
// end.
func typeIn(p *apptest.Peer, room string) {
	p.Ask("typing", object{"roomId": room}, new(answer))
	p.Ask("typing", object{"roomId": room, "typing": false}, new(answer))
}

// Each socket is in a Socket.IO room named by its id. A client that joins a conversation with that
// name must not get into this room; otherwise b, for example, would be left out of whatever a does.
func TestRoomNamedAsASocket(t *testing.T) {
	i := start(t, testConfig())
	a, b := i.dial(t), i.dial(t)
	join(t, a, object{"roomId": "r"})
	join(t, b, object{"roomId": "r"})
	join(t, b, object{"roomId": a.ID})
	typeIn(a, "r")
	b.Expect("typing", new(object))
}

func TestSeveralRooms(t *testing.T) {
	i := start(t, testConfig())
	a, b := i.dial(t), i.dial(t)
	for _, room := range []string{"x", "y"} {
		join(t, a, object{"roomId": room, "userId": "a-" + room})
		join(t, b, object{"roomId": room, "userId": "b"})
	}
	if x, y := send(t, a, object{"roomId": "x", "message": 1}), send(t, a, object{"roomId": "y", "message": 2}); x.UserID != "a-x" || y.UserID != "a-y" || x.Seq != 1 || y.Seq != 1 {
		t.Errorf("stored: %+v, %+v", x, y)
	}
	a.Close()
	rooms := map[string]bool{}
	for len(rooms) < 2 {
		var p presence
		b.Expect("presence", &p)
		if p.Type == "join" { // a has its answer before the others, including b, are told
			continue
		}
		rooms[p.RoomID] = p.Type == "leave" && p.Member.UserID == "a-"+p.RoomID && p.Count == 1
	}
	if !rooms["x"] || !rooms["y"] {
		t.Errorf("left: %v", rooms)
	}
	if again := join(t, b, object{"roomId": "x", "userId": "b"}); again.Count != 1 || len(again.Members) != 1 {
		t.Errorf("members: %+v", again.Members)
	}
}

// gatedStore stores nothing until its gate is open.
type gatedStore struct {
	*history.Memory
	gate chan struct{}
}

func (s *gatedStore) Append(ctx context.Context, d []history.Draft) ([]history.Appended, error) {
	<-s.gate
	return s.Memory.Append(ctx, d)
}

// A client that sends without waiting gets its answers in order. It is slowed down when many
// messages wait for the store.
func TestSendingWithoutWaiting(t *testing.T) {
	store := &gatedStore{history.NewMemory(), make(chan struct{})}
	i := startOn(t, testConfig(), store)
	a := i.dial(t)
	join(t, a, object{"roomId": "r"})
	ask := func(event string, request object) int64 {
		id, err := a.EmitID(t.Context(), event, request)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	var sent []int64
	sendTo := func(total int) {
		for len(sent) < total {
			sent = append(sent, ask("sendMessage", object{"roomId": "r", "message": len(sent) + 1}))
		}
	}
	const most, total = 16, 40
	sendTo(most)
	var refused answer
	a.Ask("typing", object{"roomId": "elsewhere"}, &refused) // handled although nothing is stored
	if refused.Error.Code != "not_joined" {
		t.Errorf("refused: %+v", refused)
	}
	sendTo(total)
	last := ask("typing", object{"roomId": "elsewhere"})
	time.Sleep(50 * time.Millisecond)
	close(store.gate)
	answered, held := 0, false
	for answered < total || !held {
		p := a.Next()
		switch {
		case p.Event == "newMessage":
		case p.ID == last:
			if held = true; answered < total-most {
				t.Errorf("only %d messages had been answered when the event after them was handled", answered)
			}
		default:
			var m message
			if err := p.Decode(&m); err != nil || p.ID != sent[answered] || m.Seq != int64(answered+1) || m.Message != float64(m.Seq) {
				t.Fatalf("answer %d: %+v, %v", answered+1, m, err)
			}
			answered++
		}
	}
}

// A store that does not answer in time may have stored the message. Nobody is answered twice.
func TestStoreThatTakesTooLong(t *testing.T) {
	t.Cleanup(app.SetStoreTimeout(2 * time.Second))
	store := &gatedStore{history.NewMemory(), make(chan struct{})}
	i := startOn(t, testConfig(), store)
	a := i.dial(t)
	join(t, a, object{"roomId": "r"})
	request := object{"roomId": "r", "message": "m", "clientId": "c"}
	var refused answer
	a.Ask("sendMessage", request, &refused)
	if refused.Error.Code != "unknown_outcome" {
		t.Errorf("refused: %+v", refused)
	}
	close(store.gate)
	if p := a.Next(); p.Event != "newMessage" {
		t.Errorf("%+v, want the message", p)
	}
	if again := send(t, a, request); again.Seq != 1 {
		t.Errorf("again: %+v", again)
	}
}

// With a full disk nothing is stored, but everything else continues.
func TestFullDisk(t *testing.T) {
	full := &brokenStore{Memory: history.NewMemory(), write: history.ErrUnavailable.Wrap("append", fmt.Errorf("disk is full"))}
	i := startOn(t, testConfig(), full)
	a, b := i.dial(t), i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "a"})
	join(t, b, object{"roomId": "r", "userId": "b"})
	var refused answer
	a.Ask("sendMessage", object{"roomId": "r", "message": 1}, &refused)
	if refused.Error.Code != "unavailable" || strings.Contains(refused.Error.Message, "disk") {
		t.Errorf("refused: %+v", refused)
	}
	typeIn(a, "r")
	b.Expect("typing", new(object))
	if resp, _ := request(t, "GET", i.url+"/readyz"); resp.StatusCode != 200 {
		t.Errorf("readyz: status %d", resp.StatusCode)
	}
}

func TestUnreadableStore(t *testing.T) {
	i := startOn(t, testConfig(), &brokenStore{Memory: history.NewMemory(), read: fmt.Errorf("disk is gone")})
	a := i.dial(t)
	var refused answer
	a.Ask("joinRoom", object{"roomId": "r"}, &refused)
	if refused.Error.Code != "unavailable" {
		t.Errorf("refused: %+v", refused)
	}
	a.Ask("typing", object{"roomId": "r"}, &refused)
	if refused.Error.Code != "not_joined" {
		t.Errorf("after a failed join: %+v", refused)
	}
}
