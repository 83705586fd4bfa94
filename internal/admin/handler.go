package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

// Options say what the calls work on.
type Options struct {
	Access *access.Access
	Log    *history.Log
	Store  history.Store
	// Tokens returns what verifies and signs tokens. It is called for each call about tokens.
	Tokens func() (*jwtauth.Verifier, error)
	// Erased is called after users and rooms were erased. If nil, nobody has to know.
	Erased func(users, rooms []string)
	// Logger gets a line for each call that changes something, without ids. If nil, none.
	Logger *slog.Logger
}

// maxBody limits the body of a call.
const maxBody = 64 << 10

// Handler returns the handler of all calls. It asks nobody who they are.
func Handler(o Options) http.Handler {
	if o.Erased == nil {
		o.Erased = func(users, rooms []string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{Options: o, mux: http.NewServeMux()}
	h.handleOperators()
	h.handleKeys()
	h.handleBans()
	h.handleTokens()
	h.handleErasures()
	h.handleExports()
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, refuse(conversation.NotFound, "there is no such call"))
	})
	return h.mux
}

type handler struct {
	Options
	mux *http.ServeMux
}

// List is the answer of calls that list something.
type List[T any] struct {
	Items []T `json:"items"`
}

// none is the body of a call without one, and the answer of a call that only succeeds.
type none struct{}

// handle adds a call. f gets the body, and returns the answer. Its errors are *access.Error or those of
// package history.
func handle[I, O any](h *handler, pattern string, f func(r *http.Request, in I) (O, error)) {
	h.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		var in I
		if _, bodiless := any(in).(none); !bodiless {
			d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
			d.DisallowUnknownFields()
			if d.Decode(&in) != nil { // the error may show a secret
				writeProblem(w, refuse(conversation.BadPayload, "the body is not as this call needs it"))
				return
			}
		}
		out, err := f(r, in)
		if r.Method != http.MethodGet {
			fields := []any{"call", pattern, "done", err == nil}
			if err != nil {
				fields = append(fields, "code", problemOf(err).Code)
			}
			h.Logger.Info("administration", fields...)
		}
		if err != nil {
			writeProblem(w, err)
			return
		}
		if _, silent := any(out).(none); silent {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(out) // the client may be gone
	})
}

// problem is a refusal, as RFC 9457 says.
type problem struct {
	Type   string            `json:"type"`
	Title  string            `json:"title"`
	Status int               `json:"status"`
	Detail string            `json:"detail,omitempty"`
	Code   conversation.Code `json:"code"`
}

func refuse(code conversation.Code, message string) error {
	return &access.Error{Code: code, Message: message}
}

func problemOf(err error) problem {
	p := problem{Type: "about:blank", Code: conversation.Internal, Detail: err.Error()}
	var a *access.Error
	var s *history.Error
	switch {
	case errors.As(err, &a):
		p.Code, p.Detail = a.Code, a.Message
	case errors.As(err, &s):
		p.Code = codeOf(s)
	case errors.Is(err, context.DeadlineExceeded):
		p.Code = conversation.Unavailable
	}
	p.Status = p.Code.Status()
	p.Title = http.StatusText(p.Status)
	return p
}

func writeProblem(w http.ResponseWriter, err error) {
	p := problemOf(err)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client may be gone
}

// codeOf returns the code of an error of a store.
func codeOf(e *history.Error) conversation.Code {
	switch {
	case errors.Is(e, history.ErrBadDraft), errors.Is(e, history.ErrBadPage):
		return conversation.BadPayload
	case errors.Is(e, history.ErrClosed), errors.Is(e, history.ErrBusy), errors.Is(e, history.ErrFull), errors.Is(e, history.ErrNotSupported):
		return conversation.Unavailable
	}
	return conversation.Code(e.Code)
}
