package parley_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/parleytest"
)

const (
	// TokenExpiring asks the client for a new token.
	TokenExpiring = parley.Event[time.Time]("tokenExpiring")
	// Refresh brings it. The client gets the time until which it is good.
	Refresh = parley.RPC[json.RawMessage, time.Time]("refresh")
)

// Clients prove who they are with a JSON Web Token, in every namespace. They bring a new one before
// it expires. Whoever is blocked is gone at once.
func Example_identities() {
	verifier, err := jwtauth.New(&jwtauth.Options{
		Keys: []jwtauth.Key{{Secret: bytes.Repeat([]byte("k"), 32)}}, // your site signs with it, too
	})
	if err != nil {
		log.Fatal(err)
	}
	defer verifier.Close()
	var blocked atomic.Bool // in place of a table
	srv, err := parley.New(&parley.Options{
		Logger: quiet,
		Authorize: auth.AuthorizerFunc(func(ctx context.Context, r *auth.Request) (*auth.Identity, error) {
			id, err := verifier.Authorize(ctx, r)
			if err == nil && blocked.Load() {
				err = &parley.Error{Code: "banned", Message: "You are blocked"}
			}
			return id, err
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	srv.OnExpiring(func(s *parley.Socket, expires time.Time) { TokenExpiring.Emit(s, expires) })
	parley.Handle(srv, Refresh, func(ctx context.Context, s *parley.Socket, token json.RawMessage) (time.Time, error) {
		id, err := s.Renew(ctx, token)
		if err != nil {
			return time.Time{}, err
		}
		return id.Expires, nil
	})
	parley.Handle(srv, WhoAmI, func(ctx context.Context, s *parley.Socket, _ parley.None) (string, error) {
		return parley.IdentityOf(ctx).Name, nil
	})
	s := parleytest.NewServer(nil, srv) // in memory; a program calls srv.ListenAndServe
	defer s.Close()

	// Your site makes tokens. This one expires so soon that the client is asked for another at once.
	sign := func(life time.Duration) map[string]string {
		token, err := verifier.Sign(&auth.Identity{Subject: "u7", Role: auth.User, Name: "Ann", Expires: time.Now().Add(life)})
		if err != nil {
			log.Fatal(err)
		}
		return map[string]string{"token": token}
	}
	// In JavaScript, a function is called for each connection:
	//	io(url, {auth: async (send) => send({token: await (await fetch("/token")).text()})})
	client := s.MustDial(parleytest.Auth(sign(50 * time.Second)))
	fmt.Println(WhoAmI.Call(context.Background(), client, parley.None{}))
	expires := parleytest.Next(client, TokenExpiring)
	fresh, _ := json.Marshal(sign(time.Hour))
	until, err := Refresh.Call(context.Background(), client, fresh)
	fmt.Println(until.After(expires), err)

	// First refuse, then disconnect: nobody slips through in between.
	blocked.Store(true)
	srv.DisconnectIdentities(context.Background(), auth.Match{Subject: "u7"})
	client.Disconnected()
	_, err = s.Dial(parleytest.Auth(sign(time.Hour)))
	var refusal *parley.Error
	if errors.As(err, &refusal) {
		fmt.Println(refusal.Code)
	}

	// Output:
	// Ann <nil>
	// true <nil>
	// banned
}
