package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// A desk is a service with people, in a synctest bubble.
type desk struct {
	*testing.T
	*chat.Service
	store *hooked
	log   *history.Log
	hall  *hall
	n     int
}

// hooked is a store that calls a function, once, when a page is read.
type hooked struct {
	*history.Memory
	hook atomic.Pointer[func()]
}

func (s *hooked) History(ctx context.Context, room string, p history.Page) (history.Slice, error) {
	if hook := s.hook.Swap(nil); hook != nil {
		(*hook)()
	}
	return s.Memory.History(ctx, room, p)
}

// A person is a client with what it hears.
type person struct {
	*chat.Client
	desk *desk
	peer *peer
}

// atDesk runs f with a closed server, or with what setUp makes of it.
func atDesk(t *testing.T, setUp func(*chat.Options), f func(d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		store := &hooked{Memory: history.NewMemory()}
		log := history.NewLog(store, nil)
		defer log.Close()
		h := &hall{members: map[string][]*peer{}}
		o := chat.Options{
			PageSize: 50, MaxPage: 500, PageBytes: 1 << 20, MaxMessage: maxMessage, Timeout: 10 * time.Second, Announcer: h,
			Closed: func() bool { return true }, EditWindow: 24 * time.Hour,
			Failed: func(doing string, err error) { t.Errorf("%s: %v", doing, err) },
		}
		if setUp != nil {
			setUp(&o)
		}
		f(&desk{T: t, Service: chat.New(store, log, o), store: store, log: log, hall: h})
		synctest.Wait()
	})
}

// with returns a client with an identity; nil: none.
func (d *desk) with(who *auth.Identity) *person {
	d.n++
	p := &peer{id: fmt.Sprintf("socket%02d", d.n), hall: d.hall}
	c := d.Connect(p)
	d.Cleanup(c.Close)
	if who != nil {
		if err := c.SetIdentity(d.Context(), who); err != nil {
			d.Fatal(err)
		}
	}
	return &person{c, d, p}
}

func (d *desk) user(id string) *person {
	return d.with(&auth.Identity{Subject: id, Role: auth.User, Name: strings.ToUpper(id), Email: id + "@example.com"})
}

func (d *desk) visitor(id string) *person {
	return d.with(&auth.Identity{Subject: id, Role: auth.User, Visitor: true})
}

func (d *desk) operator(id string) *person {
	return d.with(&auth.Identity{Subject: id, Role: auth.Operator, Name: strings.ToUpper(id)})
}

// holder returns an operator who is to have a conversation; "" is nobody.
func holder(id string) conversation.Holder { return conversation.Holder{Given: true, OperatorID: id} }

// start begins a conversation with a message and returns its id.
func (p *person) start(message string) string {
	p.desk.Helper()
	started, err := p.StartConversation(p.desk.Context(), conversation.StartRequest{Message: text(message)})
	if err != nil {
		p.desk.Fatal(err)
	}
	return started.RoomID
}

func (p *person) join(room string) (joined chat.Joined) {
	p.desk.Helper()
	joined, err := p.tryJoin(conversation.JoinRequest{RoomID: room})
	if err != nil {
		p.desk.Fatal(err)
	}
	return joined
}

func (p *person) tryJoin(q conversation.JoinRequest) (joined chat.Joined, err error) {
	err = p.Join(p.desk.Context(), chat.Principal{UserID: q.UserID, OperatorID: q.OperatorID, Name: q.Name}, q, func(j chat.Joined) { joined = j })
	return joined, err
}

func (p *person) send(room, message string) history.Message {
	p.desk.Helper()
	m, err := p.trySend(conversation.SendRequest{RoomID: room, Message: text(message)})
	if err != nil {
		p.desk.Fatal(err)
	}
	return m
}

func (p *person) trySend(q conversation.SendRequest) (m history.Message, err error) {
	stored := make(chan error, 1)
	if err := p.Send(p.desk.Context(), q, func(sent history.Message, err error) { m = sent; stored <- err }); err != nil {
		return m, err
	}
	return m, <-stored
}

func (p *person) mark(room string, seq int64) (m conversation.Marked, err error) {
	marked := make(chan error, 1)
	q := conversation.MarkRequest{RoomID: room, Seq: seq}
	if err := p.MarkRead(p.desk.Context(), q, func(answer conversation.Marked, err error) { m = answer; marked <- err }); err != nil {
		return m, err
	}
	return m, <-marked
}

// heard returns what the person has heard since the last call.
func (p *person) heard() []string {
	synctest.Wait()
	p.peer.mu.Lock()
	defer p.peer.mu.Unlock()
	said := p.peer.said
	p.peer.said = nil
	return said
}

// hears fails unless the person has heard something with each of these parts since the last call, and
// nothing else. What concerns different logs may come in any order.
func (p *person) hears(parts ...string) {
	p.desk.Helper()
	said := p.heard()
	left := slices.Clone(parts)
	for _, s := range said {
		if i := slices.IndexFunc(left, func(part string) bool { return strings.Contains(s, part) }); i >= 0 {
			left = slices.Delete(left, i, i+1)
		}
	}
	if len(left) > 0 || len(said) != len(parts) {
		p.desk.Errorf("%s heard %q, want %q", p.peer.id, said, parts)
	}
}

func text(s string) json.RawMessage {
	b, _ := json.Marshal(map[string]string{"text": s})
	return b
}

// notes returns the notes of a conversation.
func (d *desk) notes(room string) (contents []string) {
	slice, err := d.store.History(context.Background(), history.NotesRoom(room), history.Page{})
	if err != nil {
		d.Fatal(err)
	}
	for i := range slice.Messages {
		contents = append(contents, string(slice.Messages[i].Message))
	}
	return contents
}

// ears is a feed that records what it gets.
type ears struct{ peer }

func (e *ears) Opened(chat.Position, bool) {}
func (e *ears) CaughtUp(chat.Position)     {}
func (e *ears) Lost(err error)             { e.hear("lost: %v", err) }
