package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// lookEvery is how often Run reads the files. It compares their content to see whether they have
// changed. File times do not tell where a secret is mounted as a symbolic link that moves.
const lookEvery = 5 * time.Second

// Files is a certificate and its key in two files. Run reloads them when they change.
type Files struct {
	single
	certFile, keyFile string
	log               *slog.Logger
	cert, key         []byte // as last read; only Load and then Run use them
}

// Load reads a certificate followed by its chain from certFile, and its key from keyFile, both PEM.
func Load(certFile, keyFile string, log *slog.Logger) (*Files, error) {
	f := &Files{certFile: certFile, keyFile: keyFile, log: log}
	if _, err := f.look(); err != nil {
		return nil, err
	}
	f.warnIfExpired()
	return f, nil
}

// look reads the files and, if they have changed since the last call, uses them.
func (f *Files) look() (changed bool, err error) {
	cert, err := os.ReadFile(f.certFile)
	if err != nil {
		return false, fmt.Errorf("read certificate: %w", err)
	}
	key, err := os.ReadFile(f.keyFile)
	if err != nil {
		return false, fmt.Errorf("read key: %w", err)
	}
	if bytes.Equal(cert, f.cert) && bytes.Equal(key, f.key) {
		return false, nil
	}
	f.cert, f.key = cert, key
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return true, fmt.Errorf("certificate %s with key %s: %w", f.certFile, f.keyFile, err)
	}
	f.use(&pair)
	return true, nil
}

// Run implements Source. It does not use a pair that is broken or half written, but keeps the one
// before.
func (f *Files) Run(ctx context.Context) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	told := "" // the last error that was logged, so that each is logged once
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		changed, err := f.look()
		switch {
		case err != nil && err.Error() != told:
			told = err.Error()
			f.failures.Add(1)
			f.log.Error("new certificate is not used, the old one is kept", "error", err)
		case err == nil:
			told = ""
			if changed {
				f.log.Info("new certificate", "file", f.certFile, "expires", f.Stats().Expires)
				f.warnIfExpired()
			}
		}
	}
}

func (f *Files) warnIfExpired() {
	if expires := f.Stats().Expires; time.Now().After(expires) {
		f.log.Warn("certificate has expired", "file", f.certFile, "expired", expires)
	}
}
