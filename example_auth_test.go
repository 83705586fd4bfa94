package parley_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/parleytest"
)

// Account is the account of a logged-in user.
type Account struct {
	Name  string
	Admin bool
}

var (
	// account stores the Account on each socket.
	account = parley.NewKey[Account]()

	accounts = map[string]Account{"secret-a": {"Ann", true}, "secret-b": {"Bob", false}}
)

// WhoAmI asks the server for the name of the account.
const WhoAmI = parley.RPC[parley.None, string]("whoAmI")

// Clients authenticate with a token. Middleware decides which namespace they may join, and stores
// their account for the handlers.
func Example_authentication() {
	srv, err := parley.New(&parley.Options{
		Logger: quiet,
		// The server keeps nothing of the HTTP request except what you take from it here, such as
		// what your HTTP middleware has found out.
		ConnContext: func(ctx context.Context, r *http.Request) context.Context {
			if cookie, err := r.Cookie("session"); err == nil {
				ctx = account.With(ctx, accounts[cookie.Value])
			}
			return ctx
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	authenticate := func(ctx context.Context, s *parley.Socket) error {
		var auth struct{ Token string }
		if err := s.DecodeAuth(&auth); err != nil {
			return err
		}
		found, ok := accounts[auth.Token]
		if !ok {
			return &parley.Error{Code: "bad_token", Message: "Log in first"}
		}
		account.Set(s, found)
		return nil
	}
	srv.Use(authenticate)
	admin := srv.Of("/admin") // each namespace needs its own middleware
	admin.Use(authenticate)
	admin.Use(func(ctx context.Context, s *parley.Socket) error {
		if !account.Get(s).Admin {
			return &parley.Error{Code: "forbidden", Message: "Administrators only"}
		}
		return nil
	})
	parley.Handle(srv, WhoAmI, func(ctx context.Context, s *parley.Socket, _ parley.None) (string, error) {
		return account.Get(ctx).Name, nil // or account.Get(s)
	})
	s := parleytest.NewServer(nil, srv) // in memory; a program calls srv.ListenAndServe
	defer s.Close()

	// In JavaScript: io(url, {auth: {token: "secret-b"}})
	client := s.MustDial(parleytest.Auth(map[string]string{"token": "secret-b"}))
	fmt.Println(WhoAmI.Call(context.Background(), client, parley.None{}))

	//	socket.on("connect_error", (error) => console.log(error.message, error.data.code))
	_, err = s.Dial(parleytest.Auth(map[string]string{"token": "wrong"}))
	var refusal *parley.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Message+",", refusal.Code)
	}

	// Output:
	// Bob <nil>
	// Log in first, bad_token
}
