package webtransport

import "github.com/parley-go/parley/internal/address"

// Enter counts a connection from an address, if there may be one more.
func (s *Server) Enter(from string) bool { return s.enter(address.Limited(from, address.Loopback)) }

// Leave undoes Enter.
func (s *Server) Leave(from string) { s.leave(address.Limited(from, address.Loopback)) }
