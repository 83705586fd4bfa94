package app

import (
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/parley-go/parley/internal/notice"
	"github.com/parley-go/parley/internal/target"
)

// hosts are the names under which a listener may be asked. A page of another site can let its own
// name lead to this server's address (DNS rebinding). Its requests then come from its own origin, as
// the browser sees it, but they carry its name. Nobody can do that with an address or with localhost.
type hosts struct {
	any     bool
	names   []string // "*.example.com" stands for all names below example.com
	refused *atomic.Uint64
	notices *notice.Board
}

// hostsOn returns the names for a listener with the address a. On loopback, a page of another site is
// the only one that knows the server under another name, unless a proxy forwards the names of its
// clients.
func (s *Server) hostsOn(a net.Addr) *hosts {
	names := slices.Concat(s.config.AllowedHosts, s.config.ACMEDomains)
	tcp, _ := a.(*net.TCPAddr)
	return &hosts{
		any:     tcp == nil || slices.Contains(names, "*") || len(names) == 0 && !tcp.IP.IsLoopback(),
		names:   names,
		refused: &s.hostsRefused,
		notices: s.notices,
	}
}

func (h *hosts) allow(host string) bool {
	name := target.Name(host)
	return h.any || target.IsFixed(name) || slices.ContainsFunc(h.names, func(allowed string) bool {
		domain, below := strings.CutPrefix(allowed, "*")
		return name == allowed || below && strings.HasSuffix(name, domain) && name != domain
	})
}

// guard answers requests for other hosts with 421 (RFC 9110, 15.5.20), except for probes of health,
// which often have made-up names. It answers requests for paths with needless escapes with 404.
func (h *hosts) guard(next http.Handler) http.Handler {
	notFound := limitAnswers(http.HandlerFunc(notFound))
	refuse := limitAnswers(http.HandlerFunc(h.refuse))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !target.IsPlain(r.URL):
			notFound.ServeHTTP(w, r)
		case r.URL.Path != "/healthz" && r.URL.Path != "/readyz" && !h.allow(r.Host):
			refuse.ServeHTTP(w, r)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (h *hosts) refuse(w http.ResponseWriter, r *http.Request) {
	h.refused.Add(1)
	h.notices.Post(slog.LevelInfo, "host", "request refused: its host is not allowed", "host", notice.Quote(r.Host), "status", http.StatusMisdirectedRequest,
		"hint", "if this name leads here, add it to allowed-hosts")
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "421: this server does not know itself under this name. If the name leads here, add it to the setting allowed-hosts.", http.StatusMisdirectedRequest)
}
