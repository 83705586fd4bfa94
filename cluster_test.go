package parley_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
)

// pool is some servers of a cluster in memory.
type pool struct {
	t       *testing.T
	net     *adapter.Memory
	servers []*parley.Server
	urls    []string
	buses   []*adapter.MemoryBus
}

// cluster starts n servers that know each other. setUp may be nil.
func cluster(t *testing.T, n int, setUp func(i int, o *parley.Options)) *pool {
	t.Helper()
	p := &pool{t: t, net: adapter.NewMemory()}
	p.net.Delay = 2 * time.Millisecond
	for i := range n {
		p.add(fmt.Sprint("node ", i), func(o *parley.Options) {
			if setUp != nil {
				setUp(i, o)
			}
		})
	}
	for _, s := range p.servers {
		eventually(t, "acquaintance", func() bool { return len(s.Nodes()) == n })
	}
	p.meet()
	p.flush()
	return p
}

// meet waits until the main namespace of each server hears what the others send to it. A server is known
// earlier than that.
func (p *pool) meet() {
	p.t.Helper()
	var mu sync.Mutex
	met := map[string]bool{}
	for to, s := range p.servers {
		r := s.OnServer("meet", func(q *parley.ServerPacket) error {
			var from int
			err := q.Decode(&from)
			mu.Lock()
			defer mu.Unlock()
			met[fmt.Sprint(from, " ", to)] = true
			return err
		})
		defer r.Remove()
	}
	eventually(p.t, "a namespace that hears", func() bool {
		for from, s := range p.servers {
			ok(p.t, s.ServerEmit("meet", from))
		}
		mu.Lock()
		defer mu.Unlock()
		return len(met) == len(p.servers)*(len(p.servers)-1)
	})
}

func (p *pool) add(name string, setUp func(o *parley.Options)) {
	p.t.Helper()
	bus := p.net.Connect()
	log, _ := logBuffer()
	c, err := adapter.New(bus, &adapter.Options{Name: name, Logger: log})
	if err != nil {
		p.t.Fatal(err)
	}
	o := &parley.Options{Cluster: c}
	setUp(o)
	s, url := serve(p.t, o)
	p.servers, p.urls, p.buses = append(p.servers, s), append(p.urls, url), append(p.buses, bus)
}

// flush waits until all have received what the others have sent.
func (p *pool) flush() {
	p.t.Helper()
	for _, s := range p.servers {
		ctx, cancel := context.WithTimeout(p.t.Context(), patience)
		if _, err := s.Count(ctx); err != nil { // the answers come after everything else
			p.t.Fatal(err)
		}
		cancel()
	}
}

// clients returns one client of each server, and their sockets' ids.
func (p *pool) clients() (all []*client, ids []string) {
	p.t.Helper()
	for _, url := range p.urls {
		c, id := join(p.t, url, "")
		all, ids = append(all, c), append(ids, id)
	}
	return all, ids
}

func (p *pool) socket(i int, id string) *parley.Socket {
	p.t.Helper()
	var s *parley.Socket
	eventually(p.t, "socket", func() bool { s = p.servers[i].Socket(id); return s != nil })
	return s
}

func (p *pool) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.t.Cleanup(cancel)
	return ctx
}

func ok(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestClusterBroadcast(t *testing.T) {
	p := cluster(t, 3, nil)
	c, ids := p.clients()
	a := p.servers[0]
	for i, id := range ids {
		ok(t, p.socket(i, id).Join("everybody", fmt.Sprint("room ", i)))
	}
	ok(t,
		a.Emit("all", 1),
		a.To("everybody").Emit("everybody", parley.Binary{1, 2}),
		a.To("room 1").Emit("one"),
		a.To("room 0", "room 2").Emit("two"),
		a.To("everybody").Except("room 1").Emit("except"),
		a.To(ids[2]).Emit("id"),
		a.To().Emit("nobody"),
		a.Local().Emit("local"),
		p.socket(0, ids[0]).To("everybody").Emit("others"),
		p.socket(0, ids[0]).Emit("self"),
		a.To("everybody").Compress(false).Emit("plain", "x"),
		a.Emit("end"),
	)
	for i, want := range [][]string{
		{`42["all",1]`, `451-["everybody",{"_placeholder":true,"num":0}]`, "", `42["two"]`, `42["except"]`, `42["local"]`, `42["self"]`, `42["plain","x"]`, `42["end"]`},
		{`42["all",1]`, `451-["everybody",{"_placeholder":true,"num":0}]`, "", `42["one"]`, `42["others"]`, `42["plain","x"]`, `42["end"]`},
		{`42["all",1]`, `451-["everybody",{"_placeholder":true,"num":0}]`, "", `42["two"]`, `42["except"]`, `42["id"]`, `42["others"]`, `42["plain","x"]`, `42["end"]`},
	} {
		for _, w := range want {
			if w != "" {
				c[i].expect(w)
			} else if b := c[i].recvBinary(); string(b) != "\x01\x02" {
				t.Errorf("client %d received %x", i, b)
			}
		}
	}
}

// Whoever looks at what is sent sees what comes from other servers.
func TestClusterOutgoing(t *testing.T) {
	p := cluster(t, 2, nil)
	c, _ := p.clients()
	seen := make(chan string, 10)
	p.servers[1].OnAnyOutgoing(func(event string, args []json.RawMessage) { seen <- fmt.Sprintf("%s %s", event, args) })
	ok(t, p.servers[0].Emit("news", "x", 2))
	c[1].expect(`42["news","x",2]`)
	if got := await(t, "event", seen); got != `news ["x" 2]` {
		t.Errorf("seen %q", got)
	}
}

// A socket that has joined receives what others send from then on, also if it joined in middleware.
func TestClusterJoin(t *testing.T) {
	p := cluster(t, 2, func(_ int, o *parley.Options) {})
	var early atomic.Int32 // a new room each time, or the server would listen to it already
	p.servers[1].Use(func(_ context.Context, s *parley.Socket) error { return s.Join(fmt.Sprint("early ", early.Load())) })
	p.servers[1].On("join", func(q *parley.Packet) error {
		var room string
		return errors.Join(q.Decode(&room), q.Socket().Join(room), q.Ack())
	})
	for i := range 20 {
		p.net.Delay = time.Duration(i) * time.Millisecond
		early.Store(int32(i))
		c, _ := join(t, p.urls[1], "")
		ok(t, p.servers[0].To(fmt.Sprint("early ", i)).Emit("early", i))
		c.expect(fmt.Sprintf(`42["early",%d]`, i))
		c.send(fmt.Sprintf(`420["join","room %d"]`, i))
		c.expect("430[]")
		ok(t, p.servers[0].To(fmt.Sprint("room ", i)).Emit("late"))
		c.expect(`42["late"]`)
		c.send("41")
		eventually(t, "end", func() bool { return p.servers[1].Stats().Sockets == 0 })
	}
}

func TestClusterChange(t *testing.T) {
	p := cluster(t, 3, func(_ int, o *parley.Options) { o.MaxRooms = 3 })
	c, ids := p.clients()
	a := p.servers[0]
	ok(t, a.SocketsJoin(p.ctx(), "new", "other"), a.To("new").Emit("hello"))
	for i := range c {
		c[i].expect(`42["hello"]`)
	}
	ok(t, a.To(ids[1]).SocketsLeave(p.ctx(), "new"), a.To("new").Emit("again"), a.Emit("end"))
	c[0].expect(`42["again"]`, `42["end"]`)
	c[1].expect(`42["end"]`)
	c[2].expect(`42["again"]`, `42["end"]`)

	err := a.Except(ids[0]).Timeout(patience).SocketsJoin(p.ctx(), "too", "many")
	if !errors.Is(err, parley.ErrTooManyRooms) {
		t.Errorf("too many rooms elsewhere: %v", err)
	}
	ok(t, a.To(ids[2]).Timeout(patience).SocketsLeave(p.ctx(), "new", "other", "too"))
	if rooms := p.socket(2, ids[2]).Rooms(); !slices.Equal(rooms, []string{ids[2]}) {
		t.Errorf("when the leave is confirmed, the socket is in %q", rooms)
	}
	ok(t, a.To(ids[1]).DisconnectSockets(p.ctx(), false), a.To(ids[2]).DisconnectSockets(p.ctx(), true))
	c[1].expect("41")
	c[2].expectClosed()
}

func TestClusterAck(t *testing.T) {
	p := cluster(t, 3, nil)
	a := p.servers[0]
	if replies, err := a.Timeout(patience).EmitWithAck(t.Context(), "anybody"); err != nil || len(replies) > 0 {
		t.Errorf("nobody there: %v, %v", replies, err)
	}
	c, ids := p.clients()
	type result struct {
		replies []parley.Reply
		err     error
	}
	ask := func(ctx context.Context, b *parley.Broadcast) chan result {
		done := make(chan result, 1)
		go func() {
			replies, err := b.EmitWithAck(ctx, "question", parley.Binary{5})
			done <- result{replies, err}
		}()
		return done
	}
	answer := func(i int, with string) {
		t.Helper()
		got := c[i].recv()
		id := regexp.MustCompile(`^451-(\d+)\["question",{"_placeholder":true,"num":0}\]$`).FindStringSubmatch(got)
		if b := c[i].recvBinary(); id == nil || len(b) != 1 || b[0] != 5 {
			t.Fatalf("client %d was asked %q, %v", i, got, b)
		}
		if with != "" {
			c[i].send("43" + id[1] + with)
		}
	}
	texts := func(replies []parley.Reply) (all []string) {
		for _, r := range replies {
			var text string
			ok(t, r.Decode(&text))
			all = append(all, text)
		}
		slices.Sort(all)
		return all
	}
	asked := ask(p.ctx(), a.All())
	for i := range c {
		answer(i, fmt.Sprintf(`["from %d"]`, i))
	}
	if r := await(t, "answers", asked); r.err != nil || !slices.Equal(texts(r.replies), []string{"from 0", "from 1", "from 2"}) {
		t.Errorf("all answer: %q, %v", texts(r.replies), r.err)
	}

	asked = ask(p.ctx(), a.To(ids[2]))
	answer(2, `["from 2"]`)
	if r := await(t, "answers", asked); r.err != nil || !slices.Equal(texts(r.replies), []string{"from 2"}) {
		t.Errorf("one elsewhere: %q, %v", texts(r.replies), r.err)
	}

	// One has gone, and one says nothing until the caller gives up.
	ctx, cancel := context.WithCancel(t.Context())
	deadline, cancelDeadline := context.WithTimeout(ctx, patience)
	defer cancelDeadline()
	asked = ask(deadline, a.All())
	answer(0, `["from 0"]`)
	answer(1, "")
	answer(2, "")
	c[2].cut()
	eventually(t, "end", func() bool { return p.servers[2].Stats().Sockets == 0 })
	p.flush()
	cancel()
	r := await(t, "answers", asked)
	var partial *parley.PartialError
	if !errors.As(r.err, &partial) || !slices.Equal(partial.Missing, []string{"node 1"}) || !errors.Is(r.err, context.Canceled) {
		t.Errorf("one is silent: %v", r.err)
	}
	if !slices.Equal(texts(r.replies), []string{"from 0"}) {
		t.Errorf("the others: %q", texts(r.replies))
	}
}

func TestClusterFetch(t *testing.T) {
	expires := time.Now().Add(time.Hour).Round(time.Second)
	p := cluster(t, 2, func(_ int, o *parley.Options) {
		o.Authorize = auth.AuthorizerFunc(func(_ context.Context, r *auth.Request) (*auth.Identity, error) {
			return &auth.Identity{Subject: "ann", Role: auth.User, Expires: expires}, nil
		})
	})
	_, ids := p.clients()
	p.socket(1, ids[1]).SetData(map[string]int{"n": 7})
	ok(t, p.socket(1, ids[1]).Join("room"), p.socket(0, ids[0]).Join("room"))

	all, err := p.servers[0].FetchSockets(p.ctx())
	if err != nil || len(all) != 2 || all[0].ID != ids[0] || all[1].ID != ids[1] {
		t.Fatalf("found %v, %v", all, err)
	}
	here, there := all[0], all[1]
	if here.Node != "" || there.Node != "node 1" {
		t.Errorf("they are on %q and %q", here.Node, there.Node)
	}
	if data, _ := there.Data.(json.RawMessage); string(data) != `{"n":7}` {
		t.Errorf("its data is %v", there.Data)
	}
	if slices.Sort(there.Rooms); !slices.Contains(there.Rooms, "room") || len(there.Rooms) != 2 {
		t.Errorf("it is in %q", there.Rooms)
	}
	if who := there.Identity; who == nil || who.Subject != "ann" || !who.Expires.Equal(expires) {
		t.Errorf("it is %+v", who)
	}
	h, own := there.Handshake, p.socket(1, ids[1]).Handshake()
	if h.URL != own.URL || h.Headers.Get("Host") != own.Headers.Get("Host") || h.Query.Get("EIO") != "4" || h.Address != "127.0.0.1" ||
		h.Time.UnixMilli() != own.Time.UnixMilli() || h.Secure || h.CrossOrigin || h.Headers.Get("User-Agent") != own.Headers.Get("User-Agent") {
		t.Errorf("its handshake is %+v, not %+v", h, own)
	}
	if got, err := p.servers[0].To("room").SocketIDs(p.ctx()); err != nil || !slices.Equal(got, ids) {
		t.Errorf("ids: %q, %v", got, err)
	}
	if n, err := p.servers[0].To("room").Except(ids[0]).Count(p.ctx()); err != nil || n != 1 {
		t.Errorf("counted %d, %v", n, err)
	}
	if n, err := p.servers[0].Local().Count(p.ctx()); err != nil || n != 1 {
		t.Errorf("counted %d here, %v", n, err)
	}
	if rooms, err := p.servers[0].Rooms(p.ctx()); err != nil || !maps.Equal(rooms, map[string]int{"room": 2}) {
		t.Errorf("rooms: %v, %v", rooms, err)
	}
}

func TestClusterServerEvents(t *testing.T) {
	p := cluster(t, 3, nil)
	heard := make(chan string, 10)
	for i, s := range p.servers {
		s.OnServer("hello", func(q *parley.ServerPacket) error {
			var text string
			err := q.Decode(&text)
			heard <- fmt.Sprint(i, " ", text, " ", q.WantsAck())
			return err
		})
	}
	ok(t, p.servers[0].ServerEmit("hello", "you"))
	got := []string{await(t, "event", heard), await(t, "event", heard)}
	if slices.Sort(got); !slices.Equal(got, []string{"1 you false", "2 you false"}) {
		t.Errorf("heard %q", got)
	}
	if _, err := p.servers[0].ServerEmitWithAck(t.Context(), "hello"); err == nil {
		t.Error("a call without a deadline was accepted")
	}
	for _, name := range []string{"connect", "connection", "new_namespace"} {
		if p.servers[0].ServerEmit(name) == nil {
			t.Errorf("the event %s was sent to servers", name)
		}
	}
	answers := func(event string, args ...any) []string {
		t.Helper()
		replies, err := p.servers[0].ServerEmitWithAck(p.ctx(), event, args...)
		if err != nil {
			t.Error(err)
		}
		var all []string
		for _, r := range replies {
			var n int
			var refused *parley.Error
			if err := r.Decode(&n); errors.As(err, &refused) {
				all = append(all, refused.Code)
			} else {
				ok(t, err)
				all = append(all, fmt.Sprint(n))
			}
		}
		slices.Sort(all)
		return all
	}
	if got := answers("unknown"); len(got) > 0 {
		t.Errorf("nobody knows it, but the answers are %q", got)
	}
	p.servers[1].OnServer("sum", func(q *parley.ServerPacket) error {
		var a, b int
		return errors.Join(q.Decode(&a, &b), q.Ack(a+b))
	})
	refusing := p.servers[2].OnServer("sum", func(q *parley.ServerPacket) error {
		return &parley.Error{Code: "tired", Message: "not now"}
	})
	if got := answers("sum", 1, 2); !slices.Equal(got, []string{"3", "tired"}) {
		t.Errorf("the answers are %q", got)
	}
	refusing.Remove()
	if got := answers("sum", 1, 2); !slices.Equal(got, []string{"3"}) {
		t.Errorf("without the handler, the answers are %q", got)
	}
}

// A namespace's events stay in it, also in namespaces that clients create.
func TestClusterNamespaces(t *testing.T) {
	p := cluster(t, 2, nil)
	for _, s := range p.servers {
		s.OfPattern(regexp.MustCompile(`^/dynamic-\d+$`))
	}
	a, _ := join(t, p.urls[0], "/dynamic-1")
	b, _ := join(t, p.urls[1], "/dynamic-1")
	other, _ := join(t, p.urls[1], "/dynamic-2")
	p.flush()
	ok(t, p.servers[0].Of("/dynamic-1").Emit("one"), p.servers[0].Of("/dynamic-2").Emit("two"))
	a.expect(`42/dynamic-1,["one"]`)
	b.expect(`42/dynamic-1,["one"]`)
	other.expect(`42/dynamic-2,["two"]`)
}

// The servers of a cluster may differ in their parsers.
func TestClusterParsers(t *testing.T) {
	p := cluster(t, 2, func(i int, o *parley.Options) {
		if i == 1 {
			o.Parser = parley.ParserMsgpack
		}
	})
	c, _ := join(t, p.urls[0], "")
	p.flush()
	ok(t, p.servers[1].Emit("text", "x"), p.servers[1].Emit("binary", parley.Binary{1}))
	c.expect(`42["text","x"]`, `451-["binary",{"_placeholder":true,"num":0}]`)
}

func TestClusterRecovery(t *testing.T) {
	p := cluster(t, 2, func(_ int, o *parley.Options) { o.Recovery = &parley.Recovery{} })
	c := dial(t, p.urls[1])
	pid := c.connect("", "").PID
	gone := make(chan struct{}, 10)
	p.servers[1].OnDisconnect(func(*parley.Socket, parley.Reason) { gone <- struct{}{} })
	p.flush()
	ok(t, p.servers[0].Emit("first"))
	first := offset(t, c.recv())
	ok(t, p.servers[0].Volatile().Emit("volatile", "text"))
	if v := offset(t, c.recv()); v != first || v == "" {
		t.Errorf("a volatile event ends with %q, after %q", v, first)
	}
	ok(t, p.servers[0].Volatile().Emit("volatile", 1))
	c.expect(`42["volatile",1]`)
	c.cut()
	await(t, "end", gone)
	ok(t, p.servers[0].Emit("missed", 1), p.servers[1].Emit("missed", 2))
	p.flush()
	c = dial(t, p.urls[1])
	missed, answer := missedUntilConnect(t, c, back(pid, first))
	if len(missed) != 2 || answer.PID != pid {
		t.Fatalf("it missed %q, and is %+v", missed, answer)
	}
	last := offset(t, missed[1])

	// Whoever is away while the server misses something does not come back as if nothing had happened.
	c.cut()
	await(t, "end", gone)
	p.buses[1].Cut(true)
	_ = p.servers[0].Emit("lost")
	p.buses[1].Cut(false)
	eventually(t, "reunion", func() bool { return len(p.servers[1].Nodes()) == 2 })
	p.flush()
	if _, answer := missedUntilConnect(t, dial(t, p.urls[1]), back(pid, last)); answer.PID == pid {
		t.Error("a client came back, although it missed an event")
	}
}

// The same holds for a client whose connection is lost, although the server has not noticed that.
func TestClusterRecoveryUnnoticed(t *testing.T) {
	p := cluster(t, 2, func(_ int, o *parley.Options) { o.Recovery = &parley.Recovery{} })
	for _, missed := range []bool{false, true} {
		c := dial(t, p.urls[1])
		pid := c.connect("", "").PID
		ok(t, p.servers[1].Emit("first"), p.servers[1].Emit("second"))
		first, second := offset(t, c.recv()), offset(t, c.recv())
		p.buses[1].Cut(true)
		p.buses[1].Cut(false)
		eventually(t, "reunion", func() bool { return len(p.servers[1].Nodes()) == 2 })
		p.flush()
		last := second // it was there until after the gap
		if missed {
			last = first
		}
		_, answer := missedUntilConnect(t, dial(t, p.urls[1]), back(pid, last))
		if came := answer.PID == pid; came == missed {
			t.Errorf("it has missed what came before the gap: %v, and came back: %v", missed, came)
		}
	}
}

// A server no longer listens to rooms that have no members.
func TestClusterForgetsRooms(t *testing.T) {
	net := adapter.NewMemory()
	bus := net.Connect()
	log, _ := logBuffer()
	c, err := adapter.New(bus, &adapter.Options{Logger: log, Beat: 20 * time.Millisecond, Linger: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	srv, url := serve(t, &parley.Options{Cluster: c})
	before := bus.Topics()
	a, id := join(t, url, "")
	var s *parley.Socket
	eventually(t, "socket", func() bool { s = srv.Socket(id); return s != nil })
	for _, end := range []func(){func() { s.Leave("one", "two") }, a.cut} {
		ok(t, s.Join("one", "two"))
		if n := bus.Topics(); n != before+2 {
			t.Errorf("it listens to %d topics for two rooms", n-before)
		}
		end()
		eventually(t, "end of listening", func() bool { return bus.Topics() == before })
	}
}

func TestClusterOutage(t *testing.T) {
	p := cluster(t, 2, nil)
	c, _ := p.clients()
	p.buses[0].Cut(true)
	if err := p.servers[0].Emit("here"); !errors.Is(err, parley.ErrCluster) || !errors.Is(err, adapter.ErrFull) {
		t.Errorf("the error is %v", err)
	}
	c[0].expect(`42["here"]`)
	s := p.servers[0]
	s.On("join", func(q *parley.Packet) error { return errors.Join(q.Socket().Join("room"), q.Ack()) })
	c[0].send(`420["join"]`)
	c[0].expect("430[]")
	p.buses[0].Cut(false)
	eventually(t, "reunion", func() bool { return len(p.servers[1].Nodes()) == 2 })
	eventually(t, "what other servers send to the room", func() bool {
		ok(t, p.servers[1].To("room").Emit("again"))
		p.flush()
		ok(t, s.Emit("end"))
		again := false
		for {
			switch c[0].recv() {
			case `42["again"]`:
				again = true
			case `42["end"]`:
				return again
			}
		}
	})
}

// The ids of sockets and sessions end with the tag of their server.
func TestClusterIDs(t *testing.T) {
	p := cluster(t, 1, func(_ int, o *parley.Options) { o.AllowEIO3 = true })
	c := dial(t, p.urls[0])
	id := c.connect("", "").SID
	tag := p.servers[0].Nodes()[0].Tag
	if adapter.TagIn(id) != tag || adapter.TagIn(c.open.SID) != tag {
		t.Errorf("the ids are %q and %q, the tag is %q", id, c.open.SID, tag)
	}
	old := dialEIO(t, p.urls[0], "3")
	old.expect("40")
	old.send("40/chat")
	if s := p.servers[0].Socket(old.open.SID); s == nil || adapter.TagIn(s.ID()) != tag || adapter.TagIn("/chat#"+s.ID()) != tag {
		t.Errorf("the id of an old client's socket has no tag: %q", old.open.SID)
	}
}

// A server that shuts down says so.
func TestClusterShutdown(t *testing.T) {
	p := cluster(t, 2, nil)
	ok(t, p.servers[1].Shutdown(p.ctx()))
	eventually(t, "goodbye", func() bool { return len(p.servers[0].Nodes()) == 1 })
	if n, err := p.servers[0].Count(p.ctx()); n != 0 || err != nil {
		t.Errorf("counted %d, %v", n, err)
	}
	if err := p.servers[1].ServerEmit("late"); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("after Shutdown: %v", err)
	}
	var lone *parley.Server
	lone, _ = serve(t, nil)
	if lone.Nodes() != nil || lone.ServerEmit("x") != nil {
		t.Error("a server without a cluster has other servers")
	}
}
