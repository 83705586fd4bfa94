package access_test

import (
	"context"
	"slices"
	"testing"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

// A key that somebody else knows can be removed. Its tokens are worth nothing then, and visitors who are
// connected have to prove themselves again.
func TestRemoveVisitorKey(t *testing.T) {
	ctx := context.Background()
	n := open(t, history.NewMemory(), access.Options{Visitors: true, TokenKeys: true})
	wantCode(t, "no keys", n.RemoveVisitorKey(ctx, "k"), conversation.NotFound)
	old, err := n.NewVisitor(ctx, "192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	leaked := n.Keyring().Keys[0].ID
	wantCode(t, "the key that signs", n.RemoveVisitorKey(ctx, leaked), conversation.Conflicted)
	wantCode(t, "rotate", n.RotateKeys(ctx), "")
	now, err := n.NewVisitor(ctx, "192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	everyone := auth.Match{Issuer: jwtauth.VisitorIssuer}
	if slices.Contains(n.ended(), everyone) {
		t.Error("a rotation disconnects visitors")
	}
	wantCode(t, "remove", n.RemoveVisitorKey(ctx, leaked), "")
	wantCode(t, "remove again", n.RemoveVisitorKey(ctx, leaked), conversation.NotFound)
	if !slices.Contains(n.ended(), everyone) {
		t.Error("visitors stay connected")
	}
	v, err := jwtauth.New(&jwtauth.Options{Visitors: n.Keyring()})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, err := v.Verify(ctx, string(old.Token)); err == nil {
		t.Error("a token of the removed key is good")
	}
	if _, err := v.Verify(ctx, string(now.Token)); err != nil {
		t.Errorf("a token of the other key: %v", err)
	}
}
