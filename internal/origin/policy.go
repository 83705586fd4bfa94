package origin

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/target"
)

// Policy says which pages of other origins may connect. The zero value allows none: only pages of
// the server's own host, and programs that send no Origin. Do not change a Policy while it is in
// use; it is then safe for concurrent use.
type Policy struct {
	// Origins are the allowed origins, in the form that browsers send; see Check. "*" allows every
	// origin, without credentials.
	Origins []string
	// AllowOrigin decides on origins that are not in Origins.
	AllowOrigin func(origin string, r *http.Request) bool
	// Credentials makes browsers send cookies across origins.
	Credentials bool
	// Headers are request headers that pages may send besides those that are always allowed.
	Headers []string
	// MaxAge is how long a browser may cache a preflight's answer. Zero means not at all.
	MaxAge time.Duration
}

// Check returns an error if an origin of the policy can never match, or if the policy would let
// every site act on behalf of its visitors.
func (p *Policy) Check() error {
	for _, o := range p.Origins {
		if err := Check(o); err != nil {
			return err
		}
		if p.Credentials && (o == "*" || o == "null") {
			return errors.New("the origin " + o + " cannot be combined with credentials: any site could act for its visitors")
		}
	}
	return nil
}

// Allows reports whether the page that sends the request may connect.
//
// Browsers send no Origin with what a page loads without a script, such as an image or a link that
// somebody follows. Such a request from another site needs the origin "*": it names no site that
// Origins could list. No client needs it, except for JSONP; see AllowsScript.
func (p *Policy) Allows(r *http.Request) bool {
	if r.Header["Origin"] == nil && fromElsewhere(r) {
		return p.allowsAll()
	}
	return Same(r) || p.allowsCross(r)
}

// fromElsewhere reports whether a browser says that a page of another origin makes the request.
// Browsers say so in Sec-Fetch-Site to servers whose identity they can trust, that is over TLS and on
// loopback. "none" is a request that a person makes, for example with the address bar. The Fetch
// Metadata specification asks servers to ignore values that they do not know (2.4).
func fromElsewhere(r *http.Request) bool {
	return slices.ContainsFunc(r.Header["Sec-Fetch-Site"], func(site string) bool { return site == "cross-site" || site == "same-site" })
}

func (p *Policy) allowsCross(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) != 1 {
		return false
	}
	origin := origins[0]
	return p.allowsAll() ||
		slices.ContainsFunc(p.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) ||
		p.AllowOrigin != nil && p.AllowOrigin(origin, r)
}

func (p *Policy) allowsAll() bool { return slices.Contains(p.Origins, "*") }

// AllowsScript reports whether a page may connect that loads a script from this server or sends it
// a form. secure means that the client uses TLS.
//
// Browsers send no Origin with scripts, and "null" with forms of pages that send no referrer. They
// name the page in Referer. A page of another site can suppress Referer, but not Sec-Fetch-Site. Over
// plain HTTP, browsers send that only to loopback, so elsewhere a request that says nothing may come
// from any page.
func (p *Policy) AllowsScript(r *http.Request, secure bool) bool {
	site, page := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Referer")
	switch {
	case site == "same-origin":
		return true
	case r.Header["Origin"] != nil:
		return p.Allows(r)
	case p.allowsAll():
		return true
	case page == "":
		return site == "none" || !fromElsewhere(r) && (secure || target.IsLoopback(target.Name(r.Host)))
	}
	u, err := url.Parse(page)
	if err != nil {
		return false
	}
	from := *r
	from.Header = http.Header{"Origin": {u.Scheme + "://" + u.Host}}
	return p.Allows(&from)
}

// SetHeaders adds the headers to an answer that let an allowed page of another origin read it.
func (p *Policy) SetHeaders(h http.Header, r *http.Request) {
	switch {
	case len(p.Origins) == 0 && p.AllowOrigin == nil:
		return
	case p.allowsAll():
		h.Set("Access-Control-Allow-Origin", "*")
		return
	case !slices.Contains(h["Vary"], "Origin"): // CORS middleware adds it too
		h.Add("Vary", "Origin")
	}
	if !p.allowsCross(r) {
		return
	}
	h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	if p.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// Preflight answers an OPTIONS request of an allowed page. methods and headers are those that
// requests may have; Preflight adds Policy.Headers.
func (p *Policy) Preflight(w http.ResponseWriter, methods string, headers ...string) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", strings.Join(slices.Concat(headers, p.Headers), ", "))
	if p.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(p.MaxAge.Seconds())))
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
}
