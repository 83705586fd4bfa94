package webtransport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley"
)

// connKey is the context key of a request's connection.
type connKey struct{}

func withConn(ctx context.Context, c *quic.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// serve answers a request over HTTP/3.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Proto != "webtransport" && r.Proto != "webtransport-h3" { // the name since revision 15 of the draft
		http.Error(w, "404: only WebTransport here", http.StatusNotFound)
		return
	}
	conn := r.Context().Value(connKey{}).(*quic.Conn)
	var served *session
	s.parley.ServeWebTransport(w, r, func(ctx context.Context) (parley.WebTransport, error) {
		accepted, err := s.wt.Upgrade(w, r)
		if err != nil {
			http.Error(w, "WebTransport is not possible here", http.StatusBadRequest)
			return nil, err
		}
		served = newSession(conn, w.(http3.HTTPStreamer).HTTPStream(), accepted)
		if served.stream, err = accepted.AcceptStream(ctx); err != nil {
			served.CloseWithError(http.StatusRequestTimeout, "no stream in time")
			return nil, err
		}
		return served, nil
	})
	if served != nil { // the only session of the connection has ended
		// Clients close the connection after the session. If the server closes it at the same time,
		// Chromium takes the connection for lost.
		wait(conn.Context(), minArrival)
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
	// Closing a session drops data in flight on its streams and data that the page has not yet
	// read. So the server waits this long first, for the data to arrive and be read. QUIC resends
	// lost packets after a little more than two round trips.
	minArrival, maxArrival = 300 * time.Millisecond, 3 * time.Second
	arrivalRoundTrips      = 4
)

// session implements [parley.WebTransport] with a session and its stream.
type session struct {
	conn    *quic.Conn
	request *http3.Stream // the stream of the CONNECT request
	session *wt.Session
	stream  *wt.Stream // nil until the client opens it
	ctx     context.Context
	over    context.CancelFunc // ends ctx, because nothing more can be read
	broken  atomic.Bool        // a write has failed
}

func newSession(conn *quic.Conn, request *http3.Stream, ws *wt.Session) *session {
	s := &session{conn: conn, request: request, session: ws}
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
	arrival := min(minArrival+arrivalRoundTrips*s.conn.ConnectionStats().SmoothedRTT, maxArrival)
	if s.stream != nil && !s.broken.Load() {
		s.stream.Close()
		wait(s.ctx, arrival)
	}
	// session.CloseWithError also tells the client that we no longer read. Chromium sees this first
	// and takes the connection for lost. So write the capsule ourselves. Nobody else writes to this
	// stream, since sessions have no flow control.
	if s.session.Context().Err() == nil && s.request.TryWriteAll(appendClose(nil, code, message)) == nil {
		s.request.Close()
		wait(s.session.Context(), arrival)
	}
	return s.session.CloseWithError(wt.SessionErrorCode(code), message)
}

const (
	// closeSession is the type of the capsule WT_CLOSE_SESSION (draft-ietf-webtrans-http3, 6).
	closeSession = 0x2843
	// maxMessage is the largest size of its message in bytes: "MUST NOT exceed 1024".
	maxMessage = 1024
)

// appendClose appends a capsule that closes the session. It cuts a message that is too long at a rune
// boundary.
func appendClose(dst []byte, code uint32, message string) []byte {
	if len(message) > maxMessage {
		n := maxMessage
		for n > 0 && !utf8.RuneStart(message[n]) {
			n--
		}
		message = message[:n]
	}
	dst = quicvarint.Append(dst, closeSession)
	dst = quicvarint.Append(dst, uint64(4+len(message)))
	dst = binary.BigEndian.AppendUint32(dst, code)
	return append(dst, message...)
}
