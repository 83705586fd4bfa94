package parley

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Handshake is what a client connected with.
type Handshake struct {
	Headers     http.Header // of the HTTP request that opened the connection, Host included
	Query       url.Values  // of its URL
	URL         string      // path and query
	Address     string      // the client's, host:port; see Options.ClientAddress
	Time        time.Time
	Secure      bool            // over TLS; see Options.ClientSecure
	CrossOrigin bool            // the request has an Origin
	Auth        json.RawMessage // what the client sent to the namespace: a JSON object, or nil
}

// Handshake returns what the client connected with. It makes a new copy at each call.
func (s *Socket) Handshake() Handshake {
	h := s.conn.session.Handshake()
	headers := h.Header()
	return Handshake{
		Headers: headers, Query: h.Query(), URL: h.URI, Address: h.Address, Time: h.Time(), Secure: h.Secure,
		CrossOrigin: headers.Get("Origin") != "", Auth: s.auth,
	}
}

// DecodeAuth decodes what the client sent to authenticate with, as by json.Unmarshal. A
// client that sent nothing leaves v as it is.
func (s *Socket) DecodeAuth(v any) error {
	if len(s.auth) == 0 {
		return nil
	}
	return json.Unmarshal(s.auth, v)
}
