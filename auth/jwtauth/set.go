package jwtauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"golang.org/x/time/rate"
)

// Set is the key set (JWKS, RFC 7517) of an issuer, at a fixed address. It is fetched at start and
// every hour. If a token has a kid that the set lacks, it is fetched again, but at most once in 5
// minutes. While the issuer does not answer, the last keys are kept. A set with symmetric keys is used
// without them.
type Set struct {
	Issuer string // the iss of its tokens
	URL    string // https, or http on this machine
}

const (
	fetchTime     = 5 * time.Second
	refreshTime   = time.Hour
	unknownKeyPer = 5 * time.Minute
	firstFetchPer = 10 * time.Second // until the set has been fetched for the first time
	maxSet        = 64 << 10         // bytes
)

// remote is a Set that is being followed.
type remote struct {
	ctx     context.Context
	keys    jwkset.Storage
	limiter *rate.Limiter // of the fetches for an unknown kid

	mu      sync.Mutex
	fetched bool // the set has been there once
}

func (s *Set) check() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		return fmt.Errorf("parley: jwtauth: address of the keys of %s: %w", s.Issuer, err)
	case s.Issuer == "":
		return errors.New("parley: jwtauth: a key set needs an Issuer, so that no other issuer's tokens pass for its own")
	case u.Scheme == "https" && u.Host != "" || u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("parley: jwtauth: the keys of %s are at %q: want an https address", s.Issuer, s.URL)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// follow fetches the set, and again and again until ctx ends. If the first fetch fails, that is logged.
func (s *Set) follow(ctx context.Context, client *http.Client, log *slog.Logger) (*remote, error) {
	limiter := rate.NewLimiter(rate.Every(firstFetchPer), 1)
	quietly := true
	f, err := keyfunc.NewDefaultOverrideCtx(ctx, []string{s.URL}, keyfunc.Override{
		Client: client, HTTPTimeout: fetchTime, NoErrorReturnFirstHTTPReq: &quietly,
		RefreshInterval: refreshTime, RefreshUnknownKID: limiter, RateLimitWaitMax: fetchTime,
		RefreshErrorHandlerFunc: func(string) func(context.Context, error) {
			return func(_ context.Context, err error) {
				if ctx.Err() == nil {
					log.Warn("parley: the keys of an issuer could not be fetched; those that are there stay in use", "issuer", s.Issuer, "error", err)
				}
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("parley: jwtauth: keys of %s: %w", s.Issuer, err)
	}
	return &remote{ctx: ctx, keys: f.Storage(), limiter: limiter}, nil
}

// find returns the keys for a kid; for an empty one, all. If there are none, it may fetch the set.
func (r *remote) find(ctx context.Context, kid string) (keys []Key, err *Error) {
	keys, fetched := r.present(kid)
	if len(keys) > 0 || kid == "" && fetched {
		return keys, nil
	}
	done := make(chan struct{})
	go func() { // it does not end with the client, or clients could use up the fetches
		defer close(done)
		r.keys.KeyRead(r.ctx, kid)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	if keys, fetched = r.present(kid); !fetched {
		return nil, &Error{Unavailable, KeyID, "the keys of the issuer could not be fetched yet"}
	}
	return keys, nil
}

// present returns the keys for a kid that are there, and whether the set has been fetched once.
func (r *remote) present(kid string) (keys []Key, fetched bool) {
	all, err := r.keys.KeyReadAll(r.ctx)
	for _, jwk := range all {
		if kid == "" || jwk.Marshal().KID == kid {
			if k, err := fromJWK(jwk); err == nil && k.Secret == nil {
				keys = append(keys, k)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.fetched && err == nil && len(all) > 0 {
		r.fetched = true
		r.limiter.SetLimit(rate.Every(unknownKeyPer))
	}
	return keys, r.fetched
}

// fetcher returns the client that fetches sets. It keeps no connection, follows redirects on the same
// host only, and reads at most maxSet bytes.
func fetcher() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	return &http.Client{
		Transport: bounded{transport},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme || len(via) > 3 {
				return errors.New("parley: jwtauth: the address of the keys redirects elsewhere")
			}
			return nil
		},
	}
}

// bounded limits the bytes of answers.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{http.MaxBytesReader(nil, resp.Body, maxSet), resp.Body}
	}
	return resp, err
}
