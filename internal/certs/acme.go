package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

// LetsEncrypt is the directory URL of Let's Encrypt, the default authority.
const LetsEncrypt = acme.LetsEncryptURL

const (
	challengePath = "/.well-known/acme-challenge/"

	acmeFirstRetry = time.Minute // doubles after each failure
	acmeLastRetry  = time.Hour   // authorities limit failures, to five an hour for example
	acmeCheckEvery = time.Hour
	acmeOverdue    = 7 * 24 * time.Hour // less left than this: renewal, due 30 days before the end, has failed
)

// ACMEOptions configure an ACME source. Names and Dir are required.
type ACMEOptions struct {
	Names     []string // the server's names; it requests certificates for no others
	Dir       string   // holds the account and the certificates
	Email     string   // for mail from the authority; may be empty
	Directory string   // the authority's URL; LetsEncrypt if empty
	RootFile  string   // PEM roots to trust for the authority's own server; the system's if empty
}

// ACME gets certificates from an authority (RFC 8555). To check that the names are ours, the
// authority connects to port 443 with TLS (tls-alpn-01) or, if Handler serves port 80, sends
// requests there (http-01).
type ACME struct {
	manager *autocert.Manager
	names   []string
	log     *slog.Logger
	client  *http.Client
	cancel  context.CancelFunc // ends the requests to the authority

	loaded, failures atomic.Uint64
	mu               sync.Mutex
	expires          map[string]time.Time // by name
}

// LoadRoots reads certificates to trust from a PEM file.
func LoadRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read roots: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read roots: %s has no certificate", file)
	}
	return roots, nil
}

// NewACME returns a source. It requests a certificate when a client first needs one, or when you
// call Run.
func NewACME(o ACMEOptions, log *slog.Logger) (*ACME, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if o.RootFile != "" {
		roots, err := LoadRoots(o.RootFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &ACME{
		names: o.Names, log: log, cancel: cancel,
		client:  &http.Client{Transport: ending{transport, ctx}},
		expires: make(map[string]time.Time),
	}
	a.manager = &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      autocert.DirCache(o.Dir),
		HostPolicy: autocert.HostWhitelist(o.Names...),
		Email:      o.Email,
		Client:     &acme.Client{DirectoryURL: o.Directory, HTTPClient: a.client, UserAgent: "parley"},
	}
	if o.Directory == "" {
		a.manager.Client.DirectoryURL = LetsEncrypt
	}
	return a, nil
}

func (a *ACME) protocol() string { return acme.ALPNProto }

// Handler answers the authority's requests to port 80 and passes all others to next.
func (a *ACME) Handler(next http.Handler) http.Handler {
	h := a.manager.HTTPHandler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The manager knows names without a port. Requests to a port other than 80 name the port.
		if host, _, err := net.SplitHostPort(r.Host); err == nil && strings.HasPrefix(r.URL.Path, challengePath) {
			r2 := *r
			r2.Host = host
			r = &r2
		}
		h.ServeHTTP(w, r)
	})
}

// GetCertificate implements Source. The first call for a name waits for the authority.
func (a *ACME) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	return a.manager.GetCertificate(hello)
}

// Run implements Source. It gets the certificates before a client asks for them. The manager renews
// them. Run logs an error if it cannot get one, or if a renewal is overdue.
func (a *ACME) Run(ctx context.Context) {
	stop := context.AfterFunc(ctx, a.cancel)
	defer stop()
	defer a.client.CloseIdleConnections()
	retry := acmeFirstRetry
	for {
		wait, next := acmeCheckEvery, acmeFirstRetry
		for _, name := range a.names {
			if err := a.check(name); err != nil && ctx.Err() == nil {
				a.failures.Add(1)
				a.log.Error("no certificate from the authority", "name", name, "next_attempt", retry, "error", err)
				wait, next = retry, min(2*retry, acmeLastRetry)
			}
		}
		retry = next
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// check gets the certificate of a name as a client that supports elliptic curves would.
func (a *ACME) check(name string) error {
	c, err := a.manager.GetCertificate(&tls.ClientHelloInfo{
		ServerName: name, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	known := a.expires[name].Equal(c.Leaf.NotAfter)
	a.expires[name] = c.Leaf.NotAfter
	a.mu.Unlock()
	if !known {
		a.loaded.Add(1)
		a.log.Info("certificate", "name", name, "expires", c.Leaf.NotAfter)
	}
	if time.Until(c.Leaf.NotAfter) < min(acmeOverdue, c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)/8) {
		return errors.New("the certificate should have been renewed and expires soon")
	}
	return nil
}

// Stats implements Source.
func (a *ACME) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := Stats{Loaded: a.loaded.Load(), Failures: a.failures.Load()}
	for _, t := range a.expires {
		if s.Expires.IsZero() || t.Before(s.Expires) {
			s.Expires = t
		}
	}
	return s
}

// ending is a transport that also cancels its requests when ctx ends.
type ending struct {
	*http.Transport
	ctx context.Context
}

func (e ending) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	stop := context.AfterFunc(e.ctx, func() { cancel(context.Cause(e.ctx)) })
	resp, err := e.Transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		stop()
		cancel(nil)
		return nil, err
	}
	resp.Body = &endingBody{resp.Body, func() { stop(); cancel(nil) }}
	return resp, nil
}

// endingBody releases the request's context when the body is closed.
type endingBody struct {
	io.ReadCloser
	release func()
}

func (b *endingBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
