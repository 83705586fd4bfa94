// Package historyio connects the rooms of a [history.Log] to the sockets of a namespace. A client
// receives a page of a room's history and then every later message, without gaps or duplicates.
//
//	log := history.NewLog(store, nil)
//	rooms := historyio.New(srv.Of("/"), log, nil)
//	srv.On("join", func(p *parley.Packet) error {
//		var room string
//		if err := p.Decode(&room); err != nil {
//			return err
//		}
//		return rooms.Join(p.Context(), p.Socket(), room, history.OpenOptions{}, func(o history.Opened) {
//			p.Ack(o) // ahead of all live messages
//		})
//	})
//
// A client that has lost its connection joins again, with the number of the last message that it
// has, and receives what it missed:
//
//	history.OpenOptions{Epoch: q.Epoch, Since: q.After}
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
