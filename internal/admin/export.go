package admin

import (
	"errors"
	"net/http"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

func (h *handler) handleExports() {
	h.mux.HandleFunc("GET /api/export", func(w http.ResponseWriter, r *http.Request) {
		h.export(w, r, history.ExportOptions{})
	})
	h.mux.HandleFunc("GET /api/users/{user}/export", func(w http.ResponseWriter, r *http.Request) {
		h.export(w, r, history.ExportOptions{UserID: r.PathValue("user")})
	})
	h.mux.HandleFunc("GET /api/rooms/{room}/export", func(w http.ResponseWriter, r *http.Request) {
		h.export(w, r, history.ExportOptions{RoomID: r.PathValue("room")})
	})
}

// export streams an export. If it fails after it has begun, the answer is cut off.
func (h *handler) export(w http.ResponseWriter, r *http.Request, o history.ExportOptions) {
	if since := r.URL.Query().Get("since"); since != "" {
		var err error
		if o.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
			writeProblem(w, refuse(conversation.BadPayload, "since is a time such as 2026-01-31T18:00:00Z"))
			return
		}
	}
	begun := &begun{ResponseWriter: w}
	_, err := history.Export(r.Context(), h.Store, begun, o)
	switch {
	case err == nil:
	case begun.yes:
		h.Logger.Warn("an export was cut off", "error", err)
		panic(http.ErrAbortHandler)
	case errors.Is(err, history.ErrNotFound):
		writeProblem(w, refuse(conversation.NotFound, "there is nothing to export"))
	default:
		writeProblem(w, err)
	}
}

// begun is an answer that knows whether it has begun.
type begun struct {
	http.ResponseWriter
	yes bool
}

func (b *begun) Write(p []byte) (int, error) {
	if !b.yes {
		b.yes = true
		b.Header().Set("Content-Type", "application/jsonl")
	}
	return b.ResponseWriter.Write(p)
}
