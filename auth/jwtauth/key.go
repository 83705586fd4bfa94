package jwtauth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/MicahParks/jwkset"
)

// Key verifies tokens: a secret or a public key.
type Key struct {
	// ID is the kid of the tokens that the key verifies. If it is empty, it is asked whatever the kid.
	ID string
	// Issuer is the iss of the tokens that the key verifies. If it is empty, that is each issuer that
	// no other key and no Set has.
	Issuer string
	// Secret is for HS256: at least 32 bytes, which both sides know.
	Secret []byte
	// Public is an *rsa.PublicKey of at least 2,048 bits for RS256 and PS256, an *ecdsa.PublicKey on
	// P-256 for ES256, or an ed25519.PublicKey for EdDSA.
	Public crypto.PublicKey
	// Algorithms limits the algorithms, such as "PS256". Nil allows all that suit the key.
	Algorithms []string
	// Until ends the use of the key, so that an old one can go once its last token has expired. Zero:
	// never.
	Until time.Time
}

// minSecret is the least length of a secret, in bytes (RFC 7518, section 3.2).
const minSecret = 32

// check returns k with its algorithms.
func (k Key) check() (Key, error) {
	suits := algorithms(k.Public)
	switch {
	case (k.Secret == nil) == (k.Public == nil):
		return k, errors.New("parley: jwtauth: a key needs either Secret or Public")
	case k.Secret != nil && len(k.Secret) < minSecret:
		return k, fmt.Errorf("parley: jwtauth: a secret of %d bytes is too short; it needs %d", len(k.Secret), minSecret)
	case k.Secret != nil:
		suits = []string{"HS256"}
	case suits == nil:
		return k, fmt.Errorf("parley: jwtauth: a key of type %T is not supported: want RSA of 2,048 bits or more, P-256, or Ed25519", k.Public)
	}
	for _, a := range k.Algorithms {
		if !slices.Contains(suits, a) {
			return k, fmt.Errorf("parley: jwtauth: the key is not for the algorithm %q, but for %q", a, suits)
		}
	}
	if k.Algorithms == nil {
		k.Algorithms = suits
	}
	return k, nil
}

// algorithms returns those that a public key is for; nil if it is not supported.
func algorithms(public any) []string {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N.BitLen() >= 2048 {
			return []string{"RS256", "PS256"}
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return []string{"ES256"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

// material returns what the algorithms verify with.
func (k *Key) material() any {
	if k.Secret != nil {
		return k.Secret
	}
	return k.Public
}

// ParseKeys reads the content of a key file: a public key or certificate in PEM, or a JWK or a set of
// JWKs. The keys have the kid and alg of their JWK. A private key is an error, since it does not belong
// where tokens are only verified.
func ParseKeys(file []byte) ([]Key, error) {
	keys, err := parseKeys(file)
	for i := 0; err == nil && i < len(keys); i++ {
		keys[i], err = keys[i].check()
	}
	if err == nil && len(keys) == 0 {
		err = errors.New("parley: jwtauth: there is no key in the file")
	}
	if err != nil {
		return nil, err
	}
	return keys, nil
}

var errPrivate = errors.New("parley: jwtauth: the file has a private key; a server that verifies tokens needs the public one only")

func parseKeys(file []byte) (keys []Key, err error) {
	file = bytes.TrimSpace(file)
	if bytes.HasPrefix(file, []byte("{")) {
		return parseJWKs(file)
	}
	for block, rest := pem.Decode(file); block != nil; block, rest = pem.Decode(rest) {
		var public any
		switch block.Type {
		case "PUBLIC KEY":
			public, err = x509.ParsePKIXPublicKey(block.Bytes)
		case "RSA PUBLIC KEY":
			public, err = x509.ParsePKCS1PublicKey(block.Bytes)
		case "CERTIFICATE":
			var c *x509.Certificate
			if c, err = x509.ParseCertificate(block.Bytes); err == nil {
				public = c.PublicKey
			}
		case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
			err = errPrivate
		default:
			err = fmt.Errorf("parley: jwtauth: the file has a %q, which is no public key", block.Type)
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, Key{Public: public})
	}
	return keys, nil
}

func parseJWKs(file []byte) (keys []Key, err error) {
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(file, &set); err != nil {
		return nil, fmt.Errorf("parley: jwtauth: read the key file: %w", err)
	}
	if set.Keys == nil {
		set.Keys = []json.RawMessage{file}
	}
	for _, raw := range set.Keys {
		members, ok := parseObject(raw)
		if !ok {
			return nil, errors.New("parley: jwtauth: a key of the file is not a JSON object")
		}
		if members["d"] != nil {
			return nil, errPrivate
		}
		jwk, err := jwkset.NewJWKFromRawJSON(raw, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
		if err != nil {
			return nil, fmt.Errorf("parley: jwtauth: read the key file: %w", err)
		}
		k, err := fromJWK(jwk)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// fromJWK converts a key, and checks it.
func fromJWK(jwk jwkset.JWK) (Key, error) {
	m := jwk.Marshal()
	if m.USE != "" && m.USE != jwkset.UseSig {
		return Key{}, fmt.Errorf("parley: jwtauth: the key is for %q, not for signatures", m.USE)
	}
	k := Key{ID: m.KID}
	if m.ALG != "" {
		k.Algorithms = []string{string(m.ALG)}
	}
	if secret, ok := jwk.Key().([]byte); ok {
		k.Secret = secret
	} else {
		k.Public = jwk.Key()
	}
	return k.check()
}
