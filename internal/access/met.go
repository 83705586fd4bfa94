package access

import (
	"github.com/parley-go/parley/auth"
)

const metKind = "met"

// met is an operator without a row whose token others sign, and who has been here. Conversations can be
// given to it, and its messages keep its name, also while it is away.
type met struct {
	Name string `json:"name,omitempty"`
}

// Meet remembers an operator who is here, if it has no row. The store learns of it with the next sweep.
func (a *Access) Meet(who *auth.Identity) {
	a.mu.RLock()
	known := a.knowsLocked(who)
	a.mu.RUnlock()
	if !known {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.arrived[who.Subject] = &met{Name: who.Name}
	}
}

// knowsLocked reports whether there is nothing to remember of somebody.
func (a *Access) knowsLocked(who *auth.Identity) bool {
	if who == nil || !who.IsOperator() || a.operators.get(who.Subject) != nil {
		return true
	}
	m := a.metLocked(who.Subject)
	return m != nil && (who.Name == "" || m.Name == who.Name)
}

// metLocked returns an operator that has no row and has been here, or nil.
func (a *Access) metLocked(id string) *met {
	if m := a.arrived[id]; m != nil {
		return m
	}
	return a.met.get(id)
}

// metChangedLocked is called when the store has learned of an operator who has been here.
func (a *Access) metChangedLocked(id string, is *met) {
	if m := a.arrived[id]; m != nil && (is == nil || *m == *is) {
		delete(a.arrived, id)
	}
}

// Colleague returns the name of an operator, and whether conversations can be given to it: it has a row
// that is not disabled, or none, and its token has been here.
func (a *Access) Colleague(id string) (name string, active bool) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if o := a.operators.get(id); o != nil {
		return o.Name, !o.Disabled
	}
	if m := a.metLocked(id); m != nil {
		return m.Name, true
	}
	return "", false
}
