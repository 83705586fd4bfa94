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
// # Behind a mux
//
// The server answers at Options.Path and below it. Give a http.ServeMux both patterns: it would
// redirect clients with addTrailingSlash: false, which WebSockets do not follow.
//
//	http.Handle("/socket.io/", srv)
//	http.Handle("/socket.io", srv)
//
// Patterns must not name a method, since clients send GET, POST and OPTIONS. http.StripPrefix must
// not cut Options.Path off. Middleware that ends requests after a time, such as
// http.TimeoutHandler, ends sessions with it. Middleware that wraps the http.ResponseWriter
// needs a method Unwrap for WebSockets to be possible. The log says once a minute when one of
// these is in the way.
//
// # Events
//
// A descriptor gives an event its types. It is a constant, and a Go client can share it: the
// descriptors are those of package event, which does not link the server.
//
//	const (
//		Typing = parley.Event[Notice]("typing")          // one argument
//		Join   = parley.RPC[JoinRequest, Joined]("join") // the result is the acknowledgement
//	)
//
//	parley.Handle(srv, Join, func(ctx context.Context, s *parley.Socket, q JoinRequest) (Joined, error) { … })
//	parley.On(srv, Typing, func(ctx context.Context, s *parley.Socket, v Notice) error { … })
//	Typing.Emit(srv.To(room).Except(s.ID()), Notice{…})
//
// Clients in JavaScript may send more than that: several arguments, binary data among them, and
// an acknowledgement that is optional. Server.On, Emit and Packet handle all of it.
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
// When a handler returns an error or panics, the client's acknowledgement is the error (see Error).
// OnError gets to know of it, and it is logged. It never ends the process.
//
// # Slow clients
//
// Emitting never waits for a client. What cannot be sent yet is kept, up to
// Options.MaxOutbox; a client that is further behind is disconnected.
package parley
