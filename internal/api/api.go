package api

import (
	"context"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/origin"
)

// Limits of requests.
const (
	maxBody = 8 << 10 // bytes; a token has as many at most

	// DefaultBodyTimeout is how long a client may take to send a body.
	DefaultBodyTimeout = 30 * time.Second
	// DefaultTimeout is how long a request waits for the store.
	DefaultTimeout = 10 * time.Second
)

// Options say what the endpoints work on.
type Options struct {
	Access  *access.Access
	Tickets *access.Tickets
	// Token proves an identity by a bearer token: a signed token, a visitor's or the key of a program.
	// Its errors are *access.Error. If nil, there are no tokens.
	Token func(ctx context.Context, token string) (*auth.Identity, error)
	// Address returns a client's network address. If nil, that of the connection.
	Address func(*http.Request) string
	// Secure reports whether a client uses TLS, as far as a proxy in front tells. If nil, the
	// connection tells.
	Secure func(*http.Request) bool
	// CORS are pages of other origins that may use the endpoints, with a token and never with the cookie.
	CORS []string
	// Widgets are pages of other origins that may ask for visitors' tokens.
	Widgets []string
	// Failed is called with errors that clients did not cause.
	Failed func(doing string, err error)
	// Version is the server's.
	Version string

	BodyTimeout time.Duration // if zero, DefaultBodyTimeout
	Timeout     time.Duration // if zero, DefaultTimeout
}

type api struct {
	opts    Options
	huma    huma.API
	mux     *http.ServeMux
	cors    origin.Policy
	widgets origin.Policy
	csrf    http.CrossOriginProtection
}

// New returns the handler for /api/ and /openapi.json.
func New(o Options) http.Handler {
	if o.Address == nil {
		o.Address = func(r *http.Request) string { return r.RemoteAddr }
	}
	if o.Secure == nil {
		o.Secure = func(r *http.Request) bool { return r.TLS != nil }
	}
	if o.BodyTimeout == 0 {
		o.BodyTimeout = DefaultBodyTimeout
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Failed == nil {
		o.Failed = func(string, error) {}
	}
	a := &api{
		opts: o, mux: http.NewServeMux(),
		cors: origin.Policy{Origins: o.CORS}, widgets: origin.Policy{Origins: o.Widgets},
	}
	c := huma.DefaultConfig("Parley", o.Version)
	// The page of the documentation would load from elsewhere, and the hooks add links to schemas.
	c.DocsPath, c.SchemasPath, c.OpenAPIPath, c.CreateHooks = "", "", "", nil
	c.RejectUnknownQueryParameters = true
	c.OnAddOperation = append(c.OnAddOperation, documented)
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":  {Type: "http", Scheme: "bearer", Description: "a signed token, a visitor's, or the key of a program"},
		"cookie": {Type: "apiKey", In: "cookie", Name: secureCookie, Description: "an operator's session"},
	}
	a.huma = humago.New(a.mux, c)
	a.registerSession()
	a.registerMe()
	a.registerVisitors()
	a.registerTickets()
	a.mux.HandleFunc("GET /openapi.json", a.openAPI)
	a.mux.HandleFunc("/", a.unknown)
	return http.HandlerFunc(a.serve)
}

// serve answers a request. What no operation may do stands here.
func (a *api) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	if p := a.crossOrigin(w, r); p != nil {
		p.write(w)
		return
	}
	if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
		a.policy(r).Preflight(w, strings.Join(a.allowed(r), ", "), "Authorization", "Content-Type")
		return
	}
	if p := tokenInQuery(r); p != nil {
		p.write(w)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.opts.Timeout+a.opts.BodyTimeout)
	defer cancel()
	c := a.caller(ctx, r)
	if p := a.checkBody(r); p != nil {
		p.write(w)
		return
	}
	a.mux.ServeHTTP(w, r.WithContext(withCaller(ctx, c)))
}

// policy returns which pages of other origins may make a request.
func (a *api) policy(r *http.Request) *origin.Policy {
	if r.URL.Path == visitorsPath {
		return &a.widgets
	}
	return &a.cors
}

// crossOrigin refuses requests of pages that may not make them, and lets others read the answer.
func (a *api) crossOrigin(w http.ResponseWriter, r *http.Request) *problem {
	policy := a.policy(r)
	policy.SetHeaders(w.Header(), r)
	if !policy.Allows(r) {
		return refuse(conversation.Forbidden, "pages of this origin may not use this server")
	}
	return nil
}

// checkBody refuses what is not JSON. Pages of other origins can send forms without being asked, but
// no JSON.
func (a *api) checkBody(r *http.Request) *problem {
	if r.ContentLength == 0 {
		return nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && (kind == "application/json" || kind == "application/merge-patch+json" && r.Method == http.MethodPatch) {
		return nil
	}
	return newProblem(http.StatusUnsupportedMediaType, conversation.BadPayload, "the body must be JSON, with Content-Type: application/json")
}

// unknown answers what no operation answers.
func (a *api) unknown(w http.ResponseWriter, r *http.Request) {
	methods := a.allowed(r)
	if len(methods) == 0 {
		refuse(conversation.NotFound, "there is nothing here").write(w)
		return
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	newProblem(http.StatusMethodNotAllowed, conversation.BadPayload, "this path does not have this method").write(w)
}

// allowed returns the methods of a path.
func (a *api) allowed(r *http.Request) (methods []string) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		other := r.WithContext(r.Context())
		other.Method = method
		if _, pattern := a.mux.Handler(other); pattern != "/" {
			methods = append(methods, method)
		}
	}
	return methods
}

// openAPI serves the description of the API, of a closed server to whoever has an identity.
func (a *api) openAPI(w http.ResponseWriter, r *http.Request) {
	if _, err := known(r.Context()); err != nil && a.opts.Access.Closed() {
		a.problem(r.Context(), err).(*problem).write(w)
		return
	}
	doc, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		a.problem(r.Context(), err).(*problem).write(w)
		return
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	w.Write(doc)
}

// writes are the statuses of operations that change the store.
var writes = []int{http.StatusServiceUnavailable, http.StatusGatewayTimeout}

// operation describes an operation. statuses are those of its refusals, besides the ones that all
// have.
func (a *api) operation(id, method, path, summary string, success int, statuses ...int) huma.Operation {
	statuses = append(statuses, http.StatusBadRequest, http.StatusForbidden)
	if method == http.MethodPost || method == http.MethodPatch {
		statuses = append(statuses, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	slices.Sort(statuses)
	return huma.Operation{
		OperationID: id, Method: method, Path: path, Summary: summary,
		DefaultStatus: success, Errors: slices.Compact(statuses),
		MaxBodyBytes: maxBody, BodyReadTimeout: a.opts.BodyTimeout,
	}
}

// documented removes the statuses that huma adds and we do not have, or that are faults of ours.
func documented(_ *huma.OpenAPI, op *huma.Operation) {
	delete(op.Responses, "422")
	delete(op.Responses, "500")
}

// register adds an operation. Its handler returns problems, or errors of package access.
func register[I, O any](a *api, op huma.Operation, f func(context.Context, *I) (*O, error)) {
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, a.problem(ctx, err)
		}
		return out, nil
	})
}
