package access

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

const revocationKind = "revocation"

// Everybody is the subject of a revocation of everything. Keys of programs are not concerned: remove
// them.
const Everybody = "*"

// Prefixes of subjects of revocations and bans.
const (
	ofUser     = "user:"
	ofOperator = "operator:"
	ofService  = "service:"
	ofToken    = "jti:"
	ofNetwork  = "net:"
	ofErased   = "erased:"
)

// recordID returns the id of the record about a subject. That of a user is a digest, because the ids of
// records outlive their values for a while, and a user that is erased must not. So a ban stays in force
// without naming anybody; see Forget.
func recordID(subject string) string {
	if !strings.HasPrefix(subject, ofUser) {
		return subject
	}
	sum := sha256.Sum256([]byte(subject))
	return ofErased + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Forget removes the ids of users, and what people have written about them, from bans and revocations.
// These stay in force.
func (a *Access) Forget(ctx context.Context, userIDs ...string) error {
	return a.change(ctx, func(time.Time) (records []history.Record, _ error) {
		for _, user := range userIDs {
			id := recordID(ofUser + user)
			if b := a.bans.get(id); b != nil && b.Subject != id {
				records = append(records, a.bans.put(banKind, id, &Ban{Subject: id, By: b.By, Until: b.Until, CreatedAt: b.CreatedAt}))
			}
			if r := a.revocations.get(id); r != nil && r.Subject != id {
				records = append(records, a.revocations.put(revocationKind, id,
					&Revocation{Subject: id, Before: r.Before, Until: r.Until, By: r.By, CreatedAt: r.CreatedAt}))
			}
		}
		return records, nil
	})
}

// RevocationLife is how long a revocation lives unless it says otherwise: as long as the longest token,
// a visitor's.
const RevocationLife = VisitorLife

// A Revocation makes proofs worthless that were given before a time.
type Revocation struct {
	// Subject is "user:" and a user's id, "operator:", "service:", "jti:" and the id of a token, or
	// Everybody. Of a user that was erased it is what recordID returns.
	Subject   string    `json:"subject"`
	Before    time.Time `json:"before"` // now if zero; of a token: does not matter
	Until     time.Time `json:"until"`  // when the revocation itself ends; in RevocationLife if zero
	Reason    string    `json:"reason,omitempty"`
	By        string    `json:"by,omitempty"` // the operator
	CreatedAt time.Time `json:"createdAt"`
}

// end returns what a revocation selects.
func (r *Revocation) end() auth.Match {
	e := auth.Match{IssuedBefore: r.Before}
	kind, id, _ := strings.Cut(r.Subject, ":")
	switch kind + ":" {
	case ofUser:
		e.Subject, e.Role = id, auth.User
	case ofOperator:
		e.Subject, e.Role = id, auth.Operator
	case ofService:
		e.Subject, e.Role = id, auth.Service
	case ofToken:
		e = auth.Match{TokenID: id}
	}
	return e
}

func revocationChanged(is *Revocation, n *news) {
	if is != nil && !strings.HasPrefix(is.Subject, ofErased) {
		n.end(is.end())
	}
}

// selectsLocked reports whether a revocation selects an identity.
func (a *Access) selectsLocked(who *auth.Identity, now time.Time) bool {
	if len(a.revocations) == 0 {
		return false
	}
	of := ofUser
	switch {
	case who.IsOperator():
		of = ofOperator
	case who.Role == auth.Service:
		of = ofService
	}
	for _, subject := range []string{of + who.Subject, Everybody} {
		if r := a.revocations.get(recordID(subject)); r != nil && now.Before(r.Until) && who.IssuedAt.Before(r.Before) {
			return true
		}
	}
	r := a.revocations.get(ofToken + who.TokenID)
	return r != nil && who.TokenID != "" && now.Before(r.Until)
}

// Revoke revokes what was proved before a time. A revocation of the same subject is replaced, and never
// made weaker.
func (a *Access) Revoke(ctx context.Context, r Revocation) (Revocation, error) {
	kind, name, ok := strings.Cut(r.Subject, ":")
	ok = ok && name != "" && slices.Contains([]string{ofUser, ofOperator, ofService, ofToken}, kind+":")
	if !ok && r.Subject != Everybody || !validText(name, history.MaxMemberID) || !validText(r.Reason, maxReason) || !validText(r.By, history.MaxMemberID) {
		return r, refuse(conversation.BadPayload, "revoke user:ID, operator:ID, service:ID, jti:ID or *")
	}
	now := now()
	if r.Before.After(now) {
		return r, refuse(conversation.BadPayload, "only what was proved in the past can be revoked")
	}
	err := a.change(ctx, func(now time.Time) ([]history.Record, error) {
		is := r
		is.CreatedAt = now
		if is.Before.IsZero() {
			is.Before = now
		}
		if is.Until.IsZero() {
			is.Until = now.Add(RevocationLife)
		}
		id := recordID(r.Subject)
		if was := a.revocations.get(id); was != nil && now.Before(was.Until) {
			is.Before, is.Until = latest(is.Before, was.Before), latest(is.Until, was.Until)
		}
		records := []history.Record{a.revocations.put(revocationKind, id, &is)}
		if kind+":" == ofOperator || r.Subject == Everybody {
			for sid, s := range a.sessions {
				if (s.value.OperatorID == name || r.Subject == Everybody) && s.value.CreatedAt.Before(is.Before) {
					records = append(records, a.sessions.put(sessionKind, sid, nil))
				}
			}
		}
		r = is
		return records, nil
	})
	return r, err
}

func latest(x, y time.Time) time.Time {
	if x.After(y) {
		return x
	}
	return y
}

// Revocations returns those that have not ended, in the order of their subjects.
func (a *Access) Revocations() []Revocation {
	now := now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := []Revocation{}
	for _, r := range a.revocations {
		if now.Before(r.value.Until) {
			all = append(all, *r.value)
		}
	}
	slices.SortFunc(all, func(x, y Revocation) int { return strings.Compare(x.Subject, y.Subject) })
	return all
}
