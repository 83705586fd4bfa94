package access

import (
	"context"
	"strings"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/address"
	"github.com/parley-go/parley/internal/budget"
)

// Credentials are what an operator signs in with.
type Credentials struct {
	Login    string // the operator's id or e-mail address
	Password Secret
	Address  string // of the client, as host:port
	Client   string // how the browser describes itself; may be empty
}

// A SignedIn is a new session.
type SignedIn struct {
	Cookie   Secret // the value of the cookie
	Session  Session
	Identity *auth.Identity
}

// SignIn begins a session. An error with the code bad_token says that the name or the password is
// wrong, or that the operator is disabled; nobody can tell which, because the work is the same. Tries
// are limited for the address and for the login, and what succeeds does not count: the error has the
// code rate_limited and says when to try again. It has the code not_ready while there are no operators.
func (a *Access) SignIn(ctx context.Context, c Credentials) (*SignedIn, error) {
	return a.signIn(ctx, c, "")
}

// ChangePassword gives an operator a new password if the old one, in c, is right. It ends all sessions
// and begins a new one. Its errors are those of SignIn and SetPassword.
func (a *Access) ChangePassword(ctx context.Context, c Credentials, password Secret) (*SignedIn, error) {
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	return a.signIn(ctx, c, password)
}

var errBadLogin = refuse(conversation.BadToken, "the name or the password is wrong")

func (a *Access) signIn(ctx context.Context, c Credentials, newPassword Secret) (*SignedIn, error) {
	if err := a.Check(nil, c.Address); err != nil {
		return nil, err
	}
	a.mu.RLock()
	nobody := len(a.operators) == 0
	a.mu.RUnlock()
	if nobody {
		return nil, refuse(conversation.NotReady, "nobody can sign in yet: the server has no operators")
	}
	if len(c.Login) > history.MaxMemberID || len(c.Password) > MaxPassword {
		return nil, errBadLogin
	}
	payer, login := address.Limited(c.Address, a.opts.Exempt), strings.ToLower(c.Login)
	ofAddress, ofLogin := a.opts.Budgets[budget.SignIns], a.opts.Budgets[budget.Logins]
	if payer != "" {
		if wait := a.signIns.Allow(payer, ofAddress, 1); wait > 0 {
			return nil, tooOften("too many attempts to sign in from this address", wait)
		}
	}
	if wait := a.logins.Allow(login, ofLogin, 1); wait > 0 {
		return nil, tooOften("too many attempts to sign in with this name", wait)
	}

	a.mu.RLock()
	o := a.byLoginLocked(c.Login)
	a.mu.RUnlock()
	if o == nil {
		o = &operator{}
	}
	ok, weak, err := a.hasher.verify(ctx, payer, c.Password, o.Password)
	if err != nil {
		return nil, err
	}
	if !ok || o.Disabled {
		return nil, errBadLogin
	}
	changes := newPassword != ""
	if weak && !changes {
		newPassword = c.Password
	}
	hash := o.Password
	if newPassword != "" {
		if hash, err = a.hasher.make(ctx, payer, newPassword); err != nil {
			return nil, err
		}
	}
	in := &SignedIn{}
	err = a.change(ctx, func(now time.Time) (records []history.Record, err error) {
		was := a.operators.get(o.ID)
		if was == nil || was.Disabled || was.Password != o.Password {
			return nil, errBadLogin // it has changed meanwhile
		}
		is := *was
		is.Password = hash
		in.Cookie, in.Session, records = a.newSessionLocked(is.ID, c.Client, now)
		if changes {
			is.ValidFrom = now
			records = records[:1] // all others end
		}
		in.Identity = in.Session.identity(&is)
		// The operator goes with it even if unchanged: then another node cannot have changed it.
		return append(a.replaceLocked(was, &is), records...), nil
	})
	if err != nil {
		return nil, err
	}
	a.signIns.Refund(payer, ofAddress, 1)
	a.logins.Refund(login, ofLogin, 1)
	return in, nil
}
