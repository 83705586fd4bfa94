package parley

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/auth"
)

// moves is what servers say to each other so that sessions can move between them (handover). It is nil
// if they cannot.
type moves struct {
	srv      *Server
	exchange adapter.Exchange
	numberer adapter.Numberer
	self     adapter.NodeID
	patience time.Duration // for a session to move
	turns    chan struct{} // has a place for each session that moves to this server at the same time
	serving  tally         // questions of others

	flushes  rounds[chan error]
	searches rounds[*search]
}

// moveTime is how long it may take until a session has moved.
const moveTime = 2 * time.Second

// If a server dies or the network fails, many clients come at once. If their sessions all moved at the same
// time, none of them would be there in time.
const (
	maxArrivals = 64               // sessions that move to a server at the same time
	maxTurn     = 10 * time.Second // how long another one waits until it may
)

// The questions.
const (
	askFind  = "recovery.find"  // for a comeback: findQuestion, answered by given, or nothing
	askTake  = "recovery.take"  // for the rest of it: takeQuestion, answered by taken, or nothing
	askFlush = "recovery.flush" // answered after everything that the server has sent before
	askWho   = "recovery.who"   // who has these comebacks: pidsOf, answered by sightings
	askAdopt = "recovery.adopt" // to take over all of these, from a server that leaves: pidsOf
)

type findQuestion struct {
	Namespace string         `json:"nsp"`
	PID       string         `json:"pid"`
	Offset    string         `json:"offset,omitempty"`
	Identity  *auth.Identity `json:"identity,omitempty"`
	Heir      bool           `json:"heir,omitempty"` // the client will come later
}

type given struct {
	Gone     adapter.NodeID             `json:"gone,omitzero"` // who has it now; then nothing follows
	Ticket   uint64                     `json:"ticket"`
	ID       string                     `json:"sid"`
	Rooms    []string                   `json:"rooms,omitempty"`
	Data     json.RawMessage            `json:"data,omitempty"`
	Keys     map[string]json.RawMessage `json:"keys,omitempty"`
	Bare     bool                       `json:"bare,omitempty"` // values of keys stay behind
	Identity *auth.Identity             `json:"identity,omitempty"`
	Away     int64                      `json:"away"` // ms since the client left
}

type takeQuestion struct {
	Namespace string `json:"nsp"`
	PID       string `json:"pid"`
	Ticket    uint64 `json:"ticket"`
	Drop      bool   `json:"drop,omitempty"` // no, rather not
}

type taken struct {
	Steps []wireStep `json:"steps"`
}

// wireStep is a step with its event, if it has one.
type wireStep struct {
	Offset       string          `json:"offset,omitempty"`
	ID           wireID          `json:"id,omitzero"`
	Rooms        []string        `json:"rooms,omitempty"`
	Data         json.RawMessage `json:"data,omitempty"`
	Attachments  [][]byte        `json:"attachments,omitempty"`
	Uncompressed bool            `json:"uncompressed,omitempty"`
}

// wireID is an eventID as text.
type wireID eventID

// MarshalJSON implements json.Marshaler.
func (id wireID) MarshalJSON() ([]byte, error) {
	return json.Marshal(binary.AppendUvarint(bytes.Clone(id.node[:]), id.number))
}

// UnmarshalJSON implements json.Unmarshaler.
func (id *wireID) UnmarshalJSON(b []byte) error {
	var raw []byte
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	if n := copy(id.node[:], raw); n < len(id.node) {
		return errors.New("parley: not the id of an event")
	}
	id.number, _ = binary.Uvarint(raw[len(id.node):])
	return nil
}

// pidsOf are the pids of comebacks, by namespace.
type pidsOf map[string][]string

// sighting says where a comeback is, or may be.
type sighting struct {
	Namespace string         `json:"nsp"`
	PID       string         `json:"pid"`
	At        adapter.NodeID `json:"at"`
	Doubt     int            `json:"doubt,omitempty"` // 0: it is there; 1: it is on its way there, perhaps; 2: it went there
}

// newMoves returns nil if o.Cluster does not connect servers of ours only.
func newMoves(s *Server) *moves {
	exchange, ok := s.opts.Cluster.(adapter.Exchange)
	if !ok {
		return nil
	}
	numberer, ok := s.opts.Cluster.(adapter.Numberer)
	if !ok || s.opts.Recovery == nil {
		exchange.Serve(askFlush, func(_ adapter.Node, _ []byte, reply func([]byte)) { reply(nil) })
		return nil
	}
	m := &moves{srv: s, exchange: exchange, numberer: numberer, self: exchange.Self().ID, patience: moveTime, turns: make(chan struct{}, maxArrivals)}
	m.flushes.run, m.searches.run = m.flushAll, m.searchAll
	serve(m, askFlush, func(context.Context, adapter.Node, *struct{}) any {
		for _, h := range m.handovers() {
			h.landed()
		}
		return struct{}{}
	})
	serve(m, askFind, func(ctx context.Context, _ adapter.Node, q *findQuestion) any {
		if h := m.handover(q.Namespace); h != nil {
			return h.give(ctx, q)
		}
		return nil
	})
	serve(m, askTake, func(ctx context.Context, from adapter.Node, q *takeQuestion) any {
		if h := m.handover(q.Namespace); h != nil && (q.Drop || m.flush(ctx) == nil) {
			return h.yield(from.ID, q)
		}
		return nil
	})
	serve(m, askWho, func(_ context.Context, _ adapter.Node, q *pidsOf) any { return m.sightings(*q) })
	serve(m, askAdopt, func(_ context.Context, from adapter.Node, q *pidsOf) any { return m.adopt(from.ID, *q) })
	return m
}

// serve answers a question, on a goroutine of its own.
func serve[Q any](m *moves, subject string, answer func(ctx context.Context, from adapter.Node, q *Q) any) {
	m.exchange.Serve(subject, func(from adapter.Node, question []byte, reply func([]byte)) {
		m.serving.add(1)
		go func() {
			defer m.serving.add(-1)
			ctx, cancel := context.WithTimeout(context.Background(), m.patience)
			defer cancel()
			q := new(Q)
			if err := json.Unmarshal(question, q); err != nil {
				m.srv.log.Warn("parley: a server of the cluster asks what is not understood", "node", from.Name, "error", err)
				reply(nil)
				return
			}
			reply(encodeMove(answer(ctx, from, q)))
		}()
	})
}

// encodeMove encodes a question or an answer; a nil pointer is nothing.
func encodeMove(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // events stay as they are
	if err := e.Encode(v); err != nil || b.String() == "null\n" {
		return nil
	}
	return b.Bytes()
}

// ask asks one server. The error is errGone if that has no answer.
func ask[A any](ctx context.Context, m *moves, to adapter.NodeID, subject string, question any) (*A, error) {
	answer, err := m.exchange.Ask(ctx, to, subject, encodeMove(question))
	if err == nil && len(answer) == 0 {
		err = errGone
	}
	if err != nil {
		return nil, err
	}
	a := new(A)
	return a, json.Unmarshal(answer, a)
}

// id returns the id of this server. m may be nil.
func (m *moves) id() adapter.NodeID {
	if m == nil {
		return adapter.NodeID{}
	}
	return m.self
}

// number gives an event of this server its id. m may be nil.
func (m *moves) number(e *adapter.Message) eventID {
	if m == nil {
		return eventID{}
	}
	m.numberer.Number(e)
	return eventID{e.Node, e.Number}
}

// handover returns the handover of a namespace, or nil.
func (m *moves) handover(namespace string) *handover {
	m.srv.mu.RLock()
	defer m.srv.mu.RUnlock()
	if n := m.srv.namespaces[namespace]; n != nil {
		return n.local.recovery.handover
	}
	return nil
}

// handovers returns those of all namespaces.
func (m *moves) handovers() (all []*handover) {
	m.srv.mu.RLock()
	defer m.srv.mu.RUnlock()
	for _, n := range m.srv.namespaces {
		all = append(all, n.local.recovery.handover)
	}
	return all
}

// maxAsked is how many servers are asked for a comeback, one after the other, while it is on its way.
const maxAsked = 6

var errGone = errors.New("parley: no server has the session")

// find asks for a comeback: the server that has made it, and if that does not have it, the one that has.
func (m *moves) find(ctx context.Context, n *Namespace, w *wanted) (from adapter.NodeID, g *given, err error) {
	q := &findQuestion{Namespace: n.name, PID: w.pid, Offset: w.offset, Identity: w.who, Heir: w.heirOf != nil}
	if w.heirOf != nil {
		g, err = ask[given](ctx, m, *w.heirOf, askFind, q)
		return *w.heirOf, g, err
	}
	next := n.local.recovery.handover.wentTo(w.pid)
	if maker, known := m.exchange.Tagged(adapter.TagIn(w.pid)); known && next == (adapter.NodeID{}) {
		next = maker.ID
	}
	for range maxAsked {
		if next == (adapter.NodeID{}) || next == m.self {
			s := &search{namespace: n.name, pid: w.pid, doubt: 3, done: make(chan struct{})}
			m.searches.join(s)
			select {
			case <-s.done:
			case <-ctx.Done():
				return from, nil, ctx.Err()
			}
			if next = s.at; next == (adapter.NodeID{}) {
				break
			}
		}
		g, err = ask[given](ctx, m, next, askFind, q)
		switch {
		case ctx.Err() != nil:
			return from, nil, ctx.Err()
		case err != nil:
			next = adapter.NodeID{}
		case g.Gone == (adapter.NodeID{}):
			return next, g, nil
		default:
			next = g.Gone
		}
	}
	return from, nil, errGone
}

// take asks for the rest of a comeback.
func (m *moves) take(ctx context.Context, from adapter.NodeID, q *takeQuestion) (*taken, error) {
	return ask[taken](ctx, m, from, askTake, q)
}

// flush waits until everything has arrived that the other servers have sent before.
func (m *moves) flush(ctx context.Context) error {
	done := make(chan error, 1)
	m.flushes.join(done)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushAll is a round of flush. A server that dies meanwhile has said what it had to say.
func (m *moves) flushAll(all []chan error) {
	ctx, cancel := context.WithTimeout(context.Background(), m.patience/2)
	defer cancel()
	err := m.exchange.AskAll(ctx, askFlush, encodeMove(struct{}{}), func(adapter.Node, []byte) {})
	var partial *adapter.Partial
	if errors.As(err, &partial) && partial.Cause == nil {
		err = nil
	}
	for _, done := range all {
		done <- err
	}
}

// search is a comeback that a client has named and nobody is known to have.
type search struct {
	namespace, pid string
	done           chan struct{}
	at             adapter.NodeID // zero: nobody knows
	doubt          int            // of the best sighting
}

// searchAll is a round of searches.
func (m *moves) searchAll(all []*search) {
	q := pidsOf{}
	wanted := map[[2]string][]*search{}
	for _, s := range all {
		key := [2]string{s.namespace, s.pid}
		if wanted[key] == nil {
			q[s.namespace] = append(q[s.namespace], s.pid)
		}
		wanted[key] = append(wanted[key], s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.patience/2)
	defer cancel()
	_ = m.exchange.AskAll(ctx, askWho, encodeMove(q), func(from adapter.Node, answer []byte) {
		var sightings []sighting
		if json.Unmarshal(answer, &sightings) != nil {
			return
		}
		for _, seen := range sightings {
			for _, s := range wanted[[2]string{seen.Namespace, seen.PID}] {
				if seen.Doubt < s.doubt && seen.At != m.self {
					s.at, s.doubt = seen.At, seen.Doubt
				}
			}
		}
	})
	for _, s := range all {
		close(s.done)
	}
}

// sightings returns what this server knows of where these comebacks are.
func (m *moves) sightings(q pidsOf) (all []sighting) {
	for namespace, pids := range q {
		h := m.handover(namespace)
		if h == nil {
			continue
		}
		h.recovery.mu.Lock()
		for _, pid := range pids {
			switch gone, went := h.gone[pid]; {
			case h.recovery.comebacks[pid] != nil:
				all = append(all, sighting{namespace, pid, m.self, 0})
			case h.arriving[pid] != nil:
				all = append(all, sighting{namespace, pid, m.self, 1})
			case went:
				all = append(all, sighting{namespace, pid, gone, 2})
			}
		}
		h.recovery.mu.Unlock()
	}
	return all
}

// wentTo returns which server has taken a comeback from this one; zero: none that is known.
func (h *handover) wentTo(pid string) adapter.NodeID {
	h.recovery.mu.Lock()
	defer h.recovery.mu.Unlock()
	return h.gone[pid]
}

// rounds joins what many want at the same time: whoever comes while a round runs is part of the next.
type rounds[T any] struct {
	run func([]T)

	mu      sync.Mutex
	next    []T
	running bool
}

func (r *rounds[T]) join(v T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = append(r.next, v)
	if !r.running {
		r.running = true
		go r.loop()
	}
}

func (r *rounds[T]) loop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.next) > 0 {
		now := r.next
		r.next = nil
		r.mu.Unlock()
		r.run(now)
		r.mu.Lock()
	}
	r.running = false
}
