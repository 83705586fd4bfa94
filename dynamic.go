package parley

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"regexp"

	"github.com/parley-go/parley/internal/notice"
)

// Dynamic namespaces are created when a client asks for them, if a rule allows it.

// belongLocked makes n a child of p. Nobody can join n before announce.
func (n *Namespace) belongLocked(p *ParentNamespace) {
	n.parent.Store(p)
	n.opening = make(chan struct{})
}

// announce calls the handlers of OnNewNamespace, then opens n. If a handler panics, n's middleware
// may be missing, so n does not open.
func (s *Server) announce(n *Namespace) (ok bool) {
	s.mu.RLock()
	created := s.created
	s.mu.RUnlock()
	ok = true
	for _, f := range created {
		if err := guard(func() error { f(n); return nil }); err != nil {
			s.log.Error("parley: OnNewNamespace failed; nobody may join the namespace", "namespace", notice.Quote(n.name), "error", err)
			ok = false
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n.failed = !ok
	close(n.opening)
	n.opening = nil
	return ok
}

// OnNewNamespace calls f for each namespace that OfPattern or OfFunc creates, before anyone can
// join it. What f registers on it applies from the first client on. If f panics, nobody may join
// the namespace.
func (s *Server) OnNewNamespace(f func(*Namespace)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.created = with(s.created, f)
}

// ParentNamespace stands for all namespaces that clients may join by its rule. What you register on
// it applies to each of them. What you register on one of them applies to that one only, and is
// lost with it. Such a namespace exists while it has sockets or recoverable clients. If you have
// called Server.Of for it, it stays.
type ParentNamespace struct {
	handlers
	srv     *Server
	pattern *regexp.Regexp // or match
	match   func(ctx context.Context, name string, auth json.RawMessage) bool
}

// OfPattern lets clients join each namespace whose complete name, slash included, matches the
// pattern. Those that Of has created before belong to the pattern too, except the main namespace.
func (s *Server) OfPattern(pattern *regexp.Regexp) *ParentNamespace {
	return s.addParent(&ParentNamespace{pattern: regexp.MustCompile(`^(?:` + pattern.String() + `)$`)})
}

// OfFunc lets clients join each namespace that match accepts. auth is the client's auth payload, a
// JSON object, or nil. match may block; ctx ends when the client disconnects. It is called only if
// the namespace does not exist yet. To check every client, add middleware with Use.
//
// While such a rule exists, it also decides about namespaces that you have only named with Of and
// registered nothing on.
func (s *Server) OfFunc(match func(ctx context.Context, name string, auth json.RawMessage) bool) *ParentNamespace {
	return s.addParent(&ParentNamespace{match: match})
}

func (s *Server) addParent(p *ParentNamespace) *ParentNamespace {
	p.handlers.srv, p.srv = s, s
	s.mu.Lock()
	s.parents = with(s.parents, p)
	s.rules = s.rules || p.match != nil
	var older []*Namespace
	for name, n := range s.namespaces {
		if p.pattern != nil && p.pattern.MatchString(name) && name != "/" && n.parent.Load() == nil {
			n.belongLocked(p)
			older = append(older, n)
		}
	}
	s.mu.Unlock()
	for _, n := range older {
		s.announce(n)
	}
	return p
}

// accepts evaluates the rule.
func (p *ParentNamespace) accepts(ctx context.Context, name string, auth json.RawMessage) (ok bool, err error) {
	if p.pattern != nil {
		return p.pattern.MatchString(name), nil
	}
	err = guard(func() error { ok = p.match(ctx, name, auth); return nil })
	return ok, err
}

// Emit sends an event to all sockets of all namespaces of p.
func (p *ParentNamespace) Emit(event string, args ...any) error {
	p.srv.mu.RLock()
	var all []*Namespace
	for _, n := range p.srv.namespaces {
		if n.parent.Load() == p {
			all = append(all, n)
		}
	}
	p.srv.mu.RUnlock()
	for _, n := range all {
		if err := n.Emit(event, args...); err != nil {
			return err
		}
	}
	return nil
}

// unclaimedLocked reports whether n was only named with Of, so that a rule decides whether clients
// may join it.
func (s *Server) unclaimedLocked(n *Namespace) bool {
	return s.rules && n.name != "/" && n.parent.Load() == nil && n.empty()
}

// existing returns the namespace if a client can join it without asking a rule and without waiting.
// It takes a reference for the socket that is about to join; release gives it back.
func (s *Server) existing(name string) *Namespace {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[name]
	if n == nil || n.opening != nil || n.failed || s.unclaimedLocked(n) {
		return nil
	}
	n.refs++
	return n
}

// resolve is like existing, but creates the namespace if a parent accepts it, and waits until it is
// open.
func (s *Server) resolve(ctx context.Context, name string, auth json.RawMessage) (*Namespace, error) {
	s.mu.Lock()
	n := s.namespaces[name]
	ask := n == nil || s.unclaimedLocked(n)
	parents := s.parents
	if !ask {
		n.refs++
	}
	s.mu.Unlock()
	if !ask {
		return s.opened(ctx, n)
	}
	for _, p := range parents {
		if ok, err := p.accepts(ctx, name, auth); err != nil {
			return nil, err
		} else if ok {
			return s.bear(ctx, p, name)
		}
	}
	return nil, nil
}

// opened waits until the namespace is open and returns it. The caller has taken a reference. If
// nobody may join the namespace, opened releases the reference and returns nil.
func (s *Server) opened(ctx context.Context, n *Namespace) (*Namespace, error) {
	s.mu.RLock()
	opening := n.opening
	s.mu.RUnlock()
	if opening != nil {
		select {
		case <-opening:
		case <-ctx.Done():
		}
	}
	s.mu.RLock()
	failed := n.failed
	s.mu.RUnlock()
	if failed || ctx.Err() != nil {
		s.release(n)
		return nil, ctx.Err()
	}
	return n, nil
}

// bear creates the namespace as a child of p, unless another client was faster.
func (s *Server) bear(ctx context.Context, p *ParentNamespace, name string) (*Namespace, error) {
	s.mu.Lock()
	n := s.namespaces[name]
	switch {
	case n == nil && s.opts.MaxDynamicNamespaces > 0 && s.children >= s.opts.MaxDynamicNamespaces:
		s.mu.Unlock()
		return nil, nil
	case n == nil:
		n = newNamespace(s, name)
		s.namespaces[name] = n
		s.children++
	case !s.unclaimedLocked(n):
		n.refs++
		s.mu.Unlock()
		return s.opened(ctx, n)
	}
	n.belongLocked(p)
	n.refs++
	s.mu.Unlock()
	if !s.announce(n) {
		s.release(n)
		return nil, nil
	}
	return n, nil
}

// retain adds a reference to n, unless n is being removed.
func (s *Server) retain(n *Namespace) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.namespaces[n.name] != n {
		return false
	}
	n.refs++
	return true
}

// release removes one reference from n. A namespace that was created for clients is removed with
// its last reference.
func (s *Server) release(n *Namespace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.refs--
	if n.refs == 0 && n.parent.Load() != nil && !n.pinned && s.namespaces[n.name] == n {
		delete(s.namespaces, n.name)
		s.children--
		if n.local.link != nil {
			n.local.link.Close()
		}
	}
}

// hash is a short stand-in for a namespace's name.
func (s *Server) hash(namespace string) uint64 { return maphash.String(s.seed, namespace) }
