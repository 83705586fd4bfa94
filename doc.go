// Package parley is a Socket.IO server. Unmodified Socket.IO clients connect to it over WebSocket
// and HTTP long polling, over JSONP if you set Options.JSONP, and over WebTransport if you use
// package webtransport. Other clients can use Server-Sent Events.
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
// The server answers at Options.Path and below it. Register both patterns with a http.ServeMux.
// With the first one only, the mux redirects clients that use addTrailingSlash: false, and
// WebSockets do not follow redirects.
//
//	http.Handle("/socket.io/", srv)
//	http.Handle("/socket.io", srv)
//
// Patterns must not name a method: clients send GET, POST and OPTIONS. http.StripPrefix must not
// cut off Options.Path. Middleware that limits the duration of a request, such as
// http.TimeoutHandler, also ends sessions. Middleware that wraps the http.ResponseWriter needs an
// Unwrap method, or WebSockets do not work. If one of these gets in the way, the server logs it, at
// most once a minute. Package metrics describes the server to Prometheus.
//
// # Events
//
// A descriptor gives an event its types. It is a constant that the server can share with Go
// clients: descriptors come from package event, which does not link the server.
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
// HandleStream is for handlers that answer first and then emit events. Package history/historyio
// joins the rooms of a history in this way.
//
// JavaScript clients may send more than that: several arguments, binary data, and optional
// acknowledgements. Server.On, Emit and Packet handle all of it.
//
// # Order
//
// The handlers of one socket run one at a time, in the order in which its events arrive. They run
// on a goroutine of their own, so a handler may block, and it may wait for an acknowledgement from
// the same client. Handlers of different sockets run concurrently. A socket receives events in the
// order in which you emitted them.
//
// # Errors
//
// When a handler returns an error or panics, the client receives the error as acknowledgement (see
// Error), OnError is called, and the server logs it. Handler panics never end the process. A
// programming mistake, such as a nil handler, panics where you make it.
//
// # Contexts and values
//
// A handler's context ends when its socket disconnects. It carries the values that
// Options.ConnContext took from the HTTP request, and those that middleware stored on the socket
// under a Key.
//
// # Who a client is
//
// Options.Authorize says who each client is, before it joins a namespace. Package auth/jwtauth does
// that with JSON Web Tokens. Socket.Identity and IdentityOf return the result. When an identity
// expires, its socket is disconnected; see Server.OnExpiring and Socket.Renew. When you revoke one,
// call Server.DisconnectIdentities.
//
// # The end
//
// Run serves until a context ends, and then ends everything in the right order. To do it yourself, call
// Shutdown before that of your http.Server.
//
// # Slow clients
//
// Emit never waits for a client. What the client has not yet received is queued, up to
// Options.MaxOutbox. A client that is over this limit and receives nothing is disconnected. If you
// have much to send, see Socket.Drain.
package parley
