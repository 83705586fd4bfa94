package events

import (
	"context"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/chat"
)

// registerLobby adds the events about the list of conversations.
func registerLobby(srv *parley.Server, b *binding) {
	srv.On(string(conversation.ListRooms), b.listRooms)
	srv.On(string(conversation.WatchRooms), b.watchRooms)
	on(srv, b, conversation.UnwatchRooms, func(c *chat.Client, _ context.Context, _ conversation.Empty) (conversation.Empty, error) {
		c.Unwatch()
		return conversation.Empty{}, nil
	})
	on(srv, b, conversation.SetStatus, func(c *chat.Client, _ context.Context, q conversation.StatusRequest) (conversation.StatusRequest, error) {
		return c.SetStatus(q)
	})
}

func (b *binding) listRooms(p *parley.Packet) error {
	var q conversation.ListRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if !turn(p) {
		return nil
	}
	list, err := b.client(p).ListRooms(p.Context(), q)
	if err != nil {
		return refusal(err)
	}
	return refusal(p.Ack(list))
}

func (b *binding) watchRooms(p *parley.Packet) error {
	var q conversation.WatchRequest
	if err := decode(p, &q); err != nil {
		return err
	}
	if !turn(p) {
		return nil
	}
	return refusal(b.client(p).Watch(p.Context(), q, func(w conversation.Watched) {
		p.Ack(w) // it can always be encoded
	}))
}
