package parley

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/parley-go/parley/internal/engine"
)

// WebTransport is a WebTransport session, together with the first bidirectional stream that
// the client has opened in it. Package webtransport makes them of QUIC connections. The
// methods may be called concurrently, but for Read and Write with themselves.
type WebTransport interface {
	// Read reads from the stream. The error is io.EOF when the client has ended the stream or
	// the session.
	io.Reader
	// Write writes to the stream. It keeps nothing of what it is given.
	io.Writer
	// SetReadDeadline and SetWriteDeadline also have an effect on calls that are under way.
	// The error is then os.ErrDeadlineExceeded, of Write with what was taken until then.
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	// Context ends with the session.
	Context() context.Context
	// CloseWithError ends the session. If nothing has failed before, it first gives what was
	// written a while to arrive. A Read that is under way returns.
	CloseWithError(code uint32, message string) error
}

// ServeWebTransport serves one WebTransport session, from the request for it until its end.
// Package webtransport calls it, so that programs without WebTransport do not link QUIC.
//
// The request is refused as others are: below another path than Options.Path, from an origin
// that is not allowed, while the server shuts down. Otherwise accept is called, which accepts
// the session and waits for its first bidirectional stream, for as long as ctx lasts. When
// accept fails it has answered the request and ended the session. AllowRequest and the limits
// of connections are asked about each client that begins here, like all middleware; those
// that are refused get the answer of an HTTP request as their first packet, which official
// clients take for an error, and the session is closed with its status and message.
func (s *Server) ServeWebTransport(w http.ResponseWriter, r *http.Request, accept func(ctx context.Context) (WebTransport, error)) {
	if _, ours := s.below(r.URL.Path); !ours {
		s.notFound(w, r)
		return
	}
	s.engine.ServeWebTransport(w, r, func(ctx context.Context) (engine.WebTransport, error) { return accept(ctx) })
}

// OfferWebTransport has the server tell clients that poll that they may upgrade to
// WebTransport, if that is among Options.Transports, until withdraw is called. Package
// webtransport calls it for as long as there is a server.
func (s *Server) OfferWebTransport() (withdraw func()) { return s.engine.OfferWebTransport() }
