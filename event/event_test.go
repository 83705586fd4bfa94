package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/event"
)

type point struct{ X, Y int }

const (
	moved = event.Event[point]("moved")
	begin = event.Event[event.None]("begin")
	draw  = event.Event2[string, point]("draw")
	add   = event.RPC[point, int]("add")
)

// recorder records what is emitted.
type recorder struct {
	event string
	args  []any
}

func (r *recorder) Emit(event string, args ...any) error {
	r.event, r.args = event, args
	return nil
}

func TestEmit(t *testing.T) {
	var r recorder
	if err := moved.Emit(&r, point{1, 2}); err != nil || r.event != "moved" || len(r.args) != 1 || r.args[0] != (point{1, 2}) {
		t.Errorf("moved: %+v, %v", r, err)
	}
	if err := begin.Emit(&r, event.None{}); err != nil || r.event != "begin" || len(r.args) != 0 {
		t.Errorf("begin: %+v, %v", r, err)
	}
	if err := draw.Emit(&r, "a", point{3, 4}); err != nil || r.event != "draw" || len(r.args) != 2 || r.args[1] != (point{3, 4}) {
		t.Errorf("draw: %+v, %v", r, err)
	}
}

func TestDecode(t *testing.T) {
	reply := func(s string) event.Reply { return event.NewReply([]byte(s)) }
	for _, tt := range []struct{ args, missing string }{
		{`[]`, "argument 1: is missing"},
		{`[{"X":1}]`, ""},
		{`[null]`, ""},
		{`[{"X":1},2]`, ""},
	} {
		v, err := moved.Decode(reply(tt.args))
		checkMissing(t, tt.args, err, tt.missing)
		if strings.Contains(tt.args, "X") && v.X != 1 {
			t.Errorf("%s: %+v", tt.args, v)
		}
		_, err = add.Decode(reply(tt.args))
		checkMissing(t, tt.args, err, tt.missing)
		_, err = begin.Decode(reply(tt.args))
		checkMissing(t, tt.args, err, "")
	}
	for _, tt := range []struct{ args, missing string }{
		{`[]`, "argument 1: is missing"},
		{`["a"]`, "argument 2: is missing"},
		{`["a",{"Y":2}]`, ""},
	} {
		a, b, err := draw.Decode(reply(tt.args))
		checkMissing(t, tt.args, err, tt.missing)
		if tt.missing == "" && (a != "a" || b.Y != 2) {
			t.Errorf("%s: %q, %+v", tt.args, a, b)
		}
	}
	if _, err := moved.Decode(reply(`["text"]`)); err == nil || errors.As(err, new(*event.Error)) {
		t.Errorf("another type: %v", err)
	}
}

func checkMissing(t *testing.T, args string, err error, want string) {
	t.Helper()
	if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v, want %q", args, err, want)
	}
}

// caller answers with its own value.
type caller string

func (c caller) EmitWithAck(context.Context, string, ...any) (event.Reply, error) {
	if c == "" {
		return event.Reply{}, context.DeadlineExceeded
	}
	return event.NewReply([]byte(c)), nil
}

type group []caller

func (g group) EmitWithAck(ctx context.Context, _ string, _ ...any) (replies []event.Reply, err error) {
	for _, c := range g {
		r, e := c.EmitWithAck(ctx, "")
		if e != nil {
			err = e
			continue
		}
		replies = append(replies, r)
	}
	return replies, err
}

func TestCall(t *testing.T) {
	if v, err := add.Call(t.Context(), caller(`[3]`), point{}); v != 3 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	if _, err := add.Call(t.Context(), caller(``), point{}); err != context.DeadlineExceeded {
		t.Errorf("no answer: %v", err)
	}
	for _, answer := range []string{`[]`, `["three"]`} {
		if _, err := add.Call(t.Context(), caller(answer), point{}); err == nil || errors.As(err, new(*event.Error)) {
			t.Errorf("%s: %v, want an error that is no *Error", answer, err)
		}
	}
	whatever := event.RPC[event.None, event.None]("whatever")
	if _, err := whatever.Call(t.Context(), caller(`[]`), event.None{}); err != nil {
		t.Error(err)
	}
	refusal := caller(`[{"error":{"code":"c","message":"m"}}]`)
	var e *event.Error
	if _, err := whatever.Call(t.Context(), refusal, event.None{}); !errors.As(err, &e) || e.Code != "c" {
		t.Errorf("a refusal without a result: %v", err)
	}
	answers, err := add.CallAll(t.Context(), group{`[1]`, ``, refusal, `[null]`}, point{})
	if err != context.DeadlineExceeded || len(answers) != 3 || answers[0].Value != 1 || answers[2] != (event.Answer[int]{}) {
		t.Errorf("%+v, %v", answers, err)
	} else if !errors.As(answers[1].Err, &e) || e.Code != "c" {
		t.Errorf("a refusal in a group: %v", answers[1].Err)
	}
}

func TestRefusals(t *testing.T) {
	for _, tt := range []struct{ reply, want string }{
		{`[{"error":{"code":"busy","message":"later","data":{"after":5}}}]`, "parley: busy: later map[after:5]"},
		{`[ { "error" : { "message" : "later", "code" : "busy" } } ]`, "parley: busy: later <nil>"},
		{`[{"error":{"code":"busy","message":"later"}},1]`, ""},
		{`[{"error":{"code":"busy","message":"later"},"x":1}]`, ""},
		{`[{"x":1,"error":{"code":"busy","message":"later"}}]`, ""},
		{`[{"error":{"code":1,"message":"later"}}]`, ""},
		{`[{"error":{"code":"busy","message":null}}]`, ""},
		{`[{"error":{"code":"busy"}}]`, ""},
		{`[{"error":"busy"}]`, ""},
		{`[{"error":null}]`, ""},
		{`[{"code":"busy","message":"later"}]`, ""},
		{`[[{"error":{"code":"busy","message":"later"}}]]`, ""},
		{`["error"]`, ""},
		{`[{}]`, ""},
		{`[]`, ""},
		{``, ""},
	} {
		r := event.NewReply([]byte(tt.reply))
		got := ""
		var e *event.Error
		if errors.As(r.Err(), &e) {
			got = fmt.Sprint(e, " ", e.Data)
		}
		if got != tt.want {
			t.Errorf("%s is the refusal %q, want %q", tt.reply, got, tt.want)
		}
		var v any
		_, err := r.Values()
		if decodeErr := r.Decode(&v); (decodeErr != nil) != (got != "") || (err != nil) != (got != "") {
			t.Errorf("%s: Decode returns %v, Values %v", tt.reply, decodeErr, err)
		}
	}
}

func TestReply(t *testing.T) {
	r := event.NewReply([]byte(`["é",{"_placeholder":true,"num":0},null]`), []byte{1, 2})
	var text string
	var data []byte
	if err := r.Decode(&text, &data); err != nil || text != "é" || !bytes.Equal(data, []byte{1, 2}) {
		t.Errorf("%q, %v, %v", text, data, err)
	}
	values, err := r.Values()
	if b, ok := values[1].(event.Binary); err != nil || len(values) != 3 || !ok || len(b) != 2 || values[2] != nil {
		t.Errorf("%v, %v", values, err)
	}
	if args := r.Args(); len(args) != 3 || string(args[0]) != `"é"` {
		t.Errorf("%s", args)
	}
}

// Programs that use a descriptor do not link the server.
func TestLinksNoServer(t *testing.T) {
	for pkg, forbidden := range map[string][]string{
		".":         {"github.com/parley-go/parley", "net/http", "net"},
		"../client": {"github.com/parley-go/parley", "github.com/parley-go/parley/internal/engine"},
	} {
		out, err := exec.Command("go", "list", "-deps", pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := strings.Fields(string(out))
		if !slices.Contains(deps, "github.com/parley-go/parley/internal/sio") {
			t.Fatalf("%s has the dependencies %q", pkg, deps)
		}
		for _, dep := range forbidden {
			if slices.Contains(deps, dep) {
				t.Errorf("%s links %s", pkg, dep)
			}
		}
	}
}
