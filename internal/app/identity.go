package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/api"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/internal/notice"
	"github.com/parley-go/parley/sse"
)

// A gate says who a client is, whatever it shows: a signed token, the key of a program, the cookie of
// an operator's session, or a ticket. All doors of the server ask it.
type gate struct {
	access  *access.Access
	tokens  *jwtauth.Verifier
	tickets access.Tickets
	notices *notice.Board
	address func(*http.Request) string
	secure  func(*http.Request) bool
	path    string // of Socket.IO

	open  context.Context // ends when the server becomes closed
	close context.CancelFunc
}

// openGate reads who has access from the store. revoked is called after identities have lost it.
func openGate(c *Config, store history.Store, log *slog.Logger, notices *notice.Board, node *node, revoked func(auth.Match), failed func(string, error)) (*gate, error) {
	g := &gate{notices: notices, address: c.clientAddress(), secure: c.clientSecure(), path: c.Path}
	g.open, g.close = context.WithCancel(context.Background())
	if g.secure == nil {
		g.secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	records, ok := store.(history.Records)
	if !ok {
		return nil, errors.New("this store cannot keep operators and keys")
	}
	o, err := c.tokenOptions(log)
	if err != nil {
		return nil, err
	}
	if g.tokens, err = jwtauth.New(o); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	who := c.accessOptions()
	who.Revoked, who.Failed = revoked, failed
	if node != nil {
		who.Changed = func() { _ = node.native.Send(accessSubject, nil) } // others see it within a second anyway
	}
	who.KeysChanged = func(keys *jwtauth.Keyring) {
		if err := g.tokens.SetVisitors(keys); err != nil {
			failed("use the keys of visitors", err)
		}
	}
	g.access, err = access.New(ctx, records, who)
	if err == nil {
		err = g.tokens.SetVisitors(g.access.Keyring())
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	if node != nil {
		node.native.Hear(accessSubject, func(adapter.Node, []byte) { g.access.Hint() })
	}
	return g, nil
}

// accessSubject is what servers of a cluster say to each other when who has access has changed.
const accessSubject = "access"

// tokenOptions returns the options of a verifier with the keys and sets of the settings.
func (c *Config) tokenOptions(log *slog.Logger) (*jwtauth.Options, error) {
	keys, err := c.tokenKeys()
	if err != nil {
		return nil, err
	}
	o := &jwtauth.Options{Keys: keys, Audience: c.TokenAudience, Type: c.TokenType, MaxAge: c.TokenMaxAge, Logger: log}
	for issuer, address := range c.JWKS {
		o.Sets = append(o.Sets, jwtauth.Set{Issuer: issuer, URL: address})
	}
	return o, nil
}

// tokenKeys returns the keys of the settings.
func (c *Config) tokenKeys() (keys []jwtauth.Key, err error) {
	secrets := c.TokenSecrets
	if c.TokenSecretFile != "" {
		text, err := os.ReadFile(c.TokenSecretFile)
		if err != nil {
			return nil, fmt.Errorf("token-secret-file: %w", err)
		}
		for line := range bytes.Lines(text) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				secrets = append(secrets[:len(secrets):len(secrets)], string(line))
			}
		}
		if len(secrets) == len(c.TokenSecrets) {
			return nil, fmt.Errorf("token-secret-file: there is no secret in %s", c.TokenSecretFile)
		}
	}
	for _, secret := range secrets {
		if len(secret) < leastSecret {
			return nil, fmt.Errorf("token-secret-file: a secret needs at least %d bytes; openssl rand -hex 32 makes one", leastSecret)
		}
		keys = append(keys, jwtauth.Key{Issuer: c.TokenIssuer, Secret: []byte(secret)})
	}
	for _, file := range c.TokenKeys {
		id, path, named := strings.Cut(file, "=")
		if !named {
			id, path = "", file
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("token-keys: %w", err)
		}
		of, err := jwtauth.ParseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("token-keys: %s: %w", path, err)
		}
		for _, key := range of {
			if key.Issuer = c.TokenIssuer; named {
				key.ID = id
			}
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Close ends what the gate does in the background.
func (g *gate) Close() {
	g.tokens.Close()
	g.close()
}

// handshake is what a handshake shows besides what auth.Request has.
type handshake struct {
	cookie access.Secret  // of a session
	ticket *auth.Identity // whose ticket it was
	err    error          // the ticket is no good
}

type handshakeKey struct{}

// shown keeps in a connection's context what its handshake shows. The cookie counts only if no page
// of another site makes the request. See parley.Options.ConnContext.
func (g *gate) shown(ctx context.Context, r *http.Request) context.Context {
	var h handshake
	if g.access.Closed() {
		h.cookie = g.cookie(r)
		if ticket := r.URL.Query().Get("ticket"); ticket != "" {
			h.ticket, h.err = g.tickets.Use(r.Context(), access.Secret(ticket), http.MethodGet, g.path)
		}
		if r.Context().Value(trustedKey{}) != nil {
			h.ticket, h.err = controller, nil
		}
	}
	if h == (handshake{}) {
		return ctx
	}
	return context.WithValue(ctx, handshakeKey{}, &h)
}

// cookie returns the cookie of a session, unless a page of another site makes the request.
func (g *gate) cookie(r *http.Request) access.Secret {
	if api.Elsewhere(r) {
		return ""
	}
	return api.Cookie(r, g.secure(r))
}

// Everybody implements auth.Opener: an open server believes what clients say.
func (g *gate) Everybody() *auth.Identity {
	if g.access.Closed() {
		return nil
	}
	return nobody
}

// Authorize implements auth.Authorizer for Socket.IO.
func (g *gate) Authorize(ctx context.Context, r *auth.Request) (*auth.Identity, error) {
	if who := g.Everybody(); who != nil {
		return who, nil
	}
	h, _ := ctx.Value(handshakeKey{}).(*handshake)
	who, err := g.prove(ctx, r, h)
	return who, forClients(err)
}

// prove returns who a client has proved to be. The error is an *access.Error, or ctx's.
func (g *gate) prove(ctx context.Context, r *auth.Request, h *handshake) (who *auth.Identity, err error) {
	token, missing := jwtauth.Token(r)
	switch {
	case missing == nil:
		who, err = g.token(ctx, token)
	case hasToken(r.Payload), h == nil:
		err = refused(missing)
	case h.err != nil || h.ticket != nil:
		who, err = h.ticket, h.err
	case h.cookie != "":
		who, err = g.access.Session(ctx, h.cookie)
	default:
		err = refused(missing)
	}
	if err == nil {
		err = g.access.Check(who, r.Address)
	}
	if err != nil {
		return nil, err
	}
	return who, nil
}

// hasToken reports whether the auth payload of a client has a token, good or not.
func hasToken(payload json.RawMessage) bool {
	var members map[string]json.RawMessage
	json.Unmarshal(payload, &members) // what is no object has none
	return members["token"] != nil
}

// token returns the identity that a token or a program's key proves. The error is an *access.Error.
func (g *gate) token(ctx context.Context, token string) (*auth.Identity, error) {
	if strings.HasPrefix(token, access.APIKeyPrefix) {
		who, err := g.access.Key(ctx, access.Secret(token))
		if err != nil {
			g.notices.Post(slog.LevelInfo, "key", "a program's key was refused", "reason", err)
		}
		return who, err
	}
	who, err := g.tokens.Verify(ctx, token)
	var e *jwtauth.Error
	if errors.As(err, &e) && (e.Rule == jwtauth.KeyID || e.Rule == jwtauth.Issuer) && g.access.CatchUp(ctx) {
		who, err = g.tokens.Verify(ctx, token) // another node has made the key a moment ago
	}
	if err == nil {
		return who, nil
	}
	if errors.As(err, &e) {
		g.notices.Post(slog.LevelInfo, "token "+string(e.Rule), "a token was refused; parley token check explains it", "rule", e.Rule, "reason", e.Reason)
	}
	return nil, refused(err)
}

// refused converts an error of package jwtauth.
func refused(err error) error {
	var e *parley.Error
	if errors.As(err, &e) {
		return &access.Error{Code: conversation.Code(e.Code), Message: e.Message}
	}
	return err
}

// forClients converts an error to one that clients of Socket.IO see.
func forClients(err error) error {
	var e *access.Error
	if !errors.As(err, &e) {
		return err
	}
	told := &parley.Error{Code: string(e.Code), Message: e.Message}
	if e.RetryAfter > 0 {
		told.Data = conversation.RefusalData{RetryAfter: budget.Seconds(e.RetryAfter)}
	}
	return told
}

// nobody is who a client of an open server is, until it says something else; see package events.
var nobody = new(auth.Identity)

// follower returns who asks for a feed. The error is a *chat.Error, or the request's context's.
func (g *gate) follower(r *http.Request) (*auth.Identity, error) {
	if !g.access.Closed() {
		return nil, nil
	}
	h, _ := r.Context().Value(handshakeKey{}).(*handshake)
	if h == nil {
		h = &handshake{cookie: g.cookie(r)}
	}
	query := r.URL.Query()
	query.Del("ticket")
	who, err := g.prove(r.Context(), &auth.Request{
		Header: r.Header, Query: query, Address: g.address(r), Secure: g.secure(r), CrossOrigin: r.Header.Get("Origin") != "",
	}, h)
	return who, forFeeds(err)
}

// admitted refuses who has lost its access since it proved who it is. See chat.Options.
func (g *gate) admitted(who *auth.Identity, address string) error {
	return forFeeds(g.access.Check(who, address))
}

// forFeeds converts an error to one that clients of feeds see.
func forFeeds(err error) error {
	var e *access.Error
	if !errors.As(err, &e) {
		return err
	}
	return &chat.Error{Code: e.Code, Message: e.Message, RetryAfter: e.RetryAfter}
}

// guardFeeds lets clients open feeds with a ticket. A feed ends when its ticket opens it anew, because
// the client has lost this one, and a feed without identity ends when the server becomes closed.
func (g *gate) guardFeeds(feeds http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if !g.access.Closed() {
			defer context.AfterFunc(g.open, cancel)()
		} else if ticket := r.URL.Query().Get("ticket"); ticket != "" {
			var h handshake
			var feed *access.Feed
			position, _ := chat.ParsePosition(sse.LastEventID(r)) // if it is none, the feed says so
			if feed, h.err = g.tickets.Open(ctx, access.Secret(ticket), r.URL.EscapedPath(), position.Number, cancel); h.err == nil {
				defer feed.Close()
				h.ticket = feed.Identity
			}
			ctx = context.WithValue(ctx, handshakeKey{}, &h)
		}
		feeds.ServeHTTP(w, r.WithContext(ctx))
	})
}

// admins lets only admins pass, once the server is closed.
func (g *gate) admins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.access.Closed() {
			who, err := g.follower(r)
			if err == nil && who.Role != auth.Admin {
				err = chat.Refuse(conversation.Forbidden, "this is for admins; or set metrics-addr")
			}
			if err != nil {
				e := &chat.Error{Code: conversation.Unavailable, Message: "nobody can be asked at the moment"}
				errors.As(err, &e)
				if e.Code.Status() == http.StatusUnauthorized {
					w.Header().Set("WWW-Authenticate", "Bearer")
				}
				http.Error(w, fmt.Sprintf("%d: %s", e.Code.Status(), e.Message), e.Code.Status())
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// lockOut ends the connections of those who have lost their access.
func (s *Server) lockOut(lost auth.Match) {
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	s.sockets.DisconnectIdentities(ctx, lost)
	s.chat.Cut(lost, conversation.BadToken, "you have no access any more")
	if lost == (auth.Match{}) { // the server has become closed: whoever is here has proved nothing
		s.sockets.Local().DisconnectSockets(ctx, true) // the other servers follow by themselves
		s.gate.close()
	}
}
