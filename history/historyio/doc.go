// Package historyio connects the rooms of a [history.Log] to sockets. A client receives a page of a
// room's history and then every later message, without gaps or duplicates.
//
//	rooms := historyio.New(srv, history.NewLog(store, nil), nil)
//	parley.HandleStream(srv, Join, func(ctx context.Context, s *parley.Socket, q JoinRequest, ack func(history.Opened) error) error {
//		since := history.OpenOptions{Since: q.After, Epoch: q.Epoch}
//		return rooms.Join(ctx, s, q.Room, since, func(o history.Opened) { ack(o) }) // ahead of all live messages
//	})
//
// Join is a parley.RPC[JoinRequest, history.Opened]. After and Epoch are the number of the last message
// that the client has, and the epoch that it belongs to. With them, a client that has lost its connection
// joins again and receives what it missed. A client that has nothing yet sends neither. A socket leaves a
// room when you call Rooms.Leave, and all its rooms when it disconnects.
//
// # Several namespaces
//
// Call [New] for each namespace, with the same log:
//
//	for _, n := range []historyio.Sockets{srv, srv.Of("/admin"), srv.OfPattern(tenants)} { … }
//
// # Slow clients
//
// A client that is behind (see parley.Socket.Behind) gets no live messages until it has taken what
// it was sent. Then it gets what it lacks from the store, as the same events in the same order. So
// it is not disconnected because others send much, as long as it takes something.
//
// # Recovery
//
// With parley.Options.Recovery, a client that has lost its connection may get its socket back, with
// the events that it missed. It then does not have to join again: Rooms remembers the last message
// that it sent to each socket in each room. When the client is back, it receives what was stored
// after that.
//
// This is not possible if the store fails, or no longer has what the client missed. The membership
// then ends, and [Options.Lost] by default tells the client to join again. A
// client also has to join again if it lost its connection before its join was answered.
package historyio
