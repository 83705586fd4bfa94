package certs

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"
)

// Source provides a server's certificate. It is safe for concurrent use.
type Source interface {
	// GetCertificate is for tls.Config.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Run keeps the certificate current until ctx ends. Call it once, while the server accepts
	// connections, since an authority may connect to it.
	Run(ctx context.Context)
	Stats() Stats
}

// Stats are counters of a Source.
type Stats struct {
	Expires  time.Time // when the first certificate expires; zero if there is none yet
	Loaded   uint64    // certificates taken into use
	Failures uint64    // failed attempts to get or renew a certificate
}

// Config returns the configuration of a server with certificates from s: TLS 1.2 and later, only
// AEAD ciphers with forward secrecy, HTTP/2 and HTTP/1.1. WebSockets need HTTP/1.1, since net/http
// accepts them over HTTP/2 (RFC 8441) only if GODEBUG enables it.
func Config(s Source) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// For TLS 1.2, in an order that crypto/tls chooses. All suites of TLS 1.3 are good.
		CipherSuites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: s.GetCertificate,
	}
	if a, ok := s.(*ACME); ok {
		c.NextProtos = append(c.NextProtos, a.protocol())
	}
	return c
}

// single holds the certificate of a source that has only one.
type single struct {
	certificate atomic.Pointer[tls.Certificate]
	loaded      atomic.Uint64
	failures    atomic.Uint64
}

func (s *single) use(c *tls.Certificate) {
	s.certificate.Store(c)
	s.loaded.Add(1)
}

// GetCertificate implements Source.
func (s *single) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.certificate.Load(), nil
}

// Stats implements Source.
func (s *single) Stats() Stats {
	return Stats{s.certificate.Load().Leaf.NotAfter, s.loaded.Load(), s.failures.Load()}
}
