package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/budget"
)

// problem is a refusal, as RFC 9457 says.
type problem struct {
	Type       string            `json:"type" enum:"about:blank"`
	Title      string            `json:"title" doc:"the phrase of the status"`
	Status     int               `json:"status"`
	Detail     string            `json:"detail,omitempty" doc:"for people"`
	Code       conversation.Code `json:"code" doc:"for programs; docs/events.md lists the codes"`
	RetryAfter int               `json:"retryAfter,omitempty" doc:"of rate_limited: seconds, as in the header Retry-After"`
	Errors     []mistake         `json:"errors,omitempty"`

	presented bool // the client has shown something to prove who it is
}

// mistake is a part of a request that cannot be accepted.
type mistake struct {
	Location string `json:"location" doc:"such as body.login"`
	Message  string `json:"message"`
}

// refuse returns a problem with the status of a code.
func refuse(code conversation.Code, detail string) *problem {
	return newProblem(code.Status(), code, detail)
}

func newProblem(status int, code conversation.Code, detail string) *problem {
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
}

func (p *problem) Error() string { return "parley: api: " + string(p.Code) + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders implements huma.HeadersError. RFC 6750, section 3: a client that has shown nothing learns
// only what it needs.
func (p *problem) GetHeaders() http.Header {
	h := http.Header{}
	switch {
	case p.Status == http.StatusUnauthorized && p.presented:
		h.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	case p.Status == http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case p.Code == conversation.Forbidden && p.presented:
		h.Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.RetryAfter))
	}
	return h
}

// write answers a request with the problem.
func (p *problem) write(w http.ResponseWriter) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// huma has one function for errors in all programs, so it is set before any API is made.
func init() { huma.NewError = ofHuma }

// ofHuma converts an error of huma. Its details have the values that they are about; these are
// dropped, for one may be a password.
func ofHuma(status int, message string, errs ...error) huma.StatusError {
	code := conversation.BadPayload
	switch status {
	case http.StatusUnprocessableEntity: // huma's, for what does not match the schema; ours is key_reuse
		status, message = http.StatusBadRequest, "the request is not as it must be"
	case http.StatusRequestEntityTooLarge:
		code, message = conversation.TooLarge, "the body is too large"
	case http.StatusRequestTimeout:
		message = "the body did not come in time"
	case http.StatusInternalServerError:
		code, message = conversation.Internal, ""
	}
	p := newProblem(status, code, message)
	for _, err := range errs {
		detailer, ok := err.(huma.ErrorDetailer)
		if !ok {
			continue
		}
		d := detailer.ErrorDetail()
		m := mistake{Location: d.Location, Message: d.Message}
		switch {
		case d.Location == "body" && d.Value != nil:
			m.Message = "is no JSON, or not of this type"
		case strings.HasPrefix(d.Location, "query."):
			m.Location = "query" // the name of an unknown parameter may be a token
		}
		p.Errors = append(p.Errors, m)
	}
	return p
}

// problem converts an error of package access.
func (a *api) problem(ctx context.Context, err error) error {
	var p *problem
	var e *access.Error
	switch {
	case errors.As(err, &p):
	case errors.As(err, &e):
		p = refuse(e.Code, e.Message)
		p.RetryAfter = budget.Seconds(e.RetryAfter)
		if e.Code == conversation.Unavailable || e.Code == conversation.UnknownOutcome {
			a.opts.Failed("change access", err)
		}
	case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
		p = refuse(conversation.Unavailable, "the store does not answer in time: try again later")
	default:
		a.opts.Failed("answer a request", err)
		p = refuse(conversation.Internal, "")
	}
	p.presented = p.presented || callerOf(ctx).presented
	return p
}
