package parley_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/parleytest"
)

// stroke is a line on a board.
type stroke struct {
	X, Y int
	Ink  event.Binary
}

// sums asks for a sum.
type sums struct{ A, B int }

// What a server and a client share.
const (
	drawStroke = event.Event2[string, stroke]("draw")  // both ways
	clearBoard = event.Event[event.None]("clear")      // both ways
	addUp      = event.RPC[sums, int]("add")           // the server answers
	askName    = event.RPC[event.None, string]("name") // the client answers
	sign       = event.RPC[[]byte, event.Binary]("sign")
)

// A Go server and a Go client share the descriptors of their events, in both directions.
func TestDescriptorsServeBothSides(t *testing.T) {
	srv, err := parley.New(&parley.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	sockets := make(chan *parley.Socket, 1)
	srv.OnConnection(func(s *parley.Socket) { sockets <- s })
	parley.Handle(srv, addUp, func(ctx context.Context, s *parley.Socket, q sums) (int, error) {
		if q.A < 0 {
			return 0, &parley.Error{Code: "negative", Message: "natural numbers only", Data: q.A}
		}
		return q.A + q.B, nil
	})
	parley.Handle(srv, sign, func(_ context.Context, _ *parley.Socket, b []byte) (parley.Binary, error) {
		return append(b, 0xff), nil
	})
	parley.On2(srv, drawStroke, func(_ context.Context, s *parley.Socket, board string, stroke stroke) error {
		return drawStroke.Emit(s, board+"!", stroke)
	})
	parley.On(srv, clearBoard, func(_ context.Context, s *parley.Socket, _ parley.None) error {
		return clearBoard.Emit(srv, parley.None{})
	})
	c := parleytest.NewServer(t, srv).MustDial()

	// The client calls the server.
	if sum, err := addUp.Call(t.Context(), c, sums{A: 1, B: 2}); sum != 3 || err != nil {
		t.Errorf("sum %d, %v", sum, err)
	}
	var e *parley.Error
	if _, err := addUp.Call(t.Context(), c, sums{A: -1}); !errors.As(err, &e) || e.Code != "negative" || e.Data != -1.0 {
		t.Errorf("a refused call returns %v", err)
	}
	if signed, err := sign.Call(t.Context(), c, []byte{1, 2}); err != nil || !bytes.Equal(signed, []byte{1, 2, 0xff}) {
		t.Errorf("signed %v, %v", signed, err)
	}
	if _, err := sign.Call(t.Context(), c, nil); err != nil {
		t.Error(err)
	}
	// Events travel in both directions.
	parleytest.Send2(c, drawStroke, "board", stroke{X: 1, Y: 2, Ink: []byte{7}})
	if board, drawn := parleytest.Next2(c, drawStroke); board != "board!" || drawn.Y != 2 || !bytes.Equal(drawn.Ink, []byte{7}) {
		t.Errorf("drawn %q, %+v", board, drawn)
	}
	parleytest.Send(c, clearBoard, event.None{})
	parleytest.Next(c, clearBoard)
	// The server calls the client.
	s := await(t, "connection", sockets)
	asked := 0
	parleytest.Handle(c, askName, func(event.None) (string, error) {
		if asked++; asked == 1 {
			return "", &event.Error{Code: "shy", Message: "I do not tell"}
		}
		return "Ann", nil
	})
	if _, err := askName.Call(t.Context(), s, parley.None{}); !errors.As(err, &e) || e.Code != "shy" {
		t.Errorf("a client that refuses: %v", err)
	}
	if name, err := askName.Call(t.Context(), s, parley.None{}); name != "Ann" || err != nil {
		t.Errorf("name %q, %v", name, err)
	}
}
