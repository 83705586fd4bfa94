package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/origin"
	"github.com/parley-go/parley/internal/target"
)

// The names of the cookie of an operator's session. Browsers accept the first one only over TLS, from
// this host itself and for all paths (RFC 6265bis, 4.1.3.2). The second one is for plain HTTP on
// loopback.
const (
	secureCookie   = "__Host-parley"
	loopbackCookie = "parley"
)

// caller is who makes a request.
type caller struct {
	identity  *auth.Identity
	err       error // why there is no identity, although the client has shown something
	presented bool  // it has shown something
	bearer    bool  // namely the header Authorization
	address   string
	agent     string // the browser, as it describes itself
	host      string
	secure    bool // over TLS
	elsewhere bool // a page of another origin makes it
}

type callerKey struct{}

func withCaller(ctx context.Context, c *caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

func callerOf(ctx context.Context) *caller { return ctx.Value(callerKey{}).(*caller) }

// caller finds out who makes a request: by the header Authorization, or else by the cookie. The cookie
// counts only for requests that no page of another origin makes.
func (a *api) caller(ctx context.Context, r *http.Request) *caller {
	c := &caller{address: a.opts.Address(r), agent: r.UserAgent(), host: r.Host, secure: a.opts.Secure(r)}
	c.elsewhere = a.csrf.Check(r) != nil || Elsewhere(r)
	cookie := Cookie(r, c.secure)
	switch {
	case r.Header["Authorization"] != nil:
		c.presented, c.bearer = true, true
		token, ok := bearer(r.Header["Authorization"])
		if !ok || a.opts.Token == nil {
			c.err = refuse(conversation.BadToken, "this is no token that this server knows")
			break
		}
		c.identity, c.err = a.opts.Token(ctx, token)
	case cookie != "":
		c.presented = true
		if c.elsewhere {
			c.err = errElsewhere
			break
		}
		c.identity, c.err = a.opts.Access.Session(ctx, cookie)
	}
	if c.err == nil {
		c.err = a.opts.Access.Check(c.identity, c.address)
	}
	if c.err != nil {
		c.identity = nil
	}
	return c
}

var errElsewhere = refuse(conversation.Forbidden, "a page of another origin cannot act for who is signed in")

// bearer returns the token of the header (RFC 6750, 2.1).
func bearer(fields []string) (token string, ok bool) {
	if len(fields) != 1 {
		return "", false // nobody could say which one counts
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	token = strings.TrimLeft(token, " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// tokenInQuery refuses tokens in the URL. Addresses stand in logs, in histories and in Referer (RFC
// 9700, 4.3.2).
func tokenInQuery(r *http.Request) *problem {
	for name := range r.URL.Query() {
		if slices.Contains([]string{"token", "access_token", "auth", "authorization", "jwt", "key", "api_key"}, strings.ToLower(name)) {
			p := refuse(conversation.BadToken, "tokens do not belong in an address: send the header Authorization: Bearer, or get a ticket from POST /api/tickets")
			p.presented = true
			return p
		}
	}
	return nil
}

// known returns the identity of whoever makes the request.
func known(ctx context.Context) (*auth.Identity, error) {
	switch c := callerOf(ctx); {
	case c.err != nil:
		return nil, c.err
	case c.identity == nil:
		return nil, refuse(conversation.BadToken, "sign in, or send a token in the header Authorization: Bearer")
	default:
		return c.identity, nil
	}
}

// operator returns the identity of an operator who has signed in with a password, or who has a token.
func operator(ctx context.Context) (*auth.Identity, error) {
	who, err := known(ctx)
	if err == nil && !who.IsOperator() {
		err = refuse(conversation.Forbidden, "this is for operators")
	}
	return who, err
}

// Elsewhere reports whether a page of another origin makes a request, as far as its browser tells.
func Elsewhere(r *http.Request) bool {
	return !origin.Same(r) || slices.Contains([]string{"cross-site", "same-site"}, r.Header.Get("Sec-Fetch-Site"))
}

// Cookie returns the value of the cookie of an operator's session, or "". secure means that the client
// uses TLS. Before you believe it, ask Elsewhere.
func Cookie(r *http.Request, secure bool) access.Secret {
	c, err := r.Cookie(cookieName(secure))
	if err != nil {
		return ""
	}
	return access.Secret(c.Value)
}

func cookieName(secure bool) string {
	if secure {
		return secureCookie
	}
	return loopbackCookie
}

// cookie returns the value of Set-Cookie for a session. Over plain HTTP, only loopback is safe.
func (c *caller) cookie(value access.Secret, life time.Duration) (string, error) {
	if !c.secure && !target.IsLoopback(target.Name(c.host)) {
		return "", refuse(conversation.Forbidden, "signing in needs TLS. If a proxy in front has TLS, name it in trusted-proxies")
	}
	cookie := &http.Cookie{
		Name: cookieName(c.secure), Value: string(value), Path: "/", MaxAge: int(life.Seconds()),
		Secure: c.secure, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
	if value == "" {
		cookie.MaxAge = -1
	}
	return cookie.String(), nil
}
