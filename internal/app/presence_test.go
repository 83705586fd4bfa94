package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app/apptest"
	"github.com/parley-go/parley/internal/ws"
)

const maxShown = 100

// In a large room, everyone still agrees on who is shown and knows the number of members.
func TestPresenceOfALargeRoom(t *testing.T) {
	const extra = 10
	i := start(t, testConfig())
	watcher := i.dial(t)
	joined := join(t, watcher, object{"roomId": "r", "userId": "watcher"})
	shown := map[string]bool{watcher.ID: true}
	if len(joined.Members) != 1 {
		t.Fatalf("members: %v", joined.Members)
	}
	var peers []*apptest.Peer
	for n := range maxShown - 1 + extra {
		p := i.dial(t)
		peers = append(peers, p)
		joined = join(t, p, object{"roomId": "r", "userId": fmt.Sprint("u", n)})
	}
	if joined.Count != maxShown+extra || len(joined.Members) != maxShown {
		t.Fatalf("%d members of %d", len(joined.Members), joined.Count)
	}
	// follow applies the watcher's events until the room has count members, and as many of them are
	// shown as possible.
	follow := func(count int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		for told := -1; told != count || len(shown) != min(count, maxShown); {
			packet, err := watcher.Take(ctx, func(p apptest.Packet) bool { return p.Event == "presence" })
			if err != nil {
				t.Fatalf("%d shown, told of %d: %v", len(shown), told, err)
			}
			var p presence
			if err := packet.Decode(&p); err != nil {
				t.Fatal(err)
			}
			switch told = p.Count; p.Type {
			case "join":
				shown[p.Member.ID] = true
			case "leave":
				if !shown[p.Member.ID] {
					t.Errorf("%s left, but was not shown", p.Member.ID)
				}
				delete(shown, p.Member.ID)
			}
			if len(shown) > maxShown {
				t.Fatalf("%d shown", len(shown))
			}
		}
	}
	follow(maxShown + extra)
	// When shown members leave, others take their places. Then the room becomes small again.
	for _, p := range peers[:3] {
		p.Close()
	}
	follow(maxShown + extra - 3)
	for _, p := range peers[3:50] {
		p.Close()
	}
	follow(maxShown + extra - 50)
	for _, p := range peers[50:] {
		if !shown[p.ID] {
			t.Errorf("%s is not shown", p.ID)
		}
	}
}

// n clients that arrive at the same time must not cause n² events.
func TestPresenceStormIsBounded(t *testing.T) {
	const clients = 3 * maxShown
	i := start(t, testConfig())
	watcher := i.dial(t)
	join(t, watcher, object{"roomId": "r", "userId": "watcher"})
	var peers []*apptest.Peer
	for range clients {
		peers = append(peers, i.dial(t))
	}
	begun := time.Now()
	for _, p := range peers {
		p.Send("joinRoom", object{"roomId": "r"})
	}
	for _, p := range peers {
		p.Expect("history", new(answer))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	events := 0
	for told := 0; told != clients+1; events++ {
		packet, err := watcher.Take(ctx, func(p apptest.Packet) bool { return p.Event == "presence" })
		if err != nil {
			t.Fatalf("told of %d: %v", told, err)
		}
		var p presence
		if err := packet.Decode(&p); err != nil {
			t.Fatal(err)
		}
		told = p.Count
	}
	if rounds := int(time.Since(begun) / time.Second); events > maxShown+2+rounds {
		t.Errorf("%d events of %d who joined", events, clients)
	}
}

// A client of Socket.IO 2 uses the secret of its connection as its socket's id. Nobody else may see
// it or a part of it.
func TestSecretsOfOldClientsAreNotShown(t *testing.T) {
	i := start(t, testConfig())
	watcher := i.dial(t)
	join(t, watcher, object{"roomId": "r", "userId": "watcher"})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	conn, _, err := ws.Dial(ctx, i.url+"/socket.io/?EIO=3&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	read := func() string {
		t.Helper()
		_, b, err := conn.ReadMessage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(read(), "0")), &open); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "40" {
		t.Fatalf("%q, want 40", got)
	}
	if err := conn.WriteMessage(ctx, ws.OpText, []byte(`420["joinRoom",{"roomId":"r"}]`)); err != nil {
		t.Fatal(err)
	}
	var told []answer
	got := read()
	for strings.HasPrefix(got, `42["presence"`) && !strings.Contains(got, open.SID[:8]) {
		got = read() // the watcher's own join, which it may receive before the others do
	}
	if strings.Contains(got, open.SID[:8]) || json.Unmarshal([]byte(strings.TrimPrefix(got, "430")), &told) != nil {
		t.Fatalf("%q in %s", open.SID, got)
	}
	packet, err := watcher.Take(ctx, func(p apptest.Packet) bool { return p.Event == "presence" })
	if err != nil {
		t.Fatal(err)
	}
	var shown presence
	if err := packet.Decode(&shown); err != nil {
		t.Fatal(err)
	}
	me := told[0].Member
	if shown.Member != me || len(me.ID) != 20 || me.UserID != "guest-"+me.ID[:8] || strings.Contains(string(packet.Args[0]), open.SID[:8]) {
		t.Errorf("%s is shown as %+v, and is %+v to itself", open.SID, shown.Member, me)
	}
}
