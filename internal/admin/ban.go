package admin

import (
	"net/http"
	"strings"
	"time"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

// NewBan is the body of POST /api/bans: of a user, or of a network.
type NewBan struct {
	UserID  string    `json:"userId,omitempty"`
	Network string    `json:"network,omitempty"` // an address or a network, such as 203.0.113.0/24
	Until   time.Time `json:"until,omitzero"`    // zero: for ever
	Reason  string    `json:"reason,omitempty"`
}

// Subject returns what is banned, as in access.Ban. It is "" unless there is one.
func (b NewBan) Subject() string {
	switch {
	case b.UserID != "" && b.Network == "":
		return "user:" + b.UserID
	case b.UserID == "" && b.Network != "":
		return "net:" + b.Network
	}
	return ""
}

// NewRevocation is the body of POST /api/revocations. One of the first four says what is revoked.
type NewRevocation struct {
	UserID     string    `json:"userId,omitempty"`
	OperatorID string    `json:"operatorId,omitempty"`
	TokenID    string    `json:"jti,omitempty"`
	Everybody  bool      `json:"everybody,omitempty"`
	Before     time.Time `json:"before,omitzero"` // zero: now
	Reason     string    `json:"reason,omitempty"`
}

func (n NewRevocation) subject() string {
	var all []string
	for prefix, id := range map[string]string{"user:": n.UserID, "operator:": n.OperatorID, "jti:": n.TokenID} {
		if id != "" {
			all = append(all, prefix+id)
		}
	}
	if n.Everybody {
		all = append(all, access.Everybody)
	}
	if len(all) != 1 {
		return ""
	}
	return all[0]
}

func (h *handler) handleBans() {
	handle(h, "GET /api/bans", func(*http.Request, none) (List[access.Ban], error) {
		return List[access.Ban]{h.Access.Bans()}, nil
	})
	handle(h, "POST /api/bans", func(r *http.Request, in NewBan) (access.Ban, error) {
		return h.Access.Ban(r.Context(), access.Ban{Subject: in.Subject(), Until: in.Until, Reason: in.Reason})
	})
	handle(h, "DELETE /api/bans/{subject}", func(r *http.Request, _ none) (none, error) {
		return none{}, h.Access.Unban(r.Context(), r.PathValue("subject"))
	})
	handle(h, "POST /api/revocations", func(r *http.Request, in NewRevocation) (access.Revocation, error) {
		subject := in.subject()
		if subject == "" {
			return access.Revocation{}, refuse(conversation.BadPayload, "want one of userId, operatorId, jti and everybody")
		}
		return h.Access.Revoke(r.Context(), access.Revocation{Subject: subject, Before: in.Before, Reason: in.Reason})
	})
}

// concerning returns the bans and revocations that name a user.
func (h *handler) concerning(userID string) (kept []string) {
	for _, b := range h.Access.Bans() {
		if b.Subject == "user:"+userID {
			kept = append(kept, "ban "+b.Subject)
		}
	}
	for _, r := range h.Access.Revocations() {
		if strings.TrimPrefix(r.Subject, "user:") == userID && r.Subject != userID {
			kept = append(kept, "revocation "+r.Subject)
		}
	}
	return kept
}
