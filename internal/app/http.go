package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"mime"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/http2limit"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/api"
	"github.com/parley-go/parley/internal/certs"
	"github.com/parley-go/parley/js"
	"github.com/parley-go/parley/web"
)

// Limits of the HTTP server. There is no limit on writing, because it would end waiting polls;
// Socket.IO has its own.
const (
	headerTimeout  = 5 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	readyTimeout   = 2 * time.Second // for the store to answer
)

// bodyTimeout limits the time for a request's body. Tests shorten it.
var bodyTimeout = 30 * time.Second

// answerTimeout is how long a client may take to receive a page or another short answer, including
// the request's body. Tests shorten it.
var answerTimeout = time.Minute

// newHTTP returns the server for the main port.
func (s *Server) newHTTP(p *Ports) (*http.Server, error) {
	h := s.routes
	if isSocket(s.config.Addr) {
		h = fromThisMachine(h)
	}
	server := s.bounded(s.requests.guard(s.hostsOn(p.Main.Addr()).guard(h)))
	server.ConnContext = withConn
	if s.certs == nil {
		return server, nil
	}
	server.TLSConfig = certs.Config(s.certs)
	var err error
	s.http2, err = http2limit.Configure(server, &http2limit.Options{
		Exempt: func(client string) bool { // one connection of a proxy carries many clients
			return s.config.EventsPerSecond == 0 || address.Limited(client, s.config.TrustedProxies) == ""
		},
	})
	return server, err
}

// bounded returns a server with the limits above.
func (s *Server) bounded(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           limitBodies(h),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(httpLog{s.log}, "", 0),
		ConnState:         s.crowd.connState,
	}
}

// httpLog logs the messages of net/http. Nearly all of them are about mistakes of clients.
// Exceptions are a panic in a handler and a listener that fails.
type httpLog struct{ log *slog.Logger }

func (l httpLog) Write(line []byte) (int, error) {
	level := slog.LevelDebug
	if bytes.HasPrefix(line, []byte("http: panic serving")) || bytes.HasPrefix(line, []byte("http: Accept error")) {
		level = slog.LevelError
	}
	l.log.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}

// limitBodies limits the time for a request's body. Over HTTP/1.1, net/http waits for a body that
// nobody has read before it answers.
func limitBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		next.ServeHTTP(w, r)
	})
}

// limitAnswers limits the time of all requests that neither wait nor stream. Socket.IO and feeds
// have their own limits.
func limitAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
		next.ServeHTTP(w, r)
	})
}

// newRoutes returns the handler for all requests.
func (s *Server) newRoutes() (http.Handler, error) {
	mux := http.NewServeMux()
	s.handleHealth(mux)
	if s.config.MetricsAddr == "" {
		mux.Handle("/metrics", s.gate.admins(metricsHandler(s.newRegistry())))
	}
	page, err := loadAssets(web.Files, "*")
	if err != nil {
		return nil, err
	}
	index := page["index.html"]
	path := html.EscapeString(strings.TrimPrefix(s.config.Path, "/")) // relative, because a proxy may serve us below a path
	index.setContent(bytes.Replace(index.content, []byte(`content="socket.io/"`), []byte(`content="`+path+`"`), 1))
	closed := &asset{name: index.name}
	closed.setContent(bytes.Replace(index.content, []byte(`name="parley-access" content="open"`), []byte(`name="parley-access" content="closed"`), 1))
	delete(page, index.name)
	for _, path := range []string{"/{$}", "/" + index.name} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if s.gate.access.Closed() { // a server may become closed while it runs
				closed.ServeHTTP(w, r)
			} else {
				index.ServeHTTP(w, r)
			}
		})
	}
	client, err := loadAssets(js.Files, "*")
	if err != nil {
		return nil, err
	}
	for name, a := range page {
		mux.Handle("/"+name, a)
	}
	for name, a := range client {
		a.shared = true
		mux.Handle("/"+name, a)
	}
	mux.HandleFunc(hashPath, s.certificateHash)
	mux.HandleFunc("/", notFound)

	all := http.NewServeMux()
	sockets := smallBufferOfStreams(s.sockets)
	all.Handle(s.config.Path, sockets)
	all.Handle(strings.TrimSuffix(s.config.Path, "/"), sockets) // for clients with addTrailingSlash: false
	all.Handle("/rooms/{room}/events", smallBuffer(s.gate.guardFeeds(s.feeds)))
	endpoints := limitAnswers(s.newAPI())
	all.Handle("/api/", endpoints)
	all.Handle("/openapi.json", endpoints)
	all.Handle("/", limitAnswers(readOnly(mux)))
	return all, nil
}

// newAPI returns the handler of the endpoints for programs and pages.
func (s *Server) newAPI() http.Handler {
	c := &s.config
	return api.New(api.Options{
		Access: s.gate.access, Tickets: &s.gate.tickets, Token: s.gate.token,
		Address: s.gate.address, Secure: s.gate.secure,
		CORS: c.CORSOrigins, Widgets: c.WidgetOrigins,
		Failed: s.metrics.failed, Version: version(), BodyTimeout: bodyTimeout, Timeout: storeTimeout,
	})
}

// handleHealth adds the probes of health.
func (s *Server) handleHealth(mux *http.ServeMux) {
	mux.HandleFunc("/healthz", healthz)
	mux.HandleFunc("/readyz", s.readyz)
}

// readOnly refuses methods that change something, and sets security headers.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", web.ContentSecurityPolicy) // also forbids frames
		h.Set("X-Frame-Options", "DENY")                            // for browsers that know no frame-ancestors
		h.Set("Cross-Origin-Opener-Policy", "same-origin")          // a page that opens ours gets no hold of its window
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "405: only GET and HEAD here", http.StatusMethodNotAllowed)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func notFound(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "404: there is nothing here. The chat is at /", http.StatusNotFound)
}

func healthz(w http.ResponseWriter, r *http.Request) { status(w, http.StatusOK, "ok") }

func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		status(w, http.StatusServiceUnavailable, "shutting down")
		return
	}
	var faults []string
	if fault := s.storeFault(r.Context()); fault != "" {
		faults = append(faults, fault)
	}
	if s.node != nil && !s.node.native.Stats().Up {
		faults = append(faults, "the cluster is out of reach: nothing arrives from its other servers")
	}
	if len(faults) > 0 {
		status(w, http.StatusServiceUnavailable, strings.Join(faults, "; "))
		return
	}
	status(w, http.StatusOK, "ok")
}

// storeFault says why nothing can be stored or read, or is empty.
func (s *Server) storeFault(ctx context.Context) string {
	if store, ok := s.store.(faulty); ok {
		if err := store.Fault(); err != nil {
			return symptom(err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if _, err := s.store.Heads(ctx, []string{"readyz"}); err != nil {
		s.metrics.failed("check readiness", err)
		return "the store does not answer"
	}
	return ""
}

// symptom says what a fault of the store means.
func symptom(fault error) string {
	switch {
	case errors.Is(fault, sqlite.ErrMoved):
		return "the store's files were removed or replaced: nothing is stored or read"
	case errors.Is(fault, sqlite.ErrLow):
		return "the disk is nearly full: nothing is stored"
	case errors.Is(fault, postgres.ErrUnreachable):
		return "the database cannot be reached: nothing is stored or read"
	case errors.Is(fault, history.ErrFull):
		return "the disk of the database is full: nothing is stored"
	}
	return "the database refuses changes: nothing is stored"
}

func status(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	io.WriteString(w, text+"\n")
}

// asset is a file held in memory. Its name does not depend on its content, so browsers ask each
// time whether it has changed.
type asset struct {
	name    string
	content []byte
	etag    string
	shared  bool // pages of other origins may load it
}

// loadAssets reads the files that match a pattern.
func loadAssets(files fs.FS, pattern string) (map[string]*asset, error) {
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return nil, err
	}
	assets := make(map[string]*asset, len(names))
	for _, name := range names {
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		assets[name] = &asset{name: name}
		assets[name].setContent(content)
	}
	return assets, nil
}

func (a *asset) setContent(content []byte) {
	sum := sha256.Sum256(content)
	a.content, a.etag = content, fmt.Sprintf("%q", base64.RawURLEncoding.EncodeToString(sum[:12]))
}

// contentTypes are listed here because package mime asks the system, whose answers vary.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
	".ts":   "application/typescript; charset=utf-8",
}

func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Header.Del("Range") // many small ranges of a small file cost far more than the file
	h := w.Header()
	ext := path.Ext(a.name)
	if t, ok := contentTypes[ext]; ok {
		h.Set("Content-Type", t)
	} else {
		h.Set("Content-Type", mime.TypeByExtension(ext))
	}
	h.Set("ETag", a.etag)
	h.Set("Cache-Control", "no-cache")
	if a.shared {
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
	http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.content))
}
