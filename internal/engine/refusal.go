package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/parley-go/parley/internal/notice"
)

// requestError is the answer to a refused request. Clients know the codes.
type requestError struct {
	reason  string // one of Refusals
	status  int
	code    int
	message string
	// retryAfter is the number of seconds after which the client should try again.
	retryAfter int
	// remedy tells the operator what to do. level is the level of the log line.
	remedy string
	level  slog.Level
}

func (e *requestError) Error() string { return e.message }

// Refusals lists the reasons for refused requests, in the order of Stats.Refused.
var Refusals = [...]string{
	"transport",   // unknown, or not allowed
	"session",     // the session is unknown
	"request",     // malformed, or it does not fit its session
	"protocol",    // an unsupported revision
	"origin",      // a page of an origin that is not allowed
	"forbidden",   // by AllowRequest
	"rate",        // by AllowRequest, for now
	"writer",      // the ResponseWriter cannot do what the transport needs
	"sessions",    // MaxSessions
	"address",     // MaxPerAddress
	"descriptors", // the process or the system has none left
	"gone",        // the client no longer waits for the answer
	"shutdown",
}

var (
	errUnknownTransport = &requestError{reason: "transport", status: http.StatusBadRequest, code: 0, message: "Transport unknown",
		remedy: "a client asks for another transport than Transports allows; a request without one is not from a Socket.IO client"}
	errUnknownSession = &requestError{reason: "session", status: http.StatusBadRequest, code: 1, message: "Session ID unknown",
		remedy: "the session has ended, or its server has: clients come back by themselves; if it goes on, several servers behind one address need a cluster with the same secret, or sticky sessions"}
	errHandshakeMethod = &requestError{reason: "request", status: http.StatusBadRequest, code: 2, message: "Bad handshake method",
		remedy: "a handshake is a GET request"}
	errBadRequest = &requestError{reason: "request", status: http.StatusBadRequest, code: 3, message: "Bad request",
		remedy: "the request breaks the protocol, or something on the way has changed it: a proxy has to pass Upgrade and Connection on"}
	errTooLarge = &requestError{reason: "request", status: http.StatusRequestHeaderFieldsTooLarge, code: 3, message: "Request header too large",
		remedy: "header and URL of a handshake may have as many bytes as MaxHandshake says, or 16 KiB: cookies of this site may take too much of it"}
	errMethod = &requestError{reason: "request", status: http.StatusMethodNotAllowed, code: 3, message: "Bad request",
		remedy: "clients send GET and POST"}
	errForbidden = &requestError{reason: "forbidden", status: http.StatusForbidden, code: 4, message: "Forbidden",
		remedy: "AllowRequest has refused it"}
	errTooSoon = &requestError{reason: "rate", status: http.StatusTooManyRequests, code: 4,
		remedy: "AllowRequest has refused it for now: clients of this address connect too often"}
	errOrigin = &requestError{reason: "origin", status: http.StatusForbidden, code: 4, message: "Origin not allowed",
		remedy: "add it to CORS.Origins (the setting cors-origins), also where middleware for CORS is in use"}
	errProtocolVersion = &requestError{reason: "protocol", status: http.StatusBadRequest, code: 5, message: "Unsupported protocol version",
		remedy: "clients of Socket.IO 2 need AllowEIO3 (the setting allow-eio3)"}

	errCannotStream = &requestError{reason: "writer", status: http.StatusInternalServerError, code: 3, message: "The server cannot stream",
		remedy: noUnwrap, level: slog.LevelWarn}
	errCannotHijack = &requestError{reason: "writer", status: http.StatusInternalServerError, code: 3, message: "WebSocket is not possible here",
		remedy: noUnwrap, level: slog.LevelWarn}

	// The reference has no limits. These errors use the code that it uses for "forbidden".
	errTooManySessions = &requestError{reason: "sessions", status: http.StatusServiceUnavailable, code: 4, message: "Too many connections", retryAfter: 5,
		remedy: "there are as many connections as MaxConnections (the setting max-connections) allows", level: slog.LevelWarn}
	errTooManyOfOne = &requestError{reason: "address", status: http.StatusTooManyRequests, code: 4, message: "Too many connections from this address", retryAfter: 5,
		remedy: "MaxConnectionsPerAddress (the setting max-connections-per-address) is reached; behind a proxy set ClientAddress (trusted-proxies)"}
	errNoDescriptors = &requestError{reason: "descriptors", status: http.StatusServiceUnavailable, code: 4, message: "Too many connections", retryAfter: 5,
		remedy: MoreDescriptors, level: slog.LevelWarn}
	errGone = &requestError{reason: "gone", status: http.StatusServiceUnavailable, code: 4, message: "The client is gone",
		remedy: "the client has ended its request before the answer", level: slog.LevelDebug}
	errShuttingDown = &requestError{reason: "shutdown", status: http.StatusServiceUnavailable, code: 4, message: "Server is shutting down", retryAfter: 1,
		remedy: "clients come back to the server that answers then", level: slog.LevelDebug}
)

// MoreDescriptors says what to do when the process has no file descriptors left.
const MoreDescriptors = "raise the limit of open files (ulimit -n, LimitNOFILE=), or lower MaxConnections (the setting max-connections)"

// noUnwrap says what to do about a ResponseWriter that middleware has wrapped.
const noUnwrap = "middleware in front wraps the ResponseWriter: give its type a method Unwrap() http.ResponseWriter, or keep it off this path"

// refused counts a refusal and posts a notice of it with args.
func (s *Server) refused(r *http.Request, e *requestError, args ...any) {
	s.stats.Refused[slices.Index(Refusals[:], e.reason)].Add(1)
	why := e.reason + e.message
	args = append(args, "reason", e.reason)
	if origin := notice.Quote(r.Header.Get("Origin")); e.reason == "origin" {
		why += "\n" + origin
		args = append(args, "origin", origin)
	}
	s.notices.Post(e.level, why, "parley: request refused", append(args, "status", e.status, "answer", e.message, "hint", e.remedy)...)
}

// typeOf returns the name of the type of w or, if w can be unwrapped, of the innermost writer.
func typeOf(w http.ResponseWriter) string {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return fmt.Sprintf("%T", w)
		}
		w = wrapper.Unwrap()
	}
}

// noticeTimeout posts a notice if ctx, a request's context, has reached its deadline. The client
// may then still wait for the answer.
func (s *Server) noticeTimeout(ctx context.Context) {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.notices.Post(slog.LevelWarn, "timeout", "parley: middleware in front ends requests that wait, and with them their sessions",
			"hint", "keep http.TimeoutHandler, middleware.Timeout and their like off the path of Socket.IO")
	}
}

// refuse answers an HTTP request with e as JSON, which clients expect.
func refuse(w http.ResponseWriter, e *requestError) {
	e.write(w, e.status, "application/json", e.body())
}

func (e *requestError) body() []byte {
	body, _ := json.Marshal(struct { // cannot fail
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{e.code, e.message})
	return body
}

// refuseUpgrade answers a WebSocket handshake with e. Like the reference, it sends a plain message
// and the status 400. Only errors that the reference does not have keep their own status.
func refuseUpgrade(w http.ResponseWriter, r *http.Request, e *requestError) {
	status := http.StatusBadRequest
	if e == errOrigin || e == errTooLarge || e == errCannotHijack || e.retryAfter > 0 {
		status = e.status
	}
	if r.ProtoMajor == 1 { // in HTTP/2 other requests use the same connection
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	e.write(w, status, "text/html; charset=utf-8", []byte(html.EscapeString(e.message)))
}

func (e *requestError) write(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(e.retryAfter))
	}
	w.WriteHeader(status)
	w.Write(body)
}

// takenOver is the ResponseWriter of a hijacked connection that the server gives up. It writes one
// short answer and closes the connection.
type takenOver struct {
	nc     net.Conn
	header http.Header
	status int
}

func (t *takenOver) Header() http.Header    { return t.header }
func (t *takenOver) WriteHeader(status int) { t.status = status }

func (t *takenOver) Write(body []byte) (int, error) {
	answer := http.Response{
		StatusCode: t.status, ProtoMajor: 1, ProtoMinor: 1, Header: t.header,
		Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Close: true,
	}
	t.nc.SetDeadline(time.Now().Add(closeTimeout))
	err := answer.Write(t.nc)
	t.nc.Close()
	return len(body), err
}
