package access_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

func try(n *node, login, password, address string) error {
	_, err := n.SignIn(context.Background(), access.Credentials{Login: login, Password: access.Secret(password), Address: address})
	return err
}

// Nobody learns from the answer or the work which names exist.
func TestSignInsAreEqualWork(t *testing.T) {
	n := open(t, history.NewMemory(), access.Options{})
	n.add(t, "anna", auth.Operator)
	n.add(t, "off", auth.Operator)
	if _, err := n.AddOperator(t.Context(), access.Operator{ID: "token"}, ""); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "disable", n.SetDisabled(t.Context(), "off", true), "")
	var costs []string
	n.SetHash(func(password, salt []byte, passes, memory uint32, threads uint8, keyLen uint32) []byte {
		costs = append(costs, fmt.Sprint(len(salt), passes, memory, threads, keyLen))
		return cheap(password, salt, passes, memory, threads, keyLen)
	})
	var answers []string
	for i, c := range []struct{ login, password string }{
		{"anna", "wrong password"}, {"nobody", "wrong password"}, {"off", password}, {"off", "wrong password"},
		{"token", "wrong password"}, {"token", ""}, {"", ""}, {"nobody@example.com", password},
	} {
		before := n.Hashings()
		err := try(n, c.login, c.password, fmt.Sprintf("192.0.2.%d:1", i+1))
		wantCode(t, c.login, err, conversation.BadToken)
		if made := n.Hashings() - before; made != 1 {
			t.Errorf("%q: %d passwords hashed, want 1", c.login, made)
		}
		answers = append(answers, err.Error())
	}
	for i := range answers {
		if answers[i] != answers[0] || costs[i] != costs[0] {
			t.Errorf("answer %d: %q at %s, others %q at %s", i, answers[i], costs[i], answers[0], costs[0])
		}
	}
	for _, login := range []string{"anna", "anna@example.com", "ANNA@Example.com"} {
		in, err := n.SignIn(t.Context(), access.Credentials{Login: login, Password: password, Client: strings.Repeat("ä", 150)})
		wantCode(t, login, err, "")
		who, err := n.Session(t.Context(), in.Cookie)
		wantCode(t, "session", err, "")
		if who.Subject != "anna" || who.Role != auth.Operator || who.Name != "Name of anna" || who.Email != "anna@example.com" || who.TokenID != in.Session.ID {
			t.Errorf("signed in as %+v", who)
		}
	}
	// What cannot be a password costs nothing, whoever it is for.
	before := n.Hashings()
	for _, login := range []string{"anna", "nobody", strings.Repeat("x", 201)} {
		wantCode(t, login, try(n, login, strings.Repeat("x", access.MaxPassword+1), ""), conversation.BadToken)
	}
	if n.Hashings() != before {
		t.Error("a password of more than 1,000 bytes was hashed")
	}
}

// Five tries in five minutes for an address, ten in fifteen for a name. Success does not count.
func TestThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exempt := []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		n := open(t, history.NewMemory(), access.Options{Exempt: exempt})
		n.add(t, "anna", auth.Operator)
		for range 100 {
			wantCode(t, "success", try(n, "anna", password, "192.0.2.1:1"), "")
		}
		for i := range 5 {
			wantCode(t, "try", try(n, fmt.Sprint("name", i), "wrong password", fmt.Sprintf("[2001:db8::%d]:1", i)), conversation.BadToken)
		}
		before := n.Hashings()
		err := try(n, "anna", password, "[2001:db8::ffff]:1") // the same network
		wantCode(t, "6th try", err, conversation.RateLimited)
		if e := err.(*access.Error); e.RetryAfter != time.Minute || n.Hashings() != before {
			t.Errorf("try again after %v; %d hashings", e.RetryAfter, n.Hashings()-before)
		}
		wantCode(t, "another network", try(n, "anna", password, "[2001:db8:0:1::1]:1"), "")
		time.Sleep(time.Minute)
		wantCode(t, "a minute later", try(n, "anna", "wrong password", "[2001:db8::1]:1"), conversation.BadToken)
		wantCode(t, "no more than one", try(n, "anna", password, "[2001:db8::1]:1"), conversation.RateLimited)

		time.Sleep(time.Hour)
		for i := range 10 {
			wantCode(t, "try", try(n, "Anna", "wrong password", fmt.Sprintf("192.0.2.%d:1", i)), conversation.BadToken)
		}
		for _, login := range []string{"anna", "ANNA"} {
			err := try(n, login, password, "203.0.113.1:1")
			wantCode(t, "11th try of a name", err, conversation.RateLimited)
			if e := err.(*access.Error); e.RetryAfter != 90*time.Second {
				t.Errorf("try again after %v", e.RetryAfter)
			}
		}
		for range 10 {
			wantCode(t, "unknown name", try(n, "nobody", "wrong password", "198.51.100.1:1"), conversation.BadToken)
		}
		wantCode(t, "unknown name, 11th try", try(n, "nobody", "wrong password", "198.51.100.1:1"), conversation.RateLimited)
	})
}

// Many sign in at once: two passwords are hashed at a time, and everybody gets in.
func TestHashingsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, history.NewMemory(), access.Options{})
		n.add(t, "anna", auth.Operator)
		var now, most atomic.Int64
		n.SetHash(func(password, salt []byte, a, b uint32, c uint8, d uint32) []byte {
			defer now.Add(-1)
			for current := now.Add(1); ; {
				if m := most.Load(); current <= m || most.CompareAndSwap(m, current) {
					break
				}
			}
			time.Sleep(50 * time.Millisecond)
			return cheap(password, salt, a, b, c, d)
		})
		var group sync.WaitGroup
		for i := range 200 {
			// Of each name, and for each address, so few that no other limit is reached.
			group.Go(func() {
				login, want := fmt.Sprint("nobody", i), conversation.BadToken
				if i%25 == 0 {
					login, want = "anna", ""
				}
				if got := code(try(n, login, password, fmt.Sprintf("192.0.2.%d:1", i))); got != want {
					t.Errorf("%s: %q, want %q", login, got, want)
				}
			})
		}
		group.Wait()
		if m := most.Load(); m != access.MaxHashing {
			t.Errorf("%d hashings at once, want %d", m, access.MaxHashing)
		}
	})
}

// The line for hashing is bounded, for everybody and for one address. Those who give up leave it.
func TestLineIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := open(t, history.NewMemory(), access.Options{})
		n.add(t, "anna", auth.Operator)
		release := make(chan struct{})
		n.SetHash(func(password, salt []byte, a, b uint32, c uint8, d uint32) []byte {
			<-release
			return cheap(password, salt, a, b, c, d)
		})
		var group sync.WaitGroup
		var waited, refused atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		send := func(ctx context.Context, i int) {
			group.Go(func() {
				_, err := n.SignIn(ctx, access.Credentials{Login: fmt.Sprint(i), Password: password, Address: fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)})
				switch {
				case code(err) == conversation.RateLimited && err.(*access.Error).RetryAfter > 0:
					refused.Add(1)
				case code(err) == conversation.BadToken, ctx.Err() != nil:
					waited.Add(1)
				default:
					t.Errorf("%v", err)
				}
			})
		}
		const all = access.MaxHashing + access.MaxInLine
		for i := range all + 50 {
			send(ctx, i)
		}
		synctest.Wait()
		if refused.Load() != 50 || waited.Load() != 0 {
			t.Errorf("%d refused, want 50; %d answered", refused.Load(), waited.Load())
		}
		cancel() // those in line leave; two are being hashed
		synctest.Wait()
		for i := range 100 {
			send(t.Context(), 1000+i)
		}
		synctest.Wait()
		if refused.Load() != 50 {
			t.Errorf("%d refused although there was room", refused.Load()-50)
		}
		close(release)
		group.Wait()
	})
}

// An old hash is replaced by a better one at the next sign-in, and other sessions go on.
func TestRehash(t *testing.T) {
	n := open(t, history.NewMemory(), access.Options{})
	n.SetCost(8<<10, 1)
	n.add(t, "anna", auth.Operator)
	before, weak := n.signIn(t, "anna"), n.PasswordHash("anna")
	n.SetCost(19<<10, 2)
	n.signIn(t, "anna")
	strong := n.PasswordHash("anna")
	if !strings.HasPrefix(weak, "$argon2id$v=19$m=8192,t=1,p=1$") || !strings.HasPrefix(strong, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %q, then %q", weak, strong)
	}
	n.signIn(t, "anna")
	if again := n.PasswordHash("anna"); again != strong {
		t.Error("hashed again without need")
	}
	if _, err := n.Session(t.Context(), before.Cookie); err != nil {
		t.Errorf("a better hash ended a session: %v", err)
	}
	n.SetCost(8<<10, 1)
	n.signIn(t, "anna")
	if again := n.PasswordHash("anna"); again != strong {
		t.Error("the hash has become weaker")
	}
}

// The real hash, with the parameters that are promised.
func TestArgon2(t *testing.T) {
	a, err := access.New(t.Context(), history.NewMemory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Access: a}
	n.add(t, "anna", auth.Operator)
	hash := n.PasswordHash("anna")
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || len(strings.Split(hash, "$")[4]) != 22 || len(strings.Split(hash, "$")[5]) != 43 {
		t.Errorf("hash %q", hash)
	}
	n.signIn(t, "anna")
	wantCode(t, "wrong", try(n, "anna", "correct horsE", ""), conversation.BadToken)
}

func TestParseHash(t *testing.T) {
	salt, key := strings.Repeat("A", 22), strings.Repeat("A", 43)
	good := "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + key
	if !access.ParseHash(good) {
		t.Error("a good hash is refused")
	}
	for _, bad := range []string{
		"", "$", "x" + good, good + "$", strings.Replace(good, "argon2id", "argon2i", 1), strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=19456", "m=1", 1), strings.Replace(good, "m=19456", "m=4000000", 1), strings.Replace(good, "m=19456", "m=-1", 1),
		strings.Replace(good, "t=2", "t=0", 1), strings.Replace(good, "t=2", "t=1000", 1), strings.Replace(good, "t=2", "t=02", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "p=1", "p=256", 1), strings.Replace(good, "p=1", "p=1,x=1", 1),
		good[:len(good)-1], good + "=", strings.Replace(good, salt, "A", 1),
	} {
		if access.ParseHash(bad) {
			t.Errorf("%q is accepted", bad)
		}
	}
}

// Who signs in with a password that is replaced while it is being hashed does not get in.
func TestPasswordChangesMeanwhile(t *testing.T) {
	for name, change := range map[string]func(*node) error{
		"password": func(n *node) error { return n.SetPassword(context.Background(), "anna", "another password") },
		"disabled": func(n *node) error { return n.SetDisabled(context.Background(), "anna", true) },
		"removed":  func(n *node) error { return n.RemoveOperator(context.Background(), "anna") },
	} {
		bubble(t, func(t *testing.T, ctx context.Context, n *node) {
			n.add(t, "anna", auth.Operator)
			hashing, goOn := make(chan struct{}), make(chan struct{})
			var begun atomic.Bool
			n.SetHash(func(password, salt []byte, a, b uint32, c uint8, d uint32) []byte {
				if !begun.Swap(true) {
					close(hashing)
					<-goOn
				}
				return cheap(password, salt, a, b, c, d)
			})
			answer := make(chan error, 1)
			go func() { answer <- try(n, "anna", password, "") }()
			<-hashing
			wantCode(t, name, change(n), "")
			close(goOn)
			wantCode(t, name+" meanwhile", <-answer, conversation.BadToken)
			if s := n.Sessions("anna"); len(s) != 0 {
				t.Errorf("%s: sessions %v", name, s)
			}
		})
	}
}

func TestChangePassword(t *testing.T) {
	bubble(t, func(t *testing.T, ctx context.Context, n *node) {
		n.add(t, "anna", auth.Admin)
		old := n.signIn(t, "anna")
		time.Sleep(time.Minute)
		c := access.Credentials{Login: "anna", Password: "wrong password", Address: "192.0.2.1:1"}
		_, err := n.ChangePassword(ctx, c, "a new password")
		wantCode(t, "wrong", err, conversation.BadToken)
		c.Password = password
		_, err = n.ChangePassword(ctx, c, "short")
		wantCode(t, "short", err, conversation.BadPayload)
		in, err := n.ChangePassword(ctx, c, "a new password")
		wantCode(t, "change", err, "")
		if _, err := n.Session(t.Context(), in.Cookie); err != nil {
			t.Errorf("the new session: %v", err)
		}
		_, err = n.Session(t.Context(), old.Cookie)
		wantCode(t, "the old session", err, conversation.BadToken)
		if !n.closes(old.Identity) {
			t.Error("the old connections stay open")
		}
		if err := n.Check(in.Identity, ""); err != nil {
			t.Errorf("the new identity: %v", err)
		}
		wantCode(t, "old password", try(n, "anna", password, ""), conversation.BadToken)
		wantCode(t, "new password", try(n, "anna", "a new password", ""), "")
		// The same password again ends the other sessions as well.
		c.Password = "a new password"
		time.Sleep(time.Minute)
		_, err = n.ChangePassword(ctx, c, "a new password")
		wantCode(t, "change", err, "")
		if len(n.Sessions("anna")) != 1 {
			t.Errorf("sessions %v", n.Sessions("anna"))
		}
	})
}

func TestPasswordRules(t *testing.T) {
	n := open(t, history.NewMemory(), access.Options{})
	for password, want := range map[string]conversation.Code{
		"123456789": conversation.BadPayload, "äöüäöüäöü": conversation.BadPayload, "1234567890": "", "äöüäöüäöüä": "",
		strings.Repeat("x", 1000): "", strings.Repeat("x", 1001): conversation.BadPayload,
	} {
		_, err := n.PutOperator(t.Context(), access.Operator{ID: "anna"}, access.Secret(password))
		wantCode(t, password, err, want)
	}
	wantCode(t, "empty", n.SetPassword(t.Context(), "anna", ""), conversation.BadPayload)
}
