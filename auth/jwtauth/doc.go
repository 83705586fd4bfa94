// Package jwtauth makes identities from JSON Web Tokens (RFC 7519, with the advice of RFC 8725).
//
//	verifier, err := jwtauth.New(&jwtauth.Options{
//		Keys: []jwtauth.Key{{Secret: secret}},                                       // tokens of your site, or
//		Sets: []jwtauth.Set{{Issuer: "https://id.example", URL: "https://id.example/jwks.json"}}, // of a provider
//	})
//	srv, err := parley.New(&parley.Options{Authorize: verifier})
//
// The claims are those of OpenID Connect, and one of Parley's own:
//
//	{
//		"sub": "u7", "iat": 1767225600, "exp": 1767229200,
//		"iss": "https://shop.example", "aud": "parley", "jti": "…",
//		"name": "Ann", "email": "ann@example.com",
//		"parley": {"role": "user", "rooms": {"order-*": "rw", "news": "r"}, "attributes": {"plan": "pro"}}
//	}
//
// Only sub and exp are required; aud is as well, unless the key is a secret. The role is "user" if it
// is absent.
//
// Nothing in a token decides which key verifies it, except that iss and kid are looked up among the
// keys that are configured. In particular, nothing is fetched from an address in a token.
package jwtauth
