package certs

import (
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"
)

// Source is where a server's certificate comes from. It is safe for concurrent use.
type Source interface {
	// GetCertificate is for tls.Config.
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Run keeps the certificate current until ctx ends. It is called once, while the
	// server accepts connections: an authority may want to see it.
	Run(ctx context.Context)
	// Stats tells how that goes.
	Stats() Stats
}

// Stats are counters of a Source.
type Stats struct {
	Expires  time.Time // of the certificate that expires first; zero before there is one
	Loaded   uint64    // certificates that were put to use
	Failures uint64    // attempts to get one
}

// Config returns the configuration of a server with certificates of s: TLS 1.2 and later,
// nothing but AEAD ciphers with forward secrecy, HTTP/2 and HTTP/1.1. WebSockets need the
// latter: net/http takes them over HTTP/2 (RFC 8441) only if GODEBUG says so.
func Config(s Source) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Of TLS 1.2, whose order crypto/tls chooses. Those of TLS 1.3 are all good.
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

// single is a source's one certificate.
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
