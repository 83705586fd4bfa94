package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/certs"
)

// Kinds of TLS that the settings can ask for.
const (
	tlsOff        = ""
	tlsFiles      = "files"
	tlsACME       = "acme"
	tlsSelfSigned = "self-signed"
)

// tlsKind returns the configured kind.
func (c *Config) tlsKind() string {
	switch {
	case c.TLSCert != "":
		return tlsFiles
	case len(c.ACMEDomains) > 0:
		return tlsACME
	case c.TLSSelfSigned:
		return tlsSelfSigned
	}
	return tlsOff
}

// webTransport reports whether WebTransport is served, on the UDP port.
func (c *Config) webTransport() bool {
	return c.tlsKind() != tlsOff && !isSocket(c.Addr) && slices.Contains(c.Transports, "webtransport")
}

// transports returns the transports that clients may use.
func (c *Config) transports() []string {
	if c.webTransport() {
		return c.Transports
	}
	return slices.DeleteFunc(slices.Clone(c.Transports), func(t string) bool { return t == "webtransport" })
}

const redirectOff = "off"

// completeAddresses fills in the addresses that were not set. A server with a certificate gets the
// usual ports. Otherwise it gets ports that need no privileges, on this machine only.
func (c *Config) completeAddresses() {
	kind := c.tlsKind()
	public := kind == tlsFiles || kind == tlsACME
	if c.HTTPRedirect == "" {
		c.HTTPRedirect = redirectOff
		if public && c.Addr == "" {
			c.HTTPRedirect = ":80"
		}
	}
	if c.Addr != "" {
		return
	}
	switch {
	case public:
		c.Addr = ":443"
	case kind == tlsSelfSigned:
		c.Addr = "127.0.0.1:8443"
	default:
		c.Addr = "127.0.0.1:8080"
	}
}

// checkTLS checks the combination of TLS settings.
func (c *Config) checkTLS() error {
	ways := 0
	for _, chosen := range []bool{c.TLSCert != "" || c.TLSKey != "", c.TLSSelfSigned, len(c.ACMEDomains) > 0} {
		if chosen {
			ways++
		}
	}
	switch {
	case ways > 1:
		return fmt.Errorf("tls-cert, acme-domains and tls-self-signed exclude each other")
	case c.TLSCert != "" && c.TLSKey == "":
		return fmt.Errorf("tls-cert: the certificate's key is missing: set tls-key")
	case c.TLSCert == "" && c.TLSKey != "":
		return fmt.Errorf("tls-key: the key's certificate is missing: set tls-cert")
	case len(c.ACMEDomains) > 0 && c.stateDir() == "":
		return fmt.Errorf("acme-domains: not with data in memory and without state-dir: the authority would soon refuse to give another certificate at each start")
	case ways == 0 && c.HTTPRedirect != "" && c.HTTPRedirect != redirectOff:
		return fmt.Errorf("http-redirect: there is nothing to redirect to without TLS")
	}
	return nil
}

// openCertificates returns the source of the certificate, or nil without TLS.
func openCertificates(c Config, log *slog.Logger) (certs.Source, error) {
	switch c.tlsKind() {
	case tlsFiles:
		return certs.Load(c.TLSCert, c.TLSKey, log)
	case tlsACME:
		return certs.NewACME(certs.ACMEOptions{
			Names: c.ACMEDomains, Dir: filepath.Join(c.stateDir(), "acme"), Email: c.ACMEEmail,
			Directory: c.ACMEDirectory, RootFile: c.ACMERoot,
		}, log)
	case tlsSelfSigned:
		return certs.NewSelfSigned(c.stateDir(), log)
	}
	return nil, nil
}

// newRedirect returns the server for plain HTTP, which redirects browsers to TLS and answers the
// ACME authority.
func (s *Server) newRedirect(p *Ports) *http.Server {
	h := s.hostsOn(p.Main.Addr()).guard(redirect{from: port(p.Plain), to: port(p.Main)})
	if a, ok := s.certs.(*certs.ACME); ok {
		h = a.Handler(h)
	}
	return s.bounded(s.requests.guard(limitAnswers(h)))
}

// redirect redirects requests from one port to https on another.
type redirect struct{ from, to string }

func (p redirect) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, from, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, from = strings.Trim(r.Host, "[]"), "80"
	}
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		// Something secret has been sent in clear text: do not make that work.
		http.Error(w, "400: use https", http.StatusBadRequest)
		return
	case host == "" || strings.ContainsFunc(host, notOfHost):
		http.Error(w, "400: the host is not one", http.StatusBadRequest)
		return
	case !strings.HasPrefix(r.URL.RequestURI(), "/"): // for example "http:.evil.example/", which would continue the host's name
		http.Error(w, "400: the target is no path", http.StatusBadRequest)
		return
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	// A request for port 80 that arrives on another port was forwarded. Then port 443 is forwarded
	// too.
	if forwarded := from == "80" && p.from != "80"; p.to != "443" && !forwarded {
		host += ":" + p.to
	}
	// Later, another server may use this machine's name, and then the redirect might be wrong. So
	// browsers must ask again.
	w.Header().Set("Cache-Control", "no-cache")
	http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
}

func notOfHost(r rune) bool {
	letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	return !letter && !strings.ContainsRune("-._:", r)
}

// tlsFor describes for people where the certificate comes from.
func (s *Server) tlsFor() string {
	switch source := s.certs.(type) {
	case *certs.ACME:
		return "for " + strings.Join(s.config.ACMEDomains, ", ") + ", by " + cmp.Or(s.config.ACMEDirectory, certs.LetsEncrypt)
	case *certs.SelfSigned:
		text := "self-signed, for development: browsers warn"
		if source.File != "" {
			text += "; " + source.File
		}
		text += "\n           SHA-256 " + source.Fingerprint()
		if s.config.webTransport() {
			text += "\n           WebTransport: serverCertificateHashes with what is at " + hashPath
		}
		return text
	default:
		return s.config.TLSCert + ", until " + source.Stats().Expires.UTC().Format("2006-01-02")
	}
}

// runCertificates keeps the certificate up to date until ctx ends. It then closes the channel.
func (s *Server) runCertificates(ctx context.Context) <-chan struct{} {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if s.certs != nil {
			s.certs.Run(ctx)
		}
	}()
	return ended
}
