package parley_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/soak"
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
	n, heard := 0, 0
	say := func(from int) {
		t.Helper()
		n++
		ok(t, p.servers[from].To("room").Emit("e", n))
		p.flush()
	}
	for round := range 40 {
		if round%3 == 0 {
			say(round % 3)
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
		if to := []int{1, 2, 0, 0, 2, 1, 1, 0}[round%8]; !v.back(to) {
			t.Fatalf("round %d: not recovered on %d", round, to)
		}
		for heard < n {
			heard++
			v.hear(fmt.Sprint("e", heard))
		}
	}
}

// Whoever may have missed something is not recovered, whichever server may have lost it.
func TestHandoverAfterAGap(t *testing.T) {
	for _, who := range []int{0, 1} {
		p := recoveryPool(t, 3, nil)
		v := p.traveller(0)
		ok(t, v.socket().Join("room"))
		v.lose()
		if who == 1 { // it has the session already when it misses something
			if !v.back(1) {
				t.Fatal("not recovered")
			}
			v.lose()
		}
		p.buses[who].Cut(true)
		_ = p.servers[2].To("room").Emit("lost")
		p.buses[who].Cut(false)
		eventually(t, "reunion", func() bool { return len(p.servers[who].Nodes()) == 3 })
		p.flush()
		if v.back(2) {
			t.Errorf("server %d has missed an event, and the client is recovered", who)
		}
	}
}

// A server that has died took its sessions with it. Nobody waits for it for long.
func TestHandoverFromTheDead(t *testing.T) {
	p := recoveryPool(t, 2, nil)
	v := p.traveller(0)
	v.cut()
	p.buses[0].Cut(true)
	p.servers[1].SetMoveTimeForTest(50 * time.Millisecond)
	if v.back(1) {
		t.Error("recovered from a server that does not answer")
	}
	if p.servers[1].Socket(v.SID).Recovered() {
		t.Error("the socket says that it is recovered")
	}
}

// A server that shuts down gives its sessions to others: of clients that are away, and of those that it
// disconnects. They are found on servers that came later, too.
func TestHandoverByAServerThatLeaves(t *testing.T) {
	p := recoveryPool(t, 2, nil)
	away, there, fresh := p.traveller(0), p.traveller(0), p.traveller(0)
	ok(t, away.socket().Join("room"), there.socket().Join("room"), fresh.socket().Join("room"))
	ok(t, p.servers[1].To("room").Emit("first"))
	away.hear("first")
	there.hear("first")
	away.lose()
	ok(t, p.servers[0].To("room").Emit("second"))
	there.hear("second")
	left := make(chan error, 1)
	go func() { left <- p.servers[0].Shutdown(p.ctx()) }()
	there.expectClosed()
	fresh.expectClosed()
	ok(t, await(t, "end", left))
	p.add("late", func(o *parley.Options) { o.Recovery = &parley.Recovery{} })
	eventually(t, "acquaintance", func() bool { return len(p.servers[2].Nodes()) == 2 && len(p.servers[1].Nodes()) == 2 })
	ok(t, p.servers[2].To("room").Emit("third"))
	if _, err := p.servers[2].Count(p.ctx()); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		*traveller
		want []string
	}{{away, []string{"second", "third"}}, {there, []string{"third"}}, {fresh, []string{"first", "second", "third"}}} {
		if !c.back(2) {
			t.Fatal("not recovered")
		}
		c.hear(c.want...)
	}
	ok(t, p.servers[1].To("room").Emit("fourth"))
	for _, c := range []*traveller{away, there, fresh} {
		c.hear("fourth")
	}
}

// A server listens to the rooms of clients that are away, and no longer than they may come back.
func TestHandoverKeepsListening(t *testing.T) {
	net := adapter.NewMemory()
	p := &pool{t: t, net: net}
	for i := range 2 {
		bus := net.Connect()
		log, _ := logBuffer()
		c, err := adapter.New(bus, &adapter.Options{Name: fmt.Sprint("node ", i), Logger: log, Beat: 20 * time.Millisecond, Linger: time.Millisecond})
		ok(t, err)
		s, url := serve(t, &parley.Options{Cluster: c, Recovery: &parley.Recovery{MaxSessions: 1}})
		p.servers, p.urls, p.buses = append(p.servers, s), append(p.urls, url), append(p.buses, bus)
	}
	eventually(t, "acquaintance", func() bool { return len(p.servers[0].Nodes()) == 2 && len(p.servers[1].Nodes()) == 2 })
	before := p.buses[0].Topics()
	// passed waits until the server has looked for rooms that nobody is in, twice.
	passed := func() {
		t.Helper()
		for range 2 {
			other := p.traveller(0)
			ok(t, other.socket().Join("another"))
			with := p.buses[0].Topics()
			other.send("41")
			eventually(t, "end of listening", func() bool { return p.buses[0].Topics() < with })
		}
	}
	v := p.traveller(0)
	ok(t, v.socket().Join("room"))
	v.lose()
	passed()
	ok(t, p.servers[1].To("room").Emit("missed"))
	p.flush()
	if !v.back(1) {
		t.Fatal("not recovered")
	}
	v.hear("missed")
	eventually(t, "end of listening", func() bool { return p.buses[0].Topics() == before })
	v.lose()
	for range 2 { // of them, only one may come back
		other := p.traveller(1)
		ok(t, other.socket().Join("other"))
		other.lose()
	}
	if v.back(0) {
		t.Error("recovered although too many are away")
	}
	v.send("41")
	eventually(t, "end of listening", func() bool { return p.buses[0].Topics() == before })
}

// A session that is too large to move ends.
func TestHandoverOfMuch(t *testing.T) {
	for _, c := range []struct {
		events int
		moves  bool
	}{{6, true}, {12, false}} {
		p := recoveryPool(t, 2, nil)
		v := p.traveller(0)
		v.lose()
		for range c.events {
			ok(t, p.servers[0].Emit("much", strings.Repeat("x", 100_000)))
		}
		if recovered := v.back(1); recovered != c.moves || recovered && len(v.heard) != c.events {
			t.Errorf("it has missed %d events of 100 KB; recovered: %v, with %d", c.events, recovered, len(v.heard))
		}
	}
}

// Only the same subject in the same role gets a session, and nobody whose identity has been revoked.
func TestHandoverIdentity(t *testing.T) {
	expires := time.Now().Add(time.Hour)
	p := recoveryPool(t, 2, func(_ int, o *parley.Options) {
		o.Authorize = auth.AuthorizerFunc(func(_ context.Context, r *auth.Request) (*auth.Identity, error) {
			var c struct{ Token string }
			_ = json.Unmarshal(r.Payload, &c)
			return &auth.Identity{Subject: c.Token, Role: auth.User, Expires: expires}, nil
		})
	})
	as := func(server int, subject string, was connected) (again bool) {
		t.Helper()
		c := dial(t, p.urls[server])
		defer c.cut()
		_, answer := missedUntilConnect(t, c, fmt.Sprintf(`{"token":%q,"pid":%q}`, subject, was.PID))
		return answer == was
	}
	join := func() connected {
		t.Helper()
		c := dial(t, p.urls[0])
		defer c.cut()
		return c.connect("", `{"token":"ann"}`)
	}
	was := join()
	if as(1, "bob", was) {
		t.Error("somebody else got the session")
	}
	if !as(1, "ann", was) {
		t.Error("its owner did not get the session")
	}
	eventually(t, "end", func() bool { return p.servers[1].Stats().Sockets == 0 })
	for _, server := range p.servers {
		ok(t, server.DisconnectIdentities(p.ctx(), auth.Match{Subject: "ann"}))
	}
	if as(0, "ann", was) {
		t.Error("a revoked identity got its session")
	}
}

var (
	portable = parley.NewNamedKey[map[string]int]("test.portable")
	bound    = parley.NewKey[func() string]()
)

// Values of named keys move. If others cannot, middleware runs again.
func TestHandoverOfKeys(t *testing.T) {
	p := recoveryPool(t, 3, nil)
	var screened [3]atomic.Int32
	for i, s := range p.servers {
		s.Use(func(_ context.Context, s *parley.Socket) error {
			screened[i].Add(1)
			if s.Recovered() {
				bound.Set(s, func() string { return fmt.Sprint("made by ", i) })
			}
			return nil
		})
	}
	v := p.traveller(0)
	portable.Set(v.socket(), map[string]int{"n": 7})
	v.lose()
	for _, at := range []int{1, 2, 0} { // on server 1 nobody asks for it
		if !v.back(at) {
			t.Fatal("not recovered")
		}
		if got := portable.Get(v.socket()); at != 1 && got["n"] != 7 {
			t.Errorf("on server %d its value is %v", at, got)
		}
		v.lose()
	}
	if screened[1].Load() != 0 || screened[2].Load() != 0 {
		t.Error("middleware ran although no value was lost")
	}
	if !v.back(1) {
		t.Fatal("not recovered")
	}
	bound.Set(v.socket(), func() string { return "made by the handler" })
	v.lose()
	if !v.back(2) || screened[2].Load() != 1 {
		t.Errorf("middleware ran %d times", screened[2].Load())
	}
	if got := bound.Get(v.socket())(); got != "made by 2" {
		t.Errorf("the value is %s", got)
	}
	if got := portable.Get(v.socket().Context()); got["n"] != 7 {
		t.Errorf("its value is %v", got)
	}
}

// Many clients move at the same moment, while everybody sends.
func TestHandoverOfMany(t *testing.T) {
	const servers = 3
	clients := soak.Times(60, 1000)
	p := recoveryPool(t, servers, nil)
	for _, s := range p.servers { // all at once on a busy machine, they need longer
		s.SetMoveTimeForTest(patience)
	}
	all := make([]*traveller, clients)
	for i := range all {
		all[i] = p.traveller(0)
		ok(t, all[i].socket().Join("everybody", fmt.Sprint("room ", i%10)))
	}
	stop := make(chan struct{})
	var senders sync.WaitGroup
	var sent [servers]int
	for i, s := range p.servers {
		senders.Go(func() {
			for sent[i] < 1000 { // more would not move, if the machine is slow
				select {
				case <-stop:
					return
				case <-time.After(15 * time.Millisecond):
					ok(t, s.To("everybody").Emit("say", i, sent[i]))
					sent[i]++
				}
			}
		})
	}
	var moved sync.WaitGroup
	var recovered atomic.Int32
	for i, v := range all {
		moved.Go(func() {
			v.cut()
			if v.back(1 + i%2) {
				recovered.Add(1)
			}
		})
	}
	moved.Wait()
	close(stop)
	senders.Wait()
	p.flush()
	if n := int(recovered.Load()); n < clients {
		t.Errorf("of %d clients, %d are recovered", clients, n)
	}
	for i, v := range all {
		if p.servers[v.at].Socket(v.SID).Recovered() {
			ok(t, v.socket().Emit("end"))
			for !slices.Contains(v.heard, "end") {
				v.note(v.recv())
			}
			var next [servers]int
			for _, e := range v.heard[:len(v.heard)-1] {
				var from, n int
				if _, err := fmt.Sscanf(e, "say%d %d", &from, &n); err != nil {
					t.Fatal(err)
				}
				if n != next[from] {
					t.Fatalf("client %d heard event %d of server %d, not %d", i, n, from, next[from])
				}
				next[from]++
			}
			if next != sent {
				t.Fatalf("client %d heard %v events of %v", i, next, sent)
			}
		}
	}
}
