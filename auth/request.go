package auth

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/address"
)

// Request is what a client shows to prove who it is. The maps have the types of http.Header and
// url.Values.
type Request struct {
	// Namespace is the namespace of Socket.IO that the client wants to join, such as "/". It is empty
	// for plain HTTP.
	Namespace string
	// Payload is the auth data that the client sent for the namespace, a JSON object, or nil. Clients
	// of Socket.IO 2 have none for the main namespace.
	Payload json.RawMessage
	Header  map[string][]string // of the HTTP request; see parley.Options.Authorize for what is kept
	Query   map[string][]string // of the URL
	Address string              // the client's, as host:port
	Secure  bool                // over TLS
	// CrossOrigin says that the request has an Origin header.
	CrossOrigin bool
}

// Bearer returns the token of the header "Authorization: Bearer …" (RFC 6750, section 2.1), or "". If
// there are several such headers, it returns "", because nobody could say which one counts.
func (r *Request) Bearer() string {
	fields := r.Header["Authorization"]
	if len(fields) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimLeft(token, " ")
}

// Authorizer says who a client is. It is safe for concurrent use.
type Authorizer interface {
	// Authorize returns the identity of a client. It may block. ctx ends when the client no longer
	// waits. An *event.Error (a *parley.Error) refuses the client, which sees its code and message. Of
	// any other error, the client sees only that something failed.
	//
	// A nil identity without an error is a mistake, and refuses the client. If clients may stay
	// unknown, return an identity without a Subject for them. Requests may share one Identity.
	Authorize(ctx context.Context, r *Request) (*Identity, error)
}

// Opener is what an Authorizer may be as well, if there are times when it takes every client without
// asking who it is. It is safe for concurrent use.
type Opener interface {
	// Everybody returns the identity that every client has now, which does not expire, or nil if
	// Authorize must be asked. It must not block.
	Everybody() *Identity
}

// AuthorizerFunc is a function that is an Authorizer.
type AuthorizerFunc func(ctx context.Context, r *Request) (*Identity, error)

// Authorize calls f.
func (f AuthorizerFunc) Authorize(ctx context.Context, r *Request) (*Identity, error) {
	return f(ctx, r)
}

// Match selects clients by their identities, for example those that have been revoked. It selects the
// clients for which all of its fields that are set agree. The zero Match selects all clients.
type Match struct {
	Subject string
	Role    Role // Operator also selects admins, who share the operators' ids
	Issuer  string
	TokenID string
	// IssuedBefore selects identities that were proved before this time. Those without an IssuedAt
	// count as older.
	IssuedBefore time.Time
	Network      netip.Prefix // of the client's address
}

// Matches reports whether m selects a client. The identity may be nil; no Match selects it. From is
// the client's address and may be a host, or host and port; if it is neither, no Match with a Network selects it.
func (m *Match) Matches(i *Identity, from string) bool {
	return i != nil &&
		(m.Subject == "" || m.Subject == i.Subject) &&
		(m.Role == "" || m.Role == i.Role || m.Role == Operator && i.Role == Admin) &&
		(m.Issuer == "" || m.Issuer == i.Issuer) &&
		(m.TokenID == "" || m.TokenID == i.TokenID) &&
		(m.IssuedBefore.IsZero() || i.IssuedAt.Before(m.IssuedBefore)) &&
		(m.Network == netip.Prefix{} || m.contains(from))
}

func (m *Match) contains(from string) bool {
	a, ok := address.Parse(from)
	return ok && m.Network.Contains(a)
}
