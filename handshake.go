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
	Secure      bool            // over TLS; see Options.ClientSecure
	CrossOrigin bool            // the request has an Origin header
	Auth        json.RawMessage // the client's auth payload for the namespace: a JSON object, or nil
}

// Handshake returns the request data with which the client connected. Each call makes a new copy.
func (s *Socket) Handshake() Handshake {
	h := s.conn.session.Handshake()
	return Handshake{
		Headers: h.Header(), Query: h.Query(), URL: h.URI, Address: h.Address, Time: h.Time(), Secure: h.Secure,
		CrossOrigin: h.CrossOrigin, Auth: s.auth,
	}
}

// DecodeAuth decodes the client's auth payload into v, as json.Unmarshal does. If the client sent
// none, v stays unchanged.
func (s *Socket) DecodeAuth(v any) error {
	if len(s.auth) == 0 {
		return nil
	}
	return json.Unmarshal(s.auth, v)
}
