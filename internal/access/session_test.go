package access_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

// counting counts the commits of a store.
type counting struct {
	history.Records
	commits int
}

func (s *counting) PutRecords(ctx context.Context, r ...history.Record) ([]history.Record, error) {
	s.commits++
	return s.Records.PutRecords(ctx, r...)
}

// A session ends after 12 hours without use, and after 30 days in any case. Use costs few commits, and
// a restart forgets no more than a few minutes of it.
func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &counting{Records: history.NewMemory()}
		n := open(t, store, access.Options{})
		n.add(t, "anna", auth.Operator)
		idle, used := n.signIn(t, "anna"), n.signIn(t, "anna")
		time.Sleep(access.SessionIdle - time.Second)
		for _, in := range []*access.SignedIn{idle, used} {
			if who, err := n.Session(t.Context(), in.Cookie); err != nil || who.Subject != "anna" || !who.Expires.Equal(in.Session.CreatedAt.Add(access.SessionLife)) {
				t.Fatalf("after nearly 12 hours: %+v, %v", who, err)
			}
		}
		before := store.commits
		for range 60 * 60 {
			time.Sleep(time.Second)
			if _, err := n.Session(t.Context(), used.Cookie); err != nil {
				t.Fatal(err)
			}
			wantCode(t, "sweep", n.Sweep(t.Context()), "")
		}
		if c := store.commits - before; c > 60/5+1 {
			t.Errorf("%d commits for an hour of use", c)
		}
		n = open(t, store, access.Options{}) // a restart
		time.Sleep(access.SessionIdle - 6*time.Minute)
		_, err := n.Session(t.Context(), idle.Cookie)
		wantCode(t, "not used for 12 hours", err, conversation.BadToken)
		who, err := n.Session(t.Context(), used.Cookie)
		wantCode(t, "used before the restart", err, "")
		if l := n.Sessions("anna"); len(l) != 1 || l[0].ID != used.Session.ID || l[0].Client != "Browser 1" {
			t.Errorf("sessions %+v", l)
		}
		n.ended()
		wantCode(t, "sweep", n.Sweep(t.Context()), "")
		if !n.closes(idle.Identity) {
			t.Error("the idle session's connections stay open")
		}
		if records, err := store.RecordsSince(t.Context(), "session", 0); err != nil || len(records) != 1 {
			t.Errorf("%d sessions stored, %v", len(records), err)
		}
		// A connection that is open keeps its session, until it is 30 days old.
		for time.Now().Before(used.Session.CreatedAt.Add(access.SessionLife - time.Hour)) {
			time.Sleep(time.Hour)
			n.Touch(who)
			n.Touch(nil)
			n.Touch(&auth.Identity{Subject: "anna"})
		}
		_, err = n.Session(t.Context(), used.Cookie)
		wantCode(t, "touched for 30 days", err, "")
		time.Sleep(time.Hour)
		_, err = n.Session(t.Context(), used.Cookie)
		wantCode(t, "after 30 days", err, conversation.BadToken)
		wantCode(t, "its identity", n.Check(who, ""), conversation.TokenExpired)
	})
}

func TestSessions(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, n *node) {
		n.add(t, "anna", auth.Operator)
		n.add(t, "bert", auth.Operator)
		first := n.signIn(t, "anna")
		if len(first.Cookie) != 43 || strings.Contains(first.Session.ID, string(first.Cookie)) {
			t.Errorf("session %+v", first.Session)
		}
		for _, cookie := range []access.Secret{"", "x", access.Secret(first.Session.ID), first.Cookie + "A"} {
			_, err := n.Session(t.Context(), cookie)
			wantCode(t, "a cookie that is none", err, conversation.BadToken)
		}
		wantCode(t, "another's session", n.EndSession(ctx, "bert", first.Session.ID), conversation.NotFound)
		wantCode(t, "sign out", n.EndSession(ctx, "anna", first.Session.ID), "")
		if !n.closes(first.Identity) {
			t.Error("its connections stay open")
		}
		wantCode(t, "its identity", n.Check(first.Identity, ""), conversation.BadToken)
		wantCode(t, "sign out again", n.EndSession(ctx, "anna", first.Session.ID), conversation.NotFound)

		oldest := n.signIn(t, "anna")
		for range access.MaxSessions {
			time.Sleep(time.Minute)
			n.signIn(t, "anna")
		}
		if l := n.Sessions("anna"); len(l) != access.MaxSessions || !l[0].SeenAt.After(l[1].SeenAt) {
			t.Errorf("%d sessions", len(l))
		}
		wantCode(t, "the oldest session", n.Check(oldest.Identity, ""), conversation.BadToken)
	})
}

// Each change that concerns a proof ends it: the session, the tokens that others signed, and the
// connections.
func TestChangesEnd(t *testing.T) {
	for name, test := range map[string]struct {
		change func(context.Context, *node) error
		token  conversation.Code // what a token from before gets; "": it still counts
	}{
		"password": {func(ctx context.Context, n *node) error { return n.SetPassword(ctx, "anna", "another password") }, conversation.BadToken},
		"role": {func(ctx context.Context, n *node) error {
			_, err := n.PutOperator(ctx, access.Operator{ID: "anna", Role: auth.Admin}, "")
			return err
		}, conversation.BadToken},
		"disable": {func(ctx context.Context, n *node) error { return n.SetDisabled(ctx, "anna", true) }, conversation.Forbidden},
		"remove":  {func(ctx context.Context, n *node) error { return n.RemoveOperator(ctx, "anna") }, ""},
		"revoke": {func(ctx context.Context, n *node) error {
			_, err := n.Revoke(ctx, access.Revocation{Subject: "operator:anna"})
			return err
		}, conversation.BadToken},
		"revoke everybody": {func(ctx context.Context, n *node) error {
			_, err := n.Revoke(ctx, access.Revocation{Subject: access.Everybody})
			return err
		}, conversation.BadToken},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, ctx context.Context, n *node) {
				n.add(t, "anna", auth.Operator)
				n.add(t, "bert", auth.Operator)
				in, other := n.signIn(t, "anna"), n.signIn(t, "bert")
				token := &auth.Identity{Subject: "anna", Role: auth.Operator, IssuedAt: time.Now().Add(time.Second), Expires: time.Now().Add(time.Hour)}
				user := &auth.Identity{Subject: "anna", Role: auth.User, IssuedAt: time.Now().Add(time.Minute)}
				time.Sleep(30 * time.Second)
				for _, who := range []*auth.Identity{in.Identity, token, user} {
					wantCode(t, "before", n.Check(who, ""), "")
				}
				wantCode(t, "change", test.change(ctx, n), "")
				if _, err := n.Session(t.Context(), in.Cookie); err == nil || n.Check(in.Identity, "") == nil {
					t.Error("the session is still good")
				}
				if !n.closes(in.Identity) {
					t.Error("its connections stay open")
				}
				wantCode(t, "a token", n.Check(token, ""), test.token)
				wantCode(t, "a user of the same name", n.Check(user, ""), "")
				if _, err := n.Session(t.Context(), other.Cookie); (err != nil) != (name == "revoke everybody") {
					t.Errorf("another operator's session: %v", err)
				}
			})
		})
	}
}

// A change of name or e-mail address ends nothing, and shows in the session's identity.
func TestNameChangeEndsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, n *node) {
		n.add(t, "anna", auth.Operator)
		in := n.signIn(t, "anna")
		n.ended()
		time.Sleep(time.Minute)
		_, err := n.PutOperator(ctx, access.Operator{ID: "anna", Name: "Anna B", Email: "b@example.com"}, "")
		wantCode(t, "change", err, "")
		who, err := n.Session(t.Context(), in.Cookie)
		wantCode(t, "session", err, "")
		if ends := n.ended(); who.Name != "Anna B" || who.Email != "b@example.com" || len(ends) > 0 {
			t.Errorf("%+v; ended %v", who, ends)
		}
		wantCode(t, "password", try(n, "anna", password, ""), "")
	})
}

func TestOperators(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, n *node) {
		n.add(t, "bert", auth.Admin)
		n.add(t, "anna", auth.Operator)
		if all := n.Operators(); len(all) != 2 || all[0].ID != "anna" || all[1].Role != auth.Admin || all[0].CreatedAt.IsZero() {
			t.Errorf("operators %+v", all)
		}
		for _, test := range []struct {
			o    access.Operator
			want conversation.Code
		}{
			{access.Operator{ID: "anna"}, conversation.Conflicted},
			{access.Operator{ID: ""}, conversation.BadPayload},
			{access.Operator{ID: "a\nb"}, conversation.BadPayload},
			{access.Operator{ID: "a\xff"}, conversation.BadPayload},
			{access.Operator{ID: strings.Repeat("x", 201)}, conversation.BadPayload},
			{access.Operator{ID: "carl", Role: auth.User}, conversation.BadPayload},
			{access.Operator{ID: "carl", Name: strings.Repeat("x", 201)}, conversation.BadPayload},
			{access.Operator{ID: "carl", Email: strings.Repeat("x", 255)}, conversation.BadPayload},
			{access.Operator{ID: "carl", Email: "Anna@EXAMPLE.com"}, conversation.Conflicted},
			{access.Operator{ID: "carl", Email: "bert"}, conversation.Conflicted},
			{access.Operator{ID: "Anna@example.com"}, conversation.Conflicted},
			{access.Operator{ID: strings.Repeat("x", 200), Email: "carl@example.com"}, ""},
		} {
			_, err := n.AddOperator(ctx, test.o, password)
			wantCode(t, test.o.ID, err, test.want)
		}
		for what, err := range map[string]error{
			"password": n.SetPassword(ctx, "nobody", "another password"),
			"disable":  n.SetDisabled(ctx, "nobody", true),
			"remove":   n.RemoveOperator(ctx, "nobody"),
		} {
			wantCode(t, what, err, conversation.NotFound)
		}
		_, err := n.Operator("nobody")
		wantCode(t, "get", err, conversation.NotFound)
		wantCode(t, "disable", n.SetDisabled(ctx, "anna", true), "")
		in, err := n.PutOperator(ctx, access.Operator{ID: "anna"}, "")
		if err != nil || in.Disabled {
			t.Errorf("enabled by an update: %+v, %v", in, err)
		}
		wantCode(t, "sign in", try(n, "anna", password, ""), "")

		// A row without a password locks out somebody whose tokens others sign.
		token := &auth.Identity{Subject: "dora", Role: auth.Admin, IssuedAt: time.Now()}
		wantCode(t, "a token needs no row", n.Check(token, ""), "")
		_, err = n.AddOperator(ctx, access.Operator{ID: "dora", Disabled: true}, "")
		wantCode(t, "add", err, "")
		wantCode(t, "a disabled row", n.Check(token, ""), conversation.Forbidden)
	})
}
