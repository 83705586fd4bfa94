package parley_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley"
)

type point struct {
	X int `json:"x"`
	Y int `json:"y"`
}

const (
	moved = parley.Event[point]("moved")
	add   = parley.RPC[point, int]("add")
	whoIs = parley.RPC[string, string]("whoIs")
	reset = parley.Event[parley.None]("reset")
)

func TestTypedEvent(t *testing.T) {
	srv, url := serve(t, nil)
	parley.On(srv, moved, func(_ context.Context, s *parley.Socket, p point) error {
		return moved.Emit(s, point{p.Y, p.X})
	})
	parley.On(srv, reset, func(_ context.Context, s *parley.Socket, _ parley.None) error {
		return reset.Emit(s, parley.None{})
	})
	c, _ := join(t, url, "")
	c.send(`42["moved",{"x":1,"y":2}]`)
	c.expect(`42["moved",{"x":2,"y":1}]`)
	c.send(`421["moved"]`)
	c.expect(`431[{"error":{"code":"bad_payload","message":"argument 1 is missing"}}]`)
	c.send(`42["moved",null]`) // null is an argument
	c.expect(`42["moved",{"x":0,"y":0}]`)
	c.send(`42["reset"]`)
	c.expect(`42["reset"]`)
}

func TestRPCAnswers(t *testing.T) {
	srv, url := serve(t, nil)
	failure := errors.New("the database's password is hunter2")
	parley.Handle(srv, add, func(_ context.Context, _ *parley.Socket, p point) (int, error) {
		switch p.X {
		case -1:
			return 0, &parley.Error{Code: "negative", Message: "no", Data: []int{1}}
		case -2:
			return 0, failure
		case -3:
			panic("on purpose")
		case -4:
			return 0, fmt.Errorf("wrapped: %w", &parley.Error{Code: "wrapped", Message: "yes"})
		case -5:
			return 0, &parley.Error{Code: "odd", Message: "its data cannot be encoded", Data: func() {}}
		}
		return p.X + p.Y, nil
	})
	c, _ := join(t, url, "")
	for _, tt := range []struct{ send, want string }{
		{`421["add",{"x":1,"y":2}]`, `431[3]`},
		{`422["add",{"x":-1}]`, `432[{"error":{"code":"negative","message":"no","data":[1]}}]`},
		{`423["add",{"x":-2}]`, `433[{"error":{"code":"internal","message":"internal error"}}]`},
		{`424["add",{"x":-3}]`, `434[{"error":{"code":"internal","message":"internal error"}}]`},
		{`425["add",{"x":-4}]`, `435[{"error":{"code":"wrapped","message":"yes"}}]`},
		{`426["add",{"x":-5}]`, `436[{"error":{"code":"internal","message":"internal error"}}]`},
		{`427["add",{"x":"one"}]`, `437[{"error":{"code":"bad_payload","message":"argument 1 does not have the expected type: x"}}]`},
		{`429["add",{"y":"two"}]`, `439[{"error":{"code":"bad_payload","message":"argument 1 does not have the expected type: y"}}]`},
		{`42["add",{"x":1}]`, ``}, // no acknowledgement requested, none sent
		{`428["add",{"x":7}]`, `438[7]`},
	} {
		c.send(tt.send)
		if tt.want != "" {
			c.expect(tt.want)
		}
	}
}

func TestCallFromWithinHandler(t *testing.T) {
	srv, url := serve(t, nil)
	parley.Handle(srv, add, func(ctx context.Context, s *parley.Socket, p point) (int, error) {
		name, err := whoIs.Call(ctx, s, "you")
		if err != nil {
			return 0, err
		}
		return p.X + len(name), nil
	})
	c, _ := join(t, url, "")
	c.send(`421["add",{"x":1}]`)
	c.expect(`421["whoIs","you"]`)
	c.send(`431["anna"]`)
	c.expect(`431[5]`)
}

func TestCallEnds(t *testing.T) {
	srv, url := serve(t, nil)
	sockets := make(chan *parley.Socket, 1)
	srv.OnConnection(func(s *parley.Socket) { sockets <- s })
	c, _ := join(t, url, "")
	s := await(t, "connection", sockets)

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := whoIs.Call(ctx, s, "x"); err != parley.ErrTimeout {
		t.Errorf("after the deadline: %v, want ErrTimeout", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err := whoIs.Call(ctx, s, "x"); err != context.Canceled {
		t.Errorf("canceled: %v", err)
	}
	c.expect(`421["whoIs","x"]`, `422["whoIs","x"]`)
	c.send(`431["too late"]`) // ignored
	c.send(`4399["unasked"]`) // also ignored

	answered := make(chan error, 1)
	go func() {
		_, err := add.Call(context.Background(), s, point{})
		answered <- err
	}()
	c.expect(`423["add",{"x":0,"y":0}]`)
	c.send(`433["not a number"]`)
	if err := await(t, "answer", answered); err == nil || !strings.Contains(err.Error(), "argument 1") {
		t.Errorf("answer of the wrong type: %v", err)
	}

	go func() {
		_, err := add.Call(context.Background(), s, point{})
		answered <- err
	}()
	c.expect(`424["add",{"x":0,"y":0}]`)
	c.send(`434[{"error":{"code":"busy","message":"later"}}]`)
	var refusal *parley.Error
	if err := await(t, "answer", answered); !errors.As(err, &refusal) || *refusal != (parley.Error{Code: "busy", Message: "later"}) {
		t.Errorf("refused: %v", err)
	}

	go func() {
		_, err := whoIs.Call(context.Background(), s, "x")
		answered <- err
	}()
	c.expect(`425["whoIs","x"]`)
	c.cut()
	if err := await(t, "end of the call", answered); err != parley.ErrDisconnected {
		t.Errorf("disconnected: %v, want ErrDisconnected", err)
	}
	if _, err := whoIs.Call(context.Background(), s, "x"); err != parley.ErrDisconnected {
		t.Errorf("after the end: %v, want ErrDisconnected", err)
	}
	if err := s.Emit("x"); err != parley.ErrDisconnected {
		t.Errorf("Emit after the end: %v, want ErrDisconnected", err)
	}
}

func TestCallAllReturnsPartialAnswers(t *testing.T) {
	srv, url := serve(t, nil)
	a, _ := join(t, url, "")
	b, _ := join(t, url, "")
	gone, _ := join(t, url, "")
	silent, _ := join(t, url, "")
	type result struct {
		answers []parley.Answer[string]
		err     error
	}
	results := make(chan result, 1)
	ask := func(timeout time.Duration) {
		answers, err := whoIs.CallAll(context.Background(), srv.All().Timeout(timeout), "you")
		results <- result{answers, err}
	}
	go ask(5 * time.Second) // the others wait this long
	for _, c := range []*client{a, b, gone, silent} {
		c.expect(`421["whoIs","you"]`)
	}
	a.send(`431["anna"]`)
	b.send(`431[{"not":"a string"}]`)
	gone.cut()
	r := await(t, "result", results)
	if !errors.Is(r.err, parley.ErrTimeout) || !strings.Contains(r.err.Error(), "1 of 3") {
		t.Errorf("err = %v, want a timeout of 1 of 3", r.err)
	}
	if len(r.answers) != 2 {
		t.Fatalf("%d answers, want 2", len(r.answers))
	}
	values, failures := 0, 0
	for _, a := range r.answers {
		if a.Err != nil {
			failures++
		} else if a.Value == "anna" {
			values++
		}
	}
	if values != 1 || failures != 1 {
		t.Errorf("answers %+v", r.answers)
	}

	go ask(patience)
	for _, c := range []*client{a, b, silent} {
		c.expect(`422["whoIs","you"]`)
		c.send(`432["me"]`)
	}
	if r := await(t, "result", results); r.err != nil || len(r.answers) != 3 {
		t.Errorf("all answered: %d answers, %v", len(r.answers), r.err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := srv.Timeout(patience).EmitWithAck(canceled, "x"); !errors.Is(err, context.Canceled) || errors.Is(err, parley.ErrTimeout) {
		t.Errorf("the context was canceled: %v", err)
	}
	if _, err := srv.To("nobody").EmitWithAck(t.Context(), "x"); err == nil {
		t.Error("EmitWithAck to several sockets without any bound must fail")
	}
	if replies, err := srv.To("nobody").Timeout(time.Second).EmitWithAck(t.Context(), "x"); err != nil || len(replies) != 0 {
		t.Errorf("to nobody: %v, %v", replies, err)
	}
}

func TestRawPacket(t *testing.T) {
	srv, url := serve(t, nil)
	packets := make(chan *parley.Packet, 1)
	srv.On("message", func(p *parley.Packet) error {
		packets <- p
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Socket().Emit("back", v...)
	})
	c, id := join(t, url, "")
	c.send(`452-7["message","é€😀",{"deep":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0},null]`)
	c.sendBinary([]byte{1, 2, 3})
	c.sendBinary([]byte{})
	if got, want := c.recv(), `452-["back","é€😀",{"deep":[{"_placeholder":true,"num":0}]},{"_placeholder":true,"num":1},null]`; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if first, second := c.recvBinary(), c.recvBinary(); len(first) != 0 || !slices.Equal(second, []byte{1, 2, 3}) {
		t.Errorf("attachments %v, %v", first, second)
	}

	p := await(t, "packet", packets)
	if p.Name() != "message" || p.Socket().ID() != id || !p.WantsAck() || len(p.Args()) != 4 {
		t.Errorf("packet %q of %s with %d arguments", p.Name(), p.Socket().ID(), len(p.Args()))
	}
	var text string
	var deep struct{ Deep []parley.Binary }
	var blob []byte
	if err := p.Decode(&text, &deep, &blob); err != nil || text != "é€😀" || len(deep.Deep) != 1 || !slices.Equal(blob, []byte{1, 2, 3}) {
		t.Errorf("decoded %q %v %v, %v", text, deep, blob, err)
	}
	if err := p.Ack("ok", parley.Binary{9}); err != nil {
		t.Fatal(err)
	}
	c.expect(`461-7["ok",{"_placeholder":true,"num":0}]`)
	if b := c.recvBinary(); !slices.Equal(b, []byte{9}) {
		t.Errorf("attachment of the acknowledgement: %v", b)
	}
	if err := p.Ack(); err != parley.ErrAcknowledged {
		t.Errorf("second Ack: %v, want ErrAcknowledged", err)
	}
	if p.WantsAck() {
		t.Error("WantsAck after Ack")
	}
}

func TestEmitRefusesWhatCannotBeSent(t *testing.T) {
	srv, _ := serve(t, nil)
	if err := srv.Emit("connect"); err == nil || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("reserved name: %v", err)
	}
	if err := srv.Emit("x", make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
	var unsupported *json.UnsupportedTypeError
	if err := srv.To("room").Emit("x", make(chan int)); !errors.As(err, &unsupported) {
		t.Errorf("error %v does not say what is wrong", err)
	}
}

func TestHandlersRunInOrder(t *testing.T) {
	srv, url := serve(t, nil)
	var order []string
	note := func(s string) parley.Handler {
		return func(*parley.Packet) error { order = append(order, s); return nil }
	}
	srv.OnConnection(func(s *parley.Socket) {
		order = append(order, "connection")
		s.UseEvent(note("socket middleware"))
		s.OnAny(note("socket any"))
		s.On("go", note("socket"))
		s.On("gone", note("never"))
		s.Off("gone")
	})
	srv.On("go", note("namespace 1"))
	srv.On("go", note("namespace 2"))
	srv.OnAny(note("namespace any"))
	srv.UseEvent(note("namespace middleware"))
	srv.OnUnhandled(note("unhandled"))
	c, _ := join(t, url, "")
	c.send(`42["go"]`)
	await(t, "disconnect", func() chan struct{} {
		ch := make(chan struct{})
		srv.OnDisconnect(func(*parley.Socket, parley.Reason) { close(ch) })
		c.send(`42["gone"]`)
		c.send("41")
		return ch
	}())
	want := []string{
		"connection",
		"namespace any", "socket any", "namespace middleware", "socket middleware", "namespace 1", "namespace 2", "socket",
		"namespace any", "socket any", "namespace middleware", "socket middleware", "unhandled",
	}
	if !slices.Equal(order, want) {
		t.Errorf("order\n%q, want\n%q", order, want)
	}
}

func TestUnhandledEvent(t *testing.T) {
	srv, url := serve(t, nil)
	srv.On("known", func(p *parley.Packet) error { return p.Ack("known") })
	srv.OnUnhandled(func(p *parley.Packet) error {
		return &parley.Error{Code: "unknown_event", Message: p.Name()}
	})
	c, _ := join(t, url, "")
	c.send(`421["known"]`)
	c.expect(`431["known"]`)
	c.send(`422[17]`)
	c.expect(`432[{"error":{"code":"unknown_event","message":"17"}}]`)
}

func TestEventMiddlewareRefuses(t *testing.T) {
	srv, url := serve(t, nil)
	srv.UseEvent(func(p *parley.Packet) error {
		if p.Name() == "forbidden" {
			return &parley.Error{Code: "forbidden", Message: "not you"}
		}
		return nil
	})
	srv.On("forbidden", func(p *parley.Packet) error { return p.Ack("reached") })
	c, _ := join(t, url, "")
	c.send(`421["forbidden"]`)
	c.expect(`431[{"error":{"code":"forbidden","message":"not you"}}]`)
}

func TestOutgoingListeners(t *testing.T) {
	srv, url := serve(t, nil)
	type sent struct {
		event string
		args  []json.RawMessage
	}
	seen := make(chan sent, 8)
	srv.OnAnyOutgoing(func(event string, args []json.RawMessage) { seen <- sent{event, args} })
	c, id := join(t, url, "")
	if err := srv.To(id).Emit("hello", 1, "two"); err != nil {
		t.Fatal(err)
	}
	c.expect(`42["hello",1,"two"]`)
	if s := await(t, "outgoing event", seen); s.event != "hello" || len(s.args) != 2 || string(s.args[1]) != `"two"` {
		t.Errorf("outgoing %q %q", s.event, s.args)
	}
}

func TestOutgoingListenerThatEmits(t *testing.T) {
	srv, url := serve(t, &parley.Options{Recovery: &parley.Recovery{}})
	srv.OnAnyOutgoing(func(event string, _ []json.RawMessage) {
		if event != "copy" {
			srv.Emit("copy", event, 0)
		}
	})
	c, id := join(t, url, "")
	for event, to := range map[string]parley.Emitter{"all": srv, "one": srv.Socket(id), "volatile": srv.Volatile()} {
		done := make(chan error, 1)
		go func() { done <- to.Emit(event, 0) }()
		if err := await(t, "end of Emit", done); err != nil {
			t.Fatal(err)
		}
		if got := c.recv(); !strings.HasPrefix(got, `42["`+event+`",0`) {
			t.Errorf("received %q, want %s", got, event)
		}
		if got := c.recv(); !strings.HasPrefix(got, `42["copy","`+event+`",0`) {
			t.Errorf("received %q, want a copy of %s", got, event)
		}
	}
}

func TestContextEndsWithTheSocket(t *testing.T) {
	srv, url := serve(t, nil)
	c, id := join(t, url, "")
	s := srv.Socket(id)
	derived, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	abandoned, cancel := context.WithCancel(s.Context())
	cancel()
	done := s.Context().Done()
	c.cut()
	await(t, "end of the context", done)
	await(t, "end of a derived context", derived.Done())
	if s.Context().Err() != context.Canceled || derived.Err() != context.Canceled || abandoned.Err() != context.Canceled {
		t.Errorf("errors %v, %v, %v", s.Context().Err(), derived.Err(), abandoned.Err())
	}
	late, cancel := context.WithCancel(s.Context())
	defer cancel()
	await(t, "end of a context of a disconnected socket", late.Done())
}

func TestRegistration(t *testing.T) {
	srv, url := serve(t, nil)
	never := func(context.Context, *parley.Socket, point) (int, error) { return 0, errors.New("removed") }
	parley.Handle(srv, add, never).Remove()
	parley.On(srv, moved, func(context.Context, *parley.Socket, point) error { return errors.New("removed") }).Remove()
	parley.Handle(srv, add, func(_ context.Context, _ *parley.Socket, p point) (int, error) { return p.X, nil })
	shouldPanic(t, "answered by another handler", func() { parley.Handle(srv, add, never) })
	shouldPanic(t, "is nil", func() { parley.Handle[point, int](srv, "other", nil) })
	shouldPanic(t, "is nil", func() { parley.On[point](srv, "other", nil) })
	shouldPanic(t, "is nil", func() { parley.On2[point, point](srv, "other", nil) })
	shouldPanic(t, "use OnDisconnect", func() {
		parley.On(srv, "disconnect", func(context.Context, *parley.Socket, point) error { return nil })
	})
	c, _ := join(t, url, "")
	c.send(`421["moved",{}]`)
	c.send(`422["add",{"x":5}]`)
	c.expect(`432[5]`)
}

func shouldPanic(t *testing.T, with string, f func()) {
	t.Helper()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(fmt.Sprint(v), with) {
			t.Errorf("panics with %v, want %q in it", v, with)
		}
	}()
	f()
}
