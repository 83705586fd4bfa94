package parley_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

func TestErrorsReachHandlers(t *testing.T) {
	logger, logs := logBuffer()
	srv, url := serve(t, &parley.Options{Logger: logger})
	errs := make(chan error, 4)
	srv.OnError(func(_ *parley.Socket, err error) { errs <- err })
	srv.OnError(func(*parley.Socket, error) { panic("in the error handler") })
	failure := errors.New("broken")
	srv.On("fail", func(*parley.Packet) error { return failure })
	srv.On("panic", func(*parley.Packet) error { panic("on purpose") })
	srv.On("alive", func(p *parley.Packet) error { return p.Ack() })
	c, _ := join(t, url, "")

	c.send(`42["fail"]`)
	var e *parley.EventError
	if err := await(t, "error", errs); !errors.As(err, &e) || e.Event != "fail" || e.Answered || !errors.Is(err, failure) {
		t.Errorf("error %#v", err)
	}
	c.send(`421["panic"]`)
	c.expect(`431[{"error":{"code":"internal","message":"internal error"}}]`)
	var p *parley.PanicError
	if err := await(t, "error", errs); !errors.As(err, &e) || !e.Answered || !errors.As(err, &p) || p.Value != "on purpose" || !strings.Contains(string(p.Stack), "TestErrorsReachHandlers") {
		t.Errorf("error %v", err)
	}
	c.send(`422["alive"]`)
	c.expect(`432[]`)
	srv.Close()
	for _, want := range []string{"broken", "on purpose", "in the error handler"} {
		if !strings.Contains(logs.String(), want) {
			t.Errorf("%q was not logged", want)
		}
	}
	if n := srv.Stats().HandlerErrors; n < 2 {
		t.Errorf("HandlerErrors = %d", n)
	}
}

// A handler may return before it knows that it failed.
func TestFail(t *testing.T) {
	srv, url := serve(t, nil)
	errs := make(chan *parley.EventError, 1)
	srv.OnError(func(_ *parley.Socket, err error) {
		var e *parley.EventError
		errors.As(err, &e)
		errs <- e
	})
	srv.On("later", func(p *parley.Packet) error {
		go p.Fail(&parley.Error{Code: "c", Message: "m"})
		return nil
	})
	c, _ := join(t, url, "")
	c.send(`421["later"]`)
	c.expect(`431[{"error":{"code":"c","message":"m"}}]`)
	if e := await(t, "error", errs); e == nil || e.Event != "later" || !e.Answered {
		t.Errorf("error %+v", e)
	}
	c.send(`42["later"]`)
	if e := await(t, "error", errs); e == nil || e.Answered {
		t.Errorf("error %+v", e)
	}
}

// An error as the acknowledgement, like JavaScript's callback(err), refuses the event.
func TestAckWithError(t *testing.T) {
	srv, url := serve(t, nil)
	errs := make(chan *parley.EventError, 1)
	srv.OnError(func(_ *parley.Socket, err error) {
		var e *parley.EventError
		errors.As(err, &e)
		errs <- e
	})
	again := make(chan error, 1)
	srv.On("coded", func(p *parley.Packet) error {
		err := p.Ack(fmt.Errorf("wrapped: %w", &parley.Error{Code: "c", Message: "m"}))
		again <- p.Ack(errors.New("another one"))
		return err
	})
	srv.On("plain", func(p *parley.Packet) error { return p.Ack(errors.New("the password is hunter2")) })
	srv.On("no error", func(p *parley.Packet) error { return p.Ack(error(nil)) })
	srv.On("several", func(p *parley.Packet) error { return p.Ack(errors.New("the password is hunter2"), 1) })
	c, _ := join(t, url, "")
	for _, tt := range []struct{ event, want string }{
		{"coded", `{"error":{"code":"c","message":"m"}}`},
		{"plain", `{"error":{"code":"internal","message":"internal error"}}`},
		{"several", `{"error":{"code":"internal","message":"internal error"}}`},
	} {
		c.send(`421["` + tt.event + `"]`)
		c.expect(`431[` + tt.want + `]`)
		if e := await(t, "error", errs); e == nil || e.Event != tt.event || !e.Answered {
			t.Errorf("error %+v", e)
		}
	}
	if err := await(t, "second Ack", again); err != parley.ErrAcknowledged {
		t.Errorf("second Ack: %v", err)
	}
	c.send(`421["no error"]`)
	c.expect(`431[null]`)
	c.send(`42["plain"]`) // without acknowledgement; OnError is called all the same
	if e := await(t, "error", errs); e == nil || e.Event != "plain" || e.Answered {
		t.Errorf("error %+v", e)
	}
}

// You can pass on replies as arguments.
func TestRepliesAsArguments(t *testing.T) {
	srv, url := serve(t, nil)
	srv.On("ask", func(p *parley.Packet) error {
		replies, err := srv.To("asked").Timeout(patience).EmitWithAck(p.Context(), "question")
		if err != nil {
			return err
		}
		return p.Ack(replies, replies[0])
	})
	srv.On("join", func(p *parley.Packet) error {
		if err := p.Socket().Join("asked"); err != nil {
			return err
		}
		return p.Ack()
	})
	c, _ := join(t, url, "")
	other, _ := join(t, url, "")
	other.send(`421["join"]`)
	other.expect(`431[]`)
	for _, tt := range []struct{ reply, want string }{
		{`[{"a":"é"}]`, `{"a":"é"}`},
		{`["a",1]`, `["a",1]`},
		{`[]`, `null`},
		{`[{"error":{"code":"c","message":"m"}}]`, `{"error":{"code":"c","message":"m"}}`},
	} {
		c.send(`427["ask"]`)
		id, _ := strings.CutSuffix(strings.TrimPrefix(other.recv(), "42"), `["question"]`)
		other.send("43" + id + tt.reply)
		c.expect(`437[[` + tt.want + `],` + tt.want + `]`)
	}
	c.send(`427["ask"]`)
	id, _ := strings.CutSuffix(strings.TrimPrefix(other.recv(), "42"), `["question"]`)
	other.send("461-" + id + `[{"file":{"_placeholder":true,"num":0}}]`)
	other.sendBinary([]byte("data"))
	c.expect(`437[[{"file":"ZGF0YQ=="}],{"file":"ZGF0YQ=="}]`)
}

// panicsEncoded is a value that panics when it is encoded.
type panicsEncoded struct{}

func (panicsEncoded) MarshalJSON() ([]byte, error) { panic("in MarshalJSON") }

func TestAnswersThatCannotBeEncoded(t *testing.T) {
	srv, url := serve(t, nil)
	srv.On("error", func(*parley.Packet) error { return &parley.Error{Code: "c", Data: panicsEncoded{}} })
	srv.On("answer", func(p *parley.Packet) error { return p.Ack(panicsEncoded{}) })
	srv.On("nil", func(*parley.Packet) error { return (*parley.Error)(nil) })
	c, _ := join(t, url, "")
	for _, event := range []string{"error", "answer", "nil"} {
		c.send(`421["` + event + `"]`)
		c.expect(`431[{"error":{"code":"internal","message":"internal error"}}]`)
	}
}

func TestListenersThatPanic(t *testing.T) {
	logger, logs := logBuffer()
	srv, url := serve(t, &parley.Options{Logger: logger, Recovery: &parley.Recovery{}})
	srv.OfFunc(func(context.Context, string, json.RawMessage) bool { return true })
	srv.OnRoom(func(parley.RoomEvent) { panic("in OnRoom") })
	srv.OnAnyOutgoing(func(string, []json.RawMessage) { panic("in OnAnyOutgoing") })
	srv.OnNewNamespace(func(*parley.Namespace) { panic("in OnNewNamespace") })
	srv.OnDisconnect(func(*parley.Socket, parley.Reason) { panic("in OnDisconnect") })

	c := dial(t, url)
	first := c.connect("", "")
	c.send("40/new,")
	c.expect(`44/new,{"message":"Invalid namespace"}`) // its middleware may be missing
	if err := srv.Emit("hello"); err != nil {
		t.Fatal(err)
	}
	c.recv()
	c.cut()
	for srv.Socket(first.SID) != nil {
		time.Sleep(time.Millisecond)
	}
	if err := srv.To(first.SID).Emit("missed"); err != nil {
		t.Fatal(err)
	}
	c = dial(t, url)
	missed, again := missedUntilConnect(t, c, back(first.PID, ""))
	if len(missed) != 2 || again.SID != first.SID {
		t.Errorf("came back as %q, missed %q", again.SID, missed)
	}
	c.cut()
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"OnRoom", "OnAnyOutgoing", "OnNewNamespace", "OnDisconnect"} {
		if !strings.Contains(logs.String(), "in "+where) {
			t.Errorf("the panic in %s was not logged", where)
		}
	}
}
