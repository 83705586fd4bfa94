package webtransport_test

import (
	"strings"
	"testing"

	"github.com/parley-go/parley"
)

// echo answers every event "echo" with its arguments, as an event and an acknowledgement.
func echo(s *server) {
	s.On("echo", func(p *parley.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		if err := p.Socket().Emit("echo", v...); err != nil {
			return err
		}
		return p.Ack(v...)
	})
}

func TestSession(t *testing.T) {
	s := serve(t, nil, nil)
	echo(s)
	c := s.begin()
	if len(c.open.SID) != 20 || len(c.open.Upgrades) != 0 || c.open.MaxPayload != 1_000_000 {
		t.Errorf("OPEN: %+v", c.open)
	}
	c.send("40")
	c.recv()
	c.send(`420["echo","é",1]`)
	c.expect(`42["echo","é",1]`, `430["é",1]`)

	c.send(`451-1["echo",{"_placeholder":true,"num":0}]`)
	large := strings.Repeat("\x00\xff7", 25_000)
	c.sendBinary([]byte(large))
	c.expect(`451-["echo",{"_placeholder":true,"num":0}]`)
	if got := c.recvBinary(); got != large {
		t.Errorf("%d bytes came back of %d", len(got), len(large))
	}
	c.expect(`461-1[{"_placeholder":true,"num":0}]`)
	if got := c.recvBinary(); got != large {
		t.Errorf("%d bytes came back of %d", len(got), len(large))
	}
	if st := s.Stats(); st.Opened["webtransport"] != 1 || st.BytesIn < 75_000 || st.BytesOut < 150_000 {
		t.Errorf("stats: %+v", st)
	}
}
