package parley_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/parley-go/parley"
)

// crowd joins n clients and returns them and their sockets.
func crowd(t *testing.T, srv *parley.Server, url string, n int) ([]*client, []*parley.Socket) {
	clients, sockets := make([]*client, n), make([]*parley.Socket, n)
	for i := range n {
		var id string
		clients[i], id = join(t, url, "")
		if sockets[i] = srv.Socket(id); sockets[i] == nil {
			t.Fatal("connected, but not there")
		}
	}
	return clients, sockets
}

func TestBroadcastReachesWhom(t *testing.T) {
	srv, url := serve(t, nil)
	clients, s := crowd(t, srv, url, 4)
	for room, members := range map[string][]int{"a": {0, 1}, "b": {1, 2}, "c": {3}} {
		for _, i := range members {
			if err := s[i].Join(room); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name string
		to   parley.Emitter
		want []int
	}{
		{"everybody", srv, []int{0, 1, 2, 3}},
		{"all", srv.All(), []int{0, 1, 2, 3}},
		{"one room", srv.To("a"), []int{0, 1}},
		{"two rooms, each once", srv.To("a").To("b"), []int{0, 1, 2}},
		{"two rooms at once", srv.In("a", "b"), []int{0, 1, 2}},
		{"but for a room", srv.To("a").Except("b"), []int{0}},
		{"all but a room", srv.Except("b"), []int{0, 3}},
		{"a socket's own room", srv.To(s[2].ID()), []int{2}},
		{"own room and another", srv.To(s[2].ID(), "c"), []int{2, 3}},
		{"but for a socket", srv.All().Except(s[0].ID()), []int{1, 2, 3}},
		{"from a socket", s[0].To("a"), []int{1}},
		{"from a socket outside", s[3].To("a"), []int{0, 1}},
		{"from a socket to all others", s[0].Broadcast(), []int{1, 2, 3}},
		{"one socket", s[1], []int{1}},
		{"a room that does not exist", srv.To("nowhere"), nil},
		{"a socket's flags, itself", s[3].Volatile(), []int{3}},
		{"a socket's flags, uncompressed", s[3].Compress(false), []int{3}},
		{"a socket's flags, its rooms", s[0].Volatile().To("a"), []int{1}},
		{"a socket's flags, all others", s[0].Compress(true).Except("b"), []int{3}},
		{"from a socket to all others but a room", s[0].Except("c"), []int{1, 2}},
		{"from a socket, local", s[0].Local(), []int{1, 2, 3}},
		{"from the namespace, local", srv.Local(), []int{0, 1, 2, 3}},
		{"from the namespace, uncompressed", srv.Compress(false).To("c"), []int{3}},
		{"local", srv.To("a").Local(), []int{0, 1}},
		{"uncompressed", srv.To("a").Compress(false), []int{0, 1}},
	} {
		if err := tt.to.Emit("hit", tt.name); err != nil {
			t.Fatal(err)
		}
		// If this event arrives next, nothing came before it.
		if err := srv.Emit("next"); err != nil {
			t.Fatal(err)
		}
		for i, c := range clients {
			if slices.Contains(tt.want, i) {
				c.expect(fmt.Sprintf(`42["hit",%q]`, tt.name))
			}
			c.expect(`42["next"]`)
		}
	}
}

// A selection of no rooms is nobody, wherever the list comes from.
func TestNoRoomsAreNobody(t *testing.T) {
	srv, url := serve(t, nil)
	sockets := make(chan *parley.Socket, 1)
	srv.OnConnection(func(s *parley.Socket) { sockets <- s })
	c, _ := join(t, url, "")
	s := await(t, "socket", sockets)
	join(t, url, "")
	await(t, "socket", sockets)
	var none []string
	for name, b := range map[string]*parley.Broadcast{
		"To": srv.To(none...), "In": srv.In(), "All.To": srv.All().To(none...), "Except.To": srv.Except("x").To(),
		"To.Except": srv.To().Except("x"), "Volatile.To": srv.Volatile().To(), "of a socket": s.To(none...),
		"of a socket, volatile": s.Volatile().To(),
	} {
		if err := b.Emit("secret"); err != nil {
			t.Error(err)
		}
		b.DisconnectSockets(context.Background(), false)
		if found, _ := b.FetchSockets(t.Context()); len(found) != 0 {
			t.Errorf("%s: %d sockets", name, len(found))
		}
	}
	if found, _ := srv.Except().FetchSockets(t.Context()); len(found) != 2 {
		t.Errorf("Except of nobody: %d sockets, want both", len(found))
	}
	if err := srv.All().Emit("all"); err != nil {
		t.Fatal(err)
	}
	c.expect(`42["all"]`)
}

func TestJoinLeaveRooms(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxRooms: 2})
	var mu sync.Mutex
	var events []string
	srv.OnRoom(func(e parley.RoomEvent) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, string(e.Type)+" "+e.Room)
	})
	clients, s := crowd(t, srv, url, 2)
	if err := s[0].Join("a", "b"); err != nil {
		t.Fatal(err)
	}
	if err := s[0].Join("a"); err != nil {
		t.Errorf("joining again: %v", err)
	}
	if err := s[0].Join("c"); err != parley.ErrTooManyRooms {
		t.Errorf("third room: %v, want ErrTooManyRooms", err)
	}
	if err := s[1].Join("a"); err != nil {
		t.Fatal(err)
	}
	s[0].Leave("a", "never")
	if got := s[0].Rooms(); !slices.Equal(got, []string{s[0].ID(), "b"}) || !s[0].InRoom("b") || s[0].InRoom("a") {
		t.Errorf("rooms %q", got)
	}
	if n := srv.Stats().Rooms; n != 2 {
		t.Errorf("%d rooms, want 2", n)
	}

	// A socket may leave its own room. Its id then no longer reaches it.
	s[1].Leave(s[1].ID())
	if err := srv.To(s[1].ID()).Emit("unreachable"); err != nil {
		t.Fatal(err)
	}
	if err := s[1].Emit("direct"); err != nil {
		t.Fatal(err)
	}
	if err := s[1].Compress(false).Emit("direct"); err != nil {
		t.Fatal(err)
	}
	clients[1].expect(`42["direct"]`, `42["direct"]`)

	gone := make(chan struct{}, 16)
	srv.OnDisconnect(func(*parley.Socket, parley.Reason) { gone <- struct{}{} })
	for _, c := range clients {
		c.send("41")
		await(t, "disconnect", gone)
	}
	if err := s[0].Join("x"); err != parley.ErrDisconnected {
		t.Errorf("join after the end: %v, want ErrDisconnected", err)
	}
	if n := srv.Stats().Rooms; n != 0 {
		t.Errorf("%d rooms are left", n)
	}
	id0, id1 := s[0].ID(), s[1].ID()
	want := []string{
		"create-room " + id0, "join-room " + id0, "create-room " + id1, "join-room " + id1,
		"create-room a", "join-room a", "create-room b", "join-room b", "join-room a", "leave-room a",
		"leave-room " + id1, "delete-room " + id1,
		"leave-room b", "leave-room " + id0, "delete-room b", "delete-room " + id0, "leave-room a", "delete-room a",
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(events, want) {
		t.Errorf("events\n%q, want\n%q", events, want)
	}
}

func TestJoinWhileConnecting(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxRooms: 2})
	events := make(chan string, 16)
	srv.OnRoom(func(e parley.RoomEvent) {
		if len(e.Room) == 1 {
			events <- string(e.Type) + " " + e.Room
		}
	})
	srv.Use(func(_ context.Context, s *parley.Socket) error {
		if err := s.Join("a", "b", "a"); err != nil {
			return err
		}
		s.Leave("b")
		if err := s.Join("c"); err != nil {
			return err
		}
		if err := s.Join("d"); err != parley.ErrTooManyRooms {
			t.Errorf("third room: %v, want ErrTooManyRooms", err)
		}
		if !slices.Equal(s.Rooms(), []string{"a", "c"}) || !s.InRoom("c") || s.InRoom("b") {
			t.Errorf("rooms while connecting %q", s.Rooms())
		}
		if infos, _ := srv.To("a", "c").FetchSockets(t.Context()); len(infos) != 0 {
			t.Errorf("reached while connecting: %+v", infos)
		}
		if len(s.Handshake().Auth) > 0 {
			return &parley.ConnectError{Message: "no"}
		}
		return nil
	})
	refused := dial(t, url)
	refused.send("40{}")
	refused.expect(`44{"message":"no"}`)
	if n := srv.Stats().Rooms; n != 0 {
		t.Errorf("%d rooms of a socket that was refused", n)
	}
	c, id := join(t, url, "")
	if err := srv.To("a").Emit("hello"); err != nil {
		t.Fatal(err)
	}
	c.expect(`42["hello"]`)
	if got := srv.Socket(id).Rooms(); !slices.Equal(got, []string{id, "a", "c"}) {
		t.Errorf("rooms %q", got)
	}
	for _, want := range []string{"create-room a", "join-room a", "create-room c", "join-room c"} {
		if got := await(t, "room event", events); got != want {
			t.Errorf("room event %q, want %q", got, want)
		}
	}
}

func TestSocketsAtOnce(t *testing.T) {
	srv, url := serve(t, nil)
	clients, s := crowd(t, srv, url, 3)
	s[0].SetData("zero")
	if err := srv.To(s[0].ID(), s[1].ID()).SocketsJoin(t.Context(), "pair"); err != nil {
		t.Fatal(err)
	}
	infos, err := srv.In("pair").FetchSockets(t.Context())
	if err != nil || len(infos) != 2 {
		t.Fatalf("fetched %d, %v", len(infos), err)
	}
	for _, info := range infos {
		if info.ID == s[0].ID() && (info.Data != "zero" || !slices.Contains(info.Rooms, "pair") || info.Handshake.URL == "") {
			t.Errorf("info %+v", info)
		}
	}
	if err := srv.To(s[1].ID()).SocketsLeave(t.Context(), "pair"); err != nil {
		t.Error(err)
	}
	if s[1].InRoom("pair") || !s[0].InRoom("pair") {
		t.Error("SocketsLeave took the wrong one")
	}
	if err := srv.SocketsJoin(t.Context(), "all"); err != nil {
		t.Fatal(err)
	}
	srv.SocketsLeave(t.Context(), "pair")
	if infos, err := srv.FetchSockets(t.Context()); err != nil || len(infos) != 3 || len(infos[0].Rooms) != 2 {
		t.Errorf("fetched %+v, %v", infos, err)
	}
	if err := s[0].Join("pair"); err != nil {
		t.Fatal(err)
	}
	srv.In("pair").DisconnectSockets(context.Background(), true)
	clients[0].expect("41")
	clients[0].expectClosed()
	if err := srv.Emit("left"); err != nil {
		t.Fatal(err)
	}
	clients[1].expect(`42["left"]`)
	clients[2].expect(`42["left"]`)
	srv.DisconnectSockets(context.Background(), false)
	clients[1].expect("41")
	clients[2].expect("41")
}

func TestCountsIDsAndRooms(t *testing.T) {
	srv, url := serve(t, nil)
	_, s := crowd(t, srv, url, 4)
	for i, rooms := range [][]string{{"a", "b"}, {"a"}, {"b", s[3].ID()}, nil} {
		if err := s[i].Join(rooms...); err != nil {
			t.Fatal(err)
		}
	}
	for name, tt := range map[string]struct {
		of    *parley.Broadcast
		want  []int
		rooms map[string]int
	}{
		"all":        {srv.All(), []int{0, 1, 2, 3}, map[string]int{"a": 2, "b": 2, s[3].ID(): 2}},
		"local":      {srv.Local(), []int{0, 1, 2, 3}, map[string]int{"a": 2, "b": 2, s[3].ID(): 2}},
		"one room":   {srv.To("a"), []int{0, 1}, map[string]int{"a": 2, "b": 1}},
		"two rooms":  {srv.To("a", "b"), []int{0, 1, 2}, map[string]int{"a": 2, "b": 2, s[3].ID(): 1}},
		"own room":   {srv.To(s[3].ID()), []int{2, 3}, map[string]int{"b": 1, s[3].ID(): 2}},
		"own alone":  {srv.To(s[1].ID()), []int{1}, map[string]int{"a": 1}},
		"one socket": {s[0].Volatile(), []int{0}, map[string]int{"a": 1, "b": 1}},
		"others":     {s[0].Broadcast(), []int{1, 2, 3}, map[string]int{"a": 1, "b": 1, s[3].ID(): 2}},
		"except":     {srv.Except("a"), []int{2, 3}, map[string]int{"b": 1, s[3].ID(): 2}},
		"room less":  {srv.To("b").Except("a"), []int{2}, map[string]int{"b": 1, s[3].ID(): 1}},
		"nobody":     {srv.To(), nil, map[string]int{}},
		"no room":    {srv.To("c"), nil, map[string]int{}},
	} {
		want := []string{}
		for _, i := range tt.want {
			want = append(want, s[i].ID())
		}
		slices.Sort(want)
		ids, err := tt.of.SocketIDs(t.Context())
		slices.Sort(ids)
		if err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s: ids %q, %v, want %q", name, ids, err, want)
		}
		if n := howMany(t, tt.of); n != len(want) {
			t.Errorf("%s: %d sockets, want %d", name, n, len(want))
		}
		if rooms, err := tt.of.Rooms(t.Context()); err != nil || !maps.Equal(rooms, tt.rooms) {
			t.Errorf("%s: rooms %v, %v, want %v", name, rooms, err, tt.rooms)
		}
	}
}

func TestSocketsAtOnceWithoutTime(t *testing.T) {
	srv, url := serve(t, &parley.Options{MaxRooms: 1})
	clients, s := crowd(t, srv, url, 2)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, fetched := srv.FetchSockets(ctx)
	_, ids := srv.SocketIDs(ctx)
	_, counted := srv.Count(ctx)
	_, rooms := srv.Rooms(ctx)
	for name, err := range map[string]error{
		"FetchSockets": fetched, "SocketIDs": ids, "Count": counted, "Rooms": rooms,
		"SocketsJoin": srv.SocketsJoin(ctx, "a"), "SocketsLeave": srv.SocketsLeave(ctx, s[0].ID()), "DisconnectSockets": srv.DisconnectSockets(ctx, true),
	} {
		if err != context.Canceled {
			t.Errorf("%s: %v, want the context's error", name, err)
		}
	}
	if s[0].InRoom("a") || !s[0].InRoom(s[0].ID()) {
		t.Errorf("rooms %q have changed", s[0].Rooms())
	}
	if err := srv.Emit("still"); err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.expect(`42["still"]`)
	}
	if err := s[0].Join("full"); err != nil {
		t.Fatal(err)
	}
	if err := srv.SocketsJoin(t.Context(), "a"); !errors.Is(err, parley.ErrTooManyRooms) || !s[1].InRoom("a") {
		t.Errorf("one has too many rooms: %v; the other is in %q", err, s[1].Rooms())
	}
}

func TestEncodeOnceSendLater(t *testing.T) {
	srv, url := serve(t, nil)
	clients, s := crowd(t, srv, url, 2)
	e, err := srv.Encode("news", 1, parley.Binary("b"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s {
		if err := s[i].Send(e); err != nil {
			t.Fatal(err)
		}
		clients[i].expect(`451-["news",1,{"_placeholder":true,"num":0}]`)
		if b := clients[i].recvBinary(); string(b) != "b" {
			t.Errorf("attachment %q", b)
		}
	}
	if _, err := srv.Encode("disconnect"); err == nil {
		t.Error("a reserved name was encoded")
	}
}

// Sockets join and leave while others broadcast to them. Nobody receives an event for a room after
// leaving it, and in the end the index is empty.
func TestRoomsUnderConcurrency(t *testing.T) {
	srv, url := serve(t, nil)
	_, s := crowd(t, srv, url, 8)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range s {
		wg.Go(func() {
			for round := range 200 {
				room := fmt.Sprint("room", (i+round)%3)
				s[i].Join(room)
				srv.To(room).Except(s[i].ID()).Volatile().Emit("x", round)
				s[i].Rooms()
				s[i].Leave(room)
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			srv.In("room0", "room1").FetchSockets(ctx)
			srv.Stats()
		}
	})
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	srv.To("room0").DisconnectSockets(context.Background(), false)
	cancel()
	await(t, "end", done)
	if n := srv.Stats().Rooms; n != 0 {
		t.Errorf("%d rooms are left", n)
	}
}
