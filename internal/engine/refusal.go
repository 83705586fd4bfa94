package engine

import (
	"encoding/json"
	"html"
	"net/http"
	"strconv"
)

// requestError is the answer to a request that is refused. Clients know the codes.
type requestError struct {
	status  int
	code    int
	message string
	// retryAfter tells the client, in seconds, when to try again.
	retryAfter int
}

func (e *requestError) Error() string { return e.message }

var (
	errUnknownTransport = &requestError{status: http.StatusBadRequest, code: 0, message: "Transport unknown"}
	errUnknownSession   = &requestError{status: http.StatusBadRequest, code: 1, message: "Session ID unknown"}
	errHandshakeMethod  = &requestError{status: http.StatusBadRequest, code: 2, message: "Bad handshake method"}
	errBadRequest       = &requestError{status: http.StatusBadRequest, code: 3, message: "Bad request"}
	errForbidden        = &requestError{status: http.StatusForbidden, code: 4, message: "Forbidden"}
	errOrigin           = &requestError{status: http.StatusForbidden, code: 4, message: "Origin not allowed"}
	errProtocolVersion  = &requestError{status: http.StatusBadRequest, code: 5, message: "Unsupported protocol version"}

	errCannotStream = &requestError{status: http.StatusInternalServerError, code: 3, message: "The server cannot stream"}

	// The reference has no limits, so these borrow its code for "not now".
	errTooManySessions = &requestError{status: http.StatusServiceUnavailable, code: 4, message: "Too many connections", retryAfter: 5}
	errTooManyOfOne    = &requestError{status: http.StatusTooManyRequests, code: 4, message: "Too many connections from this address", retryAfter: 5}
	errShuttingDown    = &requestError{status: http.StatusServiceUnavailable, code: 4, message: "Server is shutting down", retryAfter: 1}
)

// refuse answers an HTTP request with e, as the JSON that clients expect.
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

// refuseUpgrade answers a WebSocket handshake with e: as the reference does, with a
// plain message and the status 400, unless it is about limits or origins, of which the
// reference knows none.
func refuseUpgrade(w http.ResponseWriter, r *http.Request, e *requestError) {
	status := http.StatusBadRequest
	if e == errOrigin || e.retryAfter > 0 {
		status = e.status
	}
	if r.ProtoMajor == 1 { // others use the connection of HTTP/2, too
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
