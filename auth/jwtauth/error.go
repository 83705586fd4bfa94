package jwtauth

import (
	"fmt"

	"github.com/parley-go/parley/event"
)

// Codes of an Error.
const (
	BadToken     = "bad_token"
	TokenExpired = "token_expired"
	Unavailable  = "unavailable" // the keys of the token's issuer have not been fetched yet
)

// Error says why a token was refused. Clients see its code and message, because an Error is also an
// *event.Error (errors.As).
type Error struct {
	Code   string // BadToken, TokenExpired or Unavailable
	Rule   Rule   // that refused the token
	Reason string // for people; nothing of the token stands in it
}

// Rule is a check of a token. They are made in this order.
type Rule string

// The rules.
const (
	Missing   Rule = "token"     // there is one, and it is not in a query
	Size      Rule = "size"      // at most 8 KiB
	Parts     Rule = "parts"     // three of them, in strict base64url
	JSON      Rule = "json"      // header and claims are objects, and no object has a member twice
	Algorithm Rule = "alg"       // is one of the five
	Header    Rule = "header"    // no jwk, jku, x5u, x5c, crit
	KeyID     Rule = "kid"       // a key of this issuer has it, and is for this algorithm
	Signature Rule = "signature" // is right
	Issuer    Rule = "iss"       // is that of the key
	Audience  Rule = "aud"       // contains ours
	Expiry    Rule = "exp"       // is there, not in the past, and not too far away
	NotBefore Rule = "nbf"       // is not in the future
	IssuedAt  Rule = "iat"       // is not in the future
	Subject   Rule = "sub"       // is a valid id
	Claims    Rule = "claims"    // the others are well-formed
	Type      Rule = "typ"       // is Options.Type
)

func refuse(rule Rule, reason string, args ...any) *Error {
	return &Error{BadToken, rule, fmt.Sprintf(reason, args...)}
}

func (e *Error) Error() string {
	return fmt.Sprintf("parley: jwtauth: %s: %s: %s", e.Code, e.Rule, e.Reason)
}

// As makes an *event.Error of e, for clients.
func (e *Error) As(target any) bool {
	t, ok := target.(**event.Error)
	if ok {
		message := "The token is refused"
		switch e.Code {
		case TokenExpired:
			message = "The token has expired"
		case Unavailable:
			message = "The token cannot be checked now"
		}
		*t = &event.Error{Code: e.Code, Message: message + " (" + string(e.Rule) + "): " + e.Reason}
	}
	return ok
}
