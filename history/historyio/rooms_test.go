package historyio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historyio"
)

// peer is a client whose failures fail the test.
type peer struct {
	*client
	t   *testing.T
	ctx context.Context
}

func dial(t *testing.T, s *server) *peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	p := &peer{&client{url: s.url}, t, ctx}
	t.Cleanup(func() { p.conn.CloseNow(); cancel() })
	if missed := p.back(); len(missed) > 0 {
		t.Fatalf("before CONNECT: %q", missed)
	}
	return p
}

// back connects, possibly again, and returns the events before the answer.
func (p *peer) back() []string {
	p.t.Helper()
	missed, err := p.dial(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return missed
}

// ask emits an event and returns its acknowledgement.
func (p *peer) ask(event string, arg any) string {
	p.t.Helper()
	answer, err := p.client.ask(p.ctx, event, arg)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer
}

func (p *peer) join(q joinRequest) (opened history.Opened) {
	p.t.Helper()
	answer := []*history.Opened{&opened}
	if err := json.Unmarshal([]byte(p.ask("join", q)), &answer); err != nil {
		p.t.Fatal(err)
	}
	return opened
}

// put sends a packet.
func (p *peer) put(packet string) {
	p.t.Helper()
	if err := p.write(p.ctx, packet); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) expect(prefix string) string {
	p.t.Helper()
	packet, err := p.next(p.ctx, prefix)
	if err != nil {
		p.t.Fatal(err)
	}
	return packet
}

// hear expects live messages.
func (p *peer) hear(texts ...string) {
	p.t.Helper()
	for _, want := range texts {
		if got := said(p.t, p.expect(`42["newMessage"`)); got[0] != want {
			p.t.Fatalf("heard %q, want %q", got, want)
		}
	}
}

// said returns the texts of newMessage events.
func said(t *testing.T, packets ...string) (texts []string) {
	t.Helper()
	for _, packet := range packets {
		m, err := message(packet)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, strings.Trim(string(m.Message), `"`))
	}
	return texts
}

// drop cuts the connection and waits until the server has noticed.
func (p *peer) drop(s *server) {
	p.t.Helper()
	p.conn.CloseNow()
	select {
	case <-s.gone:
	case <-p.ctx.Done():
		p.t.Fatal("the server does not notice that the client is gone")
	}
}

func TestJoinAndLeave(t *testing.T) {
	for name, o := range map[string]*historyio.Options{"default": nil, "encoded once": {EncodeOnce: true}} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, history.NewMemory(), nil, o)
			s.say(t, "r", "one")
			a, b := dial(t, s), dial(t, s)
			opened := a.join(joinRequest{Room: "r"})
			if len(opened.Messages) != 1 || opened.LastSeq != 1 {
				t.Errorf("opened: %+v", opened)
			}
			b.join(joinRequest{Room: "r"})
			s.say(t, "r", "two")
			a.hear("two")
			b.hear("two")
			// Joining again does not change what follows.
			if again := a.join(joinRequest{Room: "r", After: 1, Epoch: opened.Epoch}); len(again.Messages) != 1 || again.Messages[0].Seq != 2 {
				t.Errorf("opened again: %+v", again)
			}
			s.say(t, "r", "three")
			a.hear("three")
			a.ask("leave", "r")
			a.ask("leave", "r")
			s.say(t, "r", "four")
			b.hear("three", "four")
			if back := a.join(joinRequest{Room: "r", After: 3, Epoch: opened.Epoch}); len(back.Messages) != 1 || back.Messages[0].Seq != 4 {
				t.Errorf("opened after leaving: %+v", back)
			}
			s.say(t, "r", "five")
			a.hear("five")
			if got := a.ask("join", joinRequest{Room: "\n"}); !strings.Contains(got, `"error"`) {
				t.Errorf("a bad room: %s", got)
			}
		})
	}
}

func TestRecovery(t *testing.T) {
	s := serve(t, history.NewMemory(), &parley.Recovery{}, nil)
	a := dial(t, s)
	a.join(joinRequest{Room: "r"})
	a.join(joinRequest{Room: "left"})
	a.join(joinRequest{Room: "other"})
	a.ask("leave", "left")
	s.say(t, "r", "heard")
	a.hear("heard")
	s.say(t, "r", "on its way") // it may arrive, but nobody reads it
	a.drop(s)
	s.say(t, "r", "missed")
	s.say(t, "left", "not for a")
	missed := said(t, a.back()...)
	if len(missed) > 0 && missed[0] == "on its way" {
		missed = missed[1:]
	} else {
		a.hear("on its way")
	}
	if len(missed) == 0 {
		a.hear("missed")
	}
	s.say(t, "r", "live")
	a.hear("live")
	s.say(t, "other", "other room")
	a.hear("other room")
	// A client that is not recovered starts from the beginning.
	a.drop(s)
	a.pid = ""
	a.back()
	s.say(t, "r", "not for a")
	if opened := a.join(joinRequest{Room: "r"}); opened.LastSeq != 5 {
		t.Errorf("opened: %+v", opened)
	}
}

// However often the connection is lost, each message arrives once and in order.
func TestRecoveryAgainAndAgain(t *testing.T) {
	const cuts, each = 40, 50
	s := serve(t, history.NewMemory(), &parley.Recovery{}, nil)
	a := dial(t, s)
	a.join(joinRequest{Room: "r"})
	next := 0
	take := func(packets ...string) {
		t.Helper()
		for _, text := range said(t, packets...) {
			if text != fmt.Sprint(next) {
				t.Fatalf("message %s, want %d", text, next)
			}
			next++
		}
	}
	for cut := range cuts {
		told := make(chan error, 1)
		go func() {
			var err error
			for n := cut * each; n < (cut+1)*each && err == nil; n++ {
				_, err = s.log.Append(a.ctx, history.Draft{RoomID: "r", UserID: "u", Message: fmt.Append(nil, `"`, n, `"`)})
			}
			told <- err
		}()
		for range rand.N(each) {
			take(a.expect("42"))
		}
		a.drop(s)
		take(a.back()...)
		if err := <-told; err != nil {
			t.Fatal(err)
		}
	}
	for next < cuts*each {
		take(a.expect("42"))
	}
}

// A client that missed many bytes receives all of them, in order and once, and then live messages.
func TestRecoveryInPieces(t *testing.T) {
	const missed, size = 100, 20_000 // four times as much as is read at once
	s := serve(t, history.NewMemory(), &parley.Recovery{}, nil)
	a := dial(t, s)
	a.join(joinRequest{Room: "r"})
	a.drop(s)
	padding := strings.Repeat("x", size)
	for n := range missed {
		s.say(t, "r", fmt.Sprint(n, " ", padding))
	}
	got := said(t, a.back()...)
	s.say(t, "r", fmt.Sprint(missed, " live"))
	for len(got) <= missed {
		got = append(got, said(t, a.expect("42"))...)
	}
	for n, text := range got {
		if !strings.HasPrefix(text, fmt.Sprint(n, " ")) {
			t.Fatalf("message %.10s, want %d", text, n)
		}
	}
}

// A client that comes back gets what it missed, however much that is.
func TestRecoveryOfMuch(t *testing.T) {
	const n = 3 * history.MaxLimit
	s := serve(t, history.NewMemory(), &parley.Recovery{MaxBytes: 100}, nil)
	a := dial(t, s)
	a.join(joinRequest{Room: "r"})
	s.say(t, "r", "heard")
	a.hear("heard")
	a.drop(s)
	for range n {
		s.say(t, "r", "missed")
	}
	missed := said(t, a.back()...)
	for range n - len(missed) {
		a.hear("missed")
	}
	s.say(t, "r", "live")
	a.hear("live")
}

// A client whose room was replaced, or cannot be read, is told to join again.
func TestRecoveryThatCannotGoOn(t *testing.T) {
	broken := &brokenStore{Store: history.NewMemory()}
	var lost atomic.Pointer[error]
	for name, test := range map[string]struct {
		options *historyio.Options
		away    func(s *server)
		expect  string
		err     error
	}{
		"replaced": {nil, func(*server) { epoch := "other"; broken.epoch.Store(&epoch) }, `42["rejoin","replaced",`, nil},
		"broken": {&historyio.Options{Lost: func(s *parley.Socket, room string, err error) {
			lost.Store(&err)
			s.Emit("lost", room)
		}}, func(*server) { broken.broken.Store(true) }, `42["lost","broken",`, errDisk},
	} {
		t.Run(name, func(t *testing.T) {
			broken.broken.Store(false)
			broken.epoch.Store(nil)
			s := serve(t, broken, &parley.Recovery{}, test.options)
			a := dial(t, s)
			a.join(joinRequest{Room: name})
			s.say(t, name, "heard")
			a.hear("heard")
			a.drop(s)
			test.away(s)
			if missed := a.back(); len(missed) > 0 {
				t.Errorf("missed %q", missed)
			}
			a.expect(test.expect)
			if test.err != nil && !errors.Is(*lost.Load(), test.err) {
				t.Errorf("lost: %v", *lost.Load())
			}
			broken.broken.Store(false)
			s.say(t, name, "not for a")
			a.join(joinRequest{Room: name})
			s.say(t, name, "live")
			a.hear("live")
		})
	}
}

var errDisk = errors.New("disk on fire")

// brokenStore fails to read while it is broken.
type brokenStore struct {
	history.Store
	broken atomic.Bool
	epoch  atomic.Pointer[string] // if not nil
}

func (b *brokenStore) Epoch() string {
	if epoch := b.epoch.Load(); epoch != nil {
		return *epoch
	}
	return b.Store.Epoch()
}

func (b *brokenStore) Changes(ctx context.Context, room string, since int64, l history.Limit) (history.Slice, error) {
	if b.broken.Load() {
		return history.Slice{}, errDisk
	}
	return b.Store.Changes(ctx, room, since, l)
}

// Argument is called once for each message, whatever the number of receivers.
func TestArgument(t *testing.T) {
	var made atomic.Int32
	s := serve(t, history.NewMemory(), nil, &historyio.Options{Event: "said", Argument: func(m *history.Message) any {
		made.Add(1)
		return string(m.Message)
	}})
	a, b := dial(t, s), dial(t, s)
	a.join(joinRequest{Room: "r"})
	b.join(joinRequest{Room: "r"})
	s.say(t, "r", "x")
	for _, p := range []*peer{a, b} {
		if got := p.expect("42"); got != `42["said","\"x\""]` {
			t.Errorf("heard %s", got)
		}
	}
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}
