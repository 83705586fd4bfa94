package certs_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/certs"
)

// pair is the files of a certificate and its key.
type pair struct{ cert, key string }

// newPair makes a new certificate in a new directory.
func newPair(t *testing.T) pair {
	t.Helper()
	dir := t.TempDir()
	if _, err := certs.NewSelfSigned(dir, slog.Default()); err != nil {
		t.Fatal(err)
	}
	return pair{filepath.Join(dir, "self-signed-cert.pem"), filepath.Join(dir, "self-signed-key.pem")}
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func served(t *testing.T, s certs.Source) string {
	t.Helper()
	c, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

func TestFilesAreReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		used, next := newPair(t), newPair(t)
		f, err := certs.Load(used.cert, used.key, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go f.Run(ctx)
		first := served(t, f)
		look := func(why string, changed bool, failures uint64) {
			t.Helper()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if now := served(t, f); (now != first) != changed {
				t.Errorf("%s: changed is %v, want %v", why, now != first, changed)
			}
			if got := f.Stats().Failures; got != failures {
				t.Errorf("%s: %d failures, want %d", why, got, failures)
			}
		}
		look("nothing has happened", false, 0)
		if err := os.WriteFile(used.cert, []byte("broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		look("the file is broken", false, 1)
		copyFile(t, used.cert, next.cert)
		look("the new key is missing", false, 2)
		if err := os.Remove(used.key); err != nil {
			t.Fatal(err)
		}
		look("there is no key", false, 3)
		copyFile(t, used.key, next.key)
		look("the new pair is complete", true, 3)
		for failures := uint64(4); failures <= 5; failures++ {
			if err := os.Remove(used.key); err != nil {
				t.Fatal(err)
			}
			look("there is no key once more", true, failures)
			copyFile(t, used.key, next.key)
			look("it is back", true, failures)
		}
		cancel()
		synctest.Wait()
		if n := strings.Count(log.String(), "new certificate is not used, the old one is kept"); n != 5 {
			t.Errorf("%d failures logged, want each once:\n%s", n, &log)
		}
		if strings.Contains(log.String(), "PRIVATE") {
			t.Errorf("the log has the key:\n%s", &log)
		}
	})
}

func TestLoadFails(t *testing.T) {
	p, other := newPair(t), newPair(t)
	for name, test := range map[string]struct{ cert, key, want string }{
		"no certificate":       {p.cert + "x", p.key, "read certificate"},
		"no key":               {p.cert, p.key + "x", "read key"},
		"another's key":        {p.cert, other.key, "does not match"},
		"key and cert swapped": {p.key, p.cert, "certificate"},
	} {
		if _, err := certs.Load(test.cert, test.key, slog.Default()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", name, err, test.want)
		}
	}
}

func TestSelfSigned(t *testing.T) {
	dir := t.TempDir()
	s, err := certs.NewSelfSigned(dir, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	c, _ := s.GetCertificate(nil)
	roots := x509.NewCertPool()
	roots.AddCert(c.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if c.Leaf.IsCA || !slices.Equal(c.Leaf.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Error("the certificate can sign others")
	}
	again, err := certs.NewSelfSigned(dir, slog.Default())
	if err != nil || again.Fingerprint() != s.Fingerprint() || len(s.Fingerprint()) != 64 {
		t.Errorf("the second start made another certificate (%v)", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	for _, name := range files {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := os.WriteFile(s.File, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.NewSelfSigned(dir, slog.Default()); err == nil || !strings.Contains(err.Error(), "delete "+s.File) {
		t.Errorf("broken file: %v", err)
	}
	if s, err := certs.NewSelfSigned("", slog.Default()); err != nil || s.File != "" {
		t.Errorf("in memory: %v", err)
	}
}

func TestSelfSignedIsMadeAnewBeforeItExpires(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := certs.NewSelfSigned(dir, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		c, _ := s.GetCertificate(nil)
		if c.Leaf.NotAfter.Sub(c.Leaf.NotBefore) > 14*24*time.Hour {
			t.Error("browsers would not accept its hash for WebTransport")
		}
		time.Sleep(6 * 24 * time.Hour)
		if again, err := certs.NewSelfSigned(dir, slog.Default()); err != nil || again.Fingerprint() != s.Fingerprint() {
			t.Errorf("a new certificate with 8 days left (%v)", err)
		}
		time.Sleep(2 * 24 * time.Hour)
		if again, err := certs.NewSelfSigned(dir, slog.Default()); err != nil || again.Fingerprint() == s.Fingerprint() {
			t.Errorf("the same certificate with less than a week left (%v)", err)
		}
	})
}

func TestSelfSignedIsMadeAnewWhileTheServerRuns(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, err := certs.NewSelfSigned(dir, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go s.Run(ctx)
		first := s.Fingerprint()
		time.Sleep(12 * 24 * time.Hour)
		synctest.Wait()
		if s.Fingerprint() != first {
			t.Error("a new certificate with two days left")
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if s.Fingerprint() == first || time.Until(s.Stats().Expires) < 13*24*time.Hour || s.Stats().Loaded != 2 {
			t.Errorf("the same certificate on its last day: expires %v", s.Stats().Expires)
		}
		if again, err := certs.NewSelfSigned(dir, slog.Default()); err != nil || again.Fingerprint() != s.Fingerprint() {
			t.Errorf("the certificate was not stored (%v)", err)
		}
		cancel()
		synctest.Wait()
	})
}

// newCertificate returns a certificate that is valid from now on, and its key, in PEM.
func newCertificate(t *testing.T, name string, lasts time.Duration) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(lasts), DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// Certificates of earlier versions are valid for longer than browsers accept with
// serverCertificateHashes.
func TestSelfSignedForTooLongIsReplaced(t *testing.T) {
	dir := t.TempDir()
	cert, key := newCertificate(t, "localhost", 397*24*time.Hour)
	for name, content := range map[string][]byte{"self-signed-cert.pem": cert, "self-signed-key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	block, _ := pem.Decode(cert)
	s, err := certs.NewSelfSigned(dir, slog.Default())
	if err != nil || s.Hash() == sha256.Sum256(block.Bytes) {
		t.Errorf("the old certificate is still in use (%v)", err)
	}
}
