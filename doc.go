// Package parley is a Socket.IO server: unmodified Socket.IO clients connect to it over
// WebSocket and HTTP long polling, with Options.JSONP over JSONP and with package webtransport
// over WebTransport, and others that know the transport over Server-Sent Events.
//
//	srv, err := parley.New(nil)
//	if err != nil { … }
//	srv.OnConnection(func(s *parley.Socket) {
//		s.Join("lobby")
//	})
//	srv.On("message", func(p *parley.Packet) error {
//		return srv.To("lobby").Emit("message", "Hello, client!")
//	})
//	http.ListenAndServe(":3000", srv)
//
// # Events
//
// An event is typed by a descriptor, a package-level value that both sides of a
// conversation can share:
//
//	const (
//		Typing = parley.Event[Notice]("typing")         // one argument
//		Join   = parley.RPC[JoinRequest, Joined]("join") // the result is the acknowledgement
//	)
//
//	Join.Handle(srv, func(ctx context.Context, s *parley.Socket, q JoinRequest) (Joined, error) { … })
//	Typing.Emit(srv.To(room).Except(s.ID()), Notice{…})
//
// What JavaScript does beyond that (several arguments, binary among them, an optional
// acknowledgement) goes through On, Emit and Packet.
//
// # Order
//
// The handlers of one socket run one at a time, in the order in which its events arrive,
// on a goroutine of their own: a handler may block, and may wait for an acknowledgement
// from the same client. Different sockets run side by side. Emits to one socket arrive in
// the order in which they were made.
//
// # Errors
//
// An error that a handler returns, or a panic in it, is answered if the client asked for an
// acknowledgement (see Error), is told to OnError, and is logged. It never ends the process.
//
// # Slow clients
//
// Emitting never waits for a client. What cannot be sent yet is kept, up to
// Options.MaxOutbox; a client that is further behind is disconnected.
package parley
