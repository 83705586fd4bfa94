package webtransport

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley"
)

// connKey is the key of a request's connection.
type connKey struct{}

func withConn(ctx context.Context, c *quic.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// serve answers a request over HTTP/3.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Proto != "webtransport" && r.Proto != "webtransport-h3" { // as of the draft's revision 15
		http.Error(w, "404: only WebTransport here", http.StatusNotFound)
		return
	}
	conn := r.Context().Value(connKey{}).(*quic.Conn)
	accepted := false
	s.parley.ServeWebTransport(w, r, func(ctx context.Context) (parley.WebTransport, error) {
		session, err := s.wt.Upgrade(w, r)
		if err != nil {
			http.Error(w, "WebTransport is not possible here", http.StatusBadRequest)
			return nil, err
		}
		accepted = true
		stream, err := session.AcceptStream(ctx)
		if err != nil {
			session.CloseWithError(http.StatusRequestTimeout, "no stream in time")
			return nil, err
		}
		return newSession(conn, session, stream), nil
	})
	if accepted {
		// A connection has one session. The client's end of it comes first, or else the reason
		// might be lost.
		wait(conn.Context(), endTimeout)
		conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	}
}

func wait(ctx context.Context, atMost time.Duration) {
	t := time.NewTimer(atMost)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

const (
	// endTimeout is how long a client may take to close a connection whose session has ended.
	endTimeout = 2 * time.Second
	// What was written has this time to arrive, and to be read by a page, before the session is
	// closed: to close it drops what is under way in its streams, and what a page has not read.
	// QUIC sends again what was lost when two round trips and a little have gone by.
	minArrival, maxArrival = 300 * time.Millisecond, 3 * time.Second
	arrivalRoundTrips      = 4
)

// session is a session and its stream, as parley wants them.
type session struct {
	conn    *quic.Conn
	session *wt.Session
	stream  *wt.Stream
	ctx     context.Context
	over    context.CancelFunc // ends ctx: nothing more will be read
	broken  atomic.Bool        // a write has failed
}

func newSession(conn *quic.Conn, ws *wt.Session, stream *wt.Stream) *session {
	s := &session{conn: conn, session: ws, stream: stream}
	s.ctx, s.over = context.WithCancel(ws.Context())
	return s
}

func (s *session) Context() context.Context           { return s.ctx }
func (s *session) SetReadDeadline(t time.Time) error  { return s.stream.SetReadDeadline(t) }
func (s *session) SetWriteDeadline(t time.Time) error { return s.stream.SetWriteDeadline(t) }

func (s *session) Read(b []byte) (int, error) {
	n, err := s.stream.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		s.over()
		if closedByClient(err) {
			err = io.EOF
		}
	}
	return n, err
}

func closedByClient(err error) bool {
	var session *wt.SessionError
	var conn *quic.ApplicationError
	switch {
	case errors.As(err, &session):
		return session.Remote && session.ErrorCode == 0
	case errors.As(err, &conn):
		return conn.Remote && conn.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError)
	}
	return false
}

func (s *session) Write(b []byte) (int, error) {
	n, err := s.stream.Write(b)
	if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
		s.broken.Store(true)
	}
	return n, err
}

func (s *session) CloseWithError(code uint32, message string) error {
	if !s.broken.Load() {
		s.stream.Close()
		wait(s.ctx, min(minArrival+arrivalRoundTrips*s.conn.ConnectionStats().SmoothedRTT, maxArrival))
	}
	return s.session.CloseWithError(wt.SessionErrorCode(code), message)
}
