package parley

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/auth"
)

// Error codes with which clients are refused because of their identity, besides those of
// Options.Authorize.
const (
	CodeBadToken     = "bad_token"     // the identity has been revoked
	CodeTokenExpired = "token_expired" // the identity has expired
	CodeForbidden    = "forbidden"     // Renew: the new identity is somebody else's
)

var (
	errRevoked      = &Error{Code: CodeBadToken, Message: "Your access has been revoked"}
	errTokenExpired = &Error{Code: CodeTokenExpired, Message: "Your token has expired"}
	errSomebodyElse = &Error{Code: CodeForbidden, Message: "The token is somebody else's"}
	errNoIdentity   = errors.New("parley: Authorize returned neither an identity nor an error")
)

// Identity returns who the client is, as Options.Authorize or the latest Renew said; nil without
// Options.Authorize. Do not change it. It is there before middleware runs.
func (s *Socket) Identity() *auth.Identity {
	if s.proof == nil {
		return nil
	}
	return s.proof.identity.Load()
}

// identityKey is the key under which contexts of sockets have the identity.
type identityKey struct{}

// IdentityOf returns the identity of a *Socket, of its Context or a derived one, or of a SocketInfo.
// It is nil if there is none.
func IdentityOf(from Valuer) *auth.Identity {
	id, _ := from.Value(identityKey{}).(*auth.Identity)
	return id
}

// Renew asks Options.Authorize again, with a new payload such as {"token": "…"}, before the socket's
// identity expires. It returns the new identity, which must be of the same subject and role. If it
// is not, or if Authorize refuses, the socket keeps the identity that it has, and the error is one
// that the client may see. After a disconnect the error is ErrDisconnected.
func (s *Socket) Renew(ctx context.Context, payload json.RawMessage) (*auth.Identity, error) {
	return s.Become(ctx, payload, func(id *auth.Identity) error {
		if !id.Same(s.Identity()) {
			return errSomebodyElse
		}
		return nil
	})
}

// Become is like Renew, for a client that becomes somebody else, such as a visitor who signs in.
// Accept decides whether it may, and its error is Become's. What the socket was allowed to do before,
// such as being in rooms, is up to you.
func (s *Socket) Become(ctx context.Context, payload json.RawMessage, accept func(*auth.Identity) error) (*auth.Identity, error) {
	if s.proof == nil {
		return nil, errors.New("parley: a new identity needs Options.Authorize")
	}
	fresh, err := s.conn.prove(ctx, s.nsp.name, payload)
	if err != nil {
		return nil, err
	}
	defer s.nsp.srv.proofs.forget(fresh)
	id := fresh.identity.Load()
	if err := accept(id); err != nil {
		return nil, err
	}
	return id, s.nsp.srv.proofs.renew(s.proof, fresh)
}

// OnExpiring calls f for each socket whose identity expires in a minute, or sooner, so that the
// client can be asked for a new token. It applies to all namespaces. f runs in order with the
// socket's events, after OnConnection. If the identity has been renewed since, it is not called.
func (s *Server) OnExpiring(f func(s *Socket, expires time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expiring = with(s.expiring, f)
}

// DisconnectIdentities disconnects the sockets that have one of these identities, in all namespaces.
// They cannot come back by recovery, and their clients do not reconnect automatically. A connection
// that has no other sockets is closed. A client that Authorize is being asked about at this moment is
// refused as well. So first make Authorize refuse an identity, then call DisconnectIdentities: nobody
// is left. The error is ctx's.
func (s *Server) DisconnectIdentities(ctx context.Context, which auth.Match) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, socket := range s.proofs.revoke(&which) {
		socket.expel(errRevoked)
		socket.conn.closeUnused()
	}
	s.mu.RLock()
	var all []*Namespace
	for _, n := range s.namespaces {
		all = append(all, n)
	}
	s.mu.RUnlock()
	for _, n := range all {
		if r := n.local.recovery; r != nil {
			r.bar(&which)
		}
	}
	return nil
}

// proveNothing returns the proof of a client that need not be asked who it is. Without
// Options.Authorize that is nil. ok is false if it must be asked. The caller must pass the proof on to
// a socket, or forget it.
func (c *connection) proveNothing() (p *proof, ok bool) {
	if c.srv.opts.Authorize == nil {
		return nil, true
	}
	open, _ := c.srv.opts.Authorize.(auth.Opener)
	if open == nil || open.Everybody() == nil {
		return nil, false
	}
	p = c.srv.proofs.begin(c.address())
	id := open.Everybody() // again: from here on, the proof sees each revocation
	if id == nil {
		c.srv.proofs.forget(p)
		return nil, false
	}
	p.identity.Store(id)
	return p, true
}

// prove asks who the client is. The caller must pass the proof on to a socket, or forget it.
func (c *connection) prove(ctx context.Context, namespace string, payload json.RawMessage) (*proof, error) {
	p := c.srv.proofs.begin(c.address())
	id, err := c.ask(ctx, namespace, payload)
	if err != nil {
		c.srv.proofs.forget(p)
		if ctx.Err() == nil { // otherwise nobody waits for the answer
			c.srv.stats.unauthorized.Add(1)
			c.srv.logError(err, "session", c.session.ID(), "event", "authorize")
		}
		return nil, err
	}
	p.identity.Store(id)
	return p, nil
}

// address returns the client's address, host:port.
func (c *connection) address() string { return c.session.Handshake().Address }

func (c *connection) ask(ctx context.Context, namespace string, payload json.RawMessage) (id *auth.Identity, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h := c.session.Handshake()
	err = guard(func() (err error) {
		id, err = c.srv.opts.Authorize.Authorize(ctx, &auth.Request{
			Namespace: namespace, Payload: payload, Header: h.Header(), Query: h.Query(),
			Address: h.Address, Secure: h.Secure, CrossOrigin: h.CrossOrigin,
		})
		return err
	})
	switch {
	case err != nil:
	case id == nil:
		err = errNoIdentity
	case !id.Expires.IsZero() && !time.Now().Before(id.Expires):
		err = errTokenExpired
	}
	return id, err
}

// expiring tells the handlers of OnExpiring that the socket's identity expires at this time.
func (s *Socket) expiring(expires time.Time) {
	srv := s.nsp.srv
	srv.mu.RLock()
	handlers := srv.expiring
	srv.mu.RUnlock()
	if len(handlers) == 0 {
		return
	}
	s.push(task{run: func() {
		for _, f := range handlers {
			if !s.Connected() || !s.Identity().Expires.Equal(expires) {
				return
			}
			if err := guard(func() error { f(s, expires); return nil }); err != nil {
				s.report("expiring", nil, err)
			}
		}
	}})
}

// expire ends a socket whose identity has ended. If no other socket of the connection has a valid
// identity, it closes the connection instead: its client then reconnects by itself, and can bring a
// new token.
func (s *Socket) expire() {
	srv := s.nsp.srv
	srv.stats.expired.Add(1)
	valid := func(other *Socket) bool { return !srv.proofs.over(other.proof) }
	if s.Connected() && !slices.ContainsFunc(s.conn.sockets(), valid) {
		s.conn.close()
		return
	}
	s.expel(errTokenExpired)
}
