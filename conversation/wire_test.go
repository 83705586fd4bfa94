package conversation_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// What clients have always received looks as it always did; new members are added at most.
func TestWire(t *testing.T) {
	at := history.TimeMilli(1767225600000)
	member := conversation.Member{ID: "s1", UserID: "u7", Name: "Ann"}
	page := conversation.Page{
		RoomID: "r", LastSeq: 2, Epoch: "e", HasBefore: true, HasMore: true,
		Messages: conversation.Messages{{ID: "9", RoomID: "r", Seq: 2, UserID: "u7", Message: json.RawMessage(`{"text":"Hi"}`), Timestamp: at, ClientID: "c"}},
	}
	const pageWire = `"roomId":"r","messages":[{"id":"9","roomId":"r","seq":2,"userId":"u7","message":{"text":"Hi"},"timestamp":"2026-01-01T00:00:00.000Z","clientId":"c"}],` +
		`"hasMore":true,"hasBefore":true,"hasAfter":false,"lastSeq":2,"epoch":"e"`
	for _, tt := range []struct {
		v    any
		want string
	}{
		{page, `{` + pageWire + `}`},
		{
			conversation.Joined{Page: page, Reset: true, Member: member, Members: []conversation.Member{member}, Count: 1},
			`{` + pageWire + `,"reset":true,"member":{"id":"s1","userId":"u7","name":"Ann"},"members":[{"id":"s1","userId":"u7","name":"Ann"}],"count":1}`,
		},
		{conversation.RoomRequest{RoomID: "r"}, `{"roomId":"r"}`},
		{conversation.PresenceNews{RoomID: "r", Type: "join", Member: &member, Count: 2}, `{"roomId":"r","type":"join","member":{"id":"s1","userId":"u7","name":"Ann"},"count":2}`},
		{conversation.PresenceNews{RoomID: "r", Type: "count", Count: 3}, `{"roomId":"r","type":"count","count":3}`},
		{conversation.TypingNews{RoomID: "r", OperatorID: "anna", Typing: false}, `{"roomId":"r","operatorId":"anna","typing":false}`},
		{conversation.Notice{Code: conversation.NotJoined, Message: "m", Event: "typing"}, `{"code":"not_joined","message":"m","event":"typing"}`},
		{conversation.Notice{Code: conversation.RateLimited, Message: "m", Data: conversation.RefusalData{RetryAfter: 3}, Event: "typing"}, `{"code":"rate_limited","message":"m","data":{"retryAfter":3},"event":"typing"}`},
	} {
		b, err := json.Marshal(tt.v)
		if err != nil || string(b) != tt.want {
			t.Errorf("got  %s, %v\nwant %s", b, err, tt.want)
		}
	}
	if b, err := json.Marshal(conversation.Messages{}); err != nil || !bytes.Equal(b, []byte("[]")) {
		t.Errorf("no messages: %s, %v", b, err)
	}
}
