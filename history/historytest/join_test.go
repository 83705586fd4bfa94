package historytest_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/historytest"
)

func TestJoin(t *testing.T) { historytest.RunJoin(t, openMemory) }

// The suite is worth as much as it catches. Each of these nodes lacks one part of the algorithm and
// must fail.
func TestJoinCatches(t *testing.T) {
	const plans = 120
	for _, test := range []struct {
		name string
		node historytest.NewNode
	}{
		{"history before subscribing", func(s history.Store, b history.Bus) historytest.Node {
			return pageFirst{history.NewLog(s, &history.LogOptions{Bus: b}), s}
		}},
		{"no gap detection", func(s history.Store, b history.Bus) historytest.Node {
			return passOn{s, b}
		}},
		{"a part of what was missed, as if it were all", func(s history.Store, b history.Bus) historytest.Node {
			return silent{history.NewLog(s, &history.LogOptions{Bus: b})}
		}},
		{"no audit", historytest.NewLogNode(&history.LogOptions{AuditEvery: time.Hour})},
		{"dropping what comes while a client is behind", func(s history.Store, b history.Bus) historytest.Node {
			return impatient{history.NewLog(s, &history.LogOptions{Bus: b}), nil}
		}},
		{"reading on without what comes meanwhile", func(s history.Store, b history.Bus) historytest.Node {
			return impatient{history.NewLog(s, &history.LogOptions{Bus: b}), s}
		}},
		{"changes of old messages count as old", func(s history.Store, b history.Bus) historytest.Node {
			return bySeq{history.NewLog(s, &history.LogOptions{Bus: b})}
		}},
		{"after an absence, a page by seq", func(s history.Store, b history.Bus) historytest.Node {
			return pageBySeq{history.NewLog(s, &history.LogOptions{Bus: b})}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := historytest.Failures(t, plans, openMemory(t), test.node)
			t.Logf("caught in %d of %d plans", n, plans)
			if n < plans/40 {
				t.Error("the suite does not catch it")
			}
		})
	}
}

// pageFirst reads the page before it follows the room. Otherwise it is a Log.
type pageFirst struct {
	*history.Log
	store history.Store
}

func (n pageFirst) Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (historytest.Closer, error) {
	ready(readPage(ctx, n.store, room, o))
	return n.Log.Open(ctx, room, history.OpenOptions{}, sub, func(history.Opened) {})
}

// silent does not say that there is more. Otherwise it is a Log.
type silent struct{ *history.Log }

func (n silent) Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (historytest.Closer, error) {
	return n.Log.Open(ctx, room, o, sub, func(opened history.Opened) {
		opened.HasMore = opened.HasMore && o.Epoch == ""
		ready(opened)
	})
}

// bySeq drops messages that do not follow the last one by seq. Otherwise it is a Log.
type bySeq struct{ *history.Log }

func (n bySeq) Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (historytest.Closer, error) {
	return n.Log.Open(ctx, room, o, &bySeqSub{Paced: sub.(history.Paced)}, ready)
}

type bySeqSub struct {
	history.Paced
	last int64
}

func (s *bySeqSub) Deliver(m *history.Live) {
	if m.Message.Seq > s.last {
		s.last = m.Message.Seq
		s.Paced.Deliver(m)
	}
}

// pageBySeq gives a client that comes back what has a larger seq. Otherwise it is a Log.
type pageBySeq struct{ *history.Log }

func (n pageBySeq) Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (historytest.Closer, error) {
	o.CaughtUp = nil
	return n.Log.Open(ctx, room, o, sub, func(opened history.Opened) {
		opened.Messages = slices.DeleteFunc(opened.Messages, func(m history.Message) bool { return m.Seq <= o.Since })
		ready(opened)
	})
}

// passOn follows the room, then reads the page, then passes on what the bus delivers unless it is
// old. It does not look for missing messages.
type passOn struct {
	store history.Store
	bus   history.Bus
}

func (n passOn) Append(ctx context.Context, d history.Draft) (history.Appended, error) {
	results, err := n.store.Append(ctx, []history.Draft{d})
	if err != nil {
		return history.Appended{}, history.ErrUnknownOutcome
	}
	n.bus.Publish(&results[0].Message)
	return results[0], results[0].Err
}

func (n passOn) Edit(ctx context.Context, e history.Edit) (history.Edited, error) {
	edited, err := n.store.(history.Editor).Edit(ctx, e)
	if err == nil {
		n.bus.Publish(&edited.Message)
	}
	return edited, err
}

func (n passOn) Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (historytest.Closer, error) {
	s := &passOnSub{to: sub, opening: true}
	cancel, err := n.bus.Subscribe(ctx, room, s.deliver)
	if err != nil {
		return nil, err
	}
	s.cancel = cancel
	opened := readPage(ctx, n.store, room, o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pos = opened.LastSeq
	ready(opened)
	s.opening = false
	for _, m := range s.buffer {
		s.passLocked(m)
	}
	return s, nil
}

func (n passOn) Close() {}

type passOnSub struct {
	to     history.Subscriber
	cancel func()

	mu      sync.Mutex
	pos     int64
	opening bool
	buffer  []history.Message
}

func (s *passOnSub) deliver(m history.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening {
		s.buffer = append(s.buffer, m)
	} else {
		s.passLocked(m)
	}
}

func (s *passOnSub) passLocked(m history.Message) {
	if n := m.Number(); n > s.pos {
		s.pos = n
		s.to.Deliver(&history.Live{Message: m})
	}
}

func (s *passOnSub) Close() { s.cancel() }

func readPage(ctx context.Context, store history.Store, room string, o history.OpenOptions) history.Opened {
	if o.Epoch == "" {
		s, _ := store.History(ctx, room, history.Page{Limit: o.Limit})
		return history.Opened{Messages: s.Messages, LastSeq: s.Head, HasMore: s.MoreBefore, Epoch: store.Epoch()}
	}
	s, _ := store.Changes(ctx, room, o.Since, history.Limit{Messages: history.MaxLimit})
	return history.Opened{Messages: s.Messages, LastSeq: s.UpTo, Epoch: store.Epoch()}
}

// impatient does not tell its Log that a client is behind. It drops what comes meanwhile. If it has
// a store, it then reads once what was dropped. Otherwise it is a Log.
type impatient struct {
	*history.Log
	store history.Store
}

func (n impatient) Open(ctx context.Context, room string, o history.OpenOptions, sub history.Subscriber, ready func(history.Opened)) (historytest.Closer, error) {
	o.CaughtUp = nil
	s := &impatientSub{to: sub.(history.Paced), store: n.store, room: room}
	return n.Log.Open(ctx, room, o, s, func(o history.Opened) { s.pos = o.LastSeq; ready(o) })
}

type impatientSub struct {
	to    history.Paced
	store history.Store
	room  string

	mu     sync.Mutex
	pos    int64
	behind bool
}

func (s *impatientSub) Deliver(m *history.Live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.behind:
	case s.to.Behind():
		s.behind = true
		s.to.WhenDrained(s.drained)
	default:
		s.passLocked(m)
	}
}

func (s *impatientSub) drained() {
	s.mu.Lock()
	since := s.pos
	s.mu.Unlock()
	var slice history.Slice
	if s.store != nil {
		slice, _ = s.store.Changes(context.Background(), s.room, since, history.Limit{Messages: history.MaxLimit})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range slice.Messages {
		s.passLocked(&history.Live{Message: m})
	}
	s.behind = false
}

func (s *impatientSub) passLocked(m *history.Live) {
	if n := m.Message.Number(); n > s.pos {
		s.pos = n
		s.to.Deliver(m)
	}
}
