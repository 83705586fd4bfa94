package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// selfSignedFor is the longest validity that browsers accept if a page gives the certificate's
	// hash for WebTransport (serverCertificateHashes). They also require an elliptic-curve key.
	selfSignedFor   = 14 * 24 * time.Hour
	selfSignedMin   = 7 * 24 * time.Hour // a start makes a new one if less is left
	selfSignedLast  = 24 * time.Hour     // a running server makes a new one if no more than this is left
	selfSignedCheck = time.Hour
)

// SelfSigned is a self-signed certificate for development.
type SelfSigned struct {
	single
	// File is the certificate's file; programs that read it can trust the certificate. File is
	// empty if the certificate is only in memory.
	File    string
	keyFile string
	log     *slog.Logger
}

// NewSelfSigned returns the certificate stored in dir, or makes a new one for localhost and this
// machine's name and stores it there. If dir is empty, it stores nothing.
func NewSelfSigned(dir string, log *slog.Logger) (*SelfSigned, error) {
	s := &SelfSigned{log: log}
	if dir != "" {
		s.File, s.keyFile = filepath.Join(dir, "self-signed-cert.pem"), filepath.Join(dir, "self-signed-key.pem")
		pair, err := tls.LoadX509KeyPair(s.File, s.keyFile)
		switch {
		case err == nil && time.Until(pair.Leaf.NotAfter) > selfSignedMin && pair.Leaf.NotAfter.Sub(pair.Leaf.NotBefore) <= selfSignedFor:
			s.use(&pair)
			return s, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("self-signed certificate: %w; to get a new one, delete %s", err, s.File)
		}
	}
	if err := s.renew(); err != nil {
		return nil, err
	}
	return s, nil
}

// renew makes a new certificate and, if there is a File, writes it there.
func (s *SelfSigned) renew() error {
	cert, key, err := generate()
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	if s.File != "" {
		// The key first: without its certificate it is replaced at the next start.
		for _, f := range []struct {
			name    string
			content []byte
		}{{s.keyFile, key}, {s.File, cert}} {
			if err := os.WriteFile(f.name, f.content, 0o600); err != nil {
				return fmt.Errorf("keep certificate: %w", err)
			}
		}
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	s.use(&pair)
	return nil
}

// generate returns a certificate and its key, in PEM.
func generate() (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	begins := time.Now().Add(-time.Hour) // for clients whose clock is behind
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Parley, self-signed"},
		NotBefore:    begins,
		NotAfter:     begins.Add(selfSignedFor - time.Minute),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		// Not an authority: clients that trust it, trust it for these names only.
		BasicConstraintsValid: true,
	}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		template.DNSNames = append(template.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}

// Hash returns the certificate's SHA-256.
func (s *SelfSigned) Hash() [sha256.Size]byte {
	return sha256.Sum256(s.certificate.Load().Certificate[0])
}

// Fingerprint returns Hash in hexadecimal, as browsers show it.
func (s *SelfSigned) Fingerprint() string { return fmt.Sprintf("%X", s.Hash()) }

// Run implements Source. It makes a new certificate before the current one expires.
func (s *SelfSigned) Run(ctx context.Context) {
	t := time.NewTicker(selfSignedCheck)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if time.Until(s.Stats().Expires) > selfSignedLast {
			continue
		}
		if err := s.renew(); err != nil {
			s.failures.Add(1)
			s.log.Error("no new certificate", "error", err)
			continue
		}
		s.log.Info("new certificate", "file", s.File, "sha256", s.Fingerprint(), "expires", s.Stats().Expires)
	}
}
