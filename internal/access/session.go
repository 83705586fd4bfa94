package access

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

const sessionKind = "session"

// SessionIssuer is the issuer of identities that a session proves. Their TokenID is the session's id.
const SessionIssuer = "session"

// Limits of sessions.
const (
	SessionIdle    = 12 * time.Hour      // without a request
	SessionLife    = 30 * 24 * time.Hour // in any case
	maxSessions    = 50                  // of one operator; a newer one ends the oldest
	maxClient      = 200                 // bytes of what a session says of its browser
	noteSeenEvery  = 5 * time.Minute     // how exactly the store knows when a session was seen
	sessionKeySize = 32                  // bytes
)

// A Session is an operator's sign-in. It belongs to whoever has the cookie.
type Session struct {
	ID         string    `json:"-"` // SHA-256 of the cookie's value, so nobody can use it as a cookie
	OperatorID string    `json:"operatorId"`
	Client     string    `json:"client,omitempty"` // the browser, as it describes itself
	CreatedAt  time.Time `json:"createdAt"`
	SeenAt     time.Time `json:"seenAt"`
}

// sessionChanged gives a session its id, and ends what belongs to one that is gone.
func (a *Access) sessionChanged(id string, is *Session, n *news) {
	if is != nil {
		is.ID = id
		return
	}
	a.seen.forget(id)
	n.end(auth.Match{Issuer: SessionIssuer, TokenID: id})
}

// newSessionLocked returns a session for an operator, the cookie, and the changes that make it.
func (a *Access) newSessionLocked(operatorID, client string, now time.Time) (cookie Secret, s Session, records []history.Record) {
	key := make([]byte, sessionKeySize)
	rand.Read(key)
	cookie = Secret(base64.RawURLEncoding.EncodeToString(key))
	client = strings.ToValidUTF8(client[:min(len(client), maxClient)], "")
	s = Session{ID: cookie.digest(), OperatorID: operatorID, Client: client, CreatedAt: now, SeenAt: now}
	records = append(records, a.sessions.put(sessionKind, s.ID, &s))
	if mine := a.sessionsLocked(operatorID); len(mine) >= maxSessions {
		for _, old := range mine[maxSessions-1:] {
			records = append(records, a.sessions.put(sessionKind, old.ID, nil))
		}
	}
	return cookie, s, records
}

// sessionsLocked returns an operator's sessions, those that were seen last first.
func (a *Access) sessionsLocked(operatorID string) (sessions []Session) {
	for _, r := range a.sessions {
		if s := *r.value; s.OperatorID == operatorID {
			s.SeenAt = a.seen.last(s.ID, s.SeenAt)
			sessions = append(sessions, s)
		}
	}
	slices.SortFunc(sessions, func(x, y Session) int {
		return cmp.Or(y.SeenAt.Compare(x.SeenAt), y.CreatedAt.Compare(x.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
	return sessions
}

// endSessionsLocked returns the changes that end all sessions of an operator.
func (a *Access) endSessionsLocked(operatorID string) (records []history.Record) {
	for id, r := range a.sessions {
		if r.value.OperatorID == operatorID {
			records = append(records, a.sessions.put(sessionKind, id, nil))
		}
	}
	return records
}

// aliveLocked reports whether a session exists and has not expired, and returns its operator.
func (a *Access) aliveLocked(id string, now time.Time) (*Session, *operator) {
	s := a.sessions.get(id)
	if s == nil || !s.alive(a.seen.last(id, s.SeenAt), now) {
		return nil, nil
	}
	o := a.operators.get(s.OperatorID)
	if o == nil || o.Disabled || s.CreatedAt.Before(o.ValidFrom) {
		return nil, nil
	}
	return s, o
}

func (s *Session) alive(seen, now time.Time) bool {
	return now.Before(s.CreatedAt.Add(SessionLife)) && now.Before(seen.Add(SessionIdle))
}

// Session returns the operator who has a session's cookie, and notes that the session is used. If
// there is no such session, on other nodes neither, the error has the code bad_token.
func (a *Access) Session(ctx context.Context, cookie Secret) (*auth.Identity, error) {
	who, err := a.session(cookie)
	if err != nil && a.CatchUp(ctx) {
		who, err = a.session(cookie)
	}
	return who, err
}

func (a *Access) session(cookie Secret) (*auth.Identity, error) {
	id, now := cookie.digest(), now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	s, o := a.aliveLocked(id, now)
	if s == nil {
		return nil, refuse(conversation.BadToken, "you are not signed in any more")
	}
	a.seen.note(id, now)
	return s.identity(o), nil
}

func (s *Session) identity(o *operator) *auth.Identity {
	return &auth.Identity{
		Subject: o.ID, Role: o.Role, Name: o.Name, Email: o.Email,
		Issuer: SessionIssuer, TokenID: s.ID, IssuedAt: s.CreatedAt, Expires: s.CreatedAt.Add(SessionLife),
	}
}

// Touch notes that an identity is in use, for example by a connection that is open. So its session
// does not end for want of requests. Other identities are ignored.
func (a *Access) Touch(who *auth.Identity) {
	if who == nil || who.Issuer != SessionIssuer {
		return
	}
	now := now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	if s, _ := a.aliveLocked(who.TokenID, now); s != nil {
		a.seen.note(s.ID, now)
	}
}

// Sessions returns the sessions of an operator that have not expired, those that were used last first.
func (a *Access) Sessions(operatorID string) []Session {
	a.mu.RLock()
	defer a.mu.RUnlock()
	now := now()
	return slices.DeleteFunc(a.sessionsLocked(operatorID), func(s Session) bool { return !s.alive(s.SeenAt, now) })
}

// EndSession ends a session of an operator. If it has no such session, the error has the code
// not_found.
func (a *Access) EndSession(ctx context.Context, operatorID, id string) error {
	return a.change(ctx, func(time.Time) ([]history.Record, error) {
		if s := a.sessions.get(id); s == nil || s.OperatorID != operatorID {
			return nil, refuse(conversation.NotFound, "there is no such session")
		}
		return []history.Record{a.sessions.put(sessionKind, id, nil)}, nil
	})
}

// seen knows when sessions and keys were used last. The store learns of it now and then.
type seen struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (s *seen) note(id string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at == nil {
		s.at = make(map[string]time.Time)
	}
	if at.After(s.at[id]) {
		s.at[id] = at
	}
}

// last returns the later one of stored and what was noted.
func (s *seen) last(id string, stored time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.at[id]; at.After(stored) {
		return at
	}
	return stored
}

func (s *seen) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, id)
}
