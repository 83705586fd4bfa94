package adaptertest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
)

// Network makes the buses of a test. They reach each other.
type Network struct {
	// Connect returns one more bus.
	Connect func() adapter.Bus

	// Cut takes a bus off the network, or puts it back. Nil: this is not tested.
	Cut func(b adapter.Bus, cut bool)
}

// RunBus checks what a Bus promises. start is called for each test, and may clean up with t.Cleanup
// after the buses are closed.
func RunBus(t *testing.T, start func(t *testing.T) Network) {
	for name, run := range map[string]func(*testing.T, Network){
		"Arrives": busArrives, "Order": busOrder, "Active": busActive, "Close": busClose, "Topics": busTopics,
		"Same": busSame, "Sizes": busSizes, "Many": busMany, "Cut": busCut, "Closed": busClosed,
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t)
			connect := n.Connect
			n.Connect = func() adapter.Bus {
				b := connect()
				t.Cleanup(func() {
					if err := b.Close(); err != nil {
						t.Error(err)
					}
				})
				return b
			}
			run(t, n)
		})
	}
}

// patience is how long a test waits for what must happen.
const patience = 2 * time.Minute

// Eventually waits until ok is true.
func Eventually(t TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// TB is what the suite needs of testing.TB.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// ear writes down what it hears.
type ear struct {
	mu    sync.Mutex
	heard []string
}

func (e *ear) deliver(data []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, string(data))
}

func (e *ear) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

func (e *ear) has(texts ...string) func() bool {
	return func() bool {
		all := e.all()
		return !slices.ContainsFunc(texts, func(text string) bool { return !slices.Contains(all, text) })
	}
}

// listen listens, and waits until that is active.
func listen(t TB, b adapter.Bus, topic string) (*ear, adapter.Listening) {
	t.Helper()
	e := &ear{}
	l := b.Listen(topic, e.deliver)
	select {
	case <-l.Active():
	case <-time.After(patience):
		t.Fatalf("the topic %q never became active", topic)
	}
	return e, l
}

func publish(t TB, b adapter.Bus, topic, text string) {
	t.Helper()
	if err := b.Publish(topic, []byte(text)); err != nil {
		t.Fatalf("publishing to %q: %v", topic, err)
	}
}

func busArrives(t *testing.T, n Network) {
	a, b, c := n.Connect(), n.Connect(), n.Connect()
	ea, _ := listen(t, a, "topic")
	eb, _ := listen(t, b, "topic")
	ec, _ := listen(t, c, "another")
	publish(t, a, "topic", "one")
	publish(t, c, "topic", "two")
	publish(t, a, "another", "end")
	for _, e := range []*ear{ea, eb} {
		Eventually(t, "what was published, also by itself", e.has("one", "two"))
	}
	Eventually(t, "the other topic", ec.has("end"))
	for _, e := range []*ear{ea, eb} {
		if got := e.all(); len(got) != 2 {
			t.Errorf("heard %q", got)
		}
	}
	if got := ec.all(); len(got) != 1 {
		t.Errorf("heard %q", got)
	}
}

// What a server sends to any topics keeps its order.
func busOrder(t *testing.T, n Network) {
	const topics, each = 5, 400
	senders, receiver := []adapter.Bus{n.Connect(), n.Connect()}, n.Connect()
	e := &ear{}
	for i := range topics {
		l := receiver.Listen(fmt.Sprint("topic ", i), e.deliver)
		<-l.Active()
	}
	var all sync.WaitGroup
	for s, bus := range senders {
		all.Go(func() {
			for i := range each {
				if err := bus.Publish(fmt.Sprint("topic ", i%topics), fmt.Append(nil, s, " ", i)); err != nil {
					t.Errorf("publishing: %v", err)
				}
			}
		})
	}
	all.Wait()
	Eventually(t, "all messages", func() bool { return len(e.all()) >= each*len(senders) })
	next := map[string][]int{}
	perTopic := receiver.Caps().Order == adapter.PerTopic
	for _, text := range e.all() {
		var s, i int
		if _, err := fmt.Sscan(text, &s, &i); err != nil {
			t.Fatalf("heard %q", text)
		}
		key := fmt.Sprint(s)
		if perTopic {
			key += fmt.Sprint(" ", i%topics)
		}
		if last := next[key]; len(last) > 0 && i <= last[len(last)-1] {
			t.Fatalf("%d of sender %d came after %d", i, s, last[len(last)-1])
		}
		next[key] = append(next[key], i)
	}
	if n := len(e.all()); n != each*len(senders) {
		t.Errorf("%d of %d messages arrived", n, each*len(senders))
	}
}

// As soon as it is active, everything arrives.
func busActive(t *testing.T, n Network) {
	a, b := n.Connect(), n.Connect()
	for i := range 100 {
		topic := fmt.Sprint("active ", i)
		e, _ := listen(t, b, topic)
		publish(t, a, topic, "first")
		Eventually(t, "the first message after Active", e.has("first"))
	}
}

func busClose(t *testing.T, n Network) {
	a, b := n.Connect(), n.Connect()
	first, l := listen(t, b, "topic")
	publish(t, a, "topic", "before")
	Eventually(t, "the message", first.has("before"))
	l.Close()
	l.Close() // no harm
	other, _ := listen(t, b, "other")
	publish(t, a, "topic", "after")
	publish(t, a, "other", "end")
	Eventually(t, "the end", other.has("end"))
	if got := first.all(); len(got) != 1 {
		t.Errorf("after Close, it heard %q", got)
	}
	again, _ := listen(t, b, "topic")
	publish(t, a, "topic", "again")
	Eventually(t, "what comes after listening again", again.has("again"))
	if got := first.all(); len(got) != 1 {
		t.Errorf("after Close, it heard %q", got)
	}
}

// A topic may have any name.
func busTopics(t *testing.T, n Network) {
	a, b := n.Connect(), n.Connect()
	names := []string{
		"c", "n/0123456789abcdef", "r//room", "r/chat/room", "a b", "*", "r/*", "r/?", "r/[a-z]", `back\slash`, "dots.and.more", ">", "a.>", "tab\tnew\nline",
		"é€😀", "\x00", "\xff\xfe", "{slot}", "quote\"'`", strings.Repeat("long ", 1000),
	}
	ears := make([]*ear, len(names))
	for i, name := range names {
		ears[i], _ = listen(t, b, name)
	}
	for i, name := range names {
		publish(t, a, name, fmt.Sprint("to ", i))
	}
	for i, e := range ears {
		Eventually(t, fmt.Sprintf("the message to %q", names[i]), e.has(fmt.Sprint("to ", i)))
	}
	for i, e := range ears {
		if got := e.all(); len(got) != 1 {
			t.Errorf("%q heard %q", names[i], got)
		}
	}
}

// Messages may be equal.
func busSame(t *testing.T, n Network) {
	a, b := n.Connect(), n.Connect()
	e, _ := listen(t, b, "topic")
	for range 100 {
		publish(t, a, "topic", "the same")
	}
	publish(t, a, "topic", "end")
	Eventually(t, "the end", e.has("end"))
	if n := len(e.all()); n != 101 {
		t.Errorf("%d of 101 messages arrived", n)
	}
}

func busSizes(t *testing.T, n Network) {
	a, b := n.Connect(), n.Connect()
	e, _ := listen(t, b, "topic")
	most := min(a.Caps().MaxMessage, 4<<20)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	sent := [][]byte{{}, {0}, every, bytes.Repeat([]byte("x"), 7999), bytes.Repeat([]byte("y"), 8000), bytes.Repeat([]byte("z"), 70_000), make([]byte, most)}
	for _, data := range sent {
		if err := a.Publish("topic", data); err != nil {
			t.Fatalf("publishing %d bytes: %v", len(data), err)
		}
	}
	Eventually(t, "all sizes", func() bool { return len(e.all()) >= len(sent) })
	for i, got := range e.all() {
		if got != string(sent[i]) {
			t.Errorf("message %d differs: %d bytes, not %d", i, len(got), len(sent[i]))
		}
	}
	if err := a.Publish("topic", make([]byte, a.Caps().MaxMessage+1)); !errors.Is(err, adapter.ErrTooLarge) {
		t.Errorf("a message that is too large: %v", err)
	}
	publish(t, a, "topic", "still here")
	Eventually(t, "the next message", e.has("still here"))
}

func busMany(t *testing.T, n Network) {
	a, b := n.Connect(), n.Connect()
	const many = 2000
	e := &ear{}
	all := make([]adapter.Listening, many)
	for i := range all {
		all[i] = b.Listen(fmt.Sprint("many ", i), e.deliver)
	}
	for _, l := range all {
		<-l.Active()
	}
	for i := range many {
		publish(t, a, fmt.Sprint("many ", i), fmt.Sprint(i))
	}
	Eventually(t, "a message of each topic", func() bool { return len(e.all()) == many })
	for _, l := range all {
		l.Close()
	}
	end, _ := listen(t, b, "end")
	publish(t, a, "many 7", "late")
	publish(t, a, "end", "end")
	Eventually(t, "the end", end.has("end"))
	if got := len(e.all()); got != many {
		t.Errorf("after Close, %d more arrived", got-many)
	}
}

func busCut(t *testing.T, n Network) {
	if n.Cut == nil {
		return
	}
	a, b := n.Connect(), n.Connect()
	before, _ := listen(t, b, "before")
	var mu sync.Mutex
	var states []adapter.State
	stop := b.Watch(func(s adapter.State) {
		mu.Lock()
		defer mu.Unlock()
		states = append(states, s)
	})
	defer stop()
	saw := func(s adapter.State) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return slices.Contains(states, s)
		}
	}
	for round := range 3 {
		mu.Lock()
		states = nil
		mu.Unlock()
		n.Cut(b, true)
		Eventually(t, "Down", saw(adapter.Down))
		during := &ear{}
		l := b.Listen(fmt.Sprint("during ", round), during.deliver)
		n.Cut(b, false)
		Eventually(t, "Up", saw(adapter.Up))
		select {
		case <-l.Active():
		case <-time.After(patience):
			t.Fatalf("what was listened to meanwhile never became active")
		}
		text := fmt.Sprint("after ", round)
		publish(t, a, "before", text)
		publish(t, a, fmt.Sprint("during ", round), text)
		Eventually(t, "what was listened to before", before.has(text))
		Eventually(t, "what was listened to meanwhile", during.has(text))
	}
}

func busClosed(t *testing.T, n Network) {
	b := n.Connect()
	_, l := listen(t, b, "topic")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("topic", []byte("late")); !errors.Is(err, adapter.ErrClosed) {
		t.Errorf("publishing after Close: %v", err)
	}
	l.Close()
	b.Listen("another", func([]byte) { t.Error("it heard something") }).Close()
}
