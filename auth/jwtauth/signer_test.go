package jwtauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
)

func TestSigner(t *testing.T) {
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	fatal(err)
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	fatal(err)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	fatal(err)
	encode := func(kind string, der []byte, err error) []byte {
		fatal(err)
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	}
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		return encode("PRIVATE KEY", der, err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	secret := strings.Repeat("s", 32)
	jwk := fmt.Sprintf(`{"kty": "oct", "kid": "k1", "k": %q}`, base64.RawURLEncoding.EncodeToString([]byte(secret)))
	for _, test := range []struct {
		name   string
		file   []byte
		public crypto.PublicKey
		alg    string
	}{
		{"PKCS #8, RSA", pkcs8(rsaKey), rsaKey.Public(), "RS256"},
		{"PKCS #1", encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), nil), rsaKey.Public(), "RS256"},
		{"PKCS #8, P-256", pkcs8(ecKey), ecKey.Public(), "ES256"},
		{"SEC 1", encode("EC PRIVATE KEY", sec1, err), ecKey.Public(), "ES256"},
		{"Ed25519", pkcs8(edKey), edKey.Public(), "EdDSA"},
		{"secret", []byte(secret + "\n"), nil, "HS256"},
		{"JWK", []byte(jwk), nil, "HS256"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := jwtauth.ParseSigner(test.file)
			fatal(err)
			s.Audience, s.Issuer = "parley", "https://shop.example"
			key := jwtauth.Key{ID: s.ID, Public: test.public}
			if test.public == nil {
				key.Secret = []byte(secret)
			}
			v, err := jwtauth.New(&jwtauth.Options{Keys: []jwtauth.Key{key}})
			fatal(err)
			defer v.Close()
			token, err := s.Sign(&auth.Identity{Subject: "u7", Role: auth.User, Expires: time.Now().Add(time.Hour)})
			fatal(err)
			who, err := v.Verify(context.Background(), token)
			fatal(err)
			if who.Subject != "u7" || who.Issuer != s.Issuer {
				t.Errorf("verified as %+v", who)
			}
			var header struct{ Alg, Kid string }
			first, _, _ := strings.Cut(token, ".")
			text, err := base64.RawURLEncoding.DecodeString(first)
			fatal(err)
			fatal(json.Unmarshal(text, &header))
			if header.Alg != test.alg || header.Kid != s.ID {
				t.Errorf("header %s", text)
			}
			if shown := fmt.Sprintf("%v %+v %#v", s, *s, *s); strings.Contains(shown, secret) {
				t.Errorf("shows itself as %s", shown)
			}
		})
	}
	public, err := x509.MarshalPKIXPublicKey(ecKey.Public())
	short, err2 := rsa.GenerateKey(rand.Reader, 1024)
	for name, file := range map[string][]byte{
		"short secret": []byte("hunter2"), "public key": encode("PUBLIC KEY", public, err), "damaged": []byte("{"),
		"empty": nil, "short key": encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short), err2),
	} {
		if _, err := jwtauth.ParseSigner(file); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}
