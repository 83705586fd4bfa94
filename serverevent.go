package parley

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/internal/sio"
)

// ServerPacket is one event from another server of the cluster. Its arguments are decoded only when
// you ask for them. It is safe for concurrent use. You may keep it and acknowledge it later.
type ServerPacket struct {
	nsp     *Namespace
	payload payload
	wanted  bool
	answer  func(data []byte, attachments [][]byte)
	acked   atomic.Bool
}

// Name returns the event's name.
func (p *ServerPacket) Name() string { return string(sio.EventName(p.payload.data)) }

// Args returns the arguments as raw JSON; see Packet.Args.
func (p *ServerPacket) Args() []json.RawMessage { return p.payload.raw() }

// Decode decodes the first arguments into the given pointers; see Packet.Decode.
func (p *ServerPacket) Decode(into ...any) error { return p.payload.decode(into) }

// DecodeArg decodes the argument with index i into a pointer; see Packet.DecodeArg.
func (p *ServerPacket) DecodeArg(i int, into any) error { return p.payload.decodeArg(i, into) }

// Values returns the arguments as encoding/json decodes into an any; see Packet.Values.
func (p *ServerPacket) Values() ([]any, error) { return p.payload.values() }

// WantsAck reports whether the other server waits for an answer and has not received one.
func (p *ServerPacket) WantsAck() bool { return p.wanted && !p.acked.Load() }

// Ack answers the other server if it waits for an answer. The second call returns ErrAcknowledged. If
// the only argument is an error, the other server receives it as a handler's error.
func (p *ServerPacket) Ack(args ...any) error {
	if len(args) == 1 {
		if err, ok := args[0].(error); ok {
			args = []any{refusal(err)}
		}
	}
	if !p.wanted {
		return nil
	}
	data, attachments, err := sio.AppendArgs(nil, args)
	if err != nil {
		return fmt.Errorf("parley: encode arguments: %w", err)
	}
	if p.acked.Swap(true) {
		return ErrAcknowledged
	}
	p.answer(data, attachments)
	return nil
}

// fail reports the error of a handler.
func (p *ServerPacket) fail(err error) {
	if p.WantsAck() && guard(func() error { return p.Ack(refusal(err)) }) != nil {
		_ = p.Ack(refusal(nil)) // its Data cannot be encoded
	}
	p.nsp.srv.logError(err, "namespace", p.nsp.name, "server event", p.Name())
}

// OnServer calls f for each event with this name that another server of the cluster sends with
// ServerEmit. For each namespace it makes one call at a time. If f returns an error, it is logged, and
// a server that waits for an answer receives it, as a client would.
func (h *handlers) OnServer(event string, f func(*ServerPacket) error) *Registration {
	if f == nil {
		panic("parley: the handler is nil")
	}
	set := func(t *table, all []registered[func(*ServerPacket) error]) {
		t.server = maps.Clone(t.server)
		if t.server == nil {
			t.server = map[string][]registered[func(*ServerPacket) error]{}
		}
		if t.server[event] = all; len(all) == 0 {
			delete(t.server, event)
		}
	}
	r := &Registration{h: h, event: event, drop: func(t *table, r *Registration) { set(t, without(t.server[event], r)) }}
	h.change(func(t *table) { set(t, with(t.server[event], registered[func(*ServerPacket) error]{f, r})) })
	return r
}

// OnServer calls f for each event of this name that another server sends to the main namespace; see
// Namespace.OnServer.
func (s *Server) OnServer(event string, f func(*ServerPacket) error) *Registration {
	return s.made().main.OnServer(event, f)
}

// ServerEmit sends an event to all other servers of the cluster, to their OnServer handlers. Sockets
// do not receive it, and neither does this server. It does not wait, and a server that is just starting
// may miss the event. Without Options.Cluster there are
// no other servers, and ServerEmit does nothing. The error wraps ErrCluster if the event will not
// arrive.
func (n *Namespace) ServerEmit(event string, args ...any) error {
	m, err := n.serverEvent(event, args)
	if err != nil || n.local.link == nil {
		return err
	}
	return clusterError(n.local.link.Publish(m))
}

// ServerEmitWithAck sends an event to all other servers of the cluster, and waits until all of them
// that have a handler have answered. ctx must have a deadline. The answers are in order of arrival. If
// some are missing, the error is a *PartialError.
func (n *Namespace) ServerEmitWithAck(ctx context.Context, event string, args ...any) (replies []Reply, err error) {
	m, err := n.serverEvent(event, args)
	if err != nil {
		return nil, err
	}
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("parley: ServerEmitWithAck needs a context with a deadline")
	}
	if n.local.link == nil {
		return nil, ctx.Err()
	}
	err = n.local.link.Call(ctx, m, func(a *adapter.Answer) {
		replies = append(replies, newReply(payload{data: a.Data, attachments: a.Attachments}))
	})
	return replies, clusterError(err)
}

// ServerEmit sends an event to all other servers of the cluster; see Namespace.ServerEmit.
func (s *Server) ServerEmit(event string, args ...any) error {
	return s.made().main.ServerEmit(event, args...)
}

// ServerEmitWithAck sends an event to all other servers of the cluster, and waits for their answers;
// see Namespace.ServerEmitWithAck.
func (s *Server) ServerEmitWithAck(ctx context.Context, event string, args ...any) ([]Reply, error) {
	return s.made().main.ServerEmitWithAck(ctx, event, args...)
}

func (n *Namespace) serverEvent(event string, args []any) (*adapter.Message, error) {
	if adapter.Reserved(event) {
		return nil, fmt.Errorf("parley: event name %q is reserved", event)
	}
	data, attachments, err := sio.AppendEventArgs(nil, event, args)
	if err != nil {
		return nil, fmt.Errorf("parley: encode arguments: %w", err)
	}
	return &adapter.Message{Kind: adapter.ServerEvent, Data: data, Attachments: attachments}, nil
}
