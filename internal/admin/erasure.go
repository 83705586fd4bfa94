package admin

import (
	"errors"
	"net/http"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

// Erasure is the answer of DELETE /api/users/{user} and /api/rooms/{room}: what was erased, or would be.
type Erasure struct {
	Erased struct {
		Rooms    []string `json:"rooms"`
		Messages int      `json:"messages"` // in these rooms
		Changed  int      `json:"changed"`  // messages in other rooms that lose their content and author
		Person   bool     `json:"person"`   // what was known of the user
	} `json:"erased"`
	// Kept are bans and revocations of the user. They stay in force, and no longer name anybody.
	Kept []string `json:"kept,omitempty"`
}

func (h *handler) handleErasures() {
	handle(h, "DELETE /api/users/{user}", func(r *http.Request, _ none) (Erasure, error) {
		return h.erase(r, r.PathValue("user"), "")
	})
	handle(h, "DELETE /api/rooms/{room}", func(r *http.Request, _ none) (Erasure, error) {
		return h.erase(r, "", r.PathValue("room"))
	})
}

func (h *handler) erase(r *http.Request, user, room string) (e Erasure, err error) {
	eraser, ok := h.Store.(history.Eraser)
	if !ok {
		return e, history.ErrNotSupported
	}
	ctx := r.Context()
	var users []string
	if people, ok := h.Store.(history.People); ok && user != "" {
		_, err := people.Person(ctx, user)
		if err != nil && !errors.Is(err, history.ErrNotFound) {
			return e, err
		}
		e.Erased.Person = err == nil
		if users, err = people.Identities(ctx, user); err != nil {
			return e, err
		}
	} else if user != "" {
		users = []string{user}
	}
	for _, id := range users {
		e.Kept = append(e.Kept, h.concerning(id)...)
	}
	would, err := eraser.Erasing(ctx, user, room)
	if err != nil {
		return e, err
	}
	if len(would.Rooms) == 0 && len(would.Changed) == 0 && !e.Erased.Person && len(e.Kept) == 0 {
		return e, refuse(conversation.NotFound, "there is nothing to erase")
	}
	if r.URL.Query().Get("dryRun") == "true" {
		e.add(would)
		return e, nil
	}
	var erased history.Erased
	if room != "" {
		erased, err = h.Log.EraseRoom(ctx, room)
	} else {
		erased, err = h.Log.EraseUser(ctx, user)
	}
	h.Erased(users, erased.Rooms) // after an error, a part may be gone
	e.add(erased)
	if err == nil {
		err = h.Access.Forget(ctx, users...)
	}
	return e, err
}

func (e *Erasure) add(erased history.Erased) {
	e.Erased.Rooms = append([]string{}, erased.Rooms...)
	e.Erased.Messages, e.Erased.Changed = erased.Messages, len(erased.Changed)
}
