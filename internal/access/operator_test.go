package access_test

import (
	"context"
	"testing"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

// meanwhile is a store in which somebody else is faster, once.
type meanwhile struct {
	history.Records
	do func()
}

func (s *meanwhile) PutRecords(ctx context.Context, changes ...history.Record) ([]history.Record, error) {
	if do := s.do; do != nil {
		s.do = nil
		do()
	}
	return s.Records.PutRecords(ctx, changes...)
}

// An operator who changes its own name does not undo what an admin changes at the same time.
func TestDescribeChangesNothingElse(t *testing.T) {
	memory := history.NewMemory()
	admin := open(t, memory, access.Options{})
	admin.add(t, "anna", auth.Operator)
	admin.add(t, "bob", auth.Operator)
	slow := &meanwhile{Records: memory, do: func() {
		wantCode(t, "disable", admin.SetDisabled(t.Context(), "anna", true), "")
	}}
	n := open(t, slow, access.Options{})
	rename := func(name, email *string) { *name, *email = "Anna B", "ANNA@example.net" }
	o, err := n.Describe(t.Context(), "anna", rename)
	wantCode(t, "describe", err, "")
	if err := admin.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	is, err := admin.Operator("anna")
	if err != nil || is != o || !is.Disabled || is.Name != "Anna B" || is.Email != "anna@example.net" || is.Role != auth.Operator {
		t.Errorf("the operator is %+v, %v", is, err)
	}
	wantCode(t, "sign in", try(admin, "anna", password, ""), conversation.BadToken)
	_, err = n.Describe(t.Context(), "anna", func(_, email *string) { *email = "bob@example.com" })
	wantCode(t, "an address in use", err, conversation.Conflicted)
	_, err = n.Describe(t.Context(), "anna", func(name, _ *string) { *name = "\a" })
	wantCode(t, "a bad name", err, conversation.BadPayload)
	_, err = n.Describe(t.Context(), "nobody", rename)
	wantCode(t, "nobody", err, conversation.NotFound)
}

// Operators who have only tokens that others sign are known once they have been here, on all nodes and
// after a restart, until they are removed.
func TestOperatorsWhoHaveBeenHere(t *testing.T) {
	memory := history.NewMemory()
	n := open(t, memory, access.Options{TokenKeys: true})
	n.add(t, "anna", auth.Operator)
	colleague := func(of *node, id, wantName string, wantActive bool) {
		t.Helper()
		if name, active := of.Colleague(id); name != wantName || active != wantActive {
			t.Errorf("%s is %q, %v", id, name, active)
		}
	}
	bob := &auth.Identity{Subject: "bob", Role: auth.Operator, Name: "Bob"}
	colleague(n, "bob", "", false)
	for _, who := range []*auth.Identity{
		bob, {Subject: "ada", Role: auth.Admin}, {Subject: "anna", Role: auth.Operator, Name: "Somebody else"},
		{Subject: "u7", Role: auth.User, Name: "Ann"}, {Subject: "bot", Role: auth.Service, Name: "Bot"}, nil,
	} {
		n.Meet(who)
	}
	sweep := func() {
		t.Helper()
		if err := n.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // before and after the store knows
		colleague(n, "bob", "Bob", true)
		colleague(n, "ada", "", true)
		colleague(n, "u7", "", false)
		colleague(n, "bot", "", false)
		if o, err := n.Operator("anna"); err != nil {
			t.Error(err)
		} else {
			colleague(n, "anna", o.Name, true)
		}
		sweep()
	}
	records, err := memory.RecordsSince(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	n.Meet(bob)
	sweep()
	if again, err := memory.RecordsSince(t.Context(), "", 0); err != nil || len(again) != len(records) || again[len(again)-1].Version != records[len(records)-1].Version {
		t.Errorf("a second time changes the store: %v", err)
	}
	n.Meet(&auth.Identity{Subject: "bob", Role: auth.Operator, Name: "Robert"})
	colleague(n, "bob", "Robert", true)
	sweep()
	other := open(t, memory, access.Options{TokenKeys: true})
	colleague(other, "bob", "Robert", true)
	if all := other.Operators(); len(all) != 1 {
		t.Errorf("the operators are %+v", all)
	}
	n.add(t, "ada", auth.Admin)
	wantCode(t, "disable", n.SetDisabled(t.Context(), "ada", true), "")
	if _, active := n.Colleague("ada"); active {
		t.Error("one that is disabled can have conversations")
	}
	wantCode(t, "remove", n.RemoveOperator(t.Context(), "bob"), "")
	colleague(n, "bob", "", false)
	n.Meet(bob)
	wantCode(t, "remove before the store knows", n.RemoveOperator(t.Context(), "bob"), "")
	colleague(n, "bob", "", false)
	wantCode(t, "remove again", n.RemoveOperator(t.Context(), "bob"), conversation.NotFound)
	if err := other.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	colleague(other, "bob", "", false)
}
