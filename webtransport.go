package parley

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// WebTransport is a WebTransport session with the first bidirectional stream that the client opened
// in it. Package webtransport implements it on QUIC connections. You may call the methods
// concurrently, except Read with Read and Write with Write.
type WebTransport interface {
	// Read reads from the stream. It returns io.EOF when the client has ended the stream or the
	// session.
	io.Reader
	// Write writes to the stream. It does not keep its argument.
	io.Writer
	// SetReadDeadline and SetWriteDeadline also affect calls that are already running. Such a call
	// returns os.ErrDeadlineExceeded; Write also returns how much it has taken until then.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Context returns a context that ends with the session.
	Context() context.Context
	// CloseWithError ends the session. If nothing has failed before, it first gives the written
	// data some time to arrive. A running Read returns.
	CloseWithError(code uint32, message string) error
}

// ServeWebTransport serves one WebTransport session, from the request that opens it until its end.
// Package webtransport calls it, so that programs without WebTransport do not link QUIC.
//
// ServeWebTransport refuses the request, as for other transports, if it is for another path than
// Options.Path, if its origin is not allowed, or while the server shuts down. Otherwise it calls
// accept, which accepts the session and waits for its first bidirectional stream until ctx ends. If
// accept fails, it must have answered the request and ended the session.
//
// AllowRequest and the connection limits apply to each client that begins with WebTransport, and so
// does all middleware. A refused client receives the body of the HTTP response as its first packet,
// which official clients treat as an error. The session is then closed with the response's status
// and message.
func (s *Server) ServeWebTransport(w http.ResponseWriter, r *http.Request, accept func(ctx context.Context) (WebTransport, error)) {
	if _, ours := s.below(r.URL); !ours {
		s.notFound(w, r)
		return
	}
	s.engine.ServeWebTransport(w, r, func(ctx context.Context) (engine.WebTransport, error) { return accept(ctx) })
}

// OfferWebTransport advertises WebTransport as an upgrade to polling clients until withdraw is
// called, if Options.Transports includes it. Package webtransport calls it for as long as a server
// runs.
func (s *Server) OfferWebTransport() (withdraw func()) { return s.engine.OfferWebTransport() }
