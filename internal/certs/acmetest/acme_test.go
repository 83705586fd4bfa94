package acmetest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/certs"
)

// Pebble's validation cannot be stopped, so its goroutine is ignored.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/letsencrypt/pebble/v2/va.VAImpl.processTasks"))
}

// authority is pebble, Let's Encrypt's test server, running in this process.
type authority struct {
	directory string
	rootFile  string         // the root of its own server
	issued    *x509.CertPool // the root of the certificates it issues
}

// newAuthority starts an authority. It validates every name at the given ports of 127.0.0.1.
func newAuthority(t *testing.T, httpPort, tlsPort int) authority {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0") // autocert's background work would retry long after the test
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {Description: "the only one"}})
	validator := va.New(quiet, httpPort, tlsPort, true, newDNS(t), store)
	front := wfe.New(quiet, store, validator, issuer, []string{"authority.test"}, true, false, 1, 1)
	web := httptest.NewTLSServer(front.Handler())
	t.Cleanup(web.Close)
	a := authority{web.URL + wfe.DirectoryPath, filepath.Join(t.TempDir(), "root.pem"), x509.NewCertPool()}
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(a.rootFile, root, 0o600); err != nil {
		t.Fatal(err)
	}
	a.issued.AppendCertsFromPEM(issuer.GetRootCert(0).PEM())
	return a
}

// newDNS starts a name server that resolves every name to 127.0.0.1.
func newDNS(t *testing.T) string {
	t.Helper()
	l := listen(t)
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			reply.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
				A:   net.IPv4(127, 0, 0, 1),
			}}
		}
		w.WriteMsg(reply)
	})}
	ended := make(chan struct{})
	go func() { defer close(ended); server.ActivateAndServe() }()
	t.Cleanup(func() { server.Shutdown(); l.Close(); <-ended })
	return l.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func port(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

const name = "chat.parley.test"

func serve(t *testing.T, h http.Handler, serve func(*http.Server) error) {
	s := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0)}
	ended := make(chan struct{})
	go func() { defer close(ended); serve(s) }()
	t.Cleanup(func() { s.Close(); <-ended })
}

func run(t *testing.T, s certs.Source) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// The source answers the authority over TLS or, if the authority cannot reach that port, over HTTP.
// Clients then get the certificate. After a restart, the source has it at once.
func TestACME(t *testing.T) {
	for _, way := range []string{"tls-alpn-01", "http-01"} {
		t.Run(way, func(t *testing.T) {
			overTLS, plain, nobody := listen(t), listen(t), listen(t)
			nobody.Close()
			tlsPort := port(overTLS)
			if way == "http-01" {
				tlsPort = port(nobody)
			}
			a := newAuthority(t, port(plain), tlsPort)
			options := certs.ACMEOptions{Names: []string{name}, Dir: t.TempDir(), Email: "a@parley.test", Directory: a.directory, RootFile: a.rootFile}
			source, err := certs.NewACME(options, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if err != nil {
				t.Fatal(err)
			}
			config := certs.Config(source)
			serve(t, http.NotFoundHandler(), func(s *http.Server) error {
				s.TLSConfig = config
				return s.ServeTLS(overTLS, "", "")
			})
			if way == "http-01" {
				serve(t, source.Handler(http.NotFoundHandler()), func(s *http.Server) error { return s.Serve(plain) })
			}
			stop := run(t, source)
			eventually(t, "the certificate", func() bool { return source.Stats().Loaded == 1 })
			conn, err := tls.Dial("tcp", overTLS.Addr().String(), &tls.Config{ServerName: name, RootCAs: a.issued})
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if _, err := tls.Dial("tcp", overTLS.Addr().String(), &tls.Config{ServerName: "other.parley.test", RootCAs: a.issued}); err == nil {
				t.Error("a certificate for a name that is not ours")
			}
			if s := source.Stats(); s.Failures != 0 || time.Until(s.Expires) < time.Hour {
				t.Errorf("stats %+v", s)
			}
			stop()

			options.Directory = "https://" + nobody.Addr().String()
			again, err := certs.NewACME(options, slog.New(slog.NewTextHandler(io.Discard, nil)))
			if err != nil {
				t.Fatal(err)
			}
			run(t, again)
			eventually(t, "the certificate that was kept", func() bool { return again.Stats().Loaded == 1 })
		})
	}
}
