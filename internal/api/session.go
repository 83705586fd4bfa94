package api

import (
	"context"
	"net/http"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

type signIn struct {
	Body struct {
		_        struct{} `additionalProperties:"true"`
		Login    string   `json:"login" maxLength:"254" doc:"the operator's id or address"`
		Password string   `json:"password" maxLength:"1024" writeOnly:"true"`
	}
}

// signedIn is an answer that begins a session, or ends one.
type signedIn struct {
	SetCookie string `header:"Set-Cookie"`
	Body      me
}

type signedOut struct {
	SetCookie string `header:"Set-Cookie"`
}

type session struct {
	ID        string       `json:"id"`
	Client    string       `json:"client,omitempty" doc:"the browser, as it describes itself"`
	CreatedAt history.Time `json:"createdAt" format:"date-time"`
	SeenAt    history.Time `json:"seenAt" format:"date-time"`
	Current   bool         `json:"current" doc:"it is the one that asks"`
}

type sessions struct {
	Body struct {
		Items []session `json:"items" nullable:"false" doc:"the newest use first"`
	}
}

func (a *api) registerSession() {
	register(a, a.operation("signIn", http.MethodPost, "/api/session", "Sign in",
		http.StatusOK, append(writes, http.StatusUnauthorized, http.StatusTooManyRequests)...), a.signIn)
	register(a, a.operation("signOut", http.MethodDelete, "/api/session", "Sign out",
		http.StatusNoContent, writes...), a.signOut)
	register(a, a.operation("listSessions", http.MethodGet, "/api/sessions", "My sessions",
		http.StatusOK, http.StatusUnauthorized), a.listSessions)
	register(a, a.operation("endSession", http.MethodDelete, "/api/sessions/{id}", "End one of my sessions",
		http.StatusNoContent, append(writes, http.StatusUnauthorized, http.StatusNotFound)...), a.endSession)
}

func (a *api) signIn(ctx context.Context, in *signIn) (*signedIn, error) {
	c := callerOf(ctx)
	if c.elsewhere {
		return nil, errElsewhere
	}
	if _, err := c.cookie("", 0); err != nil { // before the password is tried
		return nil, err
	}
	done, err := a.opts.Access.SignIn(ctx, access.Credentials{
		Login: in.Body.Login, Password: access.Secret(in.Body.Password), Address: c.address, Client: c.agent,
	})
	if err != nil {
		return nil, err
	}
	return begun(c, done)
}

// begun answers with a new session.
func begun(c *caller, done *access.SignedIn) (*signedIn, error) {
	cookie, err := c.cookie(done.Cookie, access.SessionLife)
	return &signedIn{SetCookie: cookie, Body: describe(done.Identity)}, err
}

// signOut succeeds also without a session: then it only removes the cookie.
func (a *api) signOut(ctx context.Context, _ *struct{}) (*signedOut, error) {
	c := callerOf(ctx)
	if c.elsewhere {
		return nil, errElsewhere
	}
	if c.identity != nil && c.identity.Issuer == access.SessionIssuer {
		if err := a.opts.Access.EndSession(ctx, c.identity.Subject, c.identity.TokenID); err != nil && !is(err, conversation.NotFound) {
			return nil, err
		}
	}
	cookie, err := c.cookie("", 0)
	return &signedOut{cookie}, err
}

func (a *api) listSessions(ctx context.Context, _ *struct{}) (*sessions, error) {
	who, err := operator(ctx)
	if err != nil {
		return nil, err
	}
	out := &sessions{}
	out.Body.Items = []session{}
	for _, s := range a.opts.Access.Sessions(who.Subject) {
		out.Body.Items = append(out.Body.Items, session{
			ID: s.ID, Client: s.Client, CreatedAt: milli(s.CreatedAt), SeenAt: milli(s.SeenAt),
			Current: who.Issuer == access.SessionIssuer && who.TokenID == s.ID,
		})
	}
	return out, nil
}

func (a *api) endSession(ctx context.Context, in *struct {
	ID string `path:"id" maxLength:"200"`
}) (*struct{}, error) {
	who, err := operator(ctx)
	if err != nil {
		return nil, err
	}
	return nil, a.opts.Access.EndSession(ctx, who.Subject, in.ID)
}

func milli(t time.Time) history.Time { return history.TimeMilli(t.UnixMilli()) }

// me is who a client is.
type me struct {
	conversation.Me
	Email     string        `json:"email,omitempty"`
	ExpiresAt *history.Time `json:"expiresAt,omitempty" format:"date-time" doc:"absent: never"`
}

func describe(who *auth.Identity) me {
	m := me{Me: conversation.Me{Name: who.Name, Role: who.Role, Visitor: who.Visitor}, Email: who.Email}
	switch {
	case who.IsOperator():
		m.OperatorID = who.Subject
	case who.Role == auth.User:
		m.UserID = who.Subject
	}
	if !who.Expires.IsZero() {
		at := milli(who.Expires)
		m.ExpiresAt = &at
	}
	return m
}
