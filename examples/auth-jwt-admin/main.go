// Command auth-jwt-admin shows who may connect: users prove who they are with a JSON Web Token, only
// administrators may join the namespace /admin, and whoever is blocked is gone at once. README.md says how to
// try it.
package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"sync"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
)

const (
	// WhoAmI answers with the name of the account.
	WhoAmI = parley.RPC[parley.None, string]("whoAmI")
	// TokenExpiring asks a client for a new token; Renew brings it.
	TokenExpiring = parley.Event[time.Time]("tokenExpiring")
	Renew         = parley.RPC[json.RawMessage, time.Time]("renew")
	// Block, in /admin, blocks a user.
	Block = parley.RPC[string, parley.None]("block")
)

// site is a web site with accounts. In a real one they are in a database, with hashed passwords.
type site struct {
	accounts map[string]account // by name
	tokens   *jwtauth.Verifier

	mu      sync.Mutex
	blocked map[string]bool
}

type account struct {
	password string
	role     auth.Role
}

func newSite(secret []byte) (*site, error) {
	tokens, err := jwtauth.New(&jwtauth.Options{Keys: []jwtauth.Key{{Secret: secret}}})
	if err != nil {
		return nil, err
	}
	return &site{
		accounts: map[string]account{"ann": {"ann's password", auth.Admin}, "bob": {"bob's password", auth.User}},
		tokens:   tokens,
		blocked:  map[string]bool{},
	}, nil
}

// logIn answers with a token for an hour.
func (s *site) logIn(w http.ResponseWriter, r *http.Request) {
	name := r.PostFormValue("name")
	found, ok := s.accounts[name]
	if !ok || found.password != r.PostFormValue("password") {
		http.Error(w, "wrong name or password", http.StatusForbidden)
		return
	}
	now := time.Now()
	token, err := s.tokens.Sign(&auth.Identity{Subject: name, Role: found.role, Name: name, IssuedAt: now, Expires: now.Add(time.Hour)})
	if err != nil {
		http.Error(w, "no token", http.StatusInternalServerError)
		return
	}
	w.Write([]byte(token))
}

// Authorize says who a client is. It is asked in every namespace.
func (s *site) Authorize(ctx context.Context, r *auth.Request) (*auth.Identity, error) {
	who, err := s.tokens.Authorize(ctx, r) // the client sees why a token is refused
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.blocked[who.Subject] {
		return nil, &parley.Error{Code: "blocked", Message: "You are blocked"}
	}
	return who, nil
}

// serve returns the Socket.IO server of the site.
func (s *site) serve() (*parley.Server, error) {
	srv, err := parley.New(&parley.Options{Authorize: s})
	if err != nil {
		return nil, err
	}
	parley.Handle(srv, WhoAmI, func(ctx context.Context, _ *parley.Socket, _ parley.None) (string, error) {
		return parley.IdentityOf(ctx).Name, nil
	})

	// A token that runs out is renewed on the same connection. Without that, the socket is disconnected.
	srv.OnExpiring(func(s *parley.Socket, at time.Time) { TokenExpiring.Emit(s, at) })
	parley.Handle(srv, Renew, func(ctx context.Context, s *parley.Socket, proof json.RawMessage) (time.Time, error) {
		who, err := s.Renew(ctx, proof) // {"token": "…"}
		if err != nil {
			return time.Time{}, err
		}
		return who.Expires, nil
	})

	admin := srv.Of("/admin")
	admin.Use(func(ctx context.Context, s *parley.Socket) error {
		if s.Identity().Role != auth.Admin {
			return &parley.Error{Code: "forbidden", Message: "Administrators only"}
		}
		return nil
	})
	parley.Handle(admin, Block, func(ctx context.Context, _ *parley.Socket, name string) (parley.None, error) {
		if _, ok := s.accounts[name]; !ok {
			return parley.None{}, &parley.Error{Code: "unknown", Message: "There is no such account"}
		}
		s.mu.Lock()
		s.blocked[name] = true // first refuse, then disconnect: nobody slips through in between
		s.mu.Unlock()
		return parley.None{}, srv.DisconnectIdentities(ctx, auth.Match{Subject: name})
	})
	return srv, nil
}

func main() {
	secret := make([]byte, 32)
	rand.Read(secret) // in a real site, it is read from a file, so that tokens survive a restart
	site, err := newSite(secret)
	if err != nil {
		log.Fatal(err)
	}
	srv, err := site.serve()
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/socket.io/", srv)
	http.Handle("/socket.io", srv)
	http.HandleFunc("POST /login", site.logIn)
	log.Print("http://127.0.0.1:3000")
	if err := http.ListenAndServe("127.0.0.1:3000", nil); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
