package chat_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// Only the service gives the ids of guests. So nobody can write as a guest, or use up its client ids.
func TestGuestsAreTheServices(t *testing.T) {
	inService(t, history.NewMemory(), func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		ctx := context.Background()
		guest, other := s.Connect(&peer{id: "aaaaaaaa1", hall: h}), s.Connect(&peer{id: "bbbbbbbb1", hall: h})
		defer guest.Close()
		defer other.Close()
		join := func(c *chat.Client, who chat.Principal) (me chat.Member, err error) {
			err = c.Join(ctx, who, chat.JoinRequest{RoomID: "r"}, func(j chat.Joined) { me = j.Member })
			return me, err
		}
		send := func(c *chat.Client, q chat.SendRequest) (m history.Message, err error) {
			q.RoomID, q.ClientID = "r", "c"
			stored := make(chan error, 1)
			if err := c.Send(ctx, q, func(sent history.Message, err error) { m = sent; stored <- err }); err != nil {
				return m, err
			}
			return m, <-stored
		}
		me, err := join(guest, chat.Principal{Name: "Gus"})
		if err != nil || me.UserID != "guest-aaaaaaaa" {
			t.Fatalf("a guest: %+v, %v", me, err)
		}
		for _, id := range []string{
			me.UserID, "guest-", "guest-x", "GUEST-aaaaaaaa", "gu\u200best-a", "\u2066guest-a", "g\u0336uest-a",
			"guest\u00ad-a", "guest\u2010a", "\uff47uest\uff0da", " guest-a", "\u3164guest-a",
		} {
			_, err := join(other, chat.Principal{UserID: id})
			wantCode(t, err, chat.IdentityMismatch)
			_, err = join(other, chat.Principal{UserID: "u", OperatorID: id})
			wantCode(t, err, chat.IdentityMismatch)
		}
		for _, id := range []string{"guest", "guests-a", "my-guest-a", "Gustav-1", "-", "\u200b"} {
			if _, err := join(other, chat.Principal{UserID: id}); err != nil {
				t.Errorf("%q is refused: %v", id, err)
			}
		}
		if _, err := join(other, chat.Principal{UserID: "u"}); err != nil {
			t.Fatal(err)
		}
		_, err = send(other, chat.SendRequest{UserID: me.UserID, Message: json.RawMessage(`"poison"`)})
		wantCode(t, err, chat.IdentityMismatch)

		// An operator in a guest's conversation writes as an operator.
		if _, err := join(other, chat.Principal{OperatorID: "anna"}); err != nil {
			t.Fatal(err)
		}
		if m, err := send(other, chat.SendRequest{UserID: me.UserID, Message: json.RawMessage(`"help"`)}); err != nil || m.OperatorID != "anna" {
			t.Errorf("an operator's message: %+v, %v", m, err)
		}

		// A guest may say who it is, and nobody has used its client id.
		if again, err := join(guest, chat.Principal{UserID: me.UserID, Name: me.Name}); err != nil || again != me {
			t.Errorf("the guest itself: %+v, %v", again, err)
		}
		first, err := send(guest, chat.SendRequest{UserID: me.UserID, Message: json.RawMessage(`"mine"`)})
		if err != nil || first.Seq != 2 || first.UserID != me.UserID {
			t.Errorf("the guest's message: %+v, %v", first, err)
		}
		// Another guest uses the same client id for another message.
		if _, err := join(other, chat.Principal{}); err != nil {
			t.Fatal(err)
		}
		if m, err := send(other, chat.SendRequest{Message: json.RawMessage(`"other"`)}); err != nil || m.Seq != 3 || m.UserID != "guest-bbbbbbbb" {
			t.Errorf("another guest's message: %+v, %v", m, err)
		}
	})
}
