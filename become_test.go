package parley_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
)

// A socket that has become somebody else is that, also when it comes to its end.
func TestBecome(t *testing.T) {
	d := &door{lasts: map[string]time.Duration{"visitor": time.Hour, "ann": 2 * time.Minute, "bob": time.Hour}, banned: map[string]bool{}}
	inBubble(t, parley.Options{Authorize: d}, func(t *testing.T, srv *parley.Server, dial func() *client) {
		srv.On("identify", func(p *parley.Packet) error {
			var payload json.RawMessage
			if err := p.Decode(&payload); err != nil {
				return err
			}
			_, err := p.Socket().Become(p.Context(), payload, func(who *auth.Identity) error {
				if who.Subject == "bob" {
					return &parley.Error{Code: "forbidden", Message: "not him"}
				}
				return nil
			})
			if err != nil {
				return err
			}
			return p.Ack(p.Socket().Identity().Subject)
		})
		c := dial()
		c.connect("", token("visitor"))
		c.send(`420["identify",` + token("bob") + `]`)
		c.expect(`430[{"error":{"code":"forbidden","message":"not him"}}]`)
		c.send(`420["identify",` + token("ann") + `]`)
		c.expect(`430["ann"]`)
		if after, _ := c.closedAfter(); after != 145*time.Second {
			t.Errorf("closed after %v", after)
		}
	})
}
