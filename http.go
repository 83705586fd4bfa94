package parley

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/parley-go/parley/internal/target"
)

// ServeHTTP serves clients at Options.Path and below it. It answers other requests with 404.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	below, ours := s.made().below(r.URL)
	switch {
	case !ours:
		s.notFound(w, r)
	case clientBundle.MatchString(below):
		s.serveBundle(w, r, below)
	default:
		s.engine.ServeHTTP(w, r)
	}
}

// below returns the rest of a request's path after Options.Path. ours is false if the request is
// not for this server, as it is if the path only becomes the right one when it is unescaped. Clients
// with addTrailingSlash: false omit the last slash.
func (s *Server) below(u *url.URL) (rest string, ours bool) {
	rest, ours = strings.CutPrefix(u.Path, strings.TrimSuffix(s.opts.Path, "/"))
	if ours && rest != "" {
		rest, ours = strings.CutPrefix(rest, "/")
	}
	return rest, ours && target.IsPlain(u) && !strings.Contains(strings.ToUpper(u.RawPath), "%2F")
}

// notFound answers a request for another path, and says what may be wrong.
func (s *Server) notFound(w http.ResponseWriter, r *http.Request) {
	s.engine.LimitBody(w, r)
	message := fmt.Sprintf("404: Socket.IO is not here, but at %s (Options.Path).", s.opts.Path)
	if asked, err := url.ParseRequestURI(r.RequestURI); err == nil {
		if _, ours := s.below(asked); ours {
			const remedy = "Options.Path is compared with the whole path of a request: leave out http.StripPrefix, or set Options.Path to what it leaves"
			message += "\n" + remedy + "."
			s.notices.Post(slog.LevelWarn, "prefix", "parley: a handler in front cuts Options.Path off", "path", s.opts.Path, "hint", remedy)
		}
	}
	http.Error(w, message, http.StatusNotFound)
}

// clientBundle matches the files that the reference implementation serves below its path: its
// JavaScript client.
var clientBundle = regexp.MustCompile(`^socket\.io(\.msgpack|\.esm)?(\.min)?\.js(\.map)?$`)

const bundleRemedy = "This server does not serve the Socket.IO client. Load it from https://cdn.socket.io, " +
	"or install socket.io-client from npm and bundle it, or serve the directory dist of that package at this path."

// serveBundle answers requests for the client bundle. Browsers do not show the body of a 404, and
// the page then fails with "io is not defined". So a page gets a script that fails with a helpful
// message.
func (s *Server) serveBundle(w http.ResponseWriter, r *http.Request, name string) {
	s.engine.LimitBody(w, r)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Access-Control-Allow-Origin", "*") // needed for modules
	if strings.HasSuffix(name, ".map") || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "404: "+bundleRemedy, http.StatusNotFound)
		return
	}
	script := "throw new Error(" + strconv.Quote("Parley: "+bundleRemedy) + ");\n"
	if strings.Contains(name, ".esm.") { // a module without the expected exports would fail before it runs
		script = "export let io, connect, Manager, Socket, protocol; export { io as default };\n" + script
	}
	s.notices.Post(slog.LevelInfo, "bundle", "parley: a page asks for the Socket.IO client", "file", name, "hint", bundleRemedy)
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(script)))
	fmt.Fprint(w, script)
}
