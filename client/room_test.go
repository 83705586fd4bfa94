package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/app"
)

// serveRooms starts the server of conversations.
func serveRooms(t *testing.T) *host {
	t.Helper()
	c := app.Defaults()
	c.Data, c.EventsPerSecond, c.BytesPerSecond = "memory", 0, 0
	s, err := app.Open(c, slog.New(slog.DiscardHandler))
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	h := &host{url: "http://" + l.Addr().String(), conns: map[net.Conn]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, &app.Ports{Main: tapped{l, h}}) }()
	t.Cleanup(func() {
		h.cut(true)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return h
}

// reader collects what a room delivers, and checks that it is in order, without a gap and nothing twice.
func reader(t *testing.T, r *client.Room, n int) (texts []string) {
	t.Helper()
	last := int64(0)
	for e, err := range r.Events(t.Context()) {
		must(t, err)
		if e.Reset && last > 0 {
			t.Fatalf("reset after %d", last)
		}
		if e.ID == "" {
			continue
		}
		if e.Seq != last+1 || e.Changed {
			t.Fatalf("%d follows %d, changed: %v", e.Seq, last, e.Changed)
		}
		last = e.Seq
		if texts = append(texts, string(e.Message.Message)); len(texts) == n {
			break
		}
	}
	return texts
}

// However often the connections are lost, a room gets each message once, in order, and what is sent is
// stored once.
func TestRoom(t *testing.T) {
	for kind, o := range map[string]client.Options{"websocket": kinds["websocket"], "sse": kinds["sse"], "polling": kinds["polling"], "upgrade": kinds["upgrade"]} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := serveRooms(t)
			const n, cuts = 200, 10
			writer, err := connect(t, h.url, soon(o)).Room(t.Context(), "r", &client.RoomOptions{UserID: "ann"})
			must(t, err)
			defer writer.Close()
			r, err := connect(t, h.url, soon(o)).Room(t.Context(), "r", &client.RoomOptions{UserID: "bob", Limit: 7})
			must(t, err)
			defer r.Close()
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for i := range n {
					if i%(n/cuts) == n/cuts/2 {
						go func() {
							time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
							h.cut(false)
						}()
					}
					m, err := writer.Send(t.Context(), map[string]int{"n": i})
					if err != nil || m.Seq != int64(i+1) {
						t.Errorf("message %d has the number %d: %v", i, m.Seq, err)
						return
					}
				}
			}()
			for i, text := range reader(t, r, n) {
				if text != fmt.Sprintf(`{"n":%d}`, i) {
					t.Errorf("message %d is %s", i, text)
				}
			}
			<-sent
		})
	}
}

// A room goes on from a position, with edits, and says when it cannot.
func TestRoomPosition(t *testing.T) {
	h := serveRooms(t)
	c := connect(t, h.url, nil)
	r, err := c.Room(t.Context(), "r", &client.RoomOptions{UserID: "ann"})
	must(t, err)
	var e client.RoomEvent
	if e, err = r.Next(t.Context()); err != nil || !e.Reset || e.ID != "" || e.Epoch == "" {
		t.Errorf("an empty room: %+v, %v", e, err)
	}
	for i := range 3 {
		_, err := r.Send(t.Context(), i)
		must(t, err)
		e, err = r.Next(t.Context())
		must(t, err)
	}
	r.Close()
	if _, err := r.Next(t.Context()); err != client.ErrClosed {
		t.Errorf("after Close: %v", err)
	}
	again, err := connect(t, h.url, nil).Room(t.Context(), "r", &client.RoomOptions{UserID: "bob", Epoch: e.Epoch, After: 1})
	must(t, err)
	for want := int64(2); want <= 3; want++ {
		if e, err := again.Next(t.Context()); err != nil || e.Seq != want || e.Reset || e.After != want {
			t.Errorf("%+v, %v; want %d", e, err, want)
		}
	}
	page, err := again.Before(t.Context(), 3)
	if err != nil || len(page.Messages) != 2 {
		t.Errorf("the page before 3: %+v, %v", page, err)
	}
	other, err := connect(t, h.url, nil).Room(t.Context(), "r", &client.RoomOptions{UserID: "cat", Epoch: "another", After: 2})
	must(t, err)
	if e, err := other.Next(t.Context()); err != nil || !e.Reset || e.Seq != 1 {
		t.Errorf("with the position of another numbering: %+v, %v", e, err)
	}
	var refused *event.Error
	if _, err := c.Room(t.Context(), "~notes/r", nil); !errors.As(err, &refused) {
		t.Errorf("a room that is not one: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := again.Next(ctx); err != context.Canceled {
		t.Errorf("ctx has ended: %v", err)
	}
}

// A room may be joined before the client is connected. When the client does not try to connect any more, Next
// says why, and goes on after Connect.
func TestRoomWithoutConnection(t *testing.T) {
	h := serveRooms(t)
	h.cut(true)
	c, err := client.New(h.url, soon(client.Options{}))
	must(t, err)
	defer c.Close()
	if err := c.Connect(t.Context()); err == nil {
		t.Fatal("connected")
	}
	go func() {
		for c.State().Attempts < 3 {
			time.Sleep(time.Millisecond)
		}
		h.cut(false)
	}()
	r, err := c.Room(t.Context(), "r", &client.RoomOptions{UserID: "ann"})
	must(t, err)
	defer r.Close()
	if e, err := r.Next(t.Context()); err != nil || !e.Reset {
		t.Errorf("an empty room: %+v, %v", e, err)
	}
	c.Close()
	if _, err := r.Next(t.Context()); err != client.ErrClosed {
		t.Errorf("the client is closed: %v", err)
	}
	if _, err := c.Room(t.Context(), "s", nil); err != client.ErrClosed {
		t.Errorf("another room of a closed client: %v", err)
	}
	must(t, c.Connect(t.Context()))
	_, err = r.Send(t.Context(), "back")
	must(t, err)
	if e, err := r.Next(t.Context()); err != nil || e.Seq != 1 {
		t.Errorf("connected again: %+v, %v", e, err)
	}
}

// A server that wants to be asked later is asked later: when a room is joined again, and when its pages are
// read.
func TestRoomAsksLater(t *testing.T) {
	h := serve(t, nil)
	var joins, reads atomic.Int64
	later := &event.Error{Code: string(conversation.RateLimited), Message: "later"}
	page := func(seq int64, more bool) conversation.Page {
		p := conversation.Page{Epoch: "e", LastSeq: 3, HasMore: more}
		p.Messages = append(p.Messages, conversation.Message{ID: fmt.Sprint(seq), Seq: seq, Message: []byte("1")})
		return p
	}
	parley.Handle(h, conversation.JoinRoom, func(context.Context, *parley.Socket, conversation.JoinRequest) (conversation.Joined, error) {
		switch joins.Add(1) {
		case 1:
			p := page(1, false)
			p.LastSeq = 1
			return conversation.Joined{Page: p, Reset: true}, nil
		case 2:
			return conversation.Joined{}, later
		}
		return conversation.Joined{Page: page(2, true)}, nil
	})
	parley.Handle(h, conversation.History, func(context.Context, *parley.Socket, conversation.HistoryRequest) (conversation.Page, error) {
		if reads.Add(1) == 1 {
			return conversation.Page{}, later
		}
		return page(3, false), nil
	})
	r, err := connect(t, h.url, soon(client.Options{})).Room(t.Context(), "r", nil)
	must(t, err)
	defer r.Close()
	for seq := int64(1); seq <= 3; seq++ {
		if e, err := r.Next(t.Context()); err != nil || e.Seq != seq {
			t.Fatalf("%+v, %v; want %d", e, err, seq)
		}
		if seq == 1 {
			h.cut(false)
		}
	}
	if joins.Load() != 3 || reads.Load() != 2 {
		t.Errorf("%d joins, %d reads", joins.Load(), reads.Load())
	}
}

// A room whose consumer is slow keeps what comes meanwhile in order.
func TestRoomOfASlowConsumer(t *testing.T) {
	h := serveRooms(t)
	writer, err := connect(t, h.url, nil).Room(t.Context(), "r", &client.RoomOptions{UserID: "ann"})
	must(t, err)
	defer writer.Close()
	c := connect(t, h.url, nil)
	r, err := c.Room(t.Context(), "r", &client.RoomOptions{UserID: "bob"})
	must(t, err)
	defer r.Close()
	var heard atomic.Int64
	client.On(c, conversation.NewMessage, func(_ context.Context, m conversation.Message) error { // after the room has
		heard.Store(m.Seq)
		return nil
	})
	const full = 500 // what the room keeps for its consumer
	sent := int64(0)
	send := func(n int) {
		for range n {
			_, err := writer.Send(t.Context(), sent)
			must(t, err)
			sent++
		}
		for heard.Load() < sent {
			time.Sleep(time.Millisecond)
		}
	}
	next := int64(0)
	take := func(n int64) {
		for range n {
			e, err := r.Next(t.Context())
			must(t, err)
			if next++; e.Seq != next {
				t.Fatalf("%d follows %d", e.Seq, next-1)
			}
		}
	}
	if e, err := r.Next(t.Context()); err != nil || !e.Reset || e.ID != "" {
		t.Fatalf("at first: %+v, %v", e, err)
	}
	send(full + 20) // more than there is room for
	take(10)
	send(10) // now there is room, but not for these
	take(sent - next)
	send(2*full + 100) // too many to wait
	take(sent - next)
}

// A room reads on, however much it has missed.
func TestRoomThatHasMissedMuch(t *testing.T) {
	h := serveRooms(t)
	writer, err := connect(t, h.url, nil).Room(t.Context(), "r", &client.RoomOptions{UserID: "ann"})
	must(t, err)
	defer writer.Close()
	first, err := writer.Next(t.Context())
	must(t, err)
	const n = 1200 // more than the server gives at once
	for i := range n {
		_, err := writer.Send(t.Context(), i)
		must(t, err)
	}
	r, err := connect(t, h.url, nil).Room(t.Context(), "r", &client.RoomOptions{UserID: "bob", Epoch: first.Epoch, After: 1})
	must(t, err)
	defer r.Close()
	for want := int64(2); want <= n; want++ {
		if e, err := r.Next(t.Context()); err != nil || e.Seq != want || e.Reset {
			t.Fatalf("%+v, %v; want %d", e, err, want)
		}
	}
}

// What a room has missed is gone: it begins with what is left.
func TestRoomWhoseMessagesAreGone(t *testing.T) {
	h := serve(t, nil)
	parley.Handle(h, conversation.JoinRoom, func(_ context.Context, _ *parley.Socket, q conversation.JoinRequest) (conversation.Joined, error) {
		p := conversation.Page{Epoch: "e", LastSeq: 9}
		p.Messages = []conversation.Message{{ID: "9", Seq: 9, Message: []byte("1")}}
		return conversation.Joined{Page: p, Reset: q.After != nil}, nil
	})
	parley.Handle(h, conversation.History, func(context.Context, *parley.Socket, conversation.HistoryRequest) (conversation.Page, error) {
		return conversation.Page{}, &event.Error{Code: string(conversation.Gone), Message: "deleted"}
	})
	r, err := connect(t, h.url, nil).Room(t.Context(), "r", &client.RoomOptions{Epoch: "e", After: 3})
	must(t, err)
	defer r.Close()
	if e, err := r.Next(t.Context()); err != nil || e.Seq != 9 || !e.Reset {
		t.Errorf("%+v, %v", e, err)
	}
}
