package parley

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-go/parley/adapter"
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
	if link := b.across(); link != nil {
		return b.emitAcross(link, event, args)
	}
	e, err := b.encode(-1, event, b.nsp.local.recovery.mark(b, args))
	switch {
	case err != nil:
		return err
	case b.self != nil:
		return b.self.emit(e, b.volatile)
	}
	b.nsp.local.deliver(&b.selection, e, b.volatile, eventID{})
	return nil
}

// encode encodes the event according to b's flags. id is that of the acknowledgement, or -1.
func (b *Broadcast) encode(id int64, event string, args []any) (*Encoded, error) {
	e, err := b.nsp.encode(sio.Event, id, event, args)
	if err == nil && b.plain {
		e.uncompressed()
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
	n, link := b.nsp, b.across()
	id := n.ackIDs.Add(1)
	var m *adapter.Message
	var e *Encoded
	var err error
	if link == nil {
		e, err = b.encode(id, event, args)
	} else {
		m, e, err = b.event(id, event, args)
	}
	if err != nil {
		return nil, err
	}
	if b.self != nil {
		b.self.answer() // as Socket.EmitWithAck does
	}
	chosen := b.choose()
	replies := collector{awaited: len(chosen), done: make(chan struct{})}
	if len(chosen) == 0 && link == nil {
		return nil, nil
	}
	var called sync.WaitGroup
	if link != nil {
		replies.others = true
		called.Go(func() {
			err := link.Call(ctx, m, func(a *adapter.Answer) { replies.keep(payload{data: a.Data, attachments: a.Attachments}) })
			replies.finish(clusterError(err))
		})
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
		called.Wait()
	}
	return replies.take(ackError(ctx))
}

// collector gathers the answers to a broadcast.
type collector struct {
	mu      sync.Mutex
	awaited int   // sockets of this server
	others  bool  // other servers are awaited
	missing error // why answers of other servers are missing
	replies []Reply
	done    chan struct{} // closed when no more answers are expected
	closed  bool          // take was called
}

// keep records an answer that another server has passed on.
func (c *collector) keep(p payload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.replies = append(c.replies, newReply(p))
	}
}

// finish says that no other server is awaited any more.
func (c *collector) finish(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.others, c.missing = false, err
	if c.awaited == 0 {
		close(c.done)
	}
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
	if c.awaited--; c.awaited == 0 && !c.others {
		close(c.done)
	}
}

// take ends the collection. cause is why some answers may be missing.
func (c *collector) take(cause error) ([]Reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	switch {
	case c.missing != nil:
		return c.replies, c.missing
	case c.awaited > 0:
		return c.replies, fmt.Errorf("%w: %d of %d clients", cause, c.awaited, c.awaited+len(c.replies))
	}
	return c.replies, nil
}

// The methods below may have to ask other servers in a cluster, so they take a context and can
// fail. Within one process, the only such failure is that ctx has already ended; they then do
// nothing. In a cluster, they return what arrived, and a *PartialError if servers did not answer.

// FetchSockets returns the selected sockets. SocketIDs and Count cost much less.
func (b *Broadcast) FetchSockets(ctx context.Context) ([]SocketInfo, error) {
	all, err := each(ctx, b, (*Socket).info)
	if err == nil {
		err = b.callAcross(ctx, adapter.Fetch, func(a *adapter.Answer) {
			for _, info := range a.Sockets {
				all = append(all, fromAbroad(a.Name, info))
			}
		})
	}
	return all, err
}

// SocketIDs returns the ids of the selected sockets.
func (b *Broadcast) SocketIDs(ctx context.Context) ([]string, error) {
	all, err := each(ctx, b, (*Socket).ID)
	if err == nil {
		err = b.callAcross(ctx, adapter.Fetch, func(a *adapter.Answer) {
			for _, info := range a.Sockets {
				all = append(all, info.ID)
			}
		})
	}
	return all, err
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
	count := b.nsp.local.count(&b.selection)
	err := b.callAcross(ctx, adapter.Count, func(a *adapter.Answer) { count += a.Count })
	return count, err
}

// Rooms returns the rooms that the selected sockets are in, with the number of selected sockets in
// each. It omits a socket's own room (named by its id) unless another socket is in it.
func (b *Broadcast) Rooms(ctx context.Context) (map[string]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sizes := b.nsp.local.sizes(&b.selection)
	err := b.callAcross(ctx, adapter.RoomSizes, func(a *adapter.Answer) {
		for room, n := range a.Rooms {
			sizes[room] += n
		}
	})
	return sizes, err
}

// SocketsJoin makes the selected sockets join rooms. If some sockets cannot, the error wraps
// ErrTooManyRooms; the others have joined. In a cluster, what this server sends to the rooms
// afterwards reaches them. Only with a Timeout does SocketsJoin wait until all servers have done it.
func (b *Broadcast) SocketsJoin(ctx context.Context, rooms ...string) error {
	return b.change(ctx, adapter.Join, rooms, 0, func(s *Socket) error { return s.Join(rooms...) })
}

// SocketsLeave makes the selected sockets leave rooms.
func (b *Broadcast) SocketsLeave(ctx context.Context, rooms ...string) error {
	return b.change(ctx, adapter.Leave, rooms, 0, func(s *Socket) error { s.Leave(rooms...); return nil })
}

// DisconnectSockets disconnects the selected sockets; see Socket.Disconnect.
func (b *Broadcast) DisconnectSockets(ctx context.Context, closeConnection bool) error {
	var flags adapter.Flags
	if closeConnection {
		flags = adapter.CloseAll
	}
	return b.change(ctx, adapter.Disconnect, nil, flags, func(s *Socket) error { s.Disconnect(closeConnection); return nil })
}

// change calls f for each selected socket, and makes the other servers of a cluster do the same. It
// ignores sockets that have disconnected meanwhile.
func (b *Broadcast) change(ctx context.Context, k adapter.Kind, rooms []string, flags adapter.Flags, f func(*Socket) error) error {
	err := ctx.Err()
	if err != nil {
		return err
	}
	for _, s := range b.choose() {
		if e := f(s); e != nil && e != ErrDisconnected {
			err = e
		}
	}
	if e := b.changeAcross(ctx, k, rooms, flags); err == nil {
		err = e
	}
	return err
}
