package parley_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/parleytest"
)

// Question is the argument of Sum.
type Question struct{ A, B int }

const (
	// Sum is an event that the server answers. Its argument and its answer are typed.
	Sum = parley.RPC[Question, int]("sum")
	// Locale is an event that the client answers.
	Locale = parley.RPC[parley.None, string]("locale")
)

func ExampleHandle() {
	srv, err := parley.New(&parley.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	parley.Handle(srv, Sum, func(ctx context.Context, s *parley.Socket, q Question) (int, error) {
		locale, err := Locale.Call(ctx, s, parley.None{}) // a handler may ask its client
		if err != nil {
			return 0, err
		}
		if q.A < 0 || q.B < 0 {
			return 0, &parley.Error{Code: "negative", Message: "natural numbers only", Data: locale}
		}
		return q.A + q.B, nil
	})
	s := parleytest.NewServer(nil, srv) // in memory; a program calls srv.ListenAndServe
	defer s.Close()

	// In JavaScript:
	//	socket.on("locale", (answer) => answer(navigator.language))
	//	await socket.emitWithAck("sum", {A: 1, B: 2})  // 3
	//	await socket.emitWithAck("sum", {A: -1, B: 2}) // {error: {code: "negative", …}}
	client := s.MustDial()
	parleytest.Handle(client, Locale, func(parley.None) (string, error) { return "de-CH", nil })
	fmt.Println(Sum.Call(context.Background(), client, Question{1, 2}))
	_, err = Sum.Call(context.Background(), client, Question{-1, 2})
	var refusal *parley.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Code, refusal.Data)
	}

	// Output:
	// 3 <nil>
	// negative de-CH
}
