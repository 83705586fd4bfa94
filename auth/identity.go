// Package auth says who a client is and what it may do. Package jwtauth makes identities from tokens;
// you can make them from anything else.
package auth

import (
	"encoding/json"
	"time"
)

// Role is the kind of an identity.
type Role string

// The roles.
const (
	User     Role = "user"     // of the site; a visitor is one too
	Operator Role = "operator" // answers users
	Admin    Role = "admin"    // an operator who may also change operators, keys and settings
	Service  Role = "service"  // a program that acts for anybody
)

// Identity is who a client has proved to be. Values are immutable.
type Identity struct {
	// Subject is the user's id, or the operator's if the role is Operator or Admin.
	Subject string
	Role    Role
	Name    string // for people; may be empty
	Email   string
	// Attributes is a JSON object that describes the user, or nil.
	Attributes json.RawMessage
	// Grants are the rooms that the identity may use, in addition to what its role allows. Nil leaves
	// it to the role; a list that is not nil is all that it may use.
	Grants Grants
	// Visitor says that this server itself made the identity up, for somebody who has not signed in.
	Visitor bool
	// Issuer and TokenID name the token that proved the identity; both may be empty.
	Issuer, TokenID string
	// IssuedAt is the time of the proof. A revocation of everything before a time is compared with it.
	IssuedAt time.Time
	// Expires is when the proof ends; zero: never.
	Expires time.Time
}

// IsOperator reports whether the identity is an operator's or an admin's.
func (i *Identity) IsOperator() bool { return i.Role == Operator || i.Role == Admin }

// Same reports whether both identities are of the same subject in the same role. Either may be nil.
func (i *Identity) Same(other *Identity) bool {
	if i == nil || other == nil {
		return i == other
	}
	return i.Subject == other.Subject && i.Role == other.Role
}
