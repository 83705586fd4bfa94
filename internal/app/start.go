package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/postgres"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/access"
	"github.com/parley-go/parley/internal/certs"
)

// The commands serve and config check both ask here whether a server starts with the settings. What else
// can keep it from starting, such as a port in use, is no mistake in the settings.

// checkFiles reads the files that the settings name, and fetches nothing.
func (c *Config) checkFiles(log *slog.Logger) error {
	o, err := c.tokenOptions(log)
	if err != nil {
		return err
	}
	o.Sets = nil
	verifier, err := jwtauth.New(o)
	if err != nil {
		return err
	}
	verifier.Close()
	if c.ClusterSecretFile != "" {
		if _, err := c.clusterSecret(nil); err != nil {
			return err
		}
	}
	if c.TLSCert != "" {
		if _, err := certs.Load(c.TLSCert, c.TLSKey, log); err != nil {
			return fmt.Errorf("tls-cert: %w", err)
		}
	}
	if c.ACMERoot != "" {
		if _, err := certs.LoadRoots(c.ACMERoot); err != nil {
			return fmt.Errorf("acme-root: %w", err)
		}
	}
	return nil
}

// checkOpen returns an *access.OpenError if the server would believe everybody where others reach it.
func (c *Config) checkOpen(a *access.Access) error {
	if c.InsecureOpen {
		return nil
	}
	return a.CheckAddresses(c.Addr)
}

// readAccess returns who has access, as a server would find it, without taking the store from one that
// runs. One cannot change it.
func (c *Config) readAccess(ctx context.Context) (*access.Access, error) {
	var records []history.Record
	var err error
	switch {
	case c.inMemory():
	case c.inPostgres():
		if records, _, err = postgres.Inspect(ctx, c.Data); err != nil {
			return nil, err
		}
	default:
		path := filepath.Join(c.Data, databaseName)
		if records, err = sqlite.ReadRecords(ctx, path); err != nil && !errors.Is(err, sqlite.ErrNoStore) {
			return nil, mayNot(path, err)
		}
	}
	return access.New(ctx, readRecords{records: records}, c.accessOptions())
}

// accessOptions returns what the settings say of access.
func (c *Config) accessOptions() *access.Options {
	o := &access.Options{
		TokenKeys: len(c.TokenSecrets)+len(c.TokenKeys)+len(c.JWKS) > 0 || c.TokenSecretFile != "", // no file may be empty
		Visitors:  c.Visitors,
		Exempt:    c.exemptAddresses(),
	}
	if c.inPostgres() { // other servers, and commands, change it too
		o.RefreshEvery = time.Second
	}
	return o
}

// readRecords are records that nobody changes.
type readRecords struct {
	history.Records
	records []history.Record
}

func (r readRecords) RecordsSince(context.Context, string, int64) ([]history.Record, error) {
	return r.records, nil
}
