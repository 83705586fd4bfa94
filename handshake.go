package parley

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Handshake describes the request with which a client connected.
type Handshake struct {
	Headers     http.Header // of the HTTP request that opened the connection, including Host; see Options.KeepHeaders
	Query       url.Values  // of the URL
	URL         string      // path and query
	Address     string      // the client's, as host:port; see Options.ClientAddress
	Time        time.Time
	Secure      bool // over TLS; see Options.ClientSecure
	CrossOrigin bool // the request has an Origin header
	// Auth is the client's auth payload for the namespace: a JSON object, or nil. With
	// Options.Authorize, it is kept only until the handlers of OnConnection have run, so that no token
	// stays in memory.
	Auth json.RawMessage
}

// Handshake returns the request data with which the client connected. Each call makes a new copy.
func (s *Socket) Handshake() Handshake {
	h := s.conn.session.Handshake()
	return Handshake{
		Headers: h.Header(), Query: h.Query(), URL: h.URI, Address: h.Address, Time: h.Time(), Secure: h.Secure,
		CrossOrigin: h.CrossOrigin, Auth: s.payload(),
	}
}

// Cookie returns the cookie with this name that the client sent with the handshake. If there is none, or
// Options.KeepHeaders leaves out "Cookie", the error is http.ErrNoCookie.
func (h Handshake) Cookie(name string) (*http.Cookie, error) {
	return (&http.Request{Header: h.Headers}).Cookie(name)
}

// payload returns a copy of the client's auth payload, or nil.
func (s *Socket) payload() json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.auth == "" {
		return nil
	}
	return json.RawMessage(s.auth)
}

// forgetAuth drops the auth payload if it has served its purpose, which is to prove who the client is.
// An identity without a subject is nobody's: then the payload may say it to the handlers.
func (s *Socket) forgetAuth() {
	if who := s.Identity(); who != nil && who.Subject != "" {
		s.mu.Lock()
		s.auth = ""
		s.mu.Unlock()
	}
}

// DecodeAuth decodes the client's auth payload into v, as json.Unmarshal does. If the client sent
// none, v stays unchanged.
func (s *Socket) DecodeAuth(v any) error {
	auth := s.payload()
	if auth == nil {
		return nil
	}
	return json.Unmarshal(auth, v)
}
