package parley_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley"
)

// recoveryPool is a cluster whose servers recover clients.
func recoveryPool(t *testing.T, n int, setUp func(i int, o *parley.Options)) *pool {
	t.Helper()
	return cluster(t, n, func(i int, o *parley.Options) {
		o.Recovery = &parley.Recovery{}
		if setUp != nil {
			setUp(i, o)
		}
	})
}

// traveller is a client that goes from server to server.
type traveller struct {
	*client
	pool *pool
	connected
	at    int    // the server
	last  string // offset
	heard []string
}

func (p *pool) traveller(at int) *traveller {
	p.t.Helper()
	c := dial(p.t, p.urls[at])
	return &traveller{client: c, pool: p, connected: c.connect("", ""), at: at}
}

// note remembers an event; the last argument is its offset.
func (v *traveller) note(message string) {
	v.t.Helper()
	var args []any
	rest := message[strings.IndexByte(message, '['):]
	if err := json.Unmarshal([]byte(rest), &args); err != nil {
		v.t.Fatalf("%q: %v", message, err)
	}
	last, text := args[len(args)-1].(string)
	if text && len(last) == 18 && last[8] == '.' {
		v.last, args = last, args[:len(args)-1]
	}
	v.heard = append(v.heard, fmt.Sprint(args...))
}

// hear receives events until they are these.
func (v *traveller) hear(want ...string) {
	v.t.Helper()
	for len(v.heard) < len(want) {
		v.note(v.recv())
	}
	for i, w := range want {
		if v.heard[i] != w {
			v.t.Fatalf("heard %q, want %q", v.heard, want)
		}
	}
	v.heard = v.heard[len(want):]
}

// lose cuts the connection, and waits until the server has noticed that.
func (v *traveller) lose() {
	v.t.Helper()
	v.cut()
	eventually(v.t, "end", func() bool { return v.pool.servers[v.at].Socket(v.SID) == nil })
}

// back connects to a server, and reports whether the client is recovered.
func (v *traveller) back(at int) bool {
	v.t.Helper()
	v.client, v.at = dial(v.t, v.pool.urls[at]), at
	missed, answer := missedUntilConnect(v.t, v.client, back(v.PID, v.last))
	recovered := answer.PID == v.PID
	if recovered != (answer.SID == v.SID) || !recovered && len(missed) > 0 {
		v.t.Fatalf("it came back as %+v instead of %+v, and missed %q", answer, v.connected, missed)
	}
	v.connected = answer
	for _, m := range missed {
		v.note(m)
	}
	return recovered
}

func (v *traveller) socket() *parley.Socket { return v.pool.socket(v.at, v.SID) }

// A client that comes back to another server continues: id, rooms, data, and what it has missed.
func TestHandover(t *testing.T) {
	p := recoveryPool(t, 3, nil)
	v := p.traveller(0)
	s := v.socket()
	ok(t, s.Join("room"))
	s.SetData(map[string]int{"n": 7})
	ok(t, p.servers[2].To("room").Emit("first"))
	v.hear("first")
	v.lose()
	ok(t,
		p.servers[0].To("room").Emit("missed", 1, parley.Binary{7}),
		p.servers[2].Emit("missed", 2, "<é&\u2028>"),
		p.servers[1].To("elsewhere").Emit("no"),
		p.servers[1].To("room").Except(v.SID).Emit("no"),
		p.servers[0].To("room").Volatile().Emit("no"),
	)
	p.flush()
	ok(t, p.servers[1].To(v.SID).Emit("missed", 3))
	p.flush()

	c := dial(t, p.urls[1])
	c.send("40" + back(v.PID, v.last))
	if m := c.recv(); !strings.HasPrefix(m, `451-["missed",1,{"_placeholder":true,"num":0},"`) {
		t.Fatalf("received %q", m)
	}
	if b := c.recvBinary(); string(b) != "\x07" {
		t.Fatalf("received %x", b)
	}
	v.client, v.at = c, 1
	v.note(c.recv())
	v.note(c.recv())
	v.hear("missed2<é&\u2028>", "missed3")
	c.expect(fmt.Sprintf(`40{"sid":%q,"pid":%q}`, v.SID, v.PID))
	s = v.socket()
	if !s.Recovered() || !s.InRoom("room") || !s.InRoom(v.SID) || p.servers[0].Socket(v.SID) != nil {
		t.Errorf("recovered: %v, in %q", s.Recovered(), s.Rooms())
	}
	if data, _ := s.Data().(json.RawMessage); string(data) != `{"n":7}` {
		t.Errorf("its data are %v", s.Data())
	}
	for i, server := range p.servers {
		ok(t, server.To(v.SID).Emit("id", i), server.To("room").Emit("room", i), server.Emit("all", i))
		v.hear(fmt.Sprint("id", i), fmt.Sprint("room", i), fmt.Sprint("all", i))
	}
	if n := p.servers[1].Stats().Recovered; n != 1 {
		t.Errorf("%d recovered", n)
	}
}

// From server to server and back, before and after it has heard something new, and although nobody has
// noticed that the connection is lost.
func TestHandoverChain(t *testing.T) {
	p := recoveryPool(t, 3, nil)
	v := p.traveller(0)
	ok(t, v.socket().Join("room"))
	n := 0
	say := func(from int) {
		t.Helper()
		n++
		ok(t, p.servers[from].To("room").Emit("e", n))
		p.flush()
	}
	heard := 0
	hear := func() {
		t.Helper()
		for heard < n {
			heard++
			v.hear(fmt.Sprint("e", heard))
		}
	}
	for round := range 40 {
		to := []int{1, 2, 0, 0, 2, 1, 1, 0}[round%8]
		if round%3 == 0 {
			say(round % 3)
			if round%2 == 0 {
				hear()
			}
		}
		if round%5 == 0 {
			v.cut()
		} else {
			v.lose()
		}
		if round%4 == 0 {
			say((round + 1) % 3)
			say(round % 3)
		}
		if !v.back(to) {
			t.Fatalf("round %d: not recovered on %d", round, to)
		}
		if round%7 != 0 {
			hear()
		} else {
			v.heard = nil // cut off before it has read anything: it names its old offset
			v.last = v.last + ""
			heard = n
		}
	}
}
