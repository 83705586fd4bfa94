package access_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

// The questions are asked in a fixed order.
func TestCheckOrder(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, n *node) {
		issued := time.Now()
		user := &auth.Identity{Subject: "ann", Role: auth.User, TokenID: "t1", IssuedAt: issued, Expires: issued.Add(time.Hour)}
		const address = "[2001:db8::1]:443"
		want := func(code conversation.Code) {
			t.Helper()
			wantCode(t, "check", n.Check(user, address), code)
		}
		time.Sleep(time.Second)
		want("")
		_, err := n.Ban(ctx, access.Ban{Subject: "net:2001:db8::/48", Until: time.Now().Add(24 * time.Hour)})
		wantCode(t, "ban", err, "")
		want(conversation.Banned)
		_, err = n.Revoke(ctx, access.Revocation{Subject: "user:ann"})
		wantCode(t, "revoke", err, "")
		want(conversation.BadToken)
		time.Sleep(time.Hour)
		want(conversation.TokenExpired)
		user = nil
		want(conversation.Banned)
	})
}

func TestRevocations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), history.NewMemory()
		n := open(t, store, access.Options{})
		at := time.Now()
		who := func(role auth.Role, subject, token string, age time.Duration) *auth.Identity {
			return &auth.Identity{Subject: subject, Role: role, TokenID: token, IssuedAt: at.Add(-age)}
		}
		identities := map[string]*auth.Identity{
			"ann": who(auth.User, "ann", "t1", time.Minute), "ann, later": who(auth.User, "ann", "t2", -time.Minute),
			"ann, without time": {Subject: "ann", Role: auth.User}, "bob": who(auth.User, "bob", "t3", time.Minute),
			"operator ann": who(auth.Operator, "ann", "t4", time.Minute), "admin ann": who(auth.Admin, "ann", "t5", time.Minute),
			"service ann": who(auth.Service, "ann", "t6", time.Minute),
		}
		for i, test := range []struct {
			r    access.Revocation
			want []string
		}{
			{access.Revocation{Subject: "user:ann", Before: at}, []string{"ann", "ann, without time"}},
			{access.Revocation{Subject: "user:ann"}, []string{"ann", "ann, without time"}},
			{access.Revocation{Subject: "operator:ann"}, []string{"operator ann", "admin ann"}},
			{access.Revocation{Subject: "service:ann"}, []string{"service ann"}},
			{access.Revocation{Subject: "jti:t2"}, []string{"ann, later"}},
			{access.Revocation{Subject: "jti:t9"}, nil},
			{access.Revocation{Subject: "user:nobody"}, nil},
			{access.Revocation{Subject: "*"}, []string{"ann", "ann, without time", "bob", "operator ann", "admin ann", "service ann"}},
		} {
			n := open(t, history.NewMemory(), access.Options{})
			r, err := n.Revoke(ctx, test.r)
			wantCode(t, test.r.Subject, err, "")
			if !r.Until.Equal(at.Add(access.VisitorLife)) || len(n.Revocations()) != 1 {
				t.Errorf("%d: %+v", i, r)
			}
			refused := make(map[string]bool)
			for _, name := range test.want {
				refused[name] = true
			}
			ends := n.ended()
			for name, id := range identities {
				want := conversation.Code("")
				if refused[name] {
					want = conversation.BadToken
				}
				if got := code(n.Check(id, "")); got != want {
					t.Errorf("%s: %s gets %q, want %q", test.r.Subject, name, got, want)
				}
				if closed := len(ends) == 1 && ends[0].Matches(id, ""); closed != refused[name] {
					t.Errorf("%s: connections of %s closed: %v", test.r.Subject, name, closed)
				}
			}
		}

		for _, bad := range []access.Revocation{
			{}, {Subject: "ann"}, {Subject: "user:"}, {Subject: "group:ann"}, {Subject: "user:a\nb"}, {Subject: "**"},
			{Subject: "user:ann", Before: at.Add(time.Second)},
		} {
			_, err := n.Revoke(ctx, bad)
			wantCode(t, bad.Subject, err, conversation.BadPayload)
		}

		// A second one does not weaken the first. Both end.
		time.Sleep(time.Minute)
		first, err := n.Revoke(ctx, access.Revocation{Subject: "user:ann"})
		wantCode(t, "revoke", err, "")
		second, err := n.Revoke(ctx, access.Revocation{Subject: "user:ann", Before: at, Until: time.Now().Add(time.Hour)})
		wantCode(t, "revoke", err, "")
		if !second.Before.Equal(first.Before) || !second.Until.Equal(first.Until) {
			t.Errorf("%+v after %+v", second, first)
		}
		wantCode(t, "before the end", n.Check(identities["ann"], ""), conversation.BadToken)
		time.Sleep(access.VisitorLife)
		wantCode(t, "after the end", n.Check(identities["ann"], ""), "")
		if len(n.Revocations()) != 0 {
			t.Errorf("revocations %v", n.Revocations())
		}
		wantCode(t, "sweep", n.Sweep(ctx), "")
		if records, err := store.RecordsSince(ctx, "", 0); err != nil || len(records) != 0 {
			t.Errorf("left: %v, %v", records, err)
		}
	})
}

func TestBans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), history.NewMemory()
		n := open(t, store, access.Options{})
		ann := &auth.Identity{Subject: "ann", Role: auth.User}
		for _, test := range []struct {
			subject, is string
			code        conversation.Code
			in, out     string // addresses
		}{
			{subject: "net:203.0.113.7/24", is: "net:203.0.113.0/24", in: "203.0.113.255:1", out: "203.0.114.1:1"},
			{subject: "net:203.0.113.7", is: "net:203.0.113.7/32", in: "[::ffff:203.0.113.7]:1", out: "203.0.113.8:1"},
			{subject: "net:2001:db8::7", is: "net:2001:db8::/64", in: "[2001:db8::8%eth0]:1", out: "[2001:db8:0:1::7]:1"},
			{subject: "net:2001:db8::/33", is: "net:2001:db8::/33", in: "2001:db8::1", out: "203.0.113.7:1"},
			{subject: "net:2001:db8::7/128", is: "net:2001:db8::/64", in: "[2001:db8::]:1", out: "/run/parley.sock"},
			{subject: "net:::ffff:203.0.113.7", is: "net:203.0.113.7/32", in: "203.0.113.7:1", out: "@"},
			{subject: "net:0.0.0.0/0", code: conversation.BadPayload},
			{subject: "net:10.0.0.0/7", code: conversation.BadPayload},
			{subject: "net:2000::/15", code: conversation.BadPayload},
			{subject: "net:::ffff:203.0.113.0/120", code: conversation.BadPayload},
			{subject: "net:example.com", code: conversation.BadPayload},
			{subject: "203.0.113.7", code: conversation.BadPayload},
			{subject: "user:", code: conversation.BadPayload},
			{subject: "operator:ann", code: conversation.BadPayload},
			{subject: "user:ann", is: "user:ann"},
		} {
			b, err := n.Ban(ctx, access.Ban{Subject: test.subject, Reason: "spam", By: "bert"})
			wantCode(t, test.subject, err, test.code)
			if err != nil {
				continue
			}
			if l := n.Bans(); b.Subject != test.is || len(l) != 1 || l[0] != b || b.Reason != "spam" || b.By != "bert" {
				t.Errorf("%s is %+v; bans %+v", test.subject, b, l)
			}
			if test.in == "" {
				continue
			}
			operator, service := &auth.Identity{Subject: "ann", Role: auth.Operator}, &auth.Identity{Subject: "ann", Role: auth.Service}
			wantCode(t, test.in, n.Check(ann, test.in), conversation.Banned)
			wantCode(t, test.in+", not signed in", n.Check(nil, test.in), conversation.Banned)
			wantCode(t, test.in+", operator", n.Check(operator, test.in), "")
			wantCode(t, test.in+", service", n.Check(service, test.in), "")
			wantCode(t, test.out, n.Check(ann, test.out), "")
			wantCode(t, "sign in", try(n, "bert", password, test.in), conversation.Banned)
			ends := n.ended()
			if len(ends) != 1 {
				t.Fatalf("%s ends %v", test.subject, ends)
			}
			for who, concerned := range map[*auth.Identity]bool{ann: true, operator: false, service: false} {
				if ends[0].Matches(who, test.in) != concerned || ends[0].Matches(who, test.out) {
					t.Errorf("connections of %v from %s are closed: %v", who, test.in, !concerned)
				}
			}
			wantCode(t, "unban", n.Unban(ctx, test.subject), "")
			wantCode(t, "unban", n.Unban(ctx, test.subject), conversation.NotFound)
			wantCode(t, test.in+", afterwards", n.Check(ann, test.in), "")
		}
		if !n.closes(ann) {
			t.Error("the user's connections stay open")
		}
		wantCode(t, "the user", n.Check(ann, ""), conversation.Banned)
		wantCode(t, "an operator of the same name", n.Check(&auth.Identity{Subject: "ann", Role: auth.Operator}, ""), "")

		// For a time.
		_, err := n.Ban(ctx, access.Ban{Subject: "user:ann", Until: time.Now()})
		wantCode(t, "a ban in the past", err, conversation.BadPayload)
		for _, subject := range []string{"user:ann", "net:203.0.113.0/24"} {
			_, err = n.Ban(ctx, access.Ban{Subject: subject, Until: time.Now().Add(time.Hour)})
			wantCode(t, "a ban for an hour", err, "")
		}
		time.Sleep(time.Hour - time.Second)
		wantCode(t, "before its end", n.Check(ann, ""), conversation.Banned)
		time.Sleep(time.Second)
		wantCode(t, "after its end", n.Check(ann, "203.0.113.1:1"), "")
		if len(n.Bans()) != 0 {
			t.Errorf("bans %v", n.Bans())
		}
		wantCode(t, "sweep", n.Sweep(ctx), "")
		if records, err := store.RecordsSince(ctx, "", 0); err != nil || len(records) != 0 {
			t.Errorf("left: %v, %v", records, err)
		}
	})
}

func TestKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), &counting{Records: history.NewMemory()}
		n := open(t, store, access.Options{})
		grants := auth.Grants{{Pattern: "news*", Rights: auth.Read}}
		secret, k, err := n.AddKey(ctx, access.APIKey{Name: "bot", Grants: grants, ExpiresAt: time.Now().Add(time.Hour)})
		if err != nil || len(secret) != 35 || string(secret[:7]) != k.Start || k.Start[:3] != access.APIKeyPrefix {
			t.Fatalf("key %q, %+v, %v", string(secret), k, err)
		}
		admin, _, err := n.AddKey(ctx, access.APIKey{Name: "admin", Admin: true})
		wantCode(t, "admin", err, "")
		nowhere, _, err := n.AddKey(ctx, access.APIKey{Name: "nowhere", Grants: auth.Grants{}})
		wantCode(t, "for no room", err, "")
		for _, bad := range []access.APIKey{{}, {Name: "a\nb"}, {Name: "c", ExpiresAt: time.Now()}, {Name: "c", Grants: make(auth.Grants, 101)}} {
			_, _, err := n.AddKey(ctx, bad)
			wantCode(t, bad.Name, err, conversation.BadPayload)
		}
		_, _, err = n.AddKey(ctx, access.APIKey{Name: "bot"})
		wantCode(t, "again", err, conversation.Conflicted)
		n = open(t, store, access.Options{}) // a restart
		if !n.Closed() {
			t.Error("a server with keys is open")
		}
		who, err := n.Key(t.Context(), secret)
		wantCode(t, "use", err, "")
		if who.Subject != "bot" || who.Role != auth.Service || fmt.Sprint(who.Grants) != fmt.Sprint(grants) || who.Issuer != access.KeyIssuer || !who.Expires.Equal(k.ExpiresAt) {
			t.Errorf("identity %+v", who)
		}
		if boss, err := n.Key(t.Context(), admin); err != nil || boss.Role != auth.Admin || boss.Grants != nil {
			t.Errorf("identity %+v, %v", boss, err)
		}
		if who, err := n.Key(t.Context(), nowhere); err != nil || who.Grants == nil {
			t.Errorf("the key for no room is one for all: %+v, %v", who, err)
		}
		wantCode(t, "remove", n.RemoveKey(ctx, "nowhere"), "")
		_, err = n.Key(t.Context(), secret[:34]+"x")
		wantCode(t, "a wrong key", err, conversation.BadToken)
		_, err = n.Key(t.Context(), access.Secret(k.ID))
		wantCode(t, "its digest", err, conversation.BadToken)
		before := store.commits
		for range 120 { // two hours of use
			wantCode(t, "check", n.Check(who, ""), map[bool]conversation.Code{true: conversation.TokenExpired}[!time.Now().Before(k.ExpiresAt)])
			_, err := n.Key(t.Context(), admin)
			wantCode(t, "use", err, "")
			wantCode(t, "sweep", n.Sweep(ctx), "")
			time.Sleep(time.Minute)
		}
		if c := store.commits - before; c < 1 || c > 3 {
			t.Errorf("%d commits for two hours of use", c)
		}
		_, err = n.Key(t.Context(), secret)
		wantCode(t, "expired", err, conversation.TokenExpired)
		if l := n.Keys(); len(l) != 2 || l[0].Name != "admin" || time.Since(l[0].UsedAt) > 2*time.Minute || l[1].UsedAt.IsZero() {
			t.Errorf("keys %+v", l)
		}
		boss, err := n.Key(t.Context(), admin)
		wantCode(t, "use", err, "")
		_, err = n.Revoke(ctx, access.Revocation{Subject: access.Everybody})
		wantCode(t, "revoke", err, "")
		wantCode(t, "a revocation of everybody is not of keys", n.Check(boss, ""), "")
		n.ended()
		wantCode(t, "remove", n.RemoveKey(ctx, "admin"), "")
		wantCode(t, "remove again", n.RemoveKey(ctx, "admin"), conversation.NotFound)
		if !n.closes(boss) {
			t.Error("its connections stay open")
		}
		wantCode(t, "removed", n.Check(boss, ""), conversation.BadToken)
		_, _, err = n.AddKey(ctx, access.APIKey{Name: "admin", Admin: true})
		wantCode(t, "a new one of the same name", err, "")
		wantCode(t, "the old one", n.Check(boss, ""), conversation.BadToken)
	})
}

func TestVisitors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, store := t.Context(), history.NewMemory()
		off := open(t, history.NewMemory(), access.Options{TokenKeys: true})
		_, err := off.NewVisitor(ctx, "192.0.2.1:1")
		wantCode(t, "not allowed", err, conversation.Forbidden)
		n := open(t, store, access.Options{Visitors: true})
		_, err = n.NewVisitor(ctx, "192.0.2.1:1")
		wantCode(t, "nobody is there", err, conversation.NotReady)
		wantCode(t, "no key was needed yet", error(nil), "")
		if n.Keyring() != nil {
			t.Error("a key was made without need")
		}
		n.add(t, "anna", auth.Operator)
		verify := func(v *access.Visitor) (*auth.Identity, error) {
			verifier, err := jwtauth.New(&jwtauth.Options{Visitors: n.Keyring()})
			if err != nil {
				t.Fatal(err)
			}
			defer verifier.Close()
			return verifier.Verify(ctx, string(v.Token))
		}
		v, err := n.NewVisitor(ctx, "192.0.2.1:1")
		wantCode(t, "visitor", err, "")
		if id := v.Identity; len(id.Subject) != 28 || id.Subject[:2] != access.VisitorPrefix || !id.Expires.Equal(time.Now().Add(access.VisitorLife)) || id.Expires.Sub(id.IssuedAt) > access.VisitorLife+time.Millisecond {
			t.Errorf("identity %+v", id)
		}
		who, err := verify(v)
		if err != nil || who.Subject != v.Identity.Subject || !who.Visitor || who.Role != auth.User || !who.Expires.Equal(v.Identity.Expires) {
			t.Fatalf("verified as %+v, %v", who, err)
		}
		if records, err := store.RecordsSince(ctx, "", 0); err != nil || len(records) != 2 {
			t.Errorf("stored: %v, %v", records, err) // the operator and the keys
		}
		for range 59 {
			_, err := n.NewVisitor(ctx, "192.0.2.1:1")
			wantCode(t, "visitor", err, "")
		}
		_, err = n.NewVisitor(ctx, "192.0.2.1:1")
		wantCode(t, "61st of an address", err, conversation.RateLimited)
		if e := err.(*access.Error); e.RetryAfter != time.Minute {
			t.Errorf("try again after %v", e.RetryAfter)
		}
		_, err = n.NewVisitor(ctx, "192.0.2.2:1")
		wantCode(t, "another address", err, "")

		// It is renewed after half of the time, with a key that has been rotated since.
		time.Sleep(access.VisitorLife/2 - time.Second)
		renewed, err := n.RenewVisitor(ctx, who)
		if err != nil || renewed != nil {
			t.Errorf("renewed too early: %v, %v", renewed, err)
		}
		n.mu.Lock()
		keys := n.keys
		n.mu.Unlock()
		wantCode(t, "rotate", n.RotateKeys(ctx), "")
		if n.keys != keys+1 || len(n.Keyring().Keys) != 2 {
			t.Errorf("%d keys; told %d times", len(n.Keyring().Keys), n.keys-keys)
		}
		time.Sleep(time.Second)
		renewed, err = n.RenewVisitor(ctx, who)
		if err != nil || renewed == nil || renewed.Identity.Subject != who.Subject {
			t.Fatalf("renewed: %+v, %v", renewed, err)
		}
		for _, v := range []*access.Visitor{v, renewed} {
			if _, err := verify(v); err != nil {
				t.Errorf("after the rotation: %v", err)
			}
		}
		for _, who := range []*auth.Identity{nil, {Subject: "ann", Role: auth.User, Expires: time.Now().Add(time.Hour)}} {
			if v, err := n.RenewVisitor(ctx, who); v != nil || err != nil {
				t.Errorf("%+v is renewed: %v, %v", who, v, err)
			}
		}
		_, err = n.Revoke(ctx, access.Revocation{Subject: "user:" + who.Subject})
		wantCode(t, "revoke", err, "")
		_, err = n.RenewVisitor(ctx, who)
		wantCode(t, "renewed while it was revoked", err, conversation.BadToken)
		time.Sleep(access.VisitorLife)
		wantCode(t, "rotate", n.RotateKeys(ctx), "")
		if len(n.Keyring().Keys) != 2 {
			t.Errorf("%d keys, want the new one and the last", len(n.Keyring().Keys))
		}
		_, err = n.Ban(ctx, access.Ban{Subject: "net:192.0.2.0/24"})
		wantCode(t, "ban", err, "")
		_, err = n.NewVisitor(ctx, "192.0.2.9:1")
		wantCode(t, "banned", err, conversation.Banned)
	})
}

func TestModes(t *testing.T) {
	addresses := map[string]bool{
		":8080": true, "0.0.0.0:8080": true, "[::]:443": true, "192.0.2.1:80": true, "example.com:80": true, "": true, "[::ffff:192.0.2.1]:1": true,
		"127.0.0.1:8080": false, "[::1]:0": false, "localhost:80": false, "127.9.9.9:1": false, "[::ffff:127.0.0.1]:1": false,
		"unix:/run/parley.sock": false, "/run/parley.sock": false, "@parley": false,
	}
	n := open(t, history.NewMemory(), access.Options{})
	for address, reachable := range addresses {
		if access.Reachable(address) != reachable {
			t.Errorf("%q is reachable: %v", address, !reachable)
		}
		if err := n.CheckAddresses("127.0.0.1:1", address); (err != nil) != reachable {
			t.Errorf("an open server on %q: %v", address, err)
		}
	}
	const want = "parley: 0.0.0.0:8080 is reachable by others, and nobody has to prove who they are. " +
		"Add an operator (parley operator add NAME) or a key (--token-secret-file FILE), or insist: --insecure-open"
	if err := n.CheckAddresses("0.0.0.0:8080"); err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
	for name, opt := range map[string]access.Options{"keys": {TokenKeys: true}, "visitors": {Visitors: true}} {
		if n := open(t, history.NewMemory(), opt); !n.Closed() || n.CheckAddresses(":80") != nil {
			t.Errorf("a server with %s is open", name)
		}
	}
	// The first operator closes a running server. It stays closed when that operator goes.
	n.add(t, "anna", auth.Operator)
	if !n.Closed() || !n.closes(&auth.Identity{Subject: "ann", Role: auth.User}) {
		t.Error("the server stays open")
	}
	wantCode(t, "remove", n.RemoveOperator(t.Context(), "anna"), "")
	if !n.Closed() {
		t.Error("the server has opened")
	}
}

// Follow reads what other nodes change and removes what has expired. At its end it notes what was used.
func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		other := open(t, store, access.Options{})
		n := open(t, store, access.Options{RefreshEvery: time.Second, Failed: func(doing string, err error) { t.Error(doing, err) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Follow(ctx) }()
		other.add(t, "anna", auth.Operator)
		_, err := other.Ban(ctx, access.Ban{Subject: "user:ann", Until: time.Now().Add(10 * time.Second)})
		wantCode(t, "ban", err, "")
		time.Sleep(time.Second)
		synctest.Wait()
		if len(n.Operators()) != 1 || len(n.Bans()) != 1 {
			t.Errorf("operators %v, bans %v", n.Operators(), n.Bans())
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if records, err := store.RecordsSince(ctx, "ban", 0); err != nil || len(records) != 0 {
			t.Errorf("bans %v, %v", records, err)
		}
		in := n.signIn(t, "anna")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		_, err = n.Session(t.Context(), in.Cookie)
		wantCode(t, "session", err, "")
		seen := time.Now()
		cancel()
		<-done
		if l := open(t, store, access.Options{}).Sessions("anna"); len(l) != 1 || l[0].SeenAt.Before(seen.Truncate(time.Millisecond)) {
			t.Errorf("sessions %v, want one seen at %v", l, seen)
		}
	})
}

// What Follow cannot do is reported, and tried again.
func TestFollowFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		failed := 0
		n := open(t, store, access.Options{RefreshEvery: time.Second, Failed: func(string, error) { failed++ }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); n.Follow(ctx) }()
		store.Close()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		cancel()
		<-done
		if failed != 3 {
			t.Errorf("%d failures reported, want 3", failed)
		}
	})
}

// A token counts if it may be from after the operator was added or changed, and does not if it is
// certainly from before. A revocation is the other way round. Others round their times down.
func TestSecondOfChange(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, n *node) {
		second := time.Now().Truncate(time.Second).Add(time.Minute)
		time.Sleep(time.Until(second.Add(500 * time.Millisecond)))
		for _, change := range []struct {
			of string
			do func() error
		}{
			{"added", func() error { return nil }},
			{"password", func() error { return n.SetPassword(ctx, "password", "another battery") }},
			{"let in", func() error { _ = n.SetDisabled(ctx, "let in", true); return n.SetDisabled(ctx, "let in", false) }},
			{"revoked", func() error { _, err := n.Revoke(ctx, access.Revocation{Subject: "operator:revoked"}); return err }},
		} {
			n.add(t, change.of, auth.Operator)
			wantCode(t, change.of, change.do(), "")
			for _, test := range []struct {
				issued  time.Duration
				revoked bool // by a revocation
				ended   bool // by another change
			}{
				{-time.Second, true, true},           // others: the second before
				{-time.Millisecond, true, true},      // ours
				{0, true, false},                     // others: before or after
				{499 * time.Millisecond, true, true}, // ours
				{500 * time.Millisecond, false, false},
				{time.Second, false, false},
			} {
				who := &auth.Identity{Subject: change.of, Role: auth.Operator, IssuedAt: second.Add(test.issued)}
				refused := test.ended
				if change.of == "revoked" {
					refused = test.revoked
				}
				if err := n.Check(who, ""); (err != nil) != refused {
					t.Errorf("%s: issued %v after the second began: %v", change.of, test.issued, err)
				}
			}
		}
	})
}

// The times of this server's own tokens are never taken for rounded ones.
func TestIssueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second)))
		for range 2000 {
			if at := access.IssueTime(); at.Nanosecond() == 0 || time.Since(at) > time.Millisecond || at.After(time.Now()) {
				t.Fatalf("issued at %v, now is %v", at, time.Now())
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// Visitors wait until anybody could answer them, and operators until there is one.
func TestNobodyAnswersYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		for name, make := range map[string]func(*node){
			"an operator": func(n *node) { n.add(t, "anna", auth.Operator) },
			"a program": func(n *node) {
				_, _, err := n.AddKey(ctx, access.APIKey{Name: "bot", ExpiresAt: time.Now().Add(time.Hour)})
				wantCode(t, "key", err, "")
			},
		} {
			n := open(t, history.NewMemory(), access.Options{Visitors: true})
			visitor := func() error { _, err := n.NewVisitor(ctx, "192.0.2.1:1"); return err }
			signIn := func() error {
				_, err := n.SignIn(ctx, access.Credentials{Login: "anna", Password: "not the right one", Address: "192.0.2.1:1"})
				return err
			}
			wantCode(t, name, visitor(), conversation.NotReady)
			wantCode(t, name, signIn(), conversation.NotReady)
			if make(n); !n.Answers() {
				t.Errorf("nobody answers, with %s", name)
			}
			wantCode(t, name, visitor(), "")
			if name == "an operator" {
				wantCode(t, name, signIn(), conversation.BadToken)
				wantCode(t, "disable", n.SetDisabled(ctx, "anna", true), "")
				wantCode(t, "disabled", signIn(), conversation.BadToken) // as with a wrong password
			}
			time.Sleep(2 * time.Hour)
			if n.Answers() {
				t.Errorf("somebody answers, although %s is locked out", name)
			}
		}
		if n := open(t, history.NewMemory(), access.Options{TokenKeys: true}); !n.Answers() {
			t.Error("those whose tokens others sign cannot answer")
		}
	})
}
