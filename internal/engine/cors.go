package engine

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// CORS says which pages of other origins may connect, over any transport. The zero value
// allows none: only pages of the server's own host, and programs that send no Origin.
type CORS struct {
	// Origins allowed, as browsers send them ("https://example.com", with a port unless it is the
	// scheme's own). "*" allows every origin, without credentials.
	Origins []string
	// AllowOrigin decides on what Origins does not hold.
	AllowOrigin func(origin string, r *http.Request) bool
	// Credentials has browsers send cookies across origins.
	Credentials bool
	// Headers that requests may carry beyond those that are always allowed, for the client's
	// extraHeaders.
	Headers []string
	// MaxAge is how long a browser may remember a preflight's answer; none if zero.
	MaxAge time.Duration
}

func (c *CORS) validate() error {
	if c.Credentials && slices.Contains(c.Origins, "*") {
		return errors.New("engine: CORS: the origin * cannot be combined with credentials")
	}
	return nil
}

// allow reports whether the request's origin may connect.
func (c *CORS) allow(r *http.Request) bool {
	return ws.SameOrigin(r) || c.allowCross(r)
}

func (c *CORS) allowCross(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) != 1 {
		return false
	}
	origin := origins[0]
	return slices.Contains(c.Origins, "*") ||
		slices.ContainsFunc(c.Origins, func(o string) bool { return strings.EqualFold(o, origin) }) ||
		c.AllowOrigin != nil && c.AllowOrigin(origin, r)
}

// allowScript reports whether the page that loads a script from here, or sends a form, may
// connect. Browsers send no Origin with scripts, and with forms of pages without referrers
// "null". They say what the page is in Referer and, to servers that can be trusted to be who
// they are, whether it is ours in Sec-Fetch-Site. A page of another site can keep back the
// first but not the second.
func (c *CORS) allowScript(r *http.Request) bool {
	site, page := r.Header.Get("Sec-Fetch-Site"), r.Header.Get("Referer")
	switch {
	case site == "same-origin":
		return true
	case r.Header["Origin"] != nil:
		return c.allow(r)
	case slices.Contains(c.Origins, "*"):
		return true
	case page == "":
		return site == "" || site == "none" // a program, or a person
	}
	u, err := url.Parse(page)
	if err != nil {
		return false
	}
	from := *r
	from.Header = http.Header{"Origin": {u.Scheme + "://" + u.Host}}
	return c.allow(&from)
}

// setHeaders lets an allowed page of another origin read the response.
func (c *CORS) setHeaders(h http.Header, r *http.Request) {
	if len(c.Origins) == 0 && c.AllowOrigin == nil {
		return
	}
	if slices.Contains(c.Origins, "*") {
		h.Set("Access-Control-Allow-Origin", "*")
		return
	}
	h.Add("Vary", "Origin")
	if !c.allowCross(r) {
		return
	}
	h.Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
}

// preflight answers an OPTIONS request (Fetch standard, CORS protocol).
func (c *CORS) preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	c.setHeaders(h, r)
	if !c.allow(r) {
		refuse(w, errOrigin)
		return
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	h.Set("Access-Control-Allow-Headers", strings.Join(append([]string{"Content-Type"}, c.Headers...), ", "))
	if c.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge.Seconds())))
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusNoContent)
}
