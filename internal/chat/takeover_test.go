package chat_test

import (
	"testing"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// The id of a conversation follows from a client id, so who was its user can ask for it again. It is no
// way back into a conversation that has become somebody else's.
func TestStartIsNoWayIntoOthersConversations(t *testing.T) {
	for name, message := range map[string]bool{"with a message": true, "without one": false} {
		t.Run(name, func(t *testing.T) {
			atDesk(t, nil, func(d *desk) {
				ctx, v := d.Context(), d.visitor("v_1")
				started, err := v.StartConversation(ctx, conversation.StartRequest{ClientID: "k", Message: text("hello")})
				if err != nil {
					t.Fatal(err)
				}
				room := started.RoomID
				if _, err := v.Identify(ctx, &auth.Identity{Subject: "ann", Role: auth.User, Name: "Ann", Email: "ann@example.com"}); err != nil {
					t.Fatal(err)
				}
				v.join(room)
				v.send(room, "my address is 1 Main Street")

				// Somebody has the visitor's token, which has not ended.
				thief := d.visitor("v_1")
				q := conversation.StartRequest{ClientID: "k"}
				if message {
					q.Message = text("hello")
				}
				answer, err := thief.StartConversation(ctx, q)
				wantCode(t, err, chat.KeyReuse)
				if answer.RoomID != "" {
					t.Errorf("it sees %+v", answer)
				}
				_, err = thief.tryJoin(conversation.JoinRequest{RoomID: room})
				wantCode(t, err, chat.Forbidden)
				d.operator("anna").join(room) // it is not hidden either
				if row, err := d.store.Room(ctx, room, history.Member{}); err != nil || row.UserID != "ann" || row.Head != 2 {
					t.Errorf("the row is %+v, %v", row, err)
				}
			})
		})
	}
}

// Who guesses a client id cannot wait in a free room for the conversation that gets its id.
func TestStartInAFreeRoom(t *testing.T) {
	open := auth.Grants{{Pattern: "*", Rights: auth.Read | auth.Write}}
	atDesk(t, func(o *chat.Options) { o.OpenRooms = open }, func(d *desk) {
		ctx, spy, room := d.Context(), d.user("spy"), chat.ConversationID("ann", "k")
		spy.join(room)
		spy.send(room, "come in")
		for _, message := range []string{"", "my secret"} {
			q := conversation.StartRequest{ClientID: "k"}
			if message != "" {
				q.Message = text(message)
			}
			_, err := d.user("ann").StartConversation(ctx, q)
			wantCode(t, err, chat.KeyReuse)
		}
		if page := spy.join(room); len(page.Messages) != 1 {
			t.Errorf("the spy reads %+v", page.Messages)
		}
	})
}

// A conversation that has its first message is pending no more, however that came.
func TestStartOfAPendingConversation(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx, ann := d.Context(), d.user("ann")
		pending, err := ann.StartConversation(ctx, conversation.StartRequest{ClientID: "k"})
		if err != nil {
			t.Fatal(err)
		}
		started, err := ann.StartConversation(ctx, conversation.StartRequest{ClientID: "k", Message: text("hello")})
		if err != nil || started.RoomID != pending.RoomID {
			t.Fatalf("%+v, %v", started, err)
		}
		if joined := d.operator("anna").join(started.RoomID); joined.Room == nil || len(joined.Messages) != 1 {
			t.Errorf("the operator sees %+v", joined)
		}
		if _, err := ann.CloseRoom(ctx, conversation.CloseRequest{RoomID: started.RoomID}); err != nil {
			t.Error(err)
		}
		// Closed, it still exists.
		again, err := ann.StartConversation(ctx, conversation.StartRequest{ClientID: "k"})
		if err != nil || again.RoomID != started.RoomID || again.Status != history.Closed || !again.Existing {
			t.Errorf("again: %+v, %v", again, err)
		}
		d.operator("anna").join(started.RoomID)
	})
}
