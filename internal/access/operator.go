package access

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
)

const operatorKind = "operator"

// Limits of an operator's texts, in bytes.
const (
	maxName  = 200
	maxEmail = 254
)

// An Operator answers users, and signs in with a password if it has one. Operators whose tokens others
// sign need no row; a row that is disabled locks them out all the same.
type Operator struct {
	ID       string    `json:"id"`              // also the name to sign in with
	Name     string    `json:"name,omitempty"`  // for people
	Email    string    `json:"email,omitempty"` // in lower case; to sign in with as well
	Role     auth.Role `json:"role"`            // Operator or Admin
	Disabled bool      `json:"disabled,omitempty"`
	// ValidFrom is when the password, the role or Disabled was last changed. Sessions and tokens from
	// before then have ended.
	ValidFrom time.Time `json:"validFrom"`
	CreatedAt time.Time `json:"createdAt"`
}

// operator is an Operator with what nobody else sees.
type operator struct {
	Operator
	Password string `json:"password,omitempty"` // its hash
}

// operatorChanged ends what an operator has lost by a change.
func operatorChanged(id string, was, is *operator, n *news) {
	switch {
	case is == nil:
		n.end(auth.Match{Subject: id, Role: auth.Operator})
	case is.Disabled && (was == nil || !was.Disabled):
		n.end(auth.Match{Subject: id, Role: auth.Operator})
	case was == nil || !was.ValidFrom.Equal(is.ValidFrom):
		n.end(auth.Match{Subject: id, Role: auth.Operator, IssuedBefore: is.ValidFrom})
	}
}

// Operators returns all operators in the order of their ids.
func (a *Access) Operators() []Operator {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]Operator, 0, len(a.operators))
	for _, id := range slices.Sorted(maps.Keys(a.operators)) {
		all = append(all, a.operators.get(id).Operator)
	}
	return all
}

// Operator returns one operator. If there is none, the error has the code not_found.
func (a *Access) Operator(id string) (Operator, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if o := a.operators.get(id); o != nil {
		return o.Operator, nil
	}
	return Operator{}, noOperator(id)
}

func noOperator(id string) error {
	return refuse(conversation.NotFound, "there is no operator %q", id)
}

// AddOperator adds an operator. Its times are set. Without a password, it can only be one whose tokens
// others sign. If the id or the e-mail address is in use, the error has the code conflict.
func (a *Access) AddOperator(ctx context.Context, o Operator, password Secret) (Operator, error) {
	return a.putOperator(ctx, o, password, false)
}

// PutOperator adds an operator, or changes one that exists to be so. Without a password, it keeps the
// one that it has.
func (a *Access) PutOperator(ctx context.Context, o Operator, password Secret) (Operator, error) {
	return a.putOperator(ctx, o, password, true)
}

// Describe changes the name and the e-mail address of an operator, and nothing else, whatever others
// change at the same time. describe may be called more than once.
func (a *Access) Describe(ctx context.Context, id string, describe func(name, email *string)) (o Operator, err error) {
	err = a.change(ctx, func(time.Time) ([]history.Record, error) {
		was := a.operators.get(id)
		if was == nil {
			return nil, noOperator(id)
		}
		is := *was
		describe(&is.Name, &is.Email)
		is.Email = strings.ToLower(is.Email)
		if err := is.check(); err != nil {
			return nil, err
		}
		if err := a.freeLocked(&is.Operator); err != nil {
			return nil, err
		}
		o = is.Operator
		return a.replaceLocked(was, &is), nil
	})
	return o, err
}

// freeLocked refuses an operator if another one has its id or its e-mail address to sign in with.
func (a *Access) freeLocked(o *Operator) error {
	for id, other := range a.operators {
		if id != o.ID && (o.Email != "" && other.value.Email == o.Email || id == o.Email || other.value.Email == strings.ToLower(o.ID)) {
			return refuse(conversation.Conflicted, "the operator %q has this name or e-mail address", id)
		}
	}
	return nil
}

func (a *Access) putOperator(ctx context.Context, o Operator, password Secret, update bool) (Operator, error) {
	o.Role = cmp.Or(o.Role, auth.Operator)
	o.Email = strings.ToLower(o.Email)
	if err := o.check(); err != nil {
		return Operator{}, err
	}
	hash, err := a.newPassword(ctx, password)
	if err != nil {
		return Operator{}, err
	}
	err = a.change(ctx, func(now time.Time) ([]history.Record, error) {
		was := a.operators.get(o.ID)
		if was != nil && !update {
			return nil, refuse(conversation.Conflicted, "there is an operator %q already", o.ID)
		}
		if err := a.freeLocked(&o); err != nil {
			return nil, err
		}
		next := operator{Operator: o, Password: hash}
		next.CreatedAt, next.ValidFrom = now, now
		if was != nil {
			next.CreatedAt = was.CreatedAt
			if hash == "" {
				next.Password = was.Password
			}
			if next.Password == was.Password && o.Role == was.Role && o.Disabled == was.Disabled {
				next.ValidFrom = was.ValidFrom
			}
		}
		o = next.Operator
		return a.replaceLocked(was, &next), nil
	})
	return o, err
}

// newPassword returns the hash of a new password, "" if there is none.
func (a *Access) newPassword(ctx context.Context, password Secret) (hash string, err error) {
	if password == "" {
		return "", nil
	}
	if err := checkPassword(password); err != nil {
		return "", err
	}
	return a.hasher.make(ctx, "", password)
}

// replaceLocked returns the change of an operator, with the end of its sessions if it concerns them.
func (a *Access) replaceLocked(was, is *operator) []history.Record {
	records := []history.Record{a.operators.put(operatorKind, is.ID, is)}
	if was != nil && !was.ValidFrom.Equal(is.ValidFrom) {
		records = append(records, a.endSessionsLocked(is.ID)...)
	}
	return records
}

// update changes an operator that exists. f reports whether what was proved before is worth nothing
// any more.
func (a *Access) update(ctx context.Context, id string, f func(*operator) (ends bool)) error {
	return a.change(ctx, func(now time.Time) ([]history.Record, error) {
		was := a.operators.get(id)
		if was == nil {
			return nil, noOperator(id)
		}
		is := *was
		if f(&is) {
			is.ValidFrom = now
		}
		return a.replaceLocked(was, &is), nil
	})
}

// SetPassword changes an operator's password and ends its sessions.
func (a *Access) SetPassword(ctx context.Context, id string, password Secret) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	hash, err := a.newPassword(ctx, password)
	if err != nil {
		return err
	}
	return a.update(ctx, id, func(o *operator) bool { o.Password = hash; return true })
}

// SetDisabled locks an operator out, or lets it in again. Sessions and tokens from before do not come
// back.
func (a *Access) SetDisabled(ctx context.Context, id string, disabled bool) error {
	return a.update(ctx, id, func(o *operator) bool {
		changed := o.Disabled != disabled
		o.Disabled = disabled
		return changed
	})
}

// RemoveOperator removes an operator and its sessions, or forgets one that has no row. Tokens of the operator that others have signed
// still count; to lock them out, disable the operator, or revoke them.
func (a *Access) RemoveOperator(ctx context.Context, id string) error {
	err := a.change(ctx, func(time.Time) ([]history.Record, error) {
		if a.operators.get(id) == nil && a.metLocked(id) == nil {
			return nil, noOperator(id)
		}
		return append(a.endSessionsLocked(id), a.operators.put(operatorKind, id, nil), a.met.put(metKind, id, nil)), nil
	})
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.arrived, id)
	}
	return err
}

// byLoginLocked returns the operator with an id or an e-mail address, or nil.
func (a *Access) byLoginLocked(login string) *operator {
	if o := a.operators.get(login); o != nil {
		return o
	}
	if login = strings.ToLower(login); login != "" {
		for _, r := range a.operators {
			if r.value.Email == login {
				return r.value
			}
		}
	}
	return nil
}

func (o *Operator) check() error {
	if o.Role != auth.Operator && o.Role != auth.Admin {
		return refuse(conversation.BadPayload, "the role of an operator is %q or %q", auth.Operator, auth.Admin)
	}
	if o.ID == "" {
		return refuse(conversation.BadPayload, "an operator needs an id")
	}
	for _, f := range []struct {
		what, value string
		limit       int
	}{{"id", o.ID, history.MaxMemberID}, {"name", o.Name, maxName}, {"e-mail address", o.Email, maxEmail}} {
		if !validText(f.value, f.limit) {
			return refuse(conversation.BadPayload, "an operator's %s can have at most %d bytes, and no control characters", f.what, f.limit)
		}
	}
	return nil
}

// validText reports whether s has at most limit bytes of UTF-8 without control characters.
func validText(s string, limit int) bool {
	return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
