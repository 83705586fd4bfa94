package parley

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/sio"
)

// PartialError says that some servers of a cluster did not answer. What the others answered is
// returned with it.
type PartialError struct {
	Missing []string // the names of these servers
	// Cause is ErrTimeout, the context's error, or nil if the servers have died.
	Cause error
}

func (e *PartialError) Error() string {
	text := "parley: no answer from the servers " + strings.Join(e.Missing, ", ")
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

func (e *PartialError) Unwrap() error { return e.Cause }

// Nodes describes the servers of the cluster that are known to be alive, this one first. Without
// Options.Cluster it returns nil.
func (s *Server) Nodes() []adapter.Node {
	if s.opts.Cluster == nil {
		return nil
	}
	return s.opts.Cluster.Nodes()
}

// maxJoinWait is how long a socket's Join waits for the cluster.
const maxJoinWait = time.Second

// across returns the link to the other servers, or nil if b does not concern them.
func (b *Broadcast) across() adapter.Link {
	if b.local || b.self != nil || !b.all && len(b.rooms) == 0 {
		return nil
	}
	return b.nsp.local.link
}

// message returns a message to the other servers about the selected sockets.
func (b *Broadcast) message(k adapter.Kind) *adapter.Message {
	m := &adapter.Message{Kind: k, Selection: adapter.Selection{Rooms: b.rooms, Except: b.except}}
	if b.volatile {
		m.Flags |= adapter.Volatile
	}
	if b.plain {
		m.Flags |= adapter.Uncompressed
	}
	return m
}

// selectionOf returns the selection of a message.
func selectionOf(s adapter.Selection) *selection {
	return &selection{all: len(s.Rooms) == 0, rooms: s.Rooms, except: s.Except}
}

// event returns a message with an event for the selected sockets, and the event for those that are
// connected here. id is that of the acknowledgement, or -1.
func (b *Broadcast) event(id int64, name string, args []any) (*adapter.Message, *Encoded, error) {
	m := b.message(adapter.Broadcast)
	var err error
	if m.Data, m.Attachments, err = sio.AppendEventArgs(make([]byte, 0, len(name)+argsSize(args)), name, args); err != nil {
		return nil, nil, fmt.Errorf("parley: encode arguments: %w", err)
	}
	e, err := b.nsp.assemble(id, m)
	return m, e, err
}

// emitAcross is Emit in a cluster: first to the sockets that are connected here.
func (b *Broadcast) emitAcross(link adapter.Link, event string, args []any) error {
	m, e, err := b.event(-1, event, args)
	if err != nil {
		return err
	}
	heard, flight := b.nsp.local.dispatch(&b.selection, e, b.volatile, b.nsp.srv.moves.number(m))
	err = clusterError(link.Publish(m))
	if flight != nil {
		flight.Done()
	}
	for _, s := range heard {
		s.sent(e)
	}
	return err
}

// clusterError converts an error of a Link.
func clusterError(err error) error {
	var partial *adapter.Partial
	switch {
	case err == nil:
		return nil
	case errors.As(err, &partial):
		e := &PartialError{Missing: partial.Missing, Cause: partial.Cause}
		if errors.Is(e.Cause, context.DeadlineExceeded) {
			e.Cause = ErrTimeout
		}
		return e
	}
	return fmt.Errorf("%w: %w", ErrCluster, err)
}

// callAcross asks the other servers, and calls each for each answer. Without others it does nothing.
func (b *Broadcast) callAcross(ctx context.Context, k adapter.Kind, each func(*adapter.Answer)) error {
	link := b.across()
	if link == nil {
		return nil
	}
	return clusterError(link.Call(ctx, b.message(k), each))
}

// changeAcross makes the selected sockets of the other servers join, leave or disconnect. With a
// Timeout, it waits until these have done so.
func (b *Broadcast) changeAcross(ctx context.Context, k adapter.Kind, rooms []string, flags adapter.Flags) error {
	link := b.across()
	if link == nil {
		return nil
	}
	m := b.message(k)
	m.Targets, m.Flags = rooms, flags
	if b.timeout <= 0 {
		return clusterError(link.Publish(m))
	}
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	refused := 0
	err := clusterError(link.Call(ctx, m, func(a *adapter.Answer) { refused += a.Refused }))
	if err == nil && refused > 0 {
		err = ErrTooManyRooms
	}
	return err
}

// ready returns what the first sockets have to wait for; nil: nothing.
func (l *local) ready() <-chan struct{} {
	if l.link == nil {
		return nil
	}
	return l.link.Ready()
}

// touch tells the cluster that rooms have got their first member or lost their last one. It returns
// what a new member has to wait for.
func (l *local) touch(rooms []string) (pending []<-chan struct{}) {
	for _, room := range rooms {
		if active := l.link.Touch(room); active != nil {
			pending = append(pending, active)
		}
	}
	return pending
}

// await waits until what other servers send to a new member arrives.
func await(pending []<-chan struct{}) {
	if len(pending) == 0 {
		return
	}
	late := time.NewTimer(maxJoinWait)
	defer late.Stop()
	for _, active := range pending {
		select {
		case <-active:
		case <-late.C:
			return
		}
	}
}

// assemble builds an event from what crosses servers: a JSON array, to which recovery adds an offset.
// id is that of the acknowledgement, or -1.
func (n *Namespace) assemble(id int64, m *adapter.Message) (*Encoded, error) {
	if len(m.Data) < 4 || !bytes.HasPrefix(m.Data, []byte(`["`)) || m.Data[len(m.Data)-1] != ']' {
		return nil, fmt.Errorf("parley: %.20q is not an event", m.Data)
	}
	parser := n.srv.opts.Parser.parser
	simple := !parser.Binary() && len(m.Attachments) == 0
	offset := ""
	if id < 0 {
		offset = n.local.recovery.placeholderFor(m)
	}
	b := make([]byte, engine.Headroom, engine.Headroom+32+len(n.name)+len(m.Data)+len(offset))
	if simple {
		b = sio.AppendHeader(b, sio.Event, 0, n.name, id)
	}
	head := len(b)
	b = append(b, m.Data...)
	if offset != "" {
		b = append(append(append(b[:len(b)-1], `,"`...), offset...), `"]`...)
	}
	e := &Encoded{nsp: n}
	if n.srv.listened.Load() {
		raw := payload{data: b[head:], event: true}
		e.event, e.args = string(sio.EventName(m.Data)), raw.raw()
	}
	if simple {
		e.firstMessage(b, false)
	} else if err := e.render(&sio.Packet{Type: sio.Event, ID: id, Data: b[head:], Attachments: m.Attachments}); err != nil {
		return nil, err
	}
	if m.Flags&adapter.Uncompressed != 0 {
		e.uncompressed()
	}
	return e, nil
}

// member is a namespace as the other servers of the cluster see it. It implements adapter.Local.
type member struct{ *Namespace }

// Has implements adapter.Local.
func (n member) Has(room string) bool {
	return n.local.index.Size(room) > 0 || n.local.recovery != nil && n.local.recovery.expects(room)
}

// Deliver implements adapter.Local.
func (n member) Deliver(m *adapter.Message) {
	e, err := n.assemble(-1, m)
	if err != nil {
		n.misunderstood(err)
		return
	}
	n.local.deliver(selectionOf(m.Selection), e, m.Flags&adapter.Volatile != 0, eventID{m.Node, m.Number})
}

func (n member) misunderstood(err error) {
	n.srv.notices.Post(slog.LevelWarn, "cluster", "a message of another server was dropped", "namespace", n.name, "error", err)
}

// DeliverAck implements adapter.Local.
func (n member) DeliverAck(m *adapter.Message, counted func(int), answered func([]byte, [][]byte)) {
	id := n.ackIDs.Add(1)
	e, err := n.assemble(id, m)
	if err != nil {
		n.misunderstood(err)
		counted(0)
		return
	}
	chosen := n.local.choose(nil, selectionOf(m.Selection))
	counted(len(chosen))
	if len(chosen) == 0 {
		return
	}
	late := time.AfterFunc(m.Timeout, func() {
		for _, s := range chosen {
			s.forget(id)
		}
	})
	var owing atomic.Int64
	owing.Store(int64(len(chosen)))
	for _, s := range chosen {
		if s.expect(id, func(p payload, err error) {
			if owing.Add(-1) == 0 {
				late.Stop()
			}
			if err != nil {
				answered(nil, nil)
				return
			}
			answered(p.data, p.attachments)
		}) == nil && !s.send(e, m.Flags&adapter.Volatile != 0) {
			s.resolve(id, payload{}, ErrDisconnected)
		}
	}
}

// Fetch implements adapter.Local.
func (n member) Fetch(which adapter.Selection) []adapter.SocketInfo {
	chosen := n.local.choose(nil, selectionOf(which))
	all := make([]adapter.SocketInfo, len(chosen))
	for i, s := range chosen {
		all[i] = s.info().abroad()
	}
	return all
}

// Count implements adapter.Local.
func (n member) Count(which adapter.Selection) int { return n.local.count(selectionOf(which)) }

// RoomSizes implements adapter.Local.
func (n member) RoomSizes(which adapter.Selection) map[string]int {
	return n.local.sizes(selectionOf(which))
}

// Change implements adapter.Local.
func (n member) Change(m *adapter.Message) (refused int) {
	for _, s := range n.local.choose(nil, selectionOf(m.Selection)) {
		switch m.Kind {
		case adapter.Join:
			if _, err := s.join(m.Targets); err == ErrTooManyRooms {
				refused++
			}
		case adapter.Leave:
			s.Leave(m.Targets...)
		case adapter.Disconnect:
			s.Disconnect(m.Flags&adapter.CloseAll != 0)
		}
	}
	return refused
}

// Gap implements adapter.Local.
func (n member) Gap() {
	if n.local.recovery != nil {
		n.local.recovery.gap()
	}
}

// Event implements adapter.Local.
func (n member) Event(m *adapter.Message, answer func([]byte, [][]byte)) bool {
	p := &ServerPacket{nsp: n.Namespace, payload: payload{data: m.Data, attachments: m.Attachments, event: true}, wanted: m.Request != 0, answer: answer}
	name := p.Name()
	var handlers []registered[func(*ServerPacket) error]
	for _, t := range n.tables() {
		handlers = append(handlers, t.server[name]...)
	}
	if len(handlers) == 0 {
		return false
	}
	n.serverEvents.push(func() {
		for _, h := range handlers {
			if err := guard(func() error { return h.call(p) }); err != nil {
				p.fail(err)
			}
		}
	})
	return true
}

// queue runs functions one at a time, in order, on a goroutine that exists only while there are some.
type queue struct {
	mu      sync.Mutex
	tasks   []func()
	running bool
}

func (q *queue) push(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks = append(q.tasks, f)
	if !q.running {
		q.running = true
		go q.run()
	}
}

func (q *queue) run() {
	for {
		q.mu.Lock()
		if len(q.tasks) == 0 {
			q.running, q.tasks = false, nil
			q.mu.Unlock()
			return
		}
		tasks := q.tasks
		q.tasks = nil
		q.mu.Unlock()
		for _, f := range tasks {
			f()
		}
	}
}
