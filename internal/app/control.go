package app

import (
	"log"
	"net"
	"net/http"
	"path/filepath"

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

// newControl returns the server for commands. Whoever can open the socket is an administrator.
func (s *Server) newControl() *http.Server {
	return &http.Server{
		Handler: admin.Handler(admin.Options{
			Access: s.gate.access, Log: s.history, Store: s.store,
			Tokens: func() (*jwtauth.Verifier, error) { return s.gate.tokens, nil },
			Erased: func(users, rooms []string) {
				s.chat.Erased(rooms...)
				s.chat.Forget(users...)
			},
			Logger: s.log,
		}),
		ReadHeaderTimeout: headerTimeout,
		ErrorLog:          log.New(httpLog{s.log}, "", 0),
	}
}
