package access_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/access"
)

// A readStore is a store that counts reads of what has changed, and fails them if it is down.
type readStore struct {
	*history.Memory
	reads atomic.Int32
	down  atomic.Bool
}

func (s *readStore) RecordsSince(ctx context.Context, kind string, version int64) ([]history.Record, error) {
	s.reads.Add(1)
	if s.down.Load() {
		return nil, history.ErrUnavailable
	}
	return s.Memory.RecordsSince(ctx, kind, version)
}

// pair runs f with two nodes that follow each other, with hints or without.
func pair(t *testing.T, hints bool, f func(t *testing.T, a, b *node, store *readStore)) {
	synctest.Test(t, func(t *testing.T) {
		store := &readStore{Memory: history.NewMemory()}
		var a, b *node
		changed := func() {
			if hints {
				b.Hint()
			}
		}
		quiet := func(string, error) {}
		a = open(t, store, access.Options{RefreshEvery: time.Second, Changed: changed, Failed: quiet})
		b = open(t, store, access.Options{RefreshEvery: time.Second, Failed: quiet})
		ctx, cancel := context.WithCancel(t.Context())
		for _, n := range []*node{a, b} {
			go n.Follow(ctx)
		}
		f(t, a, b, store)
		cancel()
		synctest.Wait()
	})
}

// What one node changes is in force on the others within two seconds, whether the bus brings hints or not.
func TestRevocationsReachOtherNodes(t *testing.T) {
	for _, hints := range []bool{false, true} {
		within := 2 * time.Second
		if hints {
			within = 0
		}
		pair(t, hints, func(t *testing.T, a, b *node, store *readStore) {
			soon := func(what string, reached func() bool) {
				t.Helper()
				time.Sleep(within)
				synctest.Wait()
				if !reached() {
					t.Errorf("with hints %v, %s has not reached the other node", hints, what)
				}
				b.ended()
			}
			a.add(t, "anna", auth.Operator)
			soon("the first operator", func() bool { return b.Closed() && slices.Contains(b.ended(), auth.Match{}) })
			in := a.signIn(t, "anna")
			soon("the session", func() bool { return b.Check(in.Identity, "") == nil })
			wantCode(t, "end", a.EndSession(t.Context(), "anna", in.Session.ID), "")
			soon("its end", func() bool { return b.closes(in.Identity) && b.Check(in.Identity, "") != nil })

			bob := &auth.Identity{Subject: "bob", Role: auth.User, IssuedAt: time.Now().Add(-time.Hour)}
			_, err := a.Ban(t.Context(), access.Ban{Subject: "user:bob"})
			wantCode(t, "ban", err, "")
			soon("the ban", func() bool { return b.closes(bob) && b.Check(bob, "") != nil })
			wantCode(t, "unban", a.Unban(t.Context(), "user:bob"), "")
			soon("the end of the ban", func() bool { return b.Check(bob, "") == nil })
			_, err = a.Revoke(t.Context(), access.Revocation{Subject: "user:bob"})
			wantCode(t, "revoke", err, "")
			soon("the revocation", func() bool { return b.closes(bob) && b.Check(bob, "") != nil })

			anna := &auth.Identity{Subject: "anna", Role: auth.Operator, IssuedAt: access.IssueTime()}
			wantCode(t, "disable", a.SetDisabled(t.Context(), "anna", true), "")
			soon("the disabling", func() bool { return b.closes(anna) && b.Check(anna, "") != nil })

			// A store that fails for a while delays it.
			store.down.Store(true)
			time.Sleep(5 * time.Second)
			store.down.Store(false)
			_, err = a.Ban(t.Context(), access.Ban{Subject: "user:carl"})
			wantCode(t, "ban", err, "")
			soon("a ban after the store was down", func() bool { return len(b.Bans()) == 1 })
		})
	}
}

// A proof that another node has made a moment ago is good at once. To make up proofs costs the store
// little.
func TestProofsOfOtherNodesAreGoodAtOnce(t *testing.T) {
	pair(t, false, func(t *testing.T, a, b *node, store *readStore) {
		a.add(t, "anna", auth.Operator)
		in := a.signIn(t, "anna")
		_, err := b.Session(t.Context(), in.Cookie)
		wantCode(t, "the session", err, "")
		key, _, err := a.AddKey(t.Context(), access.APIKey{Name: "robot"})
		wantCode(t, "add a key", err, "")
		_, err = b.Key(t.Context(), key)
		wantCode(t, "the key", err, "")

		reads := store.reads.Load()
		for range 1000 {
			_, err := b.Session(t.Context(), "made up")
			wantCode(t, "what is made up", err, conversation.BadToken)
		}
		if n := store.reads.Load() - reads; n > 101 {
			t.Errorf("1000 proofs that are made up cause %d reads", n)
		}
	})
	// A server that is alone asks nobody.
	synctest.Test(t, func(t *testing.T) {
		store := &readStore{Memory: history.NewMemory()}
		n := open(t, store, access.Options{})
		store.reads.Store(0)
		if _, err := n.Session(t.Context(), "made up"); err == nil || errors.Is(err, history.ErrUnavailable) || store.reads.Load() > 0 {
			t.Errorf("%v, with %d reads", err, store.reads.Load())
		}
	})
}
