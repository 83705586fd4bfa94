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
// The handlers of one socket run one at a time, in the order in which its events arrive. They run
// on a goroutine of their own, so a handler may block, and may wait for an acknowledgement from
// the same client. Handlers of different sockets run at the same time. What you emit to one socket
// arrives in the order in which you emitted it.
//
// # Errors
//
// When a handler returns an error or panics, its client's acknowledgement is the error (see Error).
// OnError gets to know of it, and the server logs it. It never ends the process. A mistake of the
// program, such as a nil handler, panics where it is made.
//
// # Contexts and values
//
// The context of a handler ends when its socket disconnects. It has the values that
// Options.ConnContext took from the HTTP request, and those that middleware kept with the socket
// under a Key.
//
// # Slow clients
//
// Emitting never waits for a client. What the client has not taken yet waits for it, up to
// Options.MaxOutbox. A client that is over it and takes nothing is disconnected; see Socket.Drain
// if you have much to send.
package parley
