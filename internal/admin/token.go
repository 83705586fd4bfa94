package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
)

// NewToken is the body of POST /api/tokens.
type NewToken struct {
	Subject    string            `json:"sub"`
	Role       auth.Role         `json:"role,omitempty"` // "user" if empty
	Name       string            `json:"name,omitempty"`
	Email      string            `json:"email,omitempty"`
	Rooms      map[string]string `json:"rooms,omitzero"`
	Attributes json.RawMessage   `json:"attributes,omitempty"`
	TTL        int64             `json:"ttl,omitempty"` // seconds; an hour if zero
}

// Identity returns who the token is for, if it is made now.
func (t NewToken) Identity() (*auth.Identity, error) {
	grants, err := grants(t.Rooms)
	if err != nil {
		return nil, err
	}
	if t.TTL == 0 {
		t.TTL = int64(time.Hour / time.Second)
	}
	ttl := time.Duration(t.TTL) * time.Second
	return &auth.Identity{
		Subject: t.Subject, Role: t.Role, Name: t.Name, Email: t.Email, Attributes: t.Attributes, Grants: grants,
		IssuedAt: access.IssueTime(), Expires: time.Now().UTC().Truncate(time.Second).Add(ttl),
	}, nil
}

// Token is the answer of POST /api/tokens.
type Token struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// TokenToCheck is the body of POST /api/tokens/check: a token, or the key of a program.
type TokenToCheck struct {
	Token access.Secret `json:"token"`
}

// CheckedToken says whether a token is accepted. If it is refused, Rule and Reason say why; who it is for
// is known only if its signature is right.
type CheckedToken struct {
	Valid      bool              `json:"valid"`
	Code       conversation.Code `json:"code,omitempty"`
	Rule       string            `json:"rule,omitempty"` // a jwtauth.Rule, or access
	Reason     string            `json:"reason,omitempty"`
	Subject    string            `json:"sub,omitempty"`
	Role       auth.Role         `json:"role,omitempty"`
	Visitor    bool              `json:"visitor,omitempty"`
	Name       string            `json:"name,omitempty"`
	Email      string            `json:"email,omitempty"`
	Rooms      map[string]string `json:"rooms,omitzero"`
	Attributes json.RawMessage   `json:"attributes,omitempty"`
	Issuer     string            `json:"iss,omitempty"`
	TokenID    string            `json:"jti,omitempty"`
	IssuedAt   time.Time         `json:"issuedAt,omitzero"`
	ExpiresAt  time.Time         `json:"expiresAt,omitzero"`
}

func (h *handler) handleTokens() {
	handle(h, "POST /api/tokens", h.signToken)
	handle(h, "POST /api/tokens/check", h.checkToken)
}

func (h *handler) signToken(_ *http.Request, in NewToken) (Token, error) {
	v, err := h.Tokens()
	if err != nil {
		return Token{}, err
	}
	who, err := in.Identity()
	if err != nil {
		return Token{}, err
	}
	token, err := v.Sign(who)
	if err != nil {
		var e *jwtauth.Error
		if errors.As(err, &e) {
			return Token{}, refuse(conversation.BadPayload, "the token would be refused: "+string(e.Rule)+": "+e.Reason)
		}
		return Token{}, refuse(conversation.NotReady, strings.TrimPrefix(err.Error(), "parley: jwtauth: ")+"; see the setting token-secret")
	}
	return Token{token, who.Expires}, nil
}

func (h *handler) checkToken(r *http.Request, in TokenToCheck) (c CheckedToken, err error) {
	var who *auth.Identity
	if strings.HasPrefix(string(in.Token), access.APIKeyPrefix) {
		who, err = h.Access.Key(r.Context(), in.Token)
	} else {
		var v *jwtauth.Verifier
		if v, err = h.Tokens(); err != nil {
			return c, err
		}
		who, err = v.Verify(r.Context(), string(in.Token))
	}
	if err == nil {
		err = h.Access.Check(who, "")
	}
	var refused *jwtauth.Error
	var denied *access.Error
	switch {
	case errors.As(err, &refused):
		c.Code, c.Rule, c.Reason = conversation.Code(refused.Code), string(refused.Rule), refused.Reason
	case errors.As(err, &denied):
		c.Code, c.Rule, c.Reason = denied.Code, "access", denied.Message
	case err != nil:
		return c, err
	}
	c.Valid = err == nil
	if who != nil {
		c.Subject, c.Role, c.Visitor, c.Name, c.Email = who.Subject, who.Role, who.Visitor, who.Name, who.Email
		c.Rooms, c.Attributes, c.Issuer, c.TokenID = rooms(who.Grants), who.Attributes, who.Issuer, who.TokenID
		c.IssuedAt, c.ExpiresAt = who.IssuedAt, who.Expires
	}
	return c, nil
}
