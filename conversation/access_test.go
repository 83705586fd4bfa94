package conversation_test

import (
	"encoding/json"
	"testing"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
)

func TestAllows(t *testing.T) {
	const all = auth.Read | auth.Write | auth.See | auth.Manage
	for _, tt := range []struct {
		event string
		role  auth.Role
		has   auth.Rights
		owner bool
		want  bool
	}{
		{"hello", "", 0, false, true},
		{"joinRoom", auth.User, auth.Read, false, true},
		{"joinRoom", auth.Admin, auth.Write, false, false},
		{"claimRoom", auth.Operator, all, false, true},
		{"claimRoom", auth.User, all, true, false},
		{"claimRoom", auth.Operator, auth.Read | auth.Write, false, false},
		{"closeRoom", auth.User, auth.Read, true, true},
		{"closeRoom", auth.User, auth.Read, false, false},
		{"closeRoom", auth.User, 0, true, false},
		{"closeRoom", auth.Service, auth.Read | auth.Manage, false, true},
		{"closeRoom", auth.Service, auth.Manage, false, false},
		{"addNote", auth.Operator, auth.Write, false, false},
		{"watchRooms", auth.User, all, true, false},
		{"identify", auth.Operator, all, false, false},
	} {
		a, ok := conversation.AccessTo(tt.event)
		if got := a.Allows(tt.role, tt.has, tt.owner); !ok || got != tt.want {
			t.Errorf("%+v: %v, %v", tt, got, ok)
		}
	}
	if _, ok := conversation.AccessTo("newMessage"); ok {
		t.Error("an event from the server has an access")
	}
}

func TestHolder(t *testing.T) {
	for text, want := range map[string]conversation.Holder{
		`{"roomId":"r","operatorId":null}`:               {},
		`{"roomId":"r","operatorId":null,"from":null}`:   {Given: true},
		`{"roomId":"r","operatorId":null,"from":"anna"}`: {Given: true, OperatorID: "anna"},
	} {
		var q conversation.TransferRequest
		if err := json.Unmarshal([]byte(text), &q); err != nil || q.From != want {
			t.Errorf("%s: %+v, %v", text, q.From, err)
		}
		if b, err := json.Marshal(q); err != nil || string(b) != text {
			t.Errorf("%s becomes %s, %v", text, b, err)
		}
	}
	var q conversation.TransferRequest
	if err := json.Unmarshal([]byte(`{"from":1}`), &q); err == nil {
		t.Error("a number is accepted")
	}
}
