package chat_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// The user learns of the operators as one, with the highest mark. Operators learn who.
func TestReadMarks(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann, anna, bob := d.user("ann"), d.operator("anna"), d.operator("bob")
		room := ann.start("1")
		for _, p := range []*person{ann, anna, bob} {
			p.join(room)
		}
		for _, message := range []string{"2", "3", "4"} {
			ann.send(room, message)
		}
		drop := func() { ann.heard(); anna.heard(); bob.heard() }
		drop()
		if m, err := anna.mark(room, 3); err != nil || m.Seq != 3 || m.Unread != 1 {
			t.Errorf("marked %+v, %v", m, err)
		}
		ann.hears(`read {"roomId":"` + room + `","seq":3,"by":"operators"}`)
		bob.hears(`"seq":3,"by":"operators","operatorId":"anna"`)
		drop()
		if m, err := bob.mark(room, 2); err != nil || m.Seq != 2 || m.Unread != 2 {
			t.Errorf("marked %+v, %v", m, err)
		}
		ann.hears() // others have read more
		anna.hears(`"seq":2,"by":"operators","operatorId":"bob"`)
		drop()

		// It never goes back, and not beyond the end.
		if m, err := anna.mark(room, 1); err != nil || m.Seq != 3 {
			t.Errorf("marked %+v, %v", m, err)
		}
		time.Sleep(2 * time.Second)
		if m, err := anna.mark(room, 99); err != nil || m.Seq != 4 || m.Unread != 0 {
			t.Errorf("marked %+v, %v", m, err)
		}
		ann.hears(`"seq":4`)
		drop()

		// At most one a second, and the last one arrives.
		time.Sleep(2 * time.Second)
		for _, message := range []string{"5", "6", "7", "8"} {
			ann.send(room, message)
		}
		drop()
		for seq := int64(5); seq <= 8; seq++ {
			if _, err := anna.mark(room, seq); err != nil {
				t.Error(err)
			}
		}
		ann.hears(`"seq":5`)
		time.Sleep(1100 * time.Millisecond)
		ann.hears(`"seq":8`)

		// Only the operator's own connections learn that it has put its mark back.
		second := d.operator("anna")
		drop()
		if m, err := anna.MarkUnread(d.Context(), conversation.MarkRequest{RoomID: room, Seq: 7}); err != nil || m.Seq != 6 || m.Unread != 2 {
			t.Errorf("marked unread: %+v, %v", m, err)
		}
		anna.hears(`"seq":6,"by":"operators","operatorId":"anna"`)
		second.hears(`"seq":6`)
		ann.hears()
		bob.hears()
		if _, err := ann.mark(room, 8); err != nil {
			t.Error(err)
		}
		bob.hears(`"seq":8,"by":"user"`)
	})
}

// Whoever marks more often than it may is not refused: the last mark counts.
func TestMarksOverBudget(t *testing.T) {
	atDesk(t, func(o *chat.Options) { o.Budgets[budget.UserMarks] = budget.Limit{PerSecond: 1, Burst: 1} }, func(d *desk) {
		ann := d.user("ann")
		room := ann.start("1")
		ann.join(room)
		for i := range 9 {
			ann.send(room, fmt.Sprint(i))
		}
		begun := time.Now()
		answers := make(chan conversation.Marked, 10)
		for seq := int64(1); seq <= 10; seq++ {
			err := ann.MarkRead(d.Context(), conversation.MarkRequest{RoomID: room, Seq: seq}, func(m conversation.Marked, err error) {
				if err != nil {
					t.Error(err)
				}
				answers <- m
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for want := int64(1); want <= 2; want++ {
			if first := <-answers; first.Seq != want {
				t.Errorf("answer %d is %+v", want, first)
			}
		}
		for range 8 {
			if last := <-answers; last.Seq != 10 {
				t.Errorf("a late answer is %+v", last)
			}
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		marks, err := d.store.Marks(d.Context(), room)
		if err != nil || len(marks) != 1 || marks[0].Seq != 10 {
			t.Errorf("marks: %+v, %v", marks, err)
		}
	})
}

// Marks of many rooms that come at once are set one after the other, as often as the client may, and not
// all when the first may be set.
func TestLateMarksOfManyRooms(t *testing.T) {
	setUp := func(o *chat.Options) {
		o.Budgets[budget.OperatorSignals] = budget.Limit{PerSecond: 1}
	}
	atDesk(t, setUp, func(d *desk) {
		anna := d.operator("anna")
		var rooms []string
		for i := range 10 {
			rooms = append(rooms, d.user(fmt.Sprint("user", i)).start("hello"))
		}
		begun := time.Now()
		var mu sync.Mutex
		var answered []time.Duration
		mark := func(room string) error {
			return anna.MarkRead(d.Context(), conversation.MarkRequest{RoomID: room, Seq: 1}, func(m conversation.Marked, err error) {
				if err != nil || m.RoomID != room || m.Seq != 1 {
					t.Errorf("marked %+v, %v", m, err)
				}
				mu.Lock()
				defer mu.Unlock()
				answered = append(answered, time.Since(begun))
			})
		}
		for _, room := range rooms {
			if err := mark(room); err != nil {
				t.Fatal(err)
			}
		}
		anna.Close() // what it has asked for is done, and costs as much
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		for i, at := range answered {
			if least := time.Duration(i-3) * time.Second; at < least { // a few may at once
				t.Errorf("answer %d came after %v", i, at)
			}
		}
		if len(answered) != len(rooms) {
			t.Errorf("%d answers", len(answered))
		}
	})
	atDesk(t, setUp, func(d *desk) { // a bounded number waits
		anna := d.operator("anna")
		var refused error
		most := 0
		for i := range 200 {
			room := d.user(fmt.Sprint("user", i)).start("hello")
			if refused = anna.MarkRead(d.Context(), conversation.MarkRequest{RoomID: room, Seq: 1}, func(conversation.Marked, error) {}); refused != nil {
				break
			}
			most++
		}
		wantCode(t, refused, chat.RateLimited)
		if most < 128 || most > 135 {
			t.Errorf("%d marks wait", most)
		}
		time.Sleep(5 * time.Minute)
	})
}

// A mark that waits does not undo markUnread, which the client has asked for after it.
func TestMarkUnreadAfterLateMark(t *testing.T) {
	var open atomic.Bool
	atDesk(t, func(o *chat.Options) {
		o.Budgets[budget.OperatorSignals] = budget.Limit{PerSecond: 0.001, Burst: 1}
		o.Closed = func() bool { return !open.Load() }
	}, func(d *desk) {
		anna, ann := d.operator("anna"), d.user("ann")
		room := ann.start("1")
		ann.join(room)
		ann.send(room, "2")
		for range 2 { // the second one waits
			if err := anna.MarkRead(d.Context(), conversation.MarkRequest{RoomID: room, Seq: 1}, func(conversation.Marked, error) {}); err != nil {
				t.Fatal(err)
			}
		}
		late := make(chan conversation.Marked, 1)
		if err := anna.MarkRead(d.Context(), conversation.MarkRequest{RoomID: room, Seq: 2}, func(m conversation.Marked, _ error) { late <- m }); err != nil {
			t.Fatal(err)
		}
		open.Store(true) // now it may mark as often as it likes
		if _, err := anna.MarkUnread(d.Context(), conversation.MarkRequest{RoomID: room, Seq: 2}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		if m := <-late; m.Seq != 1 {
			t.Errorf("the late mark was answered with %+v", m)
		}
		marks, err := d.store.Marks(d.Context(), room)
		if err != nil || len(marks) != 1 || marks[0].Seq != 1 {
			t.Errorf("marks: %+v, %v", marks, err)
		}
	})
}
