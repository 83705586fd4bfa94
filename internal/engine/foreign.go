package engine

import "net/http"

// Foreign serves requests of sessions that this server does not have.
type Foreign interface {
	// Serve answers a request of the session sid. The server has checked its transport and its origin,
	// and nothing else. upgrade means that the client asks for a WebSocket. If Serve cannot answer, it
	// must leave w alone. The client then gets the usual error, with why, unless that is empty. If why is
	// not empty and the server drains, the answer is 503, so that a proxy asks another server.
	Serve(w http.ResponseWriter, r *http.Request, sid string, upgrade bool) (served bool, why string)
}

// serveForeign answers a request of a session that this server does not have, or returns the refusal.
func (s *Server) serveForeign(w http.ResponseWriter, r *http.Request, sid string, upgrade bool) *requestError {
	if s.opts.Foreign == nil {
		return errUnknownSession
	}
	served, why := s.opts.Foreign.Serve(w, r, sid, upgrade)
	switch {
	case served:
		return nil
	case why != "" && s.draining.Load():
		return errShuttingDown // another server may know better
	}
	return unknownSession(why)
}

// unknownSession returns the refusal of a request whose session is not here.
func unknownSession(why string) *requestError {
	if why == "" {
		return errUnknownSession
	}
	e := *errUnknownSession
	e.message += ": " + why
	return &e
}

// Release answers the waiting poll of a session, if there is one, so that the client makes another one.
func (s *Server) Release(sid string) {
	s.mu.Lock()
	session := s.sessions[sid]
	s.mu.Unlock()
	if session == nil {
		return
	}
	session.mu.Lock()
	defer session.mu.Unlock()
	if p, ok := session.transport.(*polling); ok {
		p.wakeLocked()
	}
}
