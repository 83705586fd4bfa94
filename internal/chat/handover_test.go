package chat_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// A conversation is given only to somebody who can have it.
func TestTransferToAnOperatorWhoExists(t *testing.T) {
	arrived := map[string]bool{}
	known := func(id string) (string, bool) { return "", id == "bob" || arrived[id] }
	atDesk(t, func(o *chat.Options) {
		o.Operator, o.Arrived = known, func(who *auth.Identity) { arrived[who.Subject] = true }
	}, func(d *desk) {
		ann, anna := d.user("ann"), d.operator("anna")
		d.operator("cleo").Close()
		time.Sleep(time.Hour) // she has been here, which is enough
		room := ann.start("hello")
		for _, to := range []string{"bob", "cleo", "anna"} {
			if row, err := anna.TransferRoom(d.Context(), conversation.TransferRequest{RoomID: room, OperatorID: holder(to)}); err != nil || row.OperatorID != to {
				t.Errorf("to %s: %+v, %v", to, row, err)
			}
		}
		for _, to := range []string{"ann", "bobb"} {
			_, err := anna.TransferRoom(d.Context(), conversation.TransferRequest{RoomID: room, OperatorID: holder(to)})
			wantCode(t, err, chat.NotFound)
		}
		if _, err := anna.TransferRoom(d.Context(), conversation.TransferRequest{RoomID: room, OperatorID: holder("")}); err != nil {
			t.Error(err)
		}
	})
	atDesk(t, func(o *chat.Options) {
		o.Operator, o.Closed, o.Arrived = known, nil, func(*auth.Identity) { t.Error("an open server remembers whoever says that it is an operator") }
	}, func(d *desk) {
		anna, to := d.operator("anna"), "dora"
		room := d.user("ann").start("hello")
		if _, err := anna.TransferRoom(d.Context(), conversation.TransferRequest{RoomID: room, OperatorID: holder(to)}); err != nil {
			t.Errorf("in an open server: %v", err)
		}
	})
}

// A conversation from its first message until it is closed, as both sides see it.
func TestConversation(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ctx := d.Context()
		ann, anna, bob := d.user("ann"), d.operator("anna"), d.operator("bob")
		room := ann.start("hello")
		joined := ann.join(room)
		if joined.Room == nil || joined.Room.Status != history.Open || joined.Room.WaitingSince == nil || joined.Read == nil || len(joined.Messages) != 1 {
			t.Fatalf("the user joined %+v", joined)
		}
		seen, err := anna.tryJoin(conversation.JoinRequest{RoomID: room, Notes: true})
		if err != nil || seen.Notes == nil || seen.Count != 2 || seen.Room == nil || seen.Room.UserID != "ann" {
			t.Fatalf("the operator joined %+v, %v", seen, err)
		}
		ann.hears("join of socket02, now 0")
		bob.join(room)
		anna.hears("join of socket03, now 3")
		ann.hears("join of socket03, now 0")

		row, err := anna.ClaimRoom(ctx, conversation.RoomRequest{RoomID: room})
		if err != nil || row.OperatorID != "anna" || row.Operator.Name == "" || !row.Operator.Online {
			t.Errorf("claimed: %+v, %v", row, err)
		}
		ann.hears(`roomChanged {"room":{"roomId":"` + room + `","status":"open","operator":{`)
		anna.hears("claimed", "roomChanged")
		bob.hears(`"operatorId":"anna"`)
		// A retry changes nothing; somebody else is too late, and sees who has it.
		if _, err := anna.ClaimRoom(ctx, conversation.RoomRequest{RoomID: room}); err != nil {
			t.Error(err)
		}
		_, err = bob.ClaimRoom(ctx, conversation.RoomRequest{RoomID: room})
		wantCode(t, err, chat.Conflicted)
		if e, ok := err.(*chat.Error); !ok || e.Data == nil || e.Data.Room == nil || e.Data.Room.OperatorID != "anna" {
			t.Errorf("the conflict says %+v", err)
		}

		if m := anna.send(room, "hi"); m.OperatorID != "anna" || m.UserID != "ann" {
			t.Errorf("the operator's message is %+v", m)
		}
		ann.hears("message")
		to := "bob"
		if _, err := anna.TransferRoom(ctx, conversation.TransferRequest{RoomID: room, OperatorID: holder(to), From: conversation.Holder{Given: true}}); err == nil {
			t.Error("it was transferred from nobody")
		}
		if row, err = anna.TransferRoom(ctx, conversation.TransferRequest{RoomID: room, OperatorID: holder(to), Note: "yours"}); err != nil || row.OperatorID != "bob" {
			t.Errorf("transferred: %+v, %v", row, err)
		}
		if row, err = ann.CloseRoom(ctx, conversation.CloseRequest{RoomID: room}); err != nil || row.Status != history.Closed {
			t.Errorf("closed: %+v, %v", row, err)
		}
		bob.Close()
		time.Sleep(time.Minute) // a connection that breaks is not taken for an operator who goes
		ann.heard()
		ann.send(room, "one more thing")
		ann.hears("message", `"status":"open"}`) // bob is away, so nobody has it
		got := d.notes(room)
		want := []string{
			`{"event":"claimed","to":"anna"}`, `{"event":"transferred","from":"anna","to":"bob","note":"yours"}`, `{"event":"closed"}`,
		}
		if len(got) != len(want) {
			t.Fatalf("the notes are %q", got)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("note %s, want %s", got[i], want[i])
			}
		}
	})
}

// Pages have the names of the operators who wrote their messages, also of those who are neither there nor
// have the conversation.
func TestNamesOfOperators(t *testing.T) {
	known := func(id string) (string, bool) { return map[string]string{"anna": "Anna B", "bob": "Bob"}[id], true }
	atDesk(t, func(o *chat.Options) { o.Operator = known }, func(d *desk) {
		ann := d.user("ann")
		room := ann.start("hello")
		for _, id := range []string{"anna", "bob", "cleo", "dora"} {
			p := d.operator(id)
			p.join(room)
			p.send(room, "this is "+id)
			if id != "dora" {
				p.Close()
			}
		}
		time.Sleep(time.Minute)
		want := map[string]string{"anna": "Anna B", "bob": "Bob", "dora": "DORA"}
		if joined := ann.join(room); !maps.Equal(joined.OperatorNames, want) {
			t.Errorf("joined %+v", joined.OperatorNames)
		}
		for _, tt := range []struct {
			q    conversation.HistoryRequest
			want map[string]string
		}{
			{conversation.HistoryRequest{}, want},
			{conversation.HistoryRequest{After: new(int64(4))}, map[string]string{"dora": "DORA"}},
			{conversation.HistoryRequest{Before: new(int64(3))}, map[string]string{"anna": "Anna B"}},
			{conversation.HistoryRequest{Before: new(int64(2))}, nil},
		} {
			tt.q.RoomID = room
			if page, err := ann.History(d.Context(), tt.q); err != nil || !maps.Equal(page.OperatorNames, tt.want) {
				t.Errorf("%+v: %+v, %v", tt.q, page.OperatorNames, err)
			}
		}
	})
}

// An operator who may do everything learns that there is no such conversation; others learn nothing.
func TestNoConversation(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		limited := &auth.Identity{Subject: "lea", Role: auth.Operator, Grants: auth.Grants{{Pattern: "order-*", Rights: auth.Read | auth.Write | auth.Manage}}}
		for _, tt := range []struct {
			who  *person
			want chat.Code
		}{{d.operator("anna"), chat.NotFound}, {d.with(limited), chat.Forbidden}, {d.user("ann"), chat.Forbidden}} {
			for _, room := range []string{"c_nowhere", "lounge"} {
				for _, do := range []func(context.Context, conversation.RoomRequest) (conversation.Room, error){tt.who.ClaimRoom, tt.who.ReopenRoom, tt.who.Answered} {
					_, err := do(d.Context(), conversation.RoomRequest{RoomID: room})
					wantCode(t, err, tt.want)
				}
				_, err := tt.who.AddNote(d.Context(), conversation.NoteRequest{RoomID: room, Message: text("hm")})
				wantCode(t, err, tt.want)
			}
		}
	})
}
