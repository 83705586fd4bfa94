package access

import (
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
)

// Check refuses an identity that has no access although its proof is good. Nil is somebody who has
// proved nothing. address is the client's, as host:port. Codes, in the order of the questions:
//
//	token_expired  the proof has ended
//	forbidden      the operator is disabled
//	bad_token      it was revoked: the session or the key is gone, or a revocation selects it
//	banned         the user, or the network of the address
//
// A ban of a network does not concern operators and services.
func (a *Access) Check(who *auth.Identity, address string) error {
	now := time.Now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	if who != nil {
		if !who.Expires.IsZero() && !now.Before(who.Expires) {
			return refuse(conversation.TokenExpired, "your token has expired")
		}
		if o := a.ofTokenLocked(who); o != nil && o.Disabled {
			return refuse(conversation.Forbidden, "this operator is disabled")
		}
		if a.revokedLocked(who, now) {
			return refuse(conversation.BadToken, "your access has been revoked")
		}
		if who.Role == auth.User && a.bannedUserLocked(who.Subject, now) {
			return errBanned
		}
	}
	if (who == nil || who.Role == auth.User) && a.bannedAddressLocked(address, now) {
		return errBanned
	}
	return nil
}

var errBanned = refuse(conversation.Banned, "you cannot use this service")

// ofTokenLocked returns the row of the operator who an identity says it is; nil if there is none.
func (a *Access) ofTokenLocked(who *auth.Identity) *operator {
	if !who.IsOperator() || who.Issuer == KeyIssuer {
		return nil
	}
	return a.operators.get(who.Subject)
}

// revokedLocked reports whether a proof is worth nothing any more.
func (a *Access) revokedLocked(who *auth.Identity, now time.Time) bool {
	switch who.Issuer {
	case KeyIssuer: // ends with the key only
		return a.keyLocked(who.TokenID) == nil
	case SessionIssuer:
		if s, o := a.aliveLocked(who.TokenID, now); s == nil || o.Role != who.Role {
			return true
		}
	}
	if o := a.ofTokenLocked(who); o != nil && issuedBefore(who, o.ValidFrom) {
		return true
	}
	return a.selectsLocked(who, now)
}

// Most programs that sign tokens round their iat down to the second. Such a token may be up to a second
// younger than it says. What that means depends on the question:
//
//   - Was it made before the operator was added or changed? Only if that is certain, because who adds an
//     operator makes a token next, and has to be able to use it.
//   - Was it made before what a revocation names? If that is possible, because a revocation promises that
//     nothing from before is left. A new token may have to wait for the next second.
//
// Tokens of this server have microseconds (see IssueTime), so neither question arises.

// issuedBefore reports whether a proof is certainly from before a time.
func issuedBefore(who *auth.Identity, at time.Time) bool {
	if who.IssuedAt.Nanosecond() == 0 {
		at = at.Truncate(time.Second)
	}
	return who.IssuedAt.Before(at)
}

// IssueTime returns when a token is issued that this server signs now: to the microsecond, and never on
// a whole second, which would be taken for a rounded time.
func IssueTime() time.Time {
	t := now()
	if t.Nanosecond() == 0 {
		t = t.Add(-time.Microsecond)
	}
	return t
}
