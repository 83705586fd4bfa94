package webtransport

// Enter counts a connection from an address, if there may be one more.
func (s *Server) Enter(from string) bool { return s.enter(s.client(from)) }

// Leave undoes Enter.
func (s *Server) Leave(from string) { s.leave(s.client(from)) }
