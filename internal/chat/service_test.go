package chat_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/build"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is a connection that records what it receives.
type peer struct {
	id      string
	hall    *hall
	address string
	enter   error

	mu      sync.Mutex
	said    []string
	behind  bool
	drained []func()
}

func (p *peer) ID() string      { return p.id }
func (p *peer) Address() string { return cmp.Or(p.address, "192.0.2.1") }

func (p *peer) Behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.behind
}

func (p *peer) WhenDrained(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained = append(p.drained, f)
}

// take makes the peer one that is not behind.
func (p *peer) take() {
	p.mu.Lock()
	drained := p.drained
	p.behind, p.drained = false, nil
	p.mu.Unlock()
	for _, f := range drained {
		f()
	}
}

func (p *peer) Lost()                 { p.hear("lost") }
func (p *peer) RemoteAddress() string { return p.Address() }

func (p *peer) Enter(room string) error {
	p.hall.mu.Lock()
	defer p.hall.mu.Unlock()
	if p.enter == nil && !slices.Contains(p.hall.members[room], p) {
		p.hall.members[room] = append(p.hall.members[room], p)
	}
	return p.enter
}

func (p *peer) Exit(room string) {
	p.hall.mu.Lock()
	defer p.hall.mu.Unlock()
	p.hall.members[room] = slices.DeleteFunc(p.hall.members[room], func(member *peer) bool { return member == p })
}

func (p *peer) Tell(event string, payload any) {
	switch v := payload.(type) {
	case conversation.PresenceNews:
		var id string
		if v.Member != nil {
			id = v.Member.ID
		}
		p.hear("%s of %s, now %d", v.Type, id, v.Count)
	case conversation.TypingNews:
		p.hear("typing %v of %s", v.Typing, v.UserID+v.OperatorID+v.Text)
	default:
		encoded, _ := json.Marshal(payload)
		p.hear("%s %s", event, encoded)
	}
}

func (p *peer) Deliver(m *history.Live) {
	p.hear("message %s by %s", m.Message.Message, m.Message.UserID)
}

func (p *peer) Announce(n *chat.Notice) {
	payload, err := json.Marshal(n.Payload)
	if err != nil {
		panic(err)
	}
	p.hear("%s %s", n.Event, payload)
}

func (p *peer) hear(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

// want compares what the peer has received since the previous call.
func (p *peer) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if fmt.Sprint(p.said) != fmt.Sprint(want) {
		t.Errorf("%s heard %q, want %q", p.id, p.said, want)
	}
	p.said = nil
}

// hall is an announcer.
type hall struct {
	mu      sync.Mutex
	members map[string][]*peer
}

func (h *hall) Announce(channel, event string, payload any, except chat.Peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range h.members[channel] {
		if chat.Peer(p) != except {
			p.Tell(event, payload)
		}
	}
}

const maxMessage = 100 << 10

// inService runs f in a synctest bubble, with a service over a store and a record of reported
// failures.
func inService(t *testing.T, store history.Store, f func(t *testing.T, s *chat.Service, h *hall, failed *[]string)) {
	t.Helper()
	inLimited(t, store, budget.Limits{}, f)
}

// inLimited is inService with budgets.
func inLimited(t *testing.T, store history.Store, limits budget.Limits, f func(t *testing.T, s *chat.Service, h *hall, failed *[]string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := history.NewLog(store, nil)
		defer log.Close()
		h := &hall{members: map[string][]*peer{}}
		var failed []string
		f(t, chat.New(store, log, chat.Options{
			PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, MaxMessage: maxMessage, Timeout: time.Second, Announcer: h, Budgets: limits,
			Failed: func(doing string, err error) { failed = append(failed, fmt.Sprint(doing, ": ", err)) },
		}), h, &failed)
	})
}

func wantCode(t *testing.T, err error, want chat.Code) {
	t.Helper()
	if e, ok := err.(*chat.Error); !ok || e.Code != want || e.Message == "" {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestService(t *testing.T) {
	inService(t, history.NewMemory(), func(t *testing.T, s *chat.Service, h *hall, failed *[]string) {
		ctx := context.Background()
		a, b := &peer{id: "aaaaaaaa", hall: h}, &peer{id: "bbbbbbbb", hall: h}
		ann, bob := s.Connect(a), s.Connect(b)
		defer bob.Close()
		var joined chat.Joined
		join := func(c *chat.Client, who chat.Principal, q chat.JoinRequest) {
			t.Helper()
			if err := c.Join(ctx, who, q, func(j chat.Joined) { joined = j }); err != nil {
				t.Fatal(err)
			}
		}
		send := func(c *chat.Client, message string) {
			t.Helper()
			sent := make(chan error, 1)
			q := chat.SendRequest{RoomID: "r", Message: json.RawMessage(message)}
			if err := c.Send(ctx, q, func(_ history.Message, err error) { sent <- err }); err != nil {
				t.Fatal(err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
		join(ann, chat.Principal{UserID: "ann"}, chat.JoinRequest{RoomID: "r"})
		join(bob, chat.Principal{}, chat.JoinRequest{RoomID: "r"})
		if joined.Member.UserID != "guest-bbbbbbbb" || joined.Count != 2 || len(joined.Members) != 2 {
			t.Errorf("joined: %+v", joined)
		}
		a.want(t, "join of bbbbbbbb, now 2")
		send(ann, "1")
		a.want(t, "message 1 by ann")
		b.want(t, "message 1 by ann")
		if err := bob.Typing("r", true, ""); err != nil {
			t.Error(err)
		}
		a.want(t, "typing true of guest-bbbbbbbb")
		b.want(t)
		if page, err := bob.History(ctx, chat.HistoryRequest{RoomID: "r"}); err != nil || len(page.Messages) != 1 || page.LastSeq != 1 {
			t.Errorf("history: %+v, %v", page, err)
		}
		if err := bob.Leave("r"); err != nil {
			t.Error(err)
		}
		a.want(t, "typing false of guest-bbbbbbbb", "leave of bbbbbbbb, now 1")
		send(ann, "2")
		b.want(t)
		wantCode(t, bob.Typing("r", true, ""), chat.NotJoined)
		after := int64(1)
		join(bob, chat.Principal{UserID: "bob"}, chat.JoinRequest{RoomID: "r", After: &after})
		if len(joined.Messages) != 1 || joined.Messages[0].Seq != 2 || joined.Reset {
			t.Errorf("came back to %+v", joined)
		}
		a.said = nil
		ann.Close()
		b.want(t, "leave of aaaaaaaa, now 1")
		if len(*failed) > 0 {
			t.Errorf("failed: %q", *failed)
		}
	})
}

// brokenReads fails to read what follows a position while it is broken.
type brokenReads struct {
	history.Store
	broken atomic.Bool
}

func (s *brokenReads) Changes(ctx context.Context, room string, since int64, limit history.Limit) (history.Slice, error) {
	if s.broken.Load() {
		return history.Slice{}, errors.New("disk on fire")
	}
	return s.Store.Changes(ctx, room, since, limit)
}

// A peer that is behind gets no live messages, and everything else. What it missed follows when it
// takes again, unless it has left the room. If it has joined again, the page has it.
func TestPeerThatIsBehind(t *testing.T) {
	store := &brokenReads{Store: history.NewMemory()}
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, failed *[]string) {
		p, other := &peer{id: "aaaaaaaa", hall: h}, &peer{id: "bbbbbbbb", hall: h}
		c, sender := s.Connect(p), s.Connect(other)
		defer c.Close()
		defer sender.Close()
		join := func(c *chat.Client, room string) (joined chat.Joined) {
			t.Helper()
			if err := c.Join(t.Context(), chat.Principal{UserID: "u"}, chat.JoinRequest{RoomID: room}, func(j chat.Joined) { joined = j }); err != nil {
				t.Fatal(err)
			}
			return joined
		}
		send := func(room string, messages ...string) {
			t.Helper()
			for _, message := range messages {
				q := chat.SendRequest{RoomID: room, Message: json.RawMessage(message)}
				if err := sender.Send(t.Context(), q, func(history.Message, error) {}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
		}
		fallBehind := func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.behind = true
		}
		for _, room := range []string{"r", "left", "again"} {
			join(c, room)
			join(sender, room)
		}
		p.want(t, "join of bbbbbbbb, now 2", "join of bbbbbbbb, now 2", "join of bbbbbbbb, now 2")
		fallBehind()
		send("r", "1", "2")
		send("left", "3")
		send("again", "4", "5")
		if err := sender.Typing("r", true, ""); err != nil {
			t.Fatal(err)
		}
		p.want(t, "typing true of u")
		if err := c.Leave("left"); err != nil {
			t.Fatal(err)
		}
		if joined := join(c, "again"); len(joined.Messages) != 2 || joined.LastSeq != 2 {
			t.Errorf("joined again: %+v", joined)
		}
		send("again", "6")
		p.want(t)
		p.take()
		synctest.Wait()
		slices.Sort(p.said) // the order of rooms does not matter
		p.want(t, "message 1 by u", "message 2 by u", "message 6 by u")
		send("r", "7")
		p.want(t, "message 7 by u")

		fallBehind()
		send("r", "8")
		store.broken.Store(true)
		p.take()
		time.Sleep(time.Minute)
		p.want(t, "lost")
		if len(*failed) != 1 {
			t.Errorf("failed: %q", *failed)
		}
	})
}

// slowStore answers reads only when their context has ended.
type slowStore struct{ history.Store }

func (slowStore) History(ctx context.Context, _ string, _ history.Page) (history.Slice, error) {
	<-ctx.Done()
	return history.Slice{}, ctx.Err()
}

// A client that gives up is not a failure of the store. A store that takes too long is.
func TestStoreThatTakesTooLong(t *testing.T) {
	inService(t, slowStore{history.NewMemory()}, func(t *testing.T, s *chat.Service, h *hall, failed *[]string) {
		p := &peer{id: "aaaaaaaa", hall: h}
		c := s.Connect(p)
		defer c.Close()
		join := func(ctx context.Context) error {
			return c.Join(ctx, chat.Principal{}, chat.JoinRequest{RoomID: "r"}, func(chat.Joined) { t.Error("answered") })
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := join(ctx); !errors.Is(err, chat.ErrGone) || len(*failed) > 0 {
			t.Errorf("the client gave up: %v, failed %q", err, *failed)
		}
		start := time.Now()
		wantCode(t, join(context.Background()), chat.Unavailable)
		if len(*failed) != 1 || time.Since(start) != time.Second {
			t.Errorf("failed %q, after %v", *failed, time.Since(start))
		}
		if len(h.members["r"]) > 0 {
			t.Error("it stayed in the room")
		}
		wantCode(t, c.Typing("r", true, ""), chat.NotJoined)
	})
}

func TestRoomThatCannotBeEntered(t *testing.T) {
	inService(t, history.NewMemory(), func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		full := chat.Refuse(chat.TooManyRooms, "leave a room first")
		c := s.Connect(&peer{id: "aaaaaaaa", hall: h, enter: full})
		if err := c.Join(t.Context(), chat.Principal{}, chat.JoinRequest{RoomID: "r"}, nil); err != full {
			t.Errorf("joined: %v", err)
		}
		wantCode(t, c.Leave(".."), chat.BadRoom)
	})
}

// The service must not know how clients reach it, nor how servers do.
func TestImports(t *testing.T) {
	const module = "github.com/parley-go/parley"
	below := []string{"/adapter", "/auth", "/conversation", "/history", "/internal/address", "/internal/budget", "/internal/jsonscan"}
	p, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range p.Imports {
		if strings.HasPrefix(path, module) && !slices.Contains(below, strings.TrimPrefix(path, module)) {
			t.Errorf("the service imports %s", path)
		}
	}
}

func TestPosition(t *testing.T) {
	for _, p := range []chat.Position{{"e", 0}, {"a-b", 12}} {
		if got, ok := chat.ParsePosition(p.String()); !ok || got != p {
			t.Errorf("%s is read as %+v, %v", p, got, ok)
		}
	}
	for _, text := range []string{"", "-1", "e", "e-", "e-x", "e-99999999999999999999"} {
		if got, ok := chat.ParsePosition(text); ok {
			t.Errorf("%q is read as %+v", text, got)
		}
	}
}
