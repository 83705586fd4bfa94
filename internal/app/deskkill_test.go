package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/app/apptest"
	"github.com/parley-go/parley/internal/soak"
)

// worker sends requests one after the other, each until it is answered, whatever happens to the server
// meanwhile.
type worker struct {
	auth     string // payload of CONNECT
	url      *atomic.Value
	room     string // to join after connecting
	client   *apptest.Client
	breaks   int
	progress chan<- struct{}
}

// ask sends a request, which may be repeated, until the server has an answer that is no excuse.
func (w *worker) ask(ctx context.Context, event string, arg, to any) error {
	for {
		var reply json.RawMessage
		var err error
		if w.client == nil {
			w.client, err = apptest.ConnectAs(ctx, w.url.Load().(string), w.auth)
			if err == nil && w.room != "" {
				err = w.client.Call(ctx, "joinRoom", object{"roomId": w.room}, new(answer))
			}
		}
		if err == nil {
			err = w.client.Call(ctx, event, arg, &reply)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", event, ctx.Err())
		}
		if err != nil {
			if w.client != nil {
				w.client.Close()
				w.client = nil
				w.breaks++
			}
			continue
		}
		var refused struct{ Error refusal }
		if err := json.Unmarshal(reply, &refused); err != nil {
			return err
		}
		switch refused.Error.Code {
		case "":
			w.progress <- struct{}{}
			return json.Unmarshal(reply, to)
		case string(conversation.Unavailable), string(conversation.UnknownOutcome):
		default:
			return fmt.Errorf("%s: %s", event, reply)
		}
	}
}

// conversationAtWork is a visitor who writes and edits, and an operator who takes notes and changes
// what the conversation is about.
type conversationAtWork struct {
	visitor, operator worker
	started           chan string // the room
	room              string
	messages          []conversation.Message // as the last acknowledgements have them
	notes             []conversation.Message
}

func (c *conversationAtWork) write(ctx context.Context, n int) error {
	var started conversation.Started
	err := c.visitor.ask(ctx, "startConversation", object{"message": "start", "clientId": "start"}, &started)
	if err != nil {
		return err
	}
	c.started <- started.RoomID
	c.visitor.room = started.RoomID
	if err := c.visitor.ask(ctx, "joinRoom", object{"roomId": started.RoomID}, new(answer)); err != nil {
		return err
	}
	for i := range n {
		var sent, edited conversation.Message
		err := c.visitor.ask(ctx, "sendMessage", object{"roomId": started.RoomID, "message": i, "clientId": fmt.Sprint(i)}, &sent)
		if err == nil {
			err = c.visitor.ask(ctx, "editMessage", object{"roomId": started.RoomID, "seq": sent.Seq, "message": i + 1000}, &edited)
		}
		if err != nil {
			return err
		}
		c.messages = append(c.messages, edited)
	}
	return nil
}

func (c *conversationAtWork) answer(ctx context.Context, n int) error {
	select {
	case c.room = <-c.started:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := c.operator.ask(ctx, "claimRoom", object{"roomId": c.room}, new(conversation.Room)); err != nil {
		return err
	}
	for i := range n {
		var note conversation.Message
		err := c.operator.ask(ctx, "addNote", object{"roomId": c.room, "message": object{"text": fmt.Sprint(i)}, "clientId": fmt.Sprint(i)}, &note)
		if err == nil {
			err = c.operator.ask(ctx, "updateRoom", object{"roomId": c.room, "subject": fmt.Sprint(i)}, new(conversation.Room))
		}
		if err != nil {
			return err
		}
		c.notes = append(c.notes, note)
	}
	return nil
}

// Conversations go on across kill -9: what was acknowledged is there, once and in order, in the
// conversation, in its notes and in its row.
func TestKillWhileAnswering(t *testing.T) {
	kills := soak.Times(3, 500)
	each := 30 * kills
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(kills)*time.Minute)
	defer cancel()
	data := t.TempDir()
	server := startChild(t, data)
	var url atomic.Value
	url.Store(server.url)
	progress := make(chan struct{})
	var all []*conversationAtWork
	var wg sync.WaitGroup
	for n := range 3 {
		c := &conversationAtWork{started: make(chan string, 1)}
		c.visitor = worker{auth: fmt.Sprintf(`{"userId":"v%d"}`, n), url: &url, progress: progress}
		c.operator = worker{auth: fmt.Sprintf(`{"operatorId":"op%d"}`, n), url: &url, progress: progress}
		all = append(all, c)
		for _, work := range []func(context.Context, int) error{c.write, c.answer} {
			wg.Go(func() {
				if err := work(ctx, each); err != nil {
					t.Error(err)
					cancel()
				}
			})
		}
	}
	go func() { wg.Wait(); close(progress) }()
	for range kills {
		for range 20 + rand.IntN(60) {
			<-progress
		}
		go func() { // the workers must not wait while the server starts
			for range rand.IntN(10) {
				<-progress
			}
		}()
		time.Sleep(rand.N(3 * time.Millisecond))
		server.kill()
		server = startChild(t, data)
		url.Store(server.url)
	}
	for range progress {
	}
	if t.Failed() {
		return
	}

	breaks := 0
	for n, c := range all {
		breaks += c.visitor.breaks + c.operator.breaks
		c.visitor.client.Close()
		c.operator.client.Close()
		reader, err := apptest.ConnectAs(ctx, server.url, `{"operatorId":"reader"}`)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		var joined struct {
			Room  conversation.Room
			Notes struct{ Messages []conversation.Message }
			Error refusal
		}
		if err := reader.Call(ctx, "joinRoom", object{"roomId": c.room, "notes": true}, &joined); err != nil || joined.Error.Code != "" {
			t.Fatal(err, joined.Error)
		}
		if r := joined.Room; r.OperatorID != fmt.Sprint("op", n) || r.UserID != fmt.Sprint("v", n) || r.Subject != fmt.Sprint(each-1) {
			t.Errorf("the conversation is %+v", r)
		}
		kept, senders := map[string]string{}, map[string]int{} // by id; by author and client id
		keep := func(m conversation.Message) {
			text, _ := json.Marshal(m)
			kept[m.ID] = string(text)
			if senders[m.OperatorID+" "+m.ClientID]++; m.ClientID != "" && senders[m.OperatorID+" "+m.ClientID] > 1 {
				t.Errorf("%s is there twice", text)
			}
		}
		for after, more := int64(0), true; more; {
			var page struct {
				Messages []conversation.Message
				HasMore  bool
				Error    refusal
			}
			if err := reader.Call(ctx, "history", object{"roomId": c.room, "after": after, "limit": 500}, &page); err != nil || page.Error.Code != "" {
				t.Fatal(err, page.Error)
			}
			for _, m := range page.Messages {
				keep(m)
				after = max(after, m.Seq, m.Rev)
			}
			more = page.HasMore
		}
		if len(kept) != each+1 { // and the first message
			t.Errorf("%d messages, want %d", len(kept), each+1)
		}
		for _, note := range joined.Notes.Messages { // the newest
			keep(note)
		}
		for _, m := range append(c.messages, c.notes[each-5:]...) {
			if told, _ := json.Marshal(m); kept[m.ID] != string(told) {
				t.Errorf("acknowledged %s, kept %s", told, kept[m.ID])
			}
		}
	}
	if breaks < kills {
		t.Errorf("the workers were interrupted %d times: too little to prove anything", breaks)
	}
	server.kill()
	r, err := sqlite.Check(ctx, filepath.Join(data, "parley.db"))
	if err != nil || len(r.Findings) > 0 {
		t.Errorf("check: %q, %v", r.Findings, err)
	}
}
