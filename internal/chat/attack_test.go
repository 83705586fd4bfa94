package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/app/apptest"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/chat/events"
	"github.com/parley-go/parley/internal/soak"
)

// The attack suite of the lobby: operators watch conversations over a network that breaks and stands
// still, while others write, a server that is restarted, and hints that get lost. Whenever an operator's
// position says that nothing up to a change is missing, the operator's rows are compared with the
// store's.

// A fault is a mistake that the suite must notice.
type fault int

const (
	none           fault = iota
	readsFirst           // a page is read before its position
	anyOrder             // rows come in another order than their changes
	deafToOthers         // the lobby looks for changes only if it is told of one
	neverCompares        // clients take rows that are older than what they have
	endOfBroadcast       // clients believe the position of what they have not read yet
)

const (
	attackRooms     = 200
	attackOperators = 3
)

func TestAttackOnTheLobby(t *testing.T) {
	t.Parallel()
	for range soak.Times(1, 200) {
		seed := rand.Uint64()
		if err := attack(t, seed, none); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// The suite notices each fault.
func TestAttackNoticesFaults(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"a page is read before its position":                      readsFirst,
		"rows come in another order than their changes":           anyOrder,
		"the lobby looks for changes only if it is told of one":   deafToOthers,
		"clients take rows that are older than what they have":    neverCompares,
		"clients believe the position of what they have not read": endOfBroadcast,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for range 20 {
				if err := attack(t, rand.Uint64(), f); err != nil {
					t.Log(err)
					return
				}
			}
			t.Error("nobody noticed")
		})
	}
}

// attack runs the suite once. It returns the first difference.
func attack(t *testing.T, seed uint64, f fault) error {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 0))
	w := &attacked{t: t, fault: f, path: filepath.Join(t.TempDir(), "attack.db")}
	w.start()
	defer w.stop()
	for i := range attackRooms {
		write(t, w.store, fmt.Sprint("c_", i), "first")
	}
	network := newNetwork(t, w, random.Uint64())
	defer network.close()
	var desks []*desktop
	for i := range attackOperators {
		d := newDesktop(network.url, fmt.Sprint("operator", i), f, random.Uint64())
		defer d.stop()
		desks = append(desks, d)
	}
	for range soak.Times(3, 10) {
		network.calm.Store(false)
		var writers sync.WaitGroup
		for range 4 {
			seed := random.Uint64()
			writers.Go(func() { w.write(rand.New(rand.NewPCG(seed, 1)), 150) })
		}
		time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
		w.restart()
		writers.Wait()
		network.calm.Store(true)
		if err := w.compare(desks); err != nil {
			return err
		}
	}
	return nil
}

// attackedStore is what a store must be.
type attackedStore interface {
	history.Store
	history.Rooms
	history.People
	history.Editor
	history.Reads
	history.Eraser
}

// attacked is a server that is restarted over the same store.
type attacked struct {
	t     *testing.T
	fault fault
	path  string

	mu      sync.RWMutex // held by writers; locked while the server is down
	store   attackedStore
	log     *history.Log
	service *chat.Service
	sockets *parley.Server
	http    *httptest.Server
}

// Authorize takes the name of an operator for its token.
func (w *attacked) Authorize(_ context.Context, r *auth.Request) (*auth.Identity, error) {
	return &auth.Identity{Subject: r.Bearer(), Role: auth.Operator}, nil
}

func (w *attacked) start() {
	var err error
	if w.store, err = sqlite.Open(w.path, nil); err != nil {
		w.t.Fatal(err)
	}
	w.log = history.NewLog(w.store, nil)
	// So little is queued for a client that one that stands still is soon behind.
	if w.sockets, err = parley.New(&parley.Options{MaxOutbox: 32 << 10, Authorize: w}); err != nil {
		w.t.Fatal(err)
	}
	w.service = chat.New(&faultyStore{w.store, w.fault}, w.log, chat.Options{
		PageSize: 50, MaxPage: 500, PageBytes: 16 << 10, Timeout: 10 * time.Second, Announcer: events.Announcer(w.sockets), Closed: func() bool { return true },
	})
	if w.fault == deafToOthers {
		w.service.SetLobbyPoll(time.Hour)
	}
	events.Register(w.sockets, w.service)
	w.http = httptest.NewServer(w.sockets)
}

func (w *attacked) stop() {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	w.sockets.Shutdown(ended)
	w.http.CloseClientConnections()
	w.http.Close()
	w.log.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

func (w *attacked) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stop()
	w.start()
}

func (w *attacked) address() string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.http.Listener.Addr().String()
}

// write changes conversations at random.
func (w *attacked) write(random *rand.Rand, times int) {
	for range times {
		w.writeOnce(random)
		time.Sleep(time.Duration(random.IntN(10)) * time.Millisecond)
	}
}

func (w *attacked) writeOnce(random *rand.Rand) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	ctx := context.Background()
	room := fmt.Sprint("c_", random.IntN(attackRooms))
	operator := fmt.Sprint("operator", random.IntN(attackOperators))
	// Half of the time, the lobby is not told: the commit could be another node's.
	update := w.store.UpdateRoom
	if random.IntN(2) == 0 {
		update = w.log.UpdateRoom
	}
	draft := history.Draft{
		RoomID: room, UserID: "user of " + room, Message: json.RawMessage(fmt.Sprint(random.IntN(1000))),
		Conversation: &history.Conversation{UserID: "user of " + room},
	}
	var err error
	switch n := random.IntN(100); {
	case n < 30:
		_, err = w.log.Append(ctx, draft)
	case n < 45:
		draft.OperatorID = operator
		_, err = w.store.Append(ctx, []history.Draft{draft})
	case n < 60:
		_, err = update(ctx, history.RoomUpdate{RoomID: room, OperatorID: &operator})
	case n < 70:
		status := []history.Status{history.Open, history.Closed}[random.IntN(2)]
		_, err = update(ctx, history.RoomUpdate{RoomID: room, Status: &status})
	case n < 80:
		label := fmt.Sprint("label", random.IntN(5))
		u := history.RoomUpdate{RoomID: room, AddLabels: []string{label}}
		if random.IntN(2) == 0 {
			u.AddLabels, u.RemoveLabels = nil, u.AddLabels
		}
		_, err = update(ctx, u)
	case n < 90:
		_, err = w.log.Edit(ctx, history.Edit{RoomID: room, Seq: 1, Message: draft.Message})
	case n < 95:
		_, err = w.store.PutPerson(ctx, history.Person{UserID: draft.UserID, Name: fmt.Sprint("name", random.IntN(100))})
	case n == 99 && w.fault == none: // lists begin anew, which would hide faults
		if _, err = w.store.EraseRoom(ctx, room); random.IntN(2) == 0 {
			time.Sleep(time.Duration(random.IntN(1500)) * time.Millisecond) // others write there again
			w.service.Erased(room)
		}
	}
	switch history.Code(err) {
	case "", history.ErrConflict.Code, history.ErrNotFound.Code, history.ErrPruned.Code: // what it was to change was erased
	default:
		w.t.Errorf("write: %v", err)
	}
}

// compare compares what operators see with the store, when they have everything.
func (w *attacked) compare(desks []*desktop) error {
	// They learn of a last change of which the lobby is told, and then of one of which it is not.
	for _, append := range []func(history.Draft) error{
		func(d history.Draft) error { _, err := w.log.Append(context.Background(), d); return err },
		func(d history.Draft) error {
			_, err := w.store.Append(context.Background(), []history.Draft{d})
			return err
		},
	} {
		if err := append(history.Draft{RoomID: "c_0", UserID: "user of c_0", Message: json.RawMessage("1")}); err != nil {
			return err
		}
		want, head, err := w.rows()
		if err != nil {
			return err
		}
		for _, d := range desks {
			patience := 2 * time.Minute
			if w.fault == deafToOthers {
				patience = 5 * time.Second
			}
			rows, err := d.await(head, patience)
			if err != nil {
				return err
			}
			for id, r := range want {
				if got, ok := rows[id]; !ok || !reflect.DeepEqual(got, r) {
					return fmt.Errorf("%s has everything up to %d, and of %s\n%+v, not\n%+v", d.name, head, id, got, r)
				}
			}
			if len(rows) != len(want) {
				return fmt.Errorf("%s has %d rows, not %d", d.name, len(rows), len(want))
			}
		}
	}
	return nil
}

// rows returns what the store has, and the newest change.
func (w *attacked) rows() (rows map[string]conversation.Room, head int64, err error) {
	c := w.service.Connect(&peer{id: "reference-1", hall: &hall{members: map[string][]*peer{}}})
	defer c.Close()
	if err := c.SetIdentity(context.Background(), &auth.Identity{Subject: "reference", Role: auth.Operator}); err != nil {
		return nil, 0, err
	}
	rows = map[string]conversation.Room{}
	for q := (conversation.ListRequest{Filter: &conversation.Filter{Status: "all"}, Limit: 100}); ; {
		list, err := c.ListRooms(context.Background(), q)
		if err != nil {
			return nil, 0, err
		}
		for _, r := range list.Rooms {
			rows[r.RoomID] = compared(r)
			head = max(head, r.Change)
		}
		if q.Cursor = list.Next; q.Cursor == "" {
			return rows, head, nil
		}
	}
}

// compared returns the part of a row that is stored and that all operators see.
func compared(r conversation.Room) conversation.Room {
	var same conversation.Room
	encoded, err := json.Marshal(r)
	if err == nil {
		err = json.Unmarshal(encoded, &same)
	}
	if err != nil {
		panic(err)
	}
	same.Unread, same.ReadSeq, same.OperatorsReadSeq, same.UserReadSeq, same.Page = nil, nil, 0, 0, nil
	same.User.Online = false
	same.Operator = nil
	if same.LastMessage != nil {
		same.LastMessage.Name = ""
	}
	return same
}

// faultyStore is a store that makes the service do what the fault says.
type faultyStore struct {
	attackedStore
	fault fault
}

// head returns the newest change, a moment later.
func (s *faultyStore) head() (int64, error) {
	time.Sleep(200 * time.Millisecond)
	list, err := s.attackedStore.ListRooms(context.Background(), history.RoomQuery{Limit: 1})
	return list.Head, err
}

// ListRooms takes its time, so that what it has read may be old when it arrives.
func (s *faultyStore) ListRooms(ctx context.Context, q history.RoomQuery) (history.RoomList, error) {
	list, err := s.attackedStore.ListRooms(ctx, q)
	time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	if s.fault == readsFirst && err == nil {
		list.Head, err = s.head()
	}
	return list, err
}

func (s *faultyStore) ChangedRooms(ctx context.Context, after int64, limit int, by history.Member) (history.ChangedRooms, error) {
	changed, err := s.attackedStore.ChangedRooms(ctx, after, limit, by)
	switch {
	case err != nil:
	case s.fault == readsFirst && by != (history.Member{}) && changed.Next == changed.Head:
		changed.Next, err = s.head()
		changed.Head = changed.Next
	case s.fault == anyOrder:
		slices.Reverse(changed.Rooms)
	}
	return changed, err
}

// A desktop is an operator's client, which comes back whenever its connection breaks.
type desktop struct {
	url, name string
	fault     fault
	random    *rand.Rand
	cancel    context.CancelFunc
	stopped   chan struct{}

	mu       sync.Mutex
	rows     map[string]conversation.Room
	position int64
	epoch    string
	loaded   bool // it has every page
	pending  []conversation.Room
	news     chan struct{} // closed when something of this changes
}

func newDesktop(url, name string, f fault, seed uint64) *desktop {
	ctx, cancel := context.WithCancel(context.Background())
	d := &desktop{
		url: url, name: name, fault: f, random: rand.New(rand.NewPCG(seed, 2)), cancel: cancel, stopped: make(chan struct{}),
		rows: map[string]conversation.Room{}, news: make(chan struct{}),
	}
	go func() {
		defer close(d.stopped)
		for ctx.Err() == nil {
			if c, err := apptest.ConnectWith(ctx, url, http.Header{"Authorization": {"Bearer " + name}}); err == nil {
				d.session(ctx, c)
				c.Close()
			} else {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
	return d
}

func (d *desktop) stop() {
	d.cancel()
	<-d.stopped
}

// await returns the rows when the desktop has everything up to a change.
func (d *desktop) await(head int64, patience time.Duration) (map[string]conversation.Room, error) {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		d.mu.Lock()
		position, loaded, news := d.position, d.loaded, d.news
		if position >= head && loaded {
			d.foldLocked()
			defer d.mu.Unlock()
			rows := map[string]conversation.Room{}
			for id, r := range d.rows {
				rows[id] = compared(r)
			}
			return rows, nil
		}
		d.mu.Unlock()
		select {
		case <-news:
		case <-over.C:
			return nil, fmt.Errorf("%s has got no further than %d of %d, all pages: %v", d.name, position, head, loaded)
		}
	}
}

// session watches until the connection ends.
func (d *desktop) session(ctx context.Context, c *apptest.Client) {
	d.mu.Lock()
	d.pending = nil
	d.mu.Unlock()
	all := &conversation.Filter{Status: "all"}
	var watching, listing int64 = -1, -1
	watch := func() (err error) {
		q := conversation.WatchRequest{Filter: all, Limit: 20}
		if d.epoch != "" {
			q.After, q.Epoch = &d.position, d.epoch
		}
		watching, err = c.EmitID(ctx, string(conversation.WatchRooms), q)
		return err
	}
	list := func(cursor string) (err error) {
		listing, err = c.EmitID(ctx, string(conversation.ListRooms), conversation.ListRequest{Filter: all, Limit: 20, Cursor: cursor})
		return err
	}
	if watch() != nil || !d.loaded && list("") != nil {
		return
	}
	for {
		p, err := c.Take(ctx, func(apptest.Packet) bool { return true })
		if err != nil {
			return
		}
		var refused struct{ Error *conversation.Notice }
		switch {
		case p.Event == "" && p.Decode(&refused) == nil && refused.Error != nil:
			return // it tries again
		case p.Event == "" && p.ID == watching:
			var w conversation.Watched
			if p.Decode(&w) != nil {
				return
			}
			begun := d.watched(w)
			if begun && list("") != nil {
				return
			}
		case p.Event == "" && p.ID == listing:
			var l conversation.RoomList
			if p.Decode(&l) != nil || d.listed(l) != nil {
				return
			}
			if l.Next != "" && list(l.Next) != nil {
				return
			}
		case p.Event == string(conversation.RoomChanged):
			var news conversation.RoomNews
			if p.Decode(&news) != nil {
				return
			}
			d.changed(news)
			if d.loaded && d.random.IntN(10) == 0 && list("") != nil { // somebody scrolls
				return
			}
		case p.Event == string(conversation.RoomGone):
			var loss conversation.RoomLoss
			if p.Decode(&loss) != nil {
				return
			}
			d.mu.Lock()
			delete(d.rows, loss.RoomID)
			d.mu.Unlock()
		case p.Event == string(conversation.ErrorNotice):
			var n conversation.Notice
			if p.Decode(&n) != nil || n.Event != string(conversation.WatchRooms) || watch() != nil {
				return
			}
		}
	}
}

// watched takes the answer to watchRooms. It reports whether the list begins anew.
func (d *desktop) watched(w conversation.Watched) (anew bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	anew = w.Reset || d.epoch == ""
	if anew {
		clear(d.rows)
		d.loaded = false
	}
	for _, r := range w.Rooms {
		d.applyLocked(r)
	}
	d.position, d.epoch = w.Position, w.Epoch
	d.tellLocked()
	return anew
}

func (d *desktop) listed(l conversation.RoomList) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range l.Rooms {
		d.applyLocked(r)
	}
	if l.Next == "" {
		d.loaded = true
	}
	d.tellLocked()
	return nil
}

func (d *desktop) changed(n conversation.RoomNews) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pending = append(d.pending, n.Room); d.fault != endOfBroadcast || len(d.pending) == 10 {
		d.foldLocked()
	}
	d.position = max(d.position, *n.Position)
	d.tellLocked()
}

func (d *desktop) foldLocked() {
	for _, r := range d.pending {
		d.applyLocked(r)
	}
	d.pending = nil
}

func (d *desktop) applyLocked(r conversation.Room) {
	if held, ok := d.rows[r.RoomID]; d.fault == neverCompares || !ok || held.Change < r.Change {
		d.rows[r.RoomID] = r
	}
}

func (d *desktop) tellLocked() {
	close(d.news)
	d.news = make(chan struct{})
}

// A network passes connections on to a server. Unless it is calm, it cuts each of them after a random
// byte, and lets them stand still.
type network struct {
	url      string
	to       *attacked
	listener net.Listener
	calm     atomic.Bool
	running  sync.WaitGroup

	mu     sync.Mutex
	random *rand.Rand
	closed bool
	open   map[net.Conn]bool
}

func newNetwork(t *testing.T, to *attacked, seed uint64) *network {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{url: "http://" + listener.Addr().String(), to: to, listener: listener, random: rand.New(rand.NewPCG(seed, 3)), open: map[net.Conn]bool{}}
	n.running.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			n.running.Go(func() { n.pass(c) })
		}
	})
	return n
}

func (n *network) close() {
	n.listener.Close()
	n.mu.Lock()
	n.closed = true
	for c := range n.open {
		c.Close()
	}
	n.mu.Unlock()
	n.running.Wait()
}

// keep makes close close a connection. It reports false if that is too late.
func (n *network) keep(c net.Conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		c.Close()
	}
	n.open[c] = true
	return !n.closed
}

func (n *network) upTo(most int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.random.IntN(most)
}

func (n *network) pass(near net.Conn) {
	far, err := net.Dial("tcp", n.to.address())
	if err != nil {
		near.Close()
		return
	}
	far.(*net.TCPConn).SetReadBuffer(64 << 10) // so that the server notices soon that it stands still
	if n.keep(near) && n.keep(far) {
		end := func() { near.Close(); far.Close() }
		n.running.Go(func() { defer end(); n.pump(near, far, n.upTo(20<<10)) })
		defer end()
		n.pump(far, near, n.upTo(300<<10))
	}
	n.mu.Lock()
	delete(n.open, near)
	delete(n.open, far)
	n.mu.Unlock()
}

// pump copies until a connection ends, or left bytes have passed.
func (n *network) pump(from, to net.Conn, left int) {
	buf := make([]byte, 4<<10)
	for {
		read, err := from.Read(buf)
		if calm := n.calm.Load(); !calm && read > left {
			to.Write(buf[:left])
			return
		} else if !calm {
			left -= read
			if n.upTo(20) == 0 {
				time.Sleep(time.Duration(n.upTo(soak.Times(500, 8000))) * time.Millisecond)
			}
		}
		if _, writeErr := to.Write(buf[:read]); err != nil || writeErr != nil {
			return
		}
	}
}
