// Package tokentest has tokens that have to be refused, and why, and good ones, for the tests of every
// door that takes tokens.
package tokentest

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/parley-go/parley/auth/jwtauth"
)

// Case is a token.
type Case struct {
	Name  string
	Token string
	Code  string       // with which it has to be refused
	Rule  jwtauth.Rule // that refuses it
}

// Tokens are made for a verifier with Options.
type Tokens struct {
	Options jwtauth.Options
	Good    []Case // by name of the algorithm; their subject is u7
	Bad     []Case
}

// Issuers whose keys Options has.
const (
	Shop  = "https://shop.example" // ES256 with kid "e", Ed25519 with kid "ed"
	Other = "https://other.example"
)

// New makes the tokens. They are good for an hour.
func New() *Tokens {
	t := &Tokens{}
	secret, old := make([]byte, 32), make([]byte, 40)
	rand.Read(secret)
	rand.Read(old)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	shop, other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	must(0, err)
	t.Options = jwtauth.Options{
		Keys: []jwtauth.Key{
			{Secret: secret}, {Secret: old},
			{ID: "rs", Public: &rsaKey.PublicKey, Algorithms: []string{"RS256"}},
			{ID: "ps", Public: &rsaKey.PublicKey, Algorithms: []string{"PS256"}},
			{ID: "gone", Public: &rsaKey.PublicKey, Until: time.Now().Add(-time.Second)},
			{ID: "e", Issuer: Shop, Public: &shop.PublicKey},
			{ID: "ed", Issuer: Shop, Public: edPublic},
			{ID: "o", Issuer: Other, Public: &other.PublicKey},
		},
		Visitors: (*jwtauth.Keyring)(nil).Rotate(time.Hour),
	}
	own := t.Options.Visitors.Keys[0]

	now := time.Now().Unix()
	at := func(seconds int64) string { return fmt.Sprint(now + seconds) }
	claims := func(more string) string { return `{"sub":"u7","aud":"parley","exp":` + at(3600) + more + `}` }
	hs := func(header, claims string) string { return Sign(header, claims, "HS256", secret) }
	claim := func(more string) string { return hs(`{"alg":"HS256"}`, claims(more)) }
	rs := func(claims string) string { return Sign(`{"alg":"RS256","kid":"rs"}`, claims, "RS256", rsaKey) }
	public := must(x509.MarshalPKIXPublicKey(&rsaKey.PublicKey))
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	good := claim("")
	parts := strings.Split(good, ".")

	t.Good = []Case{
		{Name: "HS256", Token: good},
		{Name: "HS256, second secret", Token: Sign(`{"alg":"HS256"}`, claims(""), "HS256", old)},
		{Name: "RS256", Token: rs(claims(""))},
		{Name: "PS256", Token: Sign(`{"alg":"PS256","kid":"ps"}`, claims(""), "PS256", rsaKey)},
		{Name: "ES256", Token: Sign(`{"alg":"ES256","kid":"e"}`, claims(`,"iss":"`+Shop+`"`), "ES256", shop)},
		{Name: "EdDSA", Token: Sign(`{"alg":"EdDSA","kid":"ed","typ":"JWT"}`, claims(`,"iss":"`+Shop+`"`), "EdDSA", ed)},
		{Name: "secrets need no aud, and ignore kid", Token: hs(`{"alg":"HS256","kid":"any"}`, `{"sub":"u7","exp":`+at(60)+`}`)},
		{Name: "aud is a list", Token: hs(`{"alg":"HS256"}`, `{"sub":"u7","aud":["x","parley"],"exp":`+at(60)+`}`)},
		{Name: "clocks differ by less than a minute", Token: claim(`,"nbf":` + at(50) + `,"iat":` + at(50))},
		{Name: "fractions of a second", Token: hs(`{"alg":"HS256"}`, `{"sub":"u7","exp":`+at(60)+`.5}`)},
		{Name: "all claims", Token: claim(`,"name":"Ann","email":"ann@example.com","jti":"1","iat":` + at(-5) + `,"parley":{"role":"user","rooms":{"order-*":"rw","news":"r","mine-{sub}":""},"attributes":{"plan":"pro"}}`)},
	}

	bad := func(name string, rule jwtauth.Rule, token string) {
		t.Bad = append(t.Bad, Case{name, token, jwtauth.BadToken, rule})
	}
	// Form.
	bad("empty", jwtauth.Parts, "")
	bad("9 KiB", jwtauth.Size, claim(`,"x":"`+strings.Repeat("x", 9<<10)+`"`))
	bad("a word", jwtauth.Parts, "secret")
	bad("two parts", jwtauth.Parts, parts[0]+"."+parts[1])
	bad("four parts", jwtauth.Parts, good+".")
	bad("five parts, as if encrypted", jwtauth.Parts, good+".a.b")
	bad("padding", jwtauth.Parts, parts[0]+"=."+parts[1]+"."+parts[2])
	bad("standard base64", jwtauth.Parts, parts[0]+"."+parts[1]+"."+strings.Repeat("+/", 21)+"A")
	bad("a line break", jwtauth.Parts, parts[0]+"."+parts[1]+"\n."+parts[2])
	bad("trailing bits", jwtauth.Parts, parts[0]+"."+parts[1]+"."+trailingBits(parts[2]))
	bad("space before it", jwtauth.Parts, " "+good)
	bad("header is no JSON", jwtauth.JSON, hs(`alg`, claims("")))
	bad("header is a list", jwtauth.JSON, hs(`[]`, claims("")))
	bad("header is null", jwtauth.JSON, hs(`null`, claims("")))
	bad("something after the header", jwtauth.JSON, hs(`{"alg":"HS256"}{}`, claims("")))
	bad("claims are no JSON", jwtauth.JSON, hs(`{"alg":"HS256"}`, `sub`))
	bad("claims are a string", jwtauth.JSON, hs(`{"alg":"HS256"}`, `"u7"`))
	bad("claims are a token", jwtauth.JSON, hs(`{"alg":"HS256","cty":"JWT"}`, good))
	bad("claims are not UTF-8", jwtauth.JSON, hs(`{"alg":"HS256"}`, claims(",\"name\":\"\xff\"")))
	bad("claims are nested deeply", jwtauth.JSON, claim(`,"x":`+strings.Repeat("[", 50)+strings.Repeat("]", 50)))
	bad("alg twice", jwtauth.JSON, hs(`{"alg":"none","alg":"HS256"}`, claims("")))
	bad("sub twice", jwtauth.JSON, claim(`,"sub":"u8"`))
	bad("sub twice, escaped", jwtauth.JSON, claim(`,"\u0073ub":"u8"`))
	bad("role twice", jwtauth.JSON, claim(`,"parley":{"role":"user","role":"admin"}`))
	bad("a member twice in a list", jwtauth.JSON, claim(`,"x":[{"a":1,"a":2}]`))
	// Algorithm and header.
	none := Sign(`{"alg":"none"}`, claims(""), "none", nil)
	bad("none", jwtauth.Algorithm, none)
	bad("none, with a signature", jwtauth.Algorithm, none+parts[2])
	bad("none, in other letters", jwtauth.Algorithm, Sign(`{"alg":"nOnE"}`, claims(""), "none", nil))
	bad("none, for no key", jwtauth.Algorithm, Sign(`{"alg":"none","kid":"x"}`, claims(`,"iss":"`+Shop+`"`), "none", nil))
	bad("no alg", jwtauth.Algorithm, hs(`{"typ":"JWT"}`, claims("")))
	bad("alg in capitals", jwtauth.Algorithm, hs(`{"ALG":"HS256"}`, claims("")))
	bad("alg is a number", jwtauth.Algorithm, hs(`{"alg":256}`, claims("")))
	bad("alg is a list", jwtauth.Algorithm, hs(`{"alg":["HS256"]}`, claims("")))
	bad("HS512", jwtauth.Algorithm, Sign(`{"alg":"HS512"}`, claims(""), "HS512", secret))
	bad("RS512", jwtauth.Algorithm, Sign(`{"alg":"RS512","kid":"rs"}`, claims(""), "RS512", rsaKey))
	bad("jwk", jwtauth.Header, hs(`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, claims("")))
	bad("jku", jwtauth.Header, hs(`{"alg":"HS256","jku":"https://evil.example/jwks"}`, claims("")))
	bad("x5u", jwtauth.Header, hs(`{"alg":"HS256","x5u":"https://evil.example/cert"}`, claims("")))
	bad("x5c", jwtauth.Header, hs(`{"alg":"HS256","x5c":["AAAA"]}`, claims("")))
	bad("crit", jwtauth.Header, hs(`{"alg":"HS256","crit":["exp"]}`, claims("")))
	bad("b64 and crit", jwtauth.Header, hs(`{"alg":"HS256","b64":false,"crit":["b64"]}`, claims("")))
	// Keys.
	bad("HS256 with a public key's kid and its PEM as the secret", jwtauth.Signature, Sign(`{"alg":"HS256","kid":"rs"}`, claims(""), "HS256", publicPEM))
	bad("the same with its DER", jwtauth.Signature, Sign(`{"alg":"HS256","kid":"rs"}`, claims(""), "HS256", public))
	bad("HS256 for an issuer with public keys", jwtauth.Algorithm, hs(`{"alg":"HS256","kid":"e"}`, claims(`,"iss":"`+Shop+`"`)))
	bad("kid is a path, and the key is empty", jwtauth.Signature, Sign(`{"alg":"HS256","kid":"../../../../dev/null"}`, claims(""), "HS256", []byte{}))
	bad("kid is a query", jwtauth.Signature, Sign(`{"alg":"HS256","kid":"' UNION SELECT 'x"}`, claims(""), "HS256", []byte("x")))
	bad("kid is a number", jwtauth.KeyID, hs(`{"alg":"HS256","kid":1}`, claims("")))
	bad("kid is null", jwtauth.KeyID, hs(`{"alg":"HS256","kid":null}`, claims("")))
	bad("no key has the kid", jwtauth.KeyID, Sign(`{"alg":"ES256","kid":"f"}`, claims(`,"iss":"`+Shop+`"`), "ES256", shop))
	bad("no kid, and several keys", jwtauth.KeyID, Sign(`{"alg":"ES256"}`, claims(`,"iss":"`+Shop+`"`), "ES256", shop))
	bad("the key is no longer used", jwtauth.Algorithm, Sign(`{"alg":"RS256","kid":"gone"}`, claims(""), "RS256", rsaKey))
	bad("PS256 with a key for RS256", jwtauth.Algorithm, Sign(`{"alg":"PS256","kid":"rs"}`, claims(""), "PS256", rsaKey))
	bad("RS256 with a key for PS256", jwtauth.Algorithm, Sign(`{"alg":"RS256","kid":"ps"}`, claims(""), "RS256", rsaKey))
	bad("another issuer's key", jwtauth.KeyID, Sign(`{"alg":"ES256","kid":"o"}`, claims(`,"iss":"`+Shop+`"`), "ES256", other))
	bad("another issuer's key with the kid of one of ours", jwtauth.Signature, Sign(`{"alg":"ES256","kid":"e"}`, claims(`,"iss":"`+Shop+`"`), "ES256", other))
	bad("the right key with another issuer", jwtauth.KeyID, Sign(`{"alg":"ES256","kid":"e"}`, claims(`,"iss":"`+Other+`"`), "ES256", shop))
	bad("the right key without its issuer", jwtauth.Algorithm, Sign(`{"alg":"ES256","kid":"e"}`, claims(""), "ES256", shop))
	bad("the right key, and a slash more in its issuer", jwtauth.Algorithm, Sign(`{"alg":"ES256","kid":"e"}`, claims(`,"iss":"`+Shop+`/"`), "ES256", shop))
	bad("a secret says that it is this server", jwtauth.KeyID, Sign(`{"alg":"HS256","kid":"none"}`, claims(`,"iss":"parley"`), "HS256", secret))
	bad("a secret says that it is this server, and its key", jwtauth.Signature, Sign(`{"alg":"HS256","kid":"`+own.ID+`"}`, claims(`,"iss":"parley"`), "HS256", secret))
	bad("wrong secret", jwtauth.Signature, Sign(`{"alg":"HS256"}`, claims(""), "HS256", []byte(strings.Repeat("x", 32))))
	bad("no signature", jwtauth.Signature, parts[0]+"."+parts[1]+".")
	bad("half a signature", jwtauth.Signature, parts[0]+"."+parts[1]+"."+parts[2][:20])
	bad("other claims with the signature", jwtauth.Signature, parts[0]+"."+encode(claims(`,"name":"Eve"`))+"."+parts[2])
	bad("another header with the signature", jwtauth.Signature, encode(`{"alg":"HS256","typ":"x"}`)+"."+parts[1]+"."+parts[2])
	bad("ES256 of zeros", jwtauth.Signature, encode(`{"alg":"ES256","kid":"e"}`)+"."+encode(claims(`,"iss":"`+Shop+`"`))+"."+encode(strings.Repeat("\x00", 64)))
	bad("Ed25519 of zeros", jwtauth.Signature, encode(`{"alg":"EdDSA","kid":"ed"}`)+"."+encode(claims(`,"iss":"`+Shop+`"`))+"."+encode(strings.Repeat("\x00", 64)))
	// Claims.
	bad("iss is a list", jwtauth.Issuer, claim(`,"iss":["`+Shop+`"]`))
	without := func(rest string) string { return `{"sub":"u7",` + rest + `}` }
	bad("public key without aud", jwtauth.Audience, rs(without(`"exp":`+at(60))))
	bad("another aud", jwtauth.Audience, hs(`{"alg":"HS256"}`, without(`"aud":"shop","exp":`+at(60))))
	bad("a list without our aud", jwtauth.Audience, hs(`{"alg":"HS256"}`, without(`"aud":["shop","parley2"],"exp":`+at(60))))
	bad("aud is an empty list", jwtauth.Audience, rs(without(`"aud":[],"exp":`+at(60))))
	bad("aud is a list with an object", jwtauth.Audience, rs(without(`"aud":["parley",{}],"exp":`+at(60))))
	bad("aud is an object", jwtauth.Audience, rs(without(`"aud":{"parley":true},"exp":`+at(60))))
	bad("aud is null", jwtauth.Audience, rs(without(`"aud":null,"exp":`+at(60))))
	bad("no exp", jwtauth.Expiry, hs(`{"alg":"HS256"}`, `{"sub":"u7"}`))
	bad("exp is a string", jwtauth.Expiry, hs(`{"alg":"HS256"}`, without(`"exp":"`+at(60)+`"`)))
	bad("exp is null", jwtauth.Expiry, hs(`{"alg":"HS256"}`, without(`"exp":null`)))
	bad("exp in capitals", jwtauth.Expiry, hs(`{"alg":"HS256"}`, without(`"EXP":`+at(60))))
	bad("exp is beyond all times", jwtauth.Expiry, hs(`{"alg":"HS256"}`, without(`"exp":1e300`)))
	bad("exp is negative", jwtauth.Expiry, hs(`{"alg":"HS256"}`, without(`"exp":-1`)))
	bad("exp is too far away", jwtauth.Expiry, hs(`{"alg":"HS256"}`, without(`"exp":`+at(25*3600))))
	bad("exp is in milliseconds", jwtauth.Expiry, hs(`{"alg":"HS256"}`, without(`"exp":`+at(60)+`000`)))
	t.Bad = append(t.Bad, Case{"expired", hs(`{"alg":"HS256"}`, without(`"exp":`+at(-1))), jwtauth.TokenExpired, jwtauth.Expiry})
	bad("not valid yet", jwtauth.NotBefore, claim(`,"nbf":`+at(120)))
	bad("nbf is a string", jwtauth.NotBefore, claim(`,"nbf":"now"`))
	bad("from the future", jwtauth.IssuedAt, claim(`,"iat":`+at(120)))
	bad("iat is a string", jwtauth.IssuedAt, claim(`,"iat":"now"`))
	bad("no sub", jwtauth.Subject, hs(`{"alg":"HS256"}`, `{"exp":`+at(60)+`}`))
	sub := func(value string) string { return hs(`{"alg":"HS256"}`, `{"sub":`+value+`,"exp":`+at(60)+`}`) }
	bad("sub is empty", jwtauth.Subject, sub(`""`))
	bad("sub is a number", jwtauth.Subject, sub(`7`))
	bad("sub is too long", jwtauth.Subject, sub(`"`+strings.Repeat("x", 201)+`"`))
	bad("sub has a line break", jwtauth.Subject, sub(`"u\n7"`))
	bad("sub has half a character", jwtauth.Subject, sub(`"u\ud800"`))
	bad("sub has a NUL", jwtauth.Subject, sub(`"u\u0000"`))
	bad("name is an object", jwtauth.Claims, claim(`,"name":{}`))
	bad("name is too long", jwtauth.Claims, claim(`,"name":"`+strings.Repeat("x", 201)+`"`))
	bad("email has a line break", jwtauth.Claims, claim(`,"email":"a@b\r\nBcc: c@d"`))
	bad("jti is a number", jwtauth.Claims, claim(`,"jti":1`))
	bad("parley is a string", jwtauth.Claims, claim(`,"parley":"admin"`))
	bad("no such role", jwtauth.Claims, claim(`,"parley":{"role":"root"}`))
	bad("role in capitals", jwtauth.Claims, claim(`,"parley":{"role":"Admin"}`))
	bad("role is empty", jwtauth.Claims, claim(`,"parley":{"role":""}`))
	bad("role is a list", jwtauth.Claims, claim(`,"parley":{"role":["user"]}`))
	bad("rooms misspelt", jwtauth.Claims, claim(`,"parley":{"room":{"a":"r"}}`))
	bad("rooms is a list", jwtauth.Claims, claim(`,"parley":{"rooms":["a"]}`))
	bad("rooms is null", jwtauth.Claims, claim(`,"parley":{"rooms":null}`))
	bad("no such right", jwtauth.Claims, claim(`,"parley":{"rooms":{"a":"rx"}}`))
	bad("a right twice", jwtauth.Claims, claim(`,"parley":{"rooms":{"a":"rr"}}`))
	bad("a star in the middle", jwtauth.Claims, claim(`,"parley":{"rooms":{"a*b":"r"}}`))
	bad("two stars", jwtauth.Claims, claim(`,"parley":{"rooms":{"a**":"r"}}`))
	bad("an empty pattern", jwtauth.Claims, claim(`,"parley":{"rooms":{"":"r"}}`))
	bad("attributes is a list", jwtauth.Claims, claim(`,"parley":{"attributes":[]}`))
	bad("attributes are too large", jwtauth.Claims, claim(`,"parley":{"attributes":{"a":"`+strings.Repeat("x", 4<<10)+`"}}`))
	visitor := func(more string) string {
		return Sign(`{"alg":"HS256","kid":"`+own.ID+`"}`, claims(`,"iss":"parley"`+more), "HS256", own.Secret)
	}
	bad("a visitor who is an operator", jwtauth.Claims, visitor(`,"parley":{"role":"operator"}`))
	return t
}

// Sign makes a token of any header and claims.
func Sign(header, claims, alg string, key any) string {
	text := encode(header) + "." + encode(claims)
	if alg == "none" {
		return text + "."
	}
	if secret, ok := key.([]byte); ok && alg == "HS256" { // also with an empty one
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(text))
		return text + "." + encode(string(mac.Sum(nil)))
	}
	return text + "." + encode(string(must(jwt.GetSigningMethod(alg).Sign(text, key))))
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// trailingBits returns another text that a lenient decoder takes for the same 32 bytes.
func trailingBits(signature string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(signature) - 1
	return signature[:last] + string(alphabet[strings.IndexByte(alphabet, signature[last])|1])
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
