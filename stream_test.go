package parley_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/parley-go/parley"
)

const count = parley.RPC[int, string]("count")

// A handler that answers early: what it emits afterwards arrives after the answer, in order.
func TestHandleStream(t *testing.T) {
	srv, url := serve(t, nil)
	type report struct{ event *parley.EventError }
	reports := make(chan report, 8)
	srv.OnError(func(_ *parley.Socket, err error) {
		var e *parley.EventError
		errors.As(err, &e)
		reports <- report{e}
	})
	acks := make(chan error, 8)
	parley.HandleStream(srv, count, func(_ context.Context, s *parley.Socket, n int, ack func(string) error) error {
		switch n {
		case -1:
			return &parley.Error{Code: "negative", Message: "no"}
		case -2:
			return nil // no answer
		case -3:
			panic("on purpose")
		case -4:
			ack("begun")
			return errors.New("the rest failed")
		}
		acks <- ack("begun")
		acks <- ack("again")
		for range n {
			if err := reset.Emit(s, parley.None{}); err != nil {
				return err
			}
		}
		return nil
	})
	c, _ := join(t, url, "")
	c.send(`421["count",2]`)
	c.expect(`431["begun"]`)
	c.expect(`42["reset"]`)
	c.expect(`42["reset"]`)
	if first, second := await(t, "ack", acks), await(t, "second ack", acks); first != nil || second != parley.ErrAcknowledged {
		t.Errorf("ack returned %v, then %v", first, second)
	}
	c.send(`42["count",1]`) // without an acknowledgement, the events come all the same
	c.expect(`42["reset"]`)
	for _, tt := range []struct{ send, answer, reported string }{
		{`422["count",-1]`, `432[{"error":{"code":"negative","message":"no"}}]`, "negative"},
		{`423["count",-2]`, `433[{"error":{"code":"internal","message":"internal error"}}]`, "without an answer"},
		{`424["count",-3]`, `434[{"error":{"code":"internal","message":"internal error"}}]`, "on purpose"},
		{`425["count",-4]`, `435["begun"]`, "the rest failed"},
		{`426["count","x"]`, `436[{"error":{"code":"bad_payload","message":"argument 1 does not have the expected type"}}]`, "argument"},
	} {
		c.send(tt.send)
		c.expect(tt.answer)
		if r := await(t, "report", reports); r.event == nil || !r.event.Answered || !strings.Contains(r.event.Error(), tt.reported) {
			t.Errorf("%s: reported %v, want %q", tt.send, r.event, tt.reported)
		}
	}
	for name, register := range map[string]func(){
		"a second handler": func() {
			parley.Handle(srv, count, func(context.Context, *parley.Socket, int) (string, error) { return "", nil })
		},
		"nil": func() { parley.HandleStream[int, string](srv, "other", nil) },
	} {
		if text := panics(register); !strings.HasPrefix(text, "parley: ") {
			t.Errorf("%s: panic %q", name, text)
		}
	}
}
