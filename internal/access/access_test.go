package access_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/auth/jwtauth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A node is an Access and what it has told.
type node struct {
	*access.Access
	mu   sync.Mutex
	ends []auth.Match
	keys int
}

// open returns a node on a store, whose passwords cost little to hash.
func open(t testing.TB, store history.Records, opt access.Options) *node {
	t.Helper()
	n := &node{}
	opt.Revoked = func(e auth.Match) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ends = append(n.ends, e)
	}
	opt.KeysChanged = func(*jwtauth.Keyring) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.keys++
	}
	var err error
	if n.Access, err = access.New(context.Background(), store, &opt); err != nil {
		t.Fatalf("open: %v", err)
	}
	n.SetHash(cheap)
	return n
}

// cheap hashes a password at no cost.
func cheap(password, salt []byte, _, _ uint32, _ uint8, n uint32) []byte {
	sum := sha256.Sum256(append(slices.Clone(salt), password...))
	return sum[:n]
}

// ended returns what has ended since the last call.
func (n *node) ended() []auth.Match {
	n.mu.Lock()
	defer n.mu.Unlock()
	ends := n.ends
	n.ends = nil
	return ends
}

func (n *node) closes(who *auth.Identity) bool {
	return slices.ContainsFunc(n.ended(), func(m auth.Match) bool { return m.Matches(who, "") })
}

const password = "correct horse"

func (n *node) add(t testing.TB, id string, role auth.Role) {
	t.Helper()
	o := access.Operator{ID: id, Name: "Name of " + id, Email: id + "@Example.com", Role: role}
	if _, err := n.AddOperator(context.Background(), o, password); err != nil {
		t.Fatalf("add %s: %v", id, err)
	}
}

func (n *node) signIn(t testing.TB, id string) *access.SignedIn {
	t.Helper()
	in, err := n.SignIn(context.Background(), access.Credentials{Login: id, Password: password, Address: "192.0.2.1:999", Client: "Browser 1"})
	if err != nil {
		t.Fatalf("sign in as %s: %v", id, err)
	}
	return in
}

// code returns the code of an error, "" for nil.
func code(err error) conversation.Code {
	var e *access.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	}
	return conversation.Code(err.Error())
}

func wantCode(t testing.TB, what string, err error, want conversation.Code) {
	t.Helper()
	if got := code(err); got != want {
		t.Fatalf("%s: %q (%v), want %q", what, got, err, want)
	}
}

// bubble runs a test with a clock of its own.
func bubble(t *testing.T, f func(t *testing.T, ctx context.Context, n *node)) {
	synctest.Test(t, func(t *testing.T) {
		f(t, t.Context(), open(t, history.NewMemory(), access.Options{}))
	})
}

// What one node changes reaches others when they refresh, and closes connections there too.
func TestNodesFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		a, b := open(t, store, access.Options{}), open(t, store, access.Options{})
		a.add(t, "anna", auth.Operator)
		if b.Closed() {
			t.Error("b knows already")
		}
		refresh := func() {
			t.Helper()
			if err := b.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		refresh()
		if e := b.ended(); !b.Closed() || !slices.Contains(e, auth.Match{}) {
			t.Errorf("b has not become closed: %v", e)
		}
		in := a.signIn(t, "anna")
		refresh()
		who, err := b.Session(t.Context(), in.Cookie)
		wantCode(t, "session on the other node", err, "")
		time.Sleep(time.Second)
		wantCode(t, "disable", a.SetDisabled(t.Context(), "anna", true), "")
		b.ended()
		refresh()
		if !b.closes(who) {
			t.Error("b closes nothing")
		}
		wantCode(t, "afterwards", b.Check(who, ""), conversation.Forbidden)

		// Long after, the store has forgotten what was removed.
		wantCode(t, "ban", func() error { _, err := a.Ban(t.Context(), access.Ban{Subject: "user:bob"}); return err }(), "")
		refresh()
		wantCode(t, "unban", a.Unban(t.Context(), "user:bob"), "")
		time.Sleep(history.KeepRemoved + time.Hour)
		_, err = a.Ban(t.Context(), access.Ban{Subject: "user:carl"}) // forgets
		wantCode(t, "ban", err, "")
		refresh()
		if bans := b.Bans(); len(bans) != 1 || bans[0].Subject != "user:carl" {
			t.Errorf("bans %v", bans)
		}
	})
}

// A node that does not know of a change by another one changes nothing by mistake.
func TestNodesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := history.NewMemory()
		a, b := open(t, store, access.Options{}), open(t, store, access.Options{})
		a.add(t, "anna", auth.Operator)
		_, err := b.AddOperator(t.Context(), access.Operator{ID: "anna"}, password)
		wantCode(t, "added twice", err, conversation.Conflicted)
		wantCode(t, "password", a.SetPassword(t.Context(), "anna", "a third password"), "")
		wantCode(t, "the old password", try(b, "anna", password, ""), conversation.BadToken)
		wantCode(t, "the new password", try(b, "anna", "a third password", ""), "")
		wantCode(t, "disable", a.SetDisabled(t.Context(), "anna", true), "")
		wantCode(t, "password", b.SetPassword(t.Context(), "anna", "another password"), "")
		if o, err := b.Operator("anna"); err != nil || !o.Disabled {
			t.Errorf("the disabled operator is %+v, %v", o, err)
		}
		wantCode(t, "remove", a.RemoveOperator(t.Context(), "anna"), "")
		wantCode(t, "removed", b.SetDisabled(t.Context(), "anna", false), conversation.NotFound)
	})
}

// A step is a random change.
type step struct {
	node  int
	id    string
	what  int
	flag  bool
	pause time.Duration
}

func drawStep(t *rapid.T) step {
	return step{
		node: rapid.IntRange(0, 1).Draw(t, "node"), id: rapid.SampledFrom([]string{"anna", "bert"}).Draw(t, "id"),
		what: rapid.IntRange(0, 14).Draw(t, "what"), flag: rapid.Bool().Draw(t, "flag"),
		pause: time.Duration(rapid.IntRange(0, 8).Draw(t, "hours")) * time.Hour,
	}
}

// Whatever happens, a node that makes changes, others that follow, and one that starts now know the
// same.
func TestNodesModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 30).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(t *testing.T) { err = playNodes(t, steps) })
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func playNodes(t *testing.T, steps []step) error {
	ctx, store := t.Context(), history.NewMemory()
	nodes := []*node{open(t, store, access.Options{}), open(t, store, access.Options{})}
	var cookies []access.Secret
	state := func(n *node) string {
		var b strings.Builder
		fmt.Fprint(&b, n.Operators(), n.Sessions("anna"), n.Sessions("bert"), n.Keys(), n.Revocations(), n.Bans(), n.Keyring() != nil)
		for _, c := range cookies {
			_, err := n.Session(t.Context(), c)
			fmt.Fprint(&b, code(err))
		}
		return b.String()
	}
	for _, s := range steps {
		n := nodes[s.node]
		time.Sleep(s.pause)
		switch s.what {
		case 0, 1:
			n.AddOperator(ctx, access.Operator{ID: s.id}, password)
		case 2, 3:
			if in, err := n.SignIn(ctx, access.Credentials{Login: s.id, Password: password}); err == nil {
				cookies = append(cookies, in.Cookie)
			}
		case 4:
			n.SetDisabled(ctx, s.id, s.flag)
		case 5:
			n.SetPassword(ctx, s.id, password)
		case 6:
			n.RemoveOperator(ctx, s.id)
		case 7:
			n.Revoke(ctx, access.Revocation{Subject: map[bool]string{false: "operator:" + s.id, true: "*"}[s.flag], Until: time.Now().Add(time.Hour)})
		case 8:
			n.Ban(ctx, access.Ban{Subject: "user:" + s.id, Until: time.Now().Add(time.Hour)})
		case 9:
			n.AddKey(ctx, access.APIKey{Name: s.id})
		case 10:
			n.RotateKeys(ctx)
		case 11:
			n.Unban(ctx, "user:"+s.id)
		case 12, 13, 14: // at a quiet point; what was used is in one node's memory until it sweeps
			for _, n := range []*node{nodes[0], nodes[1], nodes[0], nodes[1]} {
				if err := errors.Join(n.Refresh(ctx), n.Sweep(ctx)); err != nil {
					return err
				}
			}
			want := state(nodes[0])
			for _, n := range []*node{nodes[1], open(t, store, access.Options{})} {
				if got := state(n); got != want {
					return fmt.Errorf("one node has\n%s\nanother\n%s", got, want)
				}
			}
		}
	}
	return nil
}

// The store fails, and nothing changes in memory.
func TestStoreFails(t *testing.T) {
	store := history.NewMemory()
	n := open(t, store, access.Options{})
	n.add(t, "anna", auth.Operator)
	store.Close()
	wantCode(t, "disable", n.SetDisabled(t.Context(), "anna", true), conversation.Unavailable)
	if o, err := n.Operator("anna"); err != nil || o.Disabled {
		t.Errorf("%+v, %v", o, err)
	}
	_, err := n.SignIn(t.Context(), access.Credentials{Login: "anna", Password: password})
	wantCode(t, "sign in", err, conversation.Unavailable)
	wantCode(t, "refresh", n.Refresh(t.Context()), conversation.Unavailable)
	if err := n.Refresh(t.Context()); !errors.Is(err, history.ErrClosed) {
		t.Errorf("the cause is missing: %v", err)
	}
}

// A record that cannot be read is an error that does not show it.
func TestDamagedRecord(t *testing.T) {
	store := history.NewMemory()
	_, err := store.PutRecords(t.Context(), history.Record{Kind: "operator", ID: "anna", Value: []byte(`{"password":"geheim","disabled":"x"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = access.New(t.Context(), store, nil); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("error %v", err)
	}
}

// Secrets show themselves in no log and no error.
func TestSecretsAreHidden(t *testing.T) {
	n := open(t, history.NewMemory(), access.Options{Visitors: true})
	n.add(t, "anna", auth.Operator)
	in := n.signIn(t, "anna")
	key, _, err := n.AddKey(t.Context(), access.APIKey{Name: "bot"})
	wantCode(t, "key", err, "")
	visitor, err := n.NewVisitor(t.Context(), "")
	wantCode(t, "visitor", err, "")
	signing := n.Keyring()
	secrets := []string{password, string(in.Cookie), string(key), string(visitor.Token), string(signing.Keys[0].Secret), fmt.Sprint(signing.Keys[0].Secret), fmt.Sprintf("%x", signing.Keys[0].Secret)}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	for _, v := range []any{access.Credentials{Login: "anna", Password: password}, in, key, visitor, signing, *signing, signing.Keys, signing.Keys[0], n.Operators(), n.Keys()} {
		fmt.Fprintf(&log, "%v %+v %#v %s\n", v, v, v, v)
		if p, ok := v.(*access.SignedIn); ok {
			fmt.Fprintf(&log, "%v %+v %#v\n", *p, *p, *p)
		}
		logger.Info("something", "value", v)
	}
	for _, secret := range secrets {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows %q:\n%s", secret, log.String())
		}
	}
}

// The bans and revocations of a user that is erased stay in force, and no file says whose they are.
func TestForget(t *testing.T) {
	dir := t.TempDir()
	var store *sqlite.Store
	reopen := func() *node {
		var err error
		if store, err = sqlite.Open(filepath.Join(dir, "history.db"), nil); err != nil {
			t.Fatal(err)
		}
		return open(t, store, access.Options{})
	}
	ann := &auth.Identity{Subject: "ann-who-leaves", Role: auth.User, IssuedAt: time.Now().Add(-time.Hour)}
	ben := &auth.Identity{Subject: "ben-who-stays", Role: auth.User, IssuedAt: ann.IssuedAt}
	n := reopen()
	for _, who := range []*auth.Identity{ann, ben} {
		_, err := n.Ban(t.Context(), access.Ban{Subject: "user:" + who.Subject, Reason: "what was said of " + who.Subject})
		wantCode(t, "ban", err, "")
		_, err = n.Revoke(t.Context(), access.Revocation{Subject: "user:" + who.Subject, Reason: "what was said of " + who.Subject})
		wantCode(t, "revoke", err, "")
	}
	_, err := n.Ban(t.Context(), access.Ban{Subject: "user:cleo-who-came-back"})
	wantCode(t, "ban", err, "")
	wantCode(t, "lift a ban", n.Unban(t.Context(), "user:cleo-who-came-back"), "")
	wantCode(t, "forget", n.Forget(t.Context(), ann.Subject, "cleo-who-came-back", "nobody"), "")
	n.mu.Lock()
	told := len(n.ends)
	n.mu.Unlock()
	if told != 5 {
		t.Errorf("%d times, somebody's access ended", told)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{ann.Subject, ben.Subject, "cleo-who-came-back"} {
			found[word] = found[word] || bytes.Contains(content, []byte(word))
		}
	}
	if found[ann.Subject] || found["cleo-who-came-back"] || !found[ben.Subject] {
		t.Errorf("in the files: %v", found)
	}

	n = reopen()
	defer store.Close()
	for _, who := range []*auth.Identity{ann, ben} {
		wantCode(t, who.Subject, n.Check(who, "192.0.2.1:1"), conversation.BadToken)
	}
	ann.IssuedAt = time.Now().Add(time.Hour)
	wantCode(t, "a new token", n.Check(ann, "192.0.2.1:1"), conversation.Banned)
	bans := n.Bans()
	if len(bans) != 2 || len(n.Revocations()) != 2 || !strings.HasPrefix(bans[0].Subject, "erased:") || bans[0].Reason != "" || bans[1].Subject != "user:"+ben.Subject {
		t.Fatalf("bans %+v, revocations %+v", bans, n.Revocations())
	}
	wantCode(t, "lift", n.Unban(t.Context(), bans[0].Subject), "")
	wantCode(t, "afterwards", n.Check(ann, "192.0.2.1:1"), "")
}

// Hashes of passwords and keys that were replaced or removed are in no file of the store.
func TestNothingIsLeftInTheStore(t *testing.T) {
	dir := t.TempDir()
	store, err := sqlite.Open(filepath.Join(dir, "history.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := open(t, store, access.Options{})
	gone := map[string]string{}
	for i := range 20 {
		id := fmt.Sprint("operator", i)
		n.add(t, id, auth.Operator)
		gone["the first password of "+id] = n.PasswordHash(id)
		wantCode(t, "password", n.SetPassword(t.Context(), id, "another password"), "")
		if i%2 == 0 {
			gone["the password of "+id] = n.PasswordHash(id)
			wantCode(t, "remove", n.RemoveOperator(t.Context(), id), "")
		}
		_, key, err := n.AddKey(t.Context(), access.APIKey{Name: id})
		wantCode(t, "key", err, "")
		gone["the key "+id] = key.ID
		wantCode(t, "remove", n.RemoveKey(t.Context(), id), "")
	}
	kept := n.PasswordHash("operator1")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "history.db"))
	if err != nil || !bytes.Contains(content, []byte(kept)) {
		t.Errorf("what exists is not found: %v", err)
	}
	for what, secret := range gone {
		if bytes.Contains(content, []byte(secret)) {
			t.Errorf("%s is left", what)
		}
	}
}
