// Package historyio joins the rooms of a [history.Log] to the sockets of a namespace: a client gets
// a page of a room's history and then every later message, without a gap and without anything
// twice.
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
// has, and gets what it missed:
//
//	history.OpenOptions{Epoch: q.Epoch, Since: q.After}
//
// # Recovery
//
// With parley.Options.Recovery a client may get its socket back: its rooms, its data, and the
// events that it missed. A log's messages are no room's events, so Rooms sees to them. It
// remembers, with the socket, the last message that the socket was sent; when the client is back,
// it sends what was stored after that one. The client does nothing.
//
// If the room cannot go on from there (more was missed than [history.MaxLimit], the store failed),
// the membership ends and the client is told to join again, see [Options.Lost].
package historyio
