package parley_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/internal/eventtest"
)

// A Go server and a Go client share the descriptors of their events, in both directions.
func TestDescriptorsServeBothSides(t *testing.T) {
	srv, url := serve(t, nil)
	sockets := make(chan *parley.Socket, 1)
	srv.OnConnection(func(s *parley.Socket) { sockets <- s })
	parley.Handle(srv, eventtest.Add, func(ctx context.Context, s *parley.Socket, q eventtest.Sums) (int, error) {
		if q.A < 0 {
			return 0, &parley.Error{Code: "negative", Message: "natural numbers only", Data: q.A}
		}
		return q.A + q.B, nil
	})
	parley.Handle(srv, eventtest.Sign, func(_ context.Context, _ *parley.Socket, b []byte) (parley.Binary, error) {
		return append(b, 0xff), nil
	})
	parley.On2(srv, eventtest.Draw, func(_ context.Context, s *parley.Socket, board string, stroke eventtest.Stroke) error {
		return eventtest.Draw.Emit(s, board+"!", stroke)
	})
	parley.On(srv, eventtest.Clear, func(_ context.Context, s *parley.Socket, _ parley.None) error {
		return eventtest.Clear.Emit(srv, parley.None{})
	})

	type drawn struct {
		board  string
		stroke eventtest.Stroke
	}
	strokes := make(chan drawn, 1)
	cleared := make(chan event.None, 1)
	c, err := eventtest.Dial(t.Context(), strings.Replace(url, "http", "ws", 1), func(c *eventtest.Client) {
		eventtest.On2(c, eventtest.Draw, func(board string, s eventtest.Stroke) { strokes <- drawn{board, s} })
		eventtest.On(c, eventtest.Clear, func(v event.None) { cleared <- v })
		asked := 0
		eventtest.Handle(c, eventtest.Name, func(event.None) (string, error) {
			if asked++; asked == 1 {
				return "", &event.Error{Code: "shy", Message: "I do not tell"}
			}
			return "Ann", nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	// The client calls the server.
	if sum, err := eventtest.Add.Call(t.Context(), c, eventtest.Sums{A: 1, B: 2}); sum != 3 || err != nil {
		t.Errorf("sum %d, %v", sum, err)
	}
	var e *parley.Error
	if _, err := eventtest.Add.Call(t.Context(), c, eventtest.Sums{A: -1}); !errors.As(err, &e) || e.Code != "negative" || e.Data != -1.0 {
		t.Errorf("a refused call returns %v", err)
	}
	if signed, err := eventtest.Sign.Call(t.Context(), c, []byte{1, 2}); err != nil || !bytes.Equal(signed, []byte{1, 2, 0xff}) {
		t.Errorf("signed %v, %v", signed, err)
	}
	if _, err := eventtest.Sign.Call(t.Context(), c, nil); err != nil {
		t.Error(err)
	}
	// Events travel in both directions.
	if err := eventtest.Draw.Emit(c, "board", eventtest.Stroke{X: 1, Y: 2, Ink: []byte{7}}); err != nil {
		t.Fatal(err)
	}
	if d := await(t, "stroke", strokes); d.board != "board!" || d.stroke.Y != 2 || !bytes.Equal(d.stroke.Ink, []byte{7}) {
		t.Errorf("drawn %+v", d)
	}
	if err := eventtest.Clear.Emit(c, event.None{}); err != nil {
		t.Fatal(err)
	}
	await(t, "clear", cleared)
	// The server calls the client.
	s := await(t, "connection", sockets)
	if _, err := eventtest.Name.Call(t.Context(), s, parley.None{}); !errors.As(err, &e) || e.Code != "shy" {
		t.Errorf("a client that refuses: %v", err)
	}
	if name, err := eventtest.Name.Call(t.Context(), s, parley.None{}); name != "Ann" || err != nil {
		t.Errorf("name %q, %v", name, err)
	}
}
