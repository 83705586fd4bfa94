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
