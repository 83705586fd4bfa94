package chat_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// A console is an operator's client that watches the lobby.
type console struct {
	*peer
	client *chat.Client
	who    *auth.Identity
	told   map[string]string // of operators; see presences

	mu       sync.Mutex
	rows     map[string]conversation.Room
	position int64
	epoch    string
	answer   conversation.Watched
	changes  []string // rooms of roomChanged, in order
	notices  []string // other announcements
}

func newConsole(t *testing.T, s *chat.Service, h *hall, id string) *console {
	return newConsoleOf(t, s, h, &auth.Identity{Subject: id, Role: auth.Operator})
}

func newConsoleOf(t *testing.T, s *chat.Service, h *hall, who *auth.Identity) *console {
	c := &console{peer: &peer{id: who.Subject + "-12345678", hall: h}, told: make(map[string]string)}
	c.client = s.Connect(c)
	c.become(t, who)
	return c
}

func (c *console) become(t *testing.T, who *auth.Identity) {
	t.Helper()
	if err := c.client.SetIdentity(t.Context(), who); err != nil {
		t.Fatal(err)
	}
	c.who = who
}

func (c *console) Announce(n *chat.Notice) {
	data, err := json.Marshal(n.Payload)
	if err != nil {
		panic(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n.Event != string(conversation.RoomChanged) {
		c.notices = append(c.notices, n.Event+" "+string(data))
		return
	}
	var news conversation.RoomNews
	if err := json.Unmarshal(data, &news); err != nil {
		panic(err)
	}
	c.changes = append(c.changes, news.Room.RoomID)
	c.applyLocked(news.Room)
	c.position = max(c.position, *news.Position)
}

func (c *console) applyLocked(row conversation.Room) {
	if held, ok := c.rows[row.RoomID]; !ok || row.Change > held.Change {
		c.rows[row.RoomID] = row
	}
}

// watch watches, or goes on from where it was.
func (c *console) watch(t *testing.T, q conversation.WatchRequest) conversation.Watched {
	t.Helper()
	if c.epoch != "" {
		q.After, q.Epoch = &c.position, c.epoch
	}
	err := c.client.Watch(t.Context(), q, func(w conversation.Watched) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answer = w
		if w.Reset || c.rows == nil {
			c.rows = map[string]conversation.Room{}
		}
		for _, row := range w.Rooms {
			c.applyLocked(row)
		}
		c.position, c.epoch = w.Position, w.Epoch
	})
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.answer
}

// changed returns the rooms of which the console was told since the previous call.
func (c *console) changed() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	changes := c.changes
	c.changes = nil
	return changes
}

// noticed returns other announcements since the previous call.
func (c *console) noticed() []string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	notices := c.notices
	c.notices = nil
	return notices
}

// wantStore compares the console's rows with the store.
func (c *console) wantStore(t *testing.T, store history.Rooms) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	list, err := store.ListRooms(context.Background(), history.RoomQuery{Limit: history.MaxLimit})
	if err != nil || len(list.Rooms) != len(c.rows) {
		t.Fatalf("%s has %d rows, the store %d, %v", c.who.Subject, len(c.rows), len(list.Rooms), err)
	}
	for _, r := range list.Rooms {
		row := c.rows[r.RoomID]
		if row.Change != r.Change || row.LastSeq != r.Head || row.OperatorID != r.OperatorID || row.Status != r.Status {
			t.Errorf("%s has %+v, the store %+v", c.who.Subject, row, r)
		}
	}
}

// inClosed is inService with a service in which clients prove who they are.
func inClosed(t *testing.T, store history.Store, f func(t *testing.T, s *chat.Service, h *hall)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log := history.NewLog(store, nil)
		defer log.Close()
		h := &hall{members: map[string][]*peer{}}
		f(t, chat.New(store, log, chat.Options{PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, Timeout: time.Second, Announcer: h, Closed: func() bool { return true }}), h)
	})
}

// write makes a message of a user in its conversation.
func write(t testing.TB, store history.Store, room, text string) {
	t.Helper()
	message, _ := json.Marshal(conversation.Content{Text: text})
	stored, err := store.Append(context.Background(), []history.Draft{{
		RoomID: room, UserID: "user of " + room, Message: message,
		Conversation: &history.Conversation{UserID: "user of " + room, Name: "Ann", Labels: []string{"vip"}},
	}})
	if err = errors.Join(err, stored[0].Err); err != nil {
		t.Fatal(err)
	}
}

func TestLobby(t *testing.T) {
	store := history.NewMemory()
	write(t, store, "c_1", "Hello,\nworld")
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, failed *[]string) {
		anna := newConsole(t, s, h, "anna")
		defer anna.client.Close()
		first := anna.watch(t, conversation.WatchRequest{})
		if len(first.Rooms) != 1 || first.Position != 1 || first.Reset || first.Epoch != store.Epoch() || *first.Counts != (history.RoomCounts{Open: 1, Waiting: 1, Unassigned: 1}) {
			t.Errorf("watched: %+v", first)
		}
		if row := first.Rooms[0]; row.LastMessage.Text != "Hello, world" || row.LastMessage.By != "user" || row.WaitingSince == nil || *row.Unread != 1 || row.Labels[0] != "vip" {
			t.Errorf("row: %+v", row)
		}
		ann, _ := guest(t, s, h, "user of c_1", "c_1", "c_2")
		defer ann.Close()
		time.Sleep(time.Minute + 500*time.Millisecond)                // not when the lobby looks by itself
		if err := say(t.Context(), ann, "c_1", "again"); err != nil { // the service hints
			t.Fatal(err)
		}
		if got := anna.changed(); fmt.Sprint(got) != "[c_1]" {
			t.Errorf("at once: %q", got)
		}
		if row := anna.rows["c_1"]; row.Unread != nil || row.ReadSeq != nil || row.LastMessage.Text != "again" {
			t.Errorf("row for all: %+v", row)
		}
		// However much happens, there is one row of a conversation in 250 ms.
		begun := time.Now()
		for range 100 {
			say(t.Context(), ann, "c_1", "more")
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Second)
		if got := len(anna.changed()); got < 3 || got > int(time.Since(begun)/(250*time.Millisecond)) {
			t.Errorf("%d rows for 100 messages in a second", got)
		}
		anna.wantStore(t, store)
		// Nobody hints at what another node has stored.
		write(t, store, "c_2", "elsewhere")
		time.Sleep(time.Second)
		if got := anna.changed(); fmt.Sprint(got) != "[c_2]" {
			t.Errorf("of another node: %q", got)
		}
		// A free room is in no list.
		say(t.Context(), ann, "r", "free")
		anna.client.Unwatch()
		write(t, store, "c_2", "more")
		time.Sleep(time.Minute)
		if got := anna.changed(); got != nil {
			t.Errorf("after the end: %q", got)
		}
		if again := anna.watch(t, conversation.WatchRequest{}); len(again.Rooms) != 1 || again.Rooms[0].RoomID != "c_2" || *again.Rooms[0].Unread != 2 {
			t.Errorf("came back to %+v", again)
		}
		anna.wantStore(t, store)
		if len(*failed) > 0 {
			t.Errorf("failed: %q", *failed)
		}
	})
}

// A client cannot go on from a position of another store, one from the future, one before an
// erasure, or one that is too long ago.
func TestLobbyBeginsAnew(t *testing.T) {
	erased := &erasedRooms{Memory: history.NewMemory()}
	write(t, erased, "c_1", "hello")
	inService(t, erased, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		anna := newConsole(t, s, h, "anna")
		defer anna.client.Close()
		ask := func(after int64, epoch string) conversation.Watched {
			t.Helper()
			anna.position, anna.epoch = after, cmp.Or(epoch, erased.Epoch())
			return anna.watch(t, conversation.WatchRequest{})
		}
		if w := ask(0, ""); w.Reset || len(w.Rooms) != 1 {
			t.Errorf("from the beginning: %+v", w)
		}
		for name, w := range map[string]conversation.Watched{
			"of another epoch": ask(0, "another"),
			"of the future":    ask(2, ""),
		} {
			if !w.Reset || len(w.Rooms) != 1 || w.Position != 1 || w.Epoch != erased.Epoch() {
				t.Errorf("a position %s: %+v", name, w)
			}
		}
		for i := range 2000 {
			write(t, erased, fmt.Sprint("c_", i+2), "hello")
		}
		if w := ask(1, ""); w.Reset || w.Position != w.Rooms[len(w.Rooms)-1].Change {
			t.Errorf("2,000 changes ago: %v, %d rooms, position %d", w.Reset, len(w.Rooms), w.Position)
		}
		if w := ask(0, ""); !w.Reset || len(w.Rooms) != 50 || w.Next == "" || w.Position != 2001 {
			t.Errorf("2,001 changes ago: %v, %d rooms, position %d", w.Reset, len(w.Rooms), w.Position)
		}
		anna.changed()
		erased.floor.Store(2001)
		if w := ask(2000, ""); !w.Reset {
			t.Errorf("before an erasure: %+v", w)
		}
		// Whoever watches is told to begin anew.
		erased.floor.Store(3000)
		anna.noticed()
		s.Erased("c_1")
		time.Sleep(time.Second)
		if got := anna.noticed(); len(got) != 2 || got[0] != `roomGone {"roomId":"c_1"}` || !strings.Contains(got[1], `"gone"`) || !strings.HasPrefix(got[1], "error ") {
			t.Errorf("told of an erasure: %q", got)
		}
		time.Sleep(time.Minute)
		if got := anna.noticed(); got != nil {
			t.Errorf("after the end: %q", got)
		}
	})
}

// A conversation is written again after it was erased, and before those who watch are told of that.
func TestErasedRoomIsWrittenAgain(t *testing.T) {
	store := history.NewMemory()
	write(t, store, "c_1", "hello")
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		anna := newConsole(t, s, h, "anna")
		defer anna.client.Close()
		anna.watch(t, conversation.WatchRequest{})
		if _, err := store.EraseRoom(t.Context(), "c_1"); err != nil {
			t.Fatal(err)
		}
		write(t, store, "c_1", "again")
		time.Sleep(time.Second)
		if got := anna.noticed(); len(got) != 1 || !strings.Contains(got[0], `"gone"`) {
			t.Fatalf("of an erasure: %q", got)
		}
		if w := anna.watch(t, conversation.WatchRequest{}); !w.Reset || len(w.Rooms) != 1 {
			t.Fatalf("from then on: %+v", w)
		}
		s.Erased("c_1")
		time.Sleep(time.Second)
		if got := anna.noticed(); len(got) != 1 || !strings.HasPrefix(got[0], "roomGone") {
			t.Errorf("told late: %q", got)
		}
		if got := anna.changed(); !slices.Equal(got, []string{"c_1"}) {
			t.Errorf("told of what is there: %q", got)
		}
	})
}

// erasedRooms is a store in which conversations were erased.
type erasedRooms struct {
	*history.Memory
	floor atomic.Int64
}

func (s *erasedRooms) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (history.ChangedRooms, error) {
	if after < s.floor.Load() {
		return history.ChangedRooms{}, history.ErrPruned
	}
	return s.Memory.ChangedRooms(ctx, after, limit, by)
}

// A client that does not take rows costs nothing but its position. When it takes again, it gets each
// conversation once, as it is then.
func TestLobbyOfASlowClient(t *testing.T) {
	store := &brokenRooms{Memory: history.NewMemory()}
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, failed *[]string) {
		anna, bob := newConsole(t, s, h, "anna"), newConsole(t, s, h, "bob")
		defer anna.client.Close()
		defer bob.client.Close()
		anna.watch(t, conversation.WatchRequest{})
		bob.watch(t, conversation.WatchRequest{})
		anna.peer.mu.Lock()
		anna.behind = true
		anna.peer.mu.Unlock()
		for round := range 3 {
			for i := range 700 {
				write(t, store, fmt.Sprint("c_", i), fmt.Sprint(round))
			}
			time.Sleep(1500 * time.Millisecond) // not when the lobby looks by itself
		}
		if got := anna.changed(); got != nil {
			t.Errorf("a client that takes nothing got %d rows", len(got))
		}
		if got := bob.changed(); len(got) != 3*700 {
			t.Errorf("another one got %d rows", len(got))
		}
		store.broken.Store(true)
		anna.take()
		time.Sleep(time.Minute)
		if got := anna.changed(); got != nil || len(*failed) == 0 {
			t.Errorf("without a store it got %d rows; failed: %q", len(got), *failed)
		}
		store.broken.Store(false)
		time.Sleep(2 * time.Second)
		got := anna.changed()
		slices.Sort(got)
		if len(slices.Compact(got)) != 700 || len(got) != 700 {
			t.Errorf("it got %d rows later, want 700", len(got))
		}
		write(t, store, "c_0", "live")
		time.Sleep(time.Second)
		if got := anna.changed(); fmt.Sprint(got) != "[c_0]" {
			t.Errorf("live again, it got %q", got)
		}
	})
}

// brokenRooms cannot be read while it is broken.
type brokenRooms struct {
	*history.Memory
	broken atomic.Bool
}

func (s *brokenRooms) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (history.ChangedRooms, error) {
	if s.broken.Load() {
		return history.ChangedRooms{}, errors.New("disk on fire")
	}
	return s.Memory.ChangedRooms(ctx, after, limit, by)
}

// What is stored while a client reads its first page, or what it missed, reaches it, even if the
// others have been told meanwhile.
func TestLobbyIsJoinedWithoutAGap(t *testing.T) {
	store := &interruptedRooms{Memory: history.NewMemory()}
	write(t, store, "c_1", "before")
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		bob := newConsole(t, s, h, "bob")
		defer bob.client.Close()
		bob.watch(t, conversation.WatchRequest{})
		hinter, _ := guest(t, s, h, "hinter")
		defer hinter.Close()
		for _, id := range []string{"first page", "comes back"} {
			anna := newConsole(t, s, h, "anna")
			defer anna.client.Close()
			if id == "comes back" {
				anna.epoch = store.Epoch()
			}
			store.interrupt = func() {
				write(t, store, "c_1", "meanwhile")
				write(t, store, id, "meanwhile")
				say(t.Context(), hinter, "r", "hint")
				time.Sleep(500 * time.Millisecond)
				if got := bob.changed(); fmt.Sprint(got) != fmt.Sprint([]string{"c_1", id}) {
					t.Errorf("bob was told of %q", got)
				}
			}
			anna.watch(t, conversation.WatchRequest{})
			time.Sleep(time.Second)
			if got := anna.changed(); fmt.Sprint(got) != fmt.Sprint([]string{"c_1", id}) {
				t.Errorf("%s: anna was told of %q", id, got)
			}
			anna.wantStore(t, store)
		}
	})
}

// interruptedRooms calls interrupt once, after it has read for a member.
type interruptedRooms struct {
	*history.Memory
	interrupt func()
}

func (s *interruptedRooms) after(by history.Member) {
	if interrupt := s.interrupt; interrupt != nil && by.OperatorID != "" {
		s.interrupt = nil
		interrupt()
	}
}

func (s *interruptedRooms) ListRooms(ctx context.Context, q history.RoomQuery) (history.RoomList, error) {
	defer s.after(q.By)
	return s.Memory.ListRooms(context.WithoutCancel(ctx), q)
}

func (s *interruptedRooms) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (history.ChangedRooms, error) {
	defer s.after(by)
	return s.Memory.ChangedRooms(ctx, after, limit, by)
}

// What does not fit into the answer follows it, and the position says so.
func TestLobbyAnswerIsBounded(t *testing.T) {
	store := history.NewMemory()
	attributes := json.RawMessage(`{"a":"` + strings.Repeat("x", 4000) + `"}`)
	for i := range 400 { // 1.8 MB; a page may have 1 MiB
		if _, err := store.CreateRoom(t.Context(), fmt.Sprint("c_", i), history.Conversation{UserID: "u", Attributes: attributes}); err != nil {
			t.Fatal(err)
		}
	}
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		anna := newConsole(t, s, h, "anna")
		defer anna.client.Close()
		anna.epoch = store.Epoch()
		w := anna.watch(t, conversation.WatchRequest{})
		if n := len(w.Rooms); n < 100 || n > 300 || w.Position != w.Rooms[n-1].Change || w.Reset {
			t.Errorf("%d rooms up to %d, %v", n, w.Position, w.Reset)
		}
		if got := len(anna.changed()); got != 400-len(w.Rooms) {
			t.Errorf("%d rooms followed", got)
		}
		anna.wantStore(t, store)
	})
}

func TestWhoMayWatch(t *testing.T) {
	store := history.NewMemory()
	write(t, store, "c_1", "hello")
	write(t, store, "d_1", "hello")
	inClosed(t, store, func(t *testing.T, s *chat.Service, h *hall) {
		c := newConsole(t, s, h, "anna")
		defer c.client.Close()
		none := func(conversation.Watched) { t.Error("answered") }
		anonymous := s.Connect(&peer{id: "anonymous-1", hall: h})
		defer anonymous.Close()
		wantCode(t, anonymous.Watch(t.Context(), conversation.WatchRequest{}, none), chat.Forbidden)
		_, err := anonymous.ListRooms(t.Context(), conversation.ListRequest{})
		wantCode(t, err, chat.Forbidden)
		c.become(t, &auth.Identity{Subject: "user of c_1", Role: auth.User})
		wantCode(t, c.client.Watch(t.Context(), conversation.WatchRequest{}, none), chat.Forbidden)
		for name, f := range map[string]conversation.Filter{
			"another user": {UserID: "user of d_1"}, "a label": {Label: "vip"}, "an assignee": {Assignee: json.RawMessage(`"me"`)},
		} {
			if _, err := c.client.ListRooms(t.Context(), conversation.ListRequest{Filter: &f}); err == nil {
				t.Errorf("a user listed by %s", name)
			}
		}
		list, err := c.client.ListRooms(t.Context(), conversation.ListRequest{})
		if err != nil || len(list.Rooms) != 1 || list.Counts != nil {
			t.Fatalf("a user's list: %+v, %v", list, err)
		}
		if r := list.Rooms[0]; r.RoomID != "c_1" || len(r.Labels) > 0 || r.Attributes != nil || r.Change != 0 || r.Page != nil {
			t.Errorf("a user's row: %+v", r)
		}
		// Grants are all that an operator may use.
		c.become(t, &auth.Identity{Subject: "anna", Role: auth.Operator, Grants: auth.Grants{{Pattern: "d_*", Rights: auth.Read}}})
		if w := c.watch(t, conversation.WatchRequest{}); len(w.Rooms) != 1 || w.Rooms[0].RoomID != "d_1" || w.Counts != nil {
			t.Errorf("watched: %+v", w)
		}
		write(t, store, "c_1", "more")
		write(t, store, "d_1", "more")
		time.Sleep(time.Second)
		if got := c.changed(); fmt.Sprint(got) != "[d_1]" {
			t.Errorf("told of %q", got)
		}
		negative := int64(-1)
		for name, q := range map[string]conversation.WatchRequest{
			"after":    {After: &negative},
			"sort":     {Sort: "size"},
			"limit":    {Limit: -1},
			"status":   {Filter: &conversation.Filter{Status: "lost"}},
			"assignee": {Filter: &conversation.Filter{Assignee: json.RawMessage(`"somebody"`)}},
			"label":    {Filter: &conversation.Filter{Label: strings.Repeat("x", 41)}},
		} {
			if err, ok := c.client.Watch(t.Context(), q, none).(*chat.Error); !ok || err.Code != chat.BadPayload {
				t.Errorf("%s: %v", name, err)
			}
		}
		_, err = c.client.ListRooms(t.Context(), conversation.ListRequest{Cursor: "x"})
		wantCode(t, err, chat.BadPayload)
	})
	inService(t, struct{ history.Store }{store}, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		c := newConsole(t, s, h, "anna")
		defer c.client.Close()
		wantCode(t, c.client.Watch(t.Context(), conversation.WatchRequest{}, nil), chat.Unavailable)
	})
}

func TestListRooms(t *testing.T) {
	store := history.NewMemory()
	for i := range 7 {
		write(t, store, fmt.Sprint("c_", i), "hello")
	}
	update := func(u history.RoomUpdate) {
		t.Helper()
		if _, err := store.UpdateRoom(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	me, other, closed := "anna", "bob", history.Closed
	update(history.RoomUpdate{RoomID: "c_1", OperatorID: &me})
	update(history.RoomUpdate{RoomID: "c_2", OperatorID: &other, Answered: true})
	update(history.RoomUpdate{RoomID: "c_3", Status: &closed})
	update(history.RoomUpdate{RoomID: "c_4", AddLabels: []string{"late"}})
	inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
		anna := newConsole(t, s, h, "anna")
		defer anna.client.Close()
		for want, f := range map[string]conversation.Filter{
			"c_0 c_1 c_2 c_4 c_5 c_6":     {},
			"c_3":                         {Status: "closed"},
			"c_0 c_1 c_2 c_3 c_4 c_5 c_6": {Status: "all"},
			"c_1":                         {Assignee: json.RawMessage(`"me"`)},
			"c_2":                         {Assignee: json.RawMessage(` "others"`)},
			"c_0 c_4 c_5 c_6":             {Assignee: json.RawMessage(`"none"`)},
			"c_2 ":                        {Assignee: json.RawMessage(`{"operatorId":"bob"}`)},
			"c_0 c_1 c_4 c_5 c_6":         {Waiting: true, Assignee: json.RawMessage(`"any"`)},
			"c_4":                         {Label: "late"},
			"c_5":                         {UserID: "user of c_5", Unread: true},
		} {
			var got []string
			for q := (conversation.ListRequest{Filter: &f, Sort: "created", Limit: 2}); ; {
				list, err := anna.client.ListRooms(t.Context(), q)
				if err != nil || len(list.Rooms) > 2 || (list.Counts == nil) != (q.Cursor != "") {
					t.Fatalf("%+v, %v", list, err)
				}
				for _, r := range list.Rooms {
					got = append(got, r.RoomID)
				}
				if q.Cursor = list.Next; q.Cursor == "" {
					break
				}
			}
			slices.Sort(got)
			if strings.Join(got, " ") != strings.TrimSpace(want) {
				t.Errorf("%+v: %q, want %q", f, got, want)
			}
		}
	})
}

func TestExcerpt(t *testing.T) {
	long := strings.Repeat("é", 200)
	for message, want := range map[string]conversation.Excerpt{
		`"plain"`:             {Text: "plain"},
		`{"text":" a\n\tb "}`: {Text: "a b"},
		`{"text":5,"files":[{"name":"a.png"},{"name":"b"}]}`: {File: "a.png"},
		`{"files":"none","text":"x"}`:                        {Text: "x"},
		`{"anything":1}`:                                     {},
		`[1]`:                                                {},
		`"` + long + `"`:                                     {Text: long[:139*2] + "…"},
	} {
		store := history.NewMemory()
		stored, err := store.Append(t.Context(), []history.Draft{{
			RoomID: "c_1", UserID: "u", Message: json.RawMessage(message), Conversation: &history.Conversation{UserID: "u"},
		}})
		if err != nil || stored[0].Err != nil {
			t.Fatal(err, stored[0].Err)
		}
		inService(t, store, func(t *testing.T, s *chat.Service, h *hall, _ *[]string) {
			anna := newConsole(t, s, h, "anna")
			defer anna.client.Close()
			got := *anna.watch(t, conversation.WatchRequest{}).Rooms[0].LastMessage
			want.Seq, want.By, want.Timestamp = 1, "user", got.Timestamp
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %+v, want %+v", message, got, want)
			}
		})
	}
}
