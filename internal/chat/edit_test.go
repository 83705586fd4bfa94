package chat_test

import (
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// Users change their messages for a time, operators theirs always, admins all. Operators delete what
// the user wrote. Who changes what somebody else wrote leaves a note.
func TestEdit(t *testing.T) {
	atDesk(t, func(o *chat.Options) { o.EditWindow = time.Hour }, func(d *desk) {
		ctx := d.Context()
		ann, anna, bob := d.user("ann"), d.operator("anna"), d.operator("bob")
		ada := d.with(&auth.Identity{Subject: "ada", Role: auth.Admin})
		room := ann.start("helo")
		ann.join(room)
		anna.join(room)
		hers := anna.send(room, "yes?")
		ann.heard()
		edit := func(p *person, seq int64, message string, ifRev int64) (history.Message, error) {
			return p.EditMessage(ctx, conversation.EditRequest{RoomID: room, Seq: seq, Message: text(message), IfRev: ifRev})
		}
		m, err := edit(ann, 1, "hello", 1)
		if err != nil || m.Seq != 1 || m.Rev == 0 || string(m.Message) != `{"text":"hello"}` {
			t.Fatalf("edited: %+v, %v", m, err)
		}
		ann.hears(`message {"text":"hello"}`)
		// A retry is no conflict, a late rival is one.
		if again, err := edit(ann, 1, "hello", 1); err != nil || again.Rev != m.Rev {
			t.Errorf("again: %+v, %v", again, err)
		}
		_, err = edit(ann, 1, "hullo", 1)
		wantCode(t, err, chat.Conflicted)
		if e, ok := err.(*chat.Error); !ok || e.Data == nil || e.Data.Message == nil || e.Data.Message.Rev != m.Rev {
			t.Errorf("the conflict says %+v", err)
		}
		_, err = edit(ann, hers.Seq, "no", 0)
		wantCode(t, err, chat.Forbidden)
		_, err = edit(anna, 1, "rude", 0)
		wantCode(t, err, chat.Forbidden)
		_, err = edit(bob, hers.Seq, "no", 0)
		wantCode(t, err, chat.Forbidden)
		_, err = edit(ann, 77, "nothing", 0)
		wantCode(t, err, chat.NotFound)
		if notes := d.notes(room); len(notes) != 0 {
			t.Errorf("notes of own edits: %q", notes)
		}

		time.Sleep(time.Hour + time.Second)
		_, err = edit(ann, 1, "too late", 0)
		wantCode(t, err, chat.TooLate)
		_, err = ann.DeleteMessage(ctx, conversation.DeleteRequest{RoomID: room, Seq: 1})
		wantCode(t, err, chat.TooLate)
		if _, err := edit(anna, hers.Seq, "yes!", 0); err != nil {
			t.Errorf("an operator's own message: %v", err)
		}
		if _, err := edit(ada, hers.Seq, "yes.", 0); err != nil {
			t.Errorf("an admin: %v", err)
		}
		gone, err := bob.DeleteMessage(ctx, conversation.DeleteRequest{RoomID: room, Seq: 1})
		if err != nil || !gone.Deleted || len(gone.Message) > 0 {
			t.Errorf("deleted: %+v, %v", gone, err)
		}
		_, err = edit(ada, 1, "back", 0)
		wantCode(t, err, chat.Conflicted)
		_, err = bob.DeleteMessage(ctx, conversation.DeleteRequest{RoomID: room, Seq: hers.Seq})
		wantCode(t, err, chat.Forbidden)
		notes := d.notes(room)
		if len(notes) != 2 || notes[0] != `{"event":"edited","seq":2}` || notes[1] != `{"event":"deleted","seq":1}` {
			t.Errorf("notes: %q", notes)
		}
	})
}

// Without a time for it, users change nothing.
func TestNoEditWindow(t *testing.T) {
	atDesk(t, func(o *chat.Options) { o.EditWindow = 0 }, func(d *desk) {
		ann := d.user("ann")
		room := ann.start("helo")
		time.Sleep(time.Millisecond)
		_, err := ann.EditMessage(d.Context(), conversation.EditRequest{RoomID: room, Seq: 1, Message: text("hello")})
		wantCode(t, err, chat.TooLate)
	})
}
