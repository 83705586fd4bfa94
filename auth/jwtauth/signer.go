package jwtauth

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/parley-go/parley/auth"
)

// A Signer signs tokens with a key of its own, for servers that have the public key, or the same
// secret. It is safe for concurrent use.
type Signer struct {
	ID       string // kid of the tokens; "" is none
	Issuer   string // iss of the tokens, unless the identity has one
	Audience string // aud of the tokens; "" is none

	method jwt.SigningMethod
	key    any
}

// ParseSigner reads the content of a file with one private key: PEM (PKCS #8, PKCS #1 or SEC 1), a
// JWK, or else a secret of at least 32 bytes. It signs with RS256, ES256, EdDSA or HS256, unless the JWK
// says PS256. The ID is that of the JWK.
func ParseSigner(file []byte) (*Signer, error) {
	file = bytes.TrimSpace(file)
	s := &Signer{}
	var err error
	algorithm := ""
	switch block, _ := pem.Decode(file); {
	case block != nil:
		s.key, err = parsePrivate(block)
	case bytes.HasPrefix(file, []byte("{")):
		var jwk jwkset.JWK
		jwk, err = jwkset.NewJWKFromRawJSON(json.RawMessage(file), jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
		s.key, s.ID, algorithm = jwk.Key(), jwk.Marshal().KID, string(jwk.Marshal().ALG)
	default:
		s.key = file
	}
	if err != nil {
		return nil, errors.New("parley: jwtauth: the file has no private key that can be read") // the cause may show some of it
	}
	public := Key{}
	switch key := s.key.(type) {
	case []byte:
		public.Secret = key
	case crypto.Signer:
		public.Public = key.Public()
	default:
		return nil, errors.New("parley: jwtauth: the file has no private key")
	}
	if algorithm != "" {
		public.Algorithms = []string{algorithm}
	}
	if public, err = public.check(); err != nil {
		return nil, err
	}
	s.method = jwt.GetSigningMethod(public.Algorithms[0])
	return s, nil
}

func parsePrivate(block *pem.Block) (any, error) {
	switch block.Type {
	case "PRIVATE KEY":
		return x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("%q is no private key", block.Type)
}

// Sign makes a token. The identity must have a Subject and Expires.
func (s *Signer) Sign(id *auth.Identity) (string, error) {
	signed := *id
	if signed.Issuer == "" {
		signed.Issuer = s.Issuer
	}
	return sign(&signed, s.method, s.key, s.ID, s.Audience)
}

// String returns no secret.
func (s Signer) String() string { return "key " + s.ID }

// GoString returns no secret.
func (s Signer) GoString() string { return s.String() }
