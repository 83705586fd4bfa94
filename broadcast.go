package parley

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-go/parley/auth"
	"github.com/parley-go/parley/internal/sio"
)

// Broadcast selects sockets and says how to send to them. It is immutable and safe for concurrent
// use: the methods that select sockets or set options return a new one.
type Broadcast struct {
	nsp *Namespace
	selection
	volatile bool
	plain    bool // not compressed
	timeout  time.Duration
}

func (b *Broadcast) with(f func(*Broadcast)) *Broadcast {
	next := *b
	f(&next)
	return &next
}

func union(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	return append(a[:len(a):len(a)], b...)
}

// To adds the sockets in these rooms to those of earlier calls. Without any room, it selects
// nobody.
func (b *Broadcast) To(rooms ...string) *Broadcast {
	return b.with(func(b *Broadcast) {
		b.turnToOthers()
		b.all = false
		b.rooms = union(b.rooms, rooms)
	})
}

// In is the same as To.
func (b *Broadcast) In(rooms ...string) *Broadcast { return b.To(rooms...) }

// Except leaves out the sockets in these rooms.
func (b *Broadcast) Except(rooms ...string) *Broadcast {
	return b.with(func(b *Broadcast) {
		b.turnToOthers()
		b.except = union(b.except, rooms)
	})
}

// turnToOthers turns a selection of one socket into one of all others. s.Volatile() selects s, but
// s.Volatile().To("room") selects the others in the room, as s.To("room") does.
func (b *Broadcast) turnToOthers() {
	if b.self != nil {
		b.except = union(b.except, []string{b.self.ID()})
		b.self, b.all = nil, true
	}
}

// choose returns the selected sockets.
func (b *Broadcast) choose() []*Socket { return b.nsp.local.choose(nil, &b.selection) }

// Volatile drops the event for each client that cannot receive it at once: because other data is
// still queued for it or, with polling, because no request is open.
func (b *Broadcast) Volatile() *Broadcast {
	return b.with(func(b *Broadcast) { b.volatile = true })
}

// Compress sets whether the event may be compressed, if the connection has negotiated compression.
// The default is true.
func (b *Broadcast) Compress(compress bool) *Broadcast {
	return b.with(func(b *Broadcast) { b.plain = !compress })
}

// Local restricts the selection to sockets that are connected to this process; nothing is sent to
// other processes. Without a cluster that is all sockets, and Local changes nothing.
func (b *Broadcast) Local() *Broadcast {
	return b.with(func(b *Broadcast) { b.local = true })
}

// Timeout limits how long EmitWithAck waits.
func (b *Broadcast) Timeout(d time.Duration) *Broadcast {
	return b.with(func(b *Broadcast) { b.timeout = d })
}

// Emit sends an event to the selected sockets. It does not wait for them.
func (b *Broadcast) Emit(event string, args ...any) error {
	if err := checkEvent(event); err != nil {
		return err
	}
	e, err := b.encode(-1, event, b.nsp.local.recovery.mark(b, args))
	switch {
	case err != nil:
		return err
	case b.self != nil:
		return b.self.emit(e, b.volatile)
	}
	b.nsp.local.deliver(&b.selection, e, b.volatile)
	return nil
}

// encode encodes the event according to b's flags. id is that of the acknowledgement, or -1.
func (b *Broadcast) encode(id int64, event string, args []any) (*Encoded, error) {
	e, err := b.nsp.encode(sio.Event, id, event, args)
	if err == nil && b.plain {
		for _, m := range e.messages {
			m.Uncompressed()
		}
	}
	return e, err
}

// EmitWithAck sends an event to the selected sockets. It waits until each of them has answered or
// disconnected, or until Timeout or ctx ends. You must set a Timeout or give ctx a deadline. It
// always returns the answers that arrived, in order of arrival. If some did not arrive, the error
// wraps ErrTimeout, or ctx's error if ctx was canceled.
func (b *Broadcast) EmitWithAck(ctx context.Context, event string, args ...any) ([]Reply, error) {
	if err := checkEvent(event); err != nil {
		return nil, err
	}
	if _, bounded := ctx.Deadline(); !bounded && b.timeout <= 0 {
		return nil, errors.New("parley: EmitWithAck to several sockets needs a Timeout or a context with a deadline")
	}
	if b.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.timeout)
		defer cancel()
	}
	n := b.nsp
	id := n.ackIDs.Add(1)
	e, err := b.encode(id, event, args)
	if err != nil {
		return nil, err
	}
	if b.self != nil {
		b.self.answer() // as Socket.EmitWithAck does
	}
	chosen := b.choose()
	replies := collector{awaited: len(chosen), done: make(chan struct{})}
	if len(chosen) == 0 {
		return nil, nil
	}
	for _, s := range chosen {
		if s.expect(id, replies.add) == nil && !s.send(e, b.volatile) {
			s.resolve(id, payload{}, ErrDisconnected)
		}
	}
	select {
	case <-replies.done:
	case <-ctx.Done():
		for _, s := range chosen {
			s.forget(id)
		}
	}
	return replies.take(ackError(ctx))
}

// collector gathers the answers to a broadcast.
type collector struct {
	mu      sync.Mutex
	awaited int
	replies []Reply
	done    chan struct{} // closed when no more answers are expected
	closed  bool          // take was called
}

// add records an answer or, if err is not nil, that there will be none.
func (c *collector) add(p payload, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if err == nil {
		c.replies = append(c.replies, newReply(p))
	}
	if c.awaited--; c.awaited == 0 {
		close(c.done)
	}
}

// take ends the collection. cause is why some answers may be missing.
func (c *collector) take(cause error) ([]Reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.awaited > 0 {
		return c.replies, fmt.Errorf("%w: %d of %d clients", cause, c.awaited, c.awaited+len(c.replies))
	}
	return c.replies, nil
}

// SocketInfo describes a connected socket. In a cluster it may be connected to another server.
type SocketInfo struct {
	ID        string
	Handshake Handshake
	Rooms     []string
	Data      any
	Identity  *auth.Identity // who the client is; nil without Options.Authorize

	stored any
}

// Value returns the value of a Key. It works for sockets of this server only.
func (i SocketInfo) Value(key any) any {
	if key == (identityKey{}) {
		return i.Identity
	}
	d, _ := i.stored.(*keyed)
	v, _ := d.value(key)
	return v
}

// The methods below may have to ask other servers in a cluster, so they take a context and can
// fail. Within one process, the only such failure is that ctx has already ended; they then do
// nothing.

// FetchSockets returns the selected sockets. SocketIDs and Count cost much less.
func (b *Broadcast) FetchSockets(ctx context.Context) ([]SocketInfo, error) {
	return each(ctx, b, func(s *Socket) SocketInfo {
		stored := s.stored()
		return SocketInfo{
			ID: s.ID(), Handshake: s.Handshake(), Rooms: s.Rooms(), Data: dataOf(stored), Identity: s.Identity(), stored: stored,
		}
	})
}

// SocketIDs returns the ids of the selected sockets.
func (b *Broadcast) SocketIDs(ctx context.Context) ([]string, error) {
	return each(ctx, b, (*Socket).ID)
}

func each[T any](ctx context.Context, b *Broadcast, f func(*Socket) T) ([]T, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	chosen := b.choose()
	all := make([]T, len(chosen))
	for i, s := range chosen {
		all[i] = f(s)
	}
	return all, nil
}

// Count returns the number of selected sockets. For all sockets, or for one room, it does not look
// at each socket.
func (b *Broadcast) Count(ctx context.Context) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	return b.nsp.local.count(&b.selection), nil
}

// Rooms returns the rooms that the selected sockets are in, with the number of selected sockets in
// each. It omits a socket's own room (named by its id) unless another socket is in it.
func (b *Broadcast) Rooms(ctx context.Context) (map[string]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return b.nsp.local.sizes(&b.selection), nil
}

// SocketsJoin makes the selected sockets join rooms. If some sockets cannot, the error wraps
// ErrTooManyRooms; the others have joined.
func (b *Broadcast) SocketsJoin(ctx context.Context, rooms ...string) error {
	return b.change(ctx, func(s *Socket) error { return s.Join(rooms...) })
}

// SocketsLeave makes the selected sockets leave rooms.
func (b *Broadcast) SocketsLeave(ctx context.Context, rooms ...string) error {
	return b.change(ctx, func(s *Socket) error { s.Leave(rooms...); return nil })
}

// DisconnectSockets disconnects the selected sockets; see Socket.Disconnect.
func (b *Broadcast) DisconnectSockets(ctx context.Context, closeConnection bool) error {
	return b.change(ctx, func(s *Socket) error { s.Disconnect(closeConnection); return nil })
}

// change calls f for each selected socket. It ignores sockets that have disconnected meanwhile.
func (b *Broadcast) change(ctx context.Context, f func(*Socket) error) error {
	err := ctx.Err()
	if err != nil {
		return err
	}
	for _, s := range b.choose() {
		if e := f(s); e != nil && e != ErrDisconnected {
			err = e
		}
	}
	return err
}
