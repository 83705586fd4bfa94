package jwtauth_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/internal/tokentest"
)

// jwk returns a public key as JSON.
func jwk(t *testing.T, key any, m jwkset.JWKMetadataOptions, private bool) string {
	t.Helper()
	j, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Metadata: m, Marshal: jwkset.JWKMarshalOptions{Private: private}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(j.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func named(kid string) jwkset.JWKMetadataOptions { return jwkset.JWKMetadataOptions{KID: kid} }

// provider is an issuer with a key set.
type provider struct {
	answer  atomic.Value // func(http.ResponseWriter, *http.Request)
	fetches atomic.Int32
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.fetches.Add(1)
	p.answer.Load().(func(http.ResponseWriter, *http.Request))(w, r)
}

func (p *provider) set(keys ...string) {
	p.answer.Store(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"keys":[`+strings.Join(keys, ",")+`]}`)
	})
}

func (p *provider) status(code int) {
	p.answer.Store(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

const idp = "https://id.example"

type signer struct {
	t        *testing.T
	shop     *ecdsa.PrivateKey
	ed       ed25519.PrivateKey
	rs, weak *rsa.PrivateKey
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{t: t}
	var err [4]error
	s.shop, err[0] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, s.ed, err[1] = ed25519.GenerateKey(rand.Reader)
	s.rs, err[2] = rsa.GenerateKey(rand.Reader, 2048)
	s.weak, err[3] = rsa.GenerateKey(rand.Reader, 1024)
	if e := errors.Join(err[:]...); e != nil {
		t.Fatal(e)
	}
	return s
}

func (s *signer) token(alg, kid string) string {
	keys := map[string]any{"ES256": s.shop, "EdDSA": s.ed, "RS256": s.rs, "PS256": s.rs, "HS256": bytes.Repeat([]byte("k"), 32)}
	exp, _ := json.Marshal(time.Now().Add(time.Hour).Unix())
	return tokentest.Sign(`{"alg":"`+alg+`","kid":"`+kid+`"}`, `{"sub":"u7","aud":"parley","iss":"`+idp+`","exp":`+string(exp)+`}`, alg, keys[alg])
}

func verdict(t *testing.T, v *jwtauth.Verifier, token string) jwtauth.Rule {
	t.Helper()
	_, err := v.Verify(t.Context(), token)
	var refusal *jwtauth.Error
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &refusal):
		t.Fatal(err)
	case refusal.Code == jwtauth.Unavailable:
		return "unavailable"
	}
	return refusal.Rule
}

func TestSet(t *testing.T) {
	s := newSigner(t)
	p := &provider{}
	p.set(
		jwk(t, s.shop.Public(), named("e"), false), jwk(t, s.ed.Public(), named("ed"), false), jwk(t, s.rs.Public(), named("r"), false),
		jwk(t, s.rs.Public(), jwkset.JWKMetadataOptions{KID: "ps", ALG: jwkset.AlgPS256}, false),
		jwk(t, s.rs.Public(), jwkset.JWKMetadataOptions{KID: "enc", USE: jwkset.UseEnc}, false),
		jwk(t, s.weak.Public(), named("weak"), false),
		jwk(t, bytes.Repeat([]byte("k"), 32), named("oct"), true),
	)
	hs := httptest.NewServer(p)
	defer hs.Close()
	v := newVerifier(t, jwtauth.Options{
		Keys:   []jwtauth.Key{{Secret: bytes.Repeat([]byte("s"), 32)}},
		Sets:   []jwtauth.Set{{Issuer: idp, URL: hs.URL}},
		Logger: slog.New(slog.DiscardHandler),
	})
	for _, tt := range []struct {
		alg, kid string
		want     jwtauth.Rule
	}{
		{"ES256", "e", ""}, {"EdDSA", "ed", ""}, {"RS256", "r", ""}, {"PS256", "r", ""}, {"PS256", "ps", ""},
		{"RS256", "ps", jwtauth.Algorithm}, {"ES256", "r", jwtauth.Algorithm}, {"RS256", "enc", jwtauth.KeyID},
		{"HS256", "oct", jwtauth.KeyID}, {"RS256", "weak", jwtauth.KeyID}, {"ES256", "", jwtauth.KeyID},
	} {
		if got := verdict(t, v, s.token(tt.alg, tt.kid)); got != tt.want {
			t.Errorf("%s with %q: %q, want %q", tt.alg, tt.kid, got, tt.want)
		}
	}
}

// An unknown kid makes the set be fetched again, once in 5 minutes. While the provider fails, the keys
// that are there stay in use; every hour they are fetched again.
func TestSetIsFetchedAgain(t *testing.T) {
	s := newSigner(t)
	first, second := jwk(t, s.shop.Public(), named("1"), false), jwk(t, s.shop.Public(), named("2"), false)
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.set(first)
		v := inBubble(t, p)
		want := func(kid string, want jwtauth.Rule, fetches int32) {
			t.Helper()
			if got := verdict(t, v, s.token("ES256", kid)); got != want {
				t.Errorf("kid %s: %q, want %q", kid, got, want)
			}
			if n := p.fetches.Load(); n != fetches {
				t.Errorf("kid %s: fetched %d times, want %d", kid, n, fetches)
			}
		}
		want("1", "", 1)
		want("2", jwtauth.KeyID, 2) // at the first unknown one
		p.set(first, second)
		for range 5 { // and then not until 5 minutes have passed
			want("2", jwtauth.KeyID, 2)
			want("1", "", 2)
			time.Sleep(50 * time.Second)
		}
		time.Sleep(time.Minute)
		want("2", "", 3)
		p.status(http.StatusInternalServerError)
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		want("1", "", 5)
		p.set(second)
		time.Sleep(time.Hour)
		synctest.Wait()
		want("2", "", 6)
		want("1", jwtauth.KeyID, 7) // it has been withdrawn
	})
}

// A provider that is down when the server starts is asked again soon.
func TestSetThatIsNotThereAtFirst(t *testing.T) {
	s := newSigner(t)
	key := jwk(t, s.shop.Public(), named("1"), false)
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.status(http.StatusBadGateway)
		v := inBubble(t, p)
		for range 3 {
			if got := verdict(t, v, s.token("ES256", "1")); got != "unavailable" {
				t.Errorf("%q", got)
			}
		}
		if n := p.fetches.Load(); n != 2 {
			t.Errorf("fetched %d times", n)
		}
		p.set(key)
		time.Sleep(11 * time.Second)
		if got := verdict(t, v, s.token("ES256", "1")); got != "" {
			t.Errorf("%q", got)
		}
	})
}

// A provider that does not answer holds a client up for 5 s at most.
func TestSetThatHangs(t *testing.T) {
	s := newSigner(t)
	synctest.Test(t, func(t *testing.T) {
		p := &provider{}
		p.answer.Store(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		start := time.Now()
		v := inBubble(t, p)
		if got := verdict(t, v, s.token("ES256", "1")); got != "unavailable" || time.Since(start) > 11*time.Second {
			t.Errorf("%q after %v", got, time.Since(start))
		}
	})
}

// inBubble returns a verifier whose provider is reached without a network.
func inBubble(t *testing.T, p *provider) *jwtauth.Verifier {
	t.Helper()
	v, err := jwtauth.NewForTest(&jwtauth.Options{
		Sets: []jwtauth.Set{{Issuer: idp, URL: "https://id.example/keys"}}, Logger: slog.New(slog.DiscardHandler),
	}, &http.Client{Transport: inMemory{p}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// inMemory calls a handler. Like a network, it gives up when the request's context ends.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result(), r.Context().Err()
}

// Sets that cannot be used: too large, or somewhere else.
func TestSetsThatAreRefused(t *testing.T) {
	s := newSigner(t)
	key := jwk(t, s.shop.Public(), named("1"), false)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[`+key+`]}`) }))
	defer elsewhere.Close()
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		want   jwtauth.Rule
	}{
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"x":"`+strings.Repeat("x", 64<<10)+`","keys":[`+key+`]}`)
		}, "unavailable"},
		"large enough": {func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"x":"`+strings.Repeat("x", 60<<10)+`","keys":[`+key+`]}`)
		}, ""},
		"another host": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "unavailable"},
		"same host": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/keys" {
				io.WriteString(w, `{"keys":[`+key+`]}`)
			} else {
				http.Redirect(w, r, "/keys", http.StatusFound)
			}
		}, ""},
		"no JSON": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &provider{}
			p.answer.Store(tt.answer)
			hs := httptest.NewServer(p)
			defer hs.Close()
			v := newVerifier(t, jwtauth.Options{Sets: []jwtauth.Set{{Issuer: idp, URL: hs.URL}}, Logger: slog.New(slog.DiscardHandler)})
			if got := verdict(t, v, s.token("ES256", "1")); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseKeys(t *testing.T) {
	s := newSigner(t)
	block := func(kind string, b []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	pkix := func(key any) string { b, err := x509.MarshalPKIXPublicKey(key); return block("PUBLIC KEY", b, err) }
	pkcs8, err := x509.MarshalPKCS8PrivateKey(s.ed)
	private := block("PRIVATE KEY", pkcs8, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{}, &x509.Certificate{}, s.ed.Public(), s.ed)
	cert := block("CERTIFICATE", certificate, err)
	for name, tt := range map[string]struct {
		file string
		want []string // algorithms of each key, with the kid before them; nil: refused
	}{
		"RSA":          {pkix(s.rs.Public()), []string{" RS256 PS256"}},
		"PKCS1":        {block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&s.rs.PublicKey), nil), []string{" RS256 PS256"}},
		"several":      {pkix(s.shop.Public()) + "\n" + pkix(s.ed.Public()), []string{" ES256", " EdDSA"}},
		"certificate":  {cert, []string{" EdDSA"}},
		"JWK":          {jwk(t, s.shop.Public(), named("e"), false), []string{"e ES256"}},
		"JWK with alg": {jwk(t, s.rs.Public(), jwkset.JWKMetadataOptions{KID: "r", ALG: jwkset.AlgPS256}, false), []string{"r PS256"}},
		"JWK set":      {`{"keys":[` + jwk(t, s.shop.Public(), named("e"), false) + `,` + jwk(t, s.ed.Public(), named("d"), false) + `]}`, []string{"e ES256", "d EdDSA"}},
		"secret":       {jwk(t, bytes.Repeat([]byte("k"), 32), named("h"), true), []string{"h HS256"}},
		"short secret": {jwk(t, []byte("short"), named("h"), true), nil},
		"private":      {private, nil},
		"private JWK":  {jwk(t, s.shop, named("e"), true), nil},
		"weak":         {pkix(s.weak.Public()), nil},
		"P-384":        {pkix(p384.Public()), nil},
		"encryption":   {jwk(t, s.rs.Public(), jwkset.JWKMetadataOptions{USE: jwkset.UseEnc}, false), nil},
		"RS512":        {jwk(t, s.rs.Public(), jwkset.JWKMetadataOptions{ALG: jwkset.AlgRS512}, false), nil},
		"other PEM":    {block("SSH KEY", []byte("x"), nil), nil},
		"broken PEM":   {block("PUBLIC KEY", []byte("x"), nil), nil},
		"broken JWK":   {`{"kty":"EC"}`, nil},
		"broken JSON":  {`{"keys":`, nil},
		"no keys":      {`{"keys":[]}`, nil},
		"empty":        {``, nil},
		"text":         {`secret`, nil},
	} {
		keys, err := jwtauth.ParseKeys([]byte(tt.file))
		var got []string
		for _, k := range keys {
			got = append(got, k.ID+" "+strings.Join(k.Algorithms, " "))
		}
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
