package app

import (
	"context"
	"log"
	"net"
	"net/http"
	"path/filepath"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/internal/admin"
)

// listenControl opens the socket through which commands on the data directory reach the server. If that
// is impossible, the server goes without it, and commands ask to stop the server.
func (s *Server) listenControl() net.Listener {
	if s.config.stateDir() == "" {
		return nil
	}
	l, err := admin.Listen(filepath.Join(s.config.stateDir(), admin.SocketName))
	if err != nil {
		s.log.Warn("no socket for commands: those that change the data directory need the server to be stopped", "error", err)
		return nil
	}
	return l
}

// newControl returns the server for commands. Whoever can open the socket is an administrator. Over Socket.IO,
// it acts for anybody, as a program does.
func (s *Server) newControl() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("/", admin.Handler(admin.Options{
		Access: s.gate.access, Log: s.history, Store: s.store,
		Tokens: func() (*jwtauth.Verifier, error) { return s.gate.tokens, nil },
		Erased: func(users, rooms []string) {
			s.chat.Erased(rooms...)
			s.chat.Forget(users...)
		},
		Logger: s.log,
	}))
	mux.Handle("/socket.io/", fromThisMachine(trusted(s.sockets, s.config.Path)))
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: headerTimeout,
		ErrorLog:          log.New(httpLog{s.log}, "", 0),
	}
}

type trustedKey struct{}

// trusted marks requests as those of an administrator, and gives them the path at which the sockets answer.
func trusted(sockets http.Handler, path string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(context.WithValue(r.Context(), trustedKey{}, true))
		u := *r.URL
		u.Path, u.RawPath = path, ""
		r.URL = &u
		sockets.ServeHTTP(w, r)
	})
}

// controller is who comes over the socket for commands.
var controller = &auth.Identity{Subject: "parley", Role: auth.Service}
