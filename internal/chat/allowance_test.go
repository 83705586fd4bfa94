package chat_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

// budgeted gives a service the default budgets.
func budgeted(o *chat.Options) { o.Budgets = chat.Budgets(50, 1<<20, 1<<20, 100) }

// An identity has one allowance, however many connections it has. Others have their own.
func TestAllowanceOfAnIdentity(t *testing.T) {
	atDesk(t, budgeted, func(d *desk) {
		ann, tab, ben, anna := d.user("ann"), d.user("ann"), d.user("ben"), d.operator("anna")
		room, his := ann.start("hello"), ben.start("hello")
		for _, p := range []*person{ann, tab, anna} {
			p.join(room)
		}
		ben.join(his)
		send := func(p *person, room string, times int) (sent int, err error) {
			for i := range times {
				if _, err = p.trySend(conversation.SendRequest{RoomID: room, Message: text(fmt.Sprint(p.peer.id, i, time.Now().UnixNano()))}); err != nil {
					return i, err
				}
			}
			return times, nil
		}
		first, err := send(ann, room, 5)
		if err != nil {
			t.Fatal(err)
		}
		second, err := send(tab, room, 50)
		wantCode(t, err, chat.RateLimited)
		if e := err.(*chat.Error); e.RetryAfter <= 0 || 1+first+second != 10 {
			t.Errorf("%d and %d messages, then %+v", first, second, e)
		}
		if _, err := send(ben, his, 5); err != nil {
			t.Errorf("another user: %v", err)
		}
		if n, err := send(anna, room, 50); err != nil {
			t.Errorf("an operator sent %d: %v", n, err)
		}
		time.Sleep(2 * time.Second)
		if _, err := send(tab, room, 1); err != nil {
			t.Errorf("after a while: %v", err)
		}
	})
}

// Users begin few conversations in an hour.
func TestAllowanceOfConversations(t *testing.T) {
	atDesk(t, budgeted, func(d *desk) {
		ann := d.user("ann")
		begun := 0
		for i := range 10 {
			started, err := ann.StartConversation(d.Context(), conversation.StartRequest{Message: text(fmt.Sprint(i))})
			if err != nil {
				wantCode(t, err, chat.RateLimited)
				break
			}
			begun++
			if _, err := ann.CloseRoom(d.Context(), conversation.CloseRequest{RoomID: started.RoomID}); err != nil {
				t.Fatal(err)
			}
		}
		if begun != 3 {
			t.Errorf("%d conversations", begun)
		}
	})
}

// The fourth identical text within a minute is refused, but not the same message once more.
func TestIdenticalTexts(t *testing.T) {
	atDesk(t, nil, func(d *desk) {
		ann, ben := d.user("ann"), d.user("ben")
		room := ann.start("buy")
		ann.join(room)
		send := func(id string) error {
			_, err := ann.trySend(conversation.SendRequest{RoomID: room, Message: text("buy"), ClientID: id})
			return err
		}
		for range 10 {
			if err := send("k"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(30 * time.Second)
		if err := send("l"); err != nil {
			t.Fatal(err)
		}
		err := send("m")
		wantCode(t, err, chat.RateLimited)
		if e := err.(*chat.Error); e.RetryAfter != 30*time.Second {
			t.Errorf("try again after %v", e.RetryAfter)
		}
		if err := send("l"); err != nil {
			t.Errorf("a retry: %v", err)
		}
		ben.start("buy")
		time.Sleep(30 * time.Second)
		if err := send("n"); err != nil {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// A client that goes on although it is refused is disconnected.
func TestTooManyRefusals(t *testing.T) {
	atDesk(t, budgeted, func(d *desk) {
		ann := d.user("ann")
		room := ann.start("hello")
		ann.join(room)
		refused := 0
		for i := 0; refused < 9; i++ {
			if _, err := ann.trySend(conversation.SendRequest{RoomID: room, Message: text(fmt.Sprint(i))}); err != nil {
				refused++
			}
		}
		for _, s := range ann.heard() {
			if s == "lost" {
				t.Fatal("disconnected after 9 refusals")
			}
		}
		if _, err := ann.trySend(conversation.SendRequest{RoomID: room, Message: text("more")}); err == nil {
			t.Fatal("it was sent")
		}
		ann.hears("lost")
	})
}

// Who types or moves too much is not refused, and not heard.
func TestQuietAllowances(t *testing.T) {
	atDesk(t, func(o *chat.Options) {
		o.Budgets[budget.UserTyping] = budget.Limit{PerSecond: 0.01, Burst: 1}
		o.Budgets[budget.UserVisits] = budget.Limit{PerSecond: 0.01, Burst: 1}
	}, func(d *desk) {
		ann, anna := d.user("ann"), d.operator("anna")
		room := ann.start("hello")
		ann.join(room)
		anna.join(room)
		anna.heard()
		for range 5 {
			if err := ann.Typing(room, true, ""); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if _, err := ann.Hello(d.Context(), conversation.HelloRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		anna.hears("typing true", "typing true")
		if err := ann.Typing(room, false, ""); err != nil {
			t.Fatal(err)
		}
		anna.hears("typing false") // the end always arrives
	})
}

// An open server has none of these limits.
func TestNoAllowancesInAnOpenServer(t *testing.T) {
	atDesk(t, func(o *chat.Options) { budgeted(o); o.Closed = nil }, func(d *desk) {
		ann := d.with(&auth.Identity{Subject: "ann", Role: auth.User})
		ann.join("r")
		for range 40 {
			if _, err := ann.trySend(conversation.SendRequest{RoomID: "r", Message: text("the same")}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
