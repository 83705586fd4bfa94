// Package webtransport lets clients connect to a parley.Server over WebTransport, which is
// QUIC and HTTP/3 on a UDP port: one lost packet does not hold up what is in others, and a
// connection survives a change of the network.
//
//	srv, err := parley.New(nil)
//	…
//	udp, err := net.ListenPacket("udp", ":443")
//	…
//	wt := webtransport.NewServer(srv, tlsConfig, nil)
//	go wt.Serve(udp)
//	err = http.ListenAndServeTLS(":443", certFile, keyFile, srv)
//
// Official clients ask for it where they have polled, so both have to be served on the same
// host and port. A page asks for it at once with transports: ["webtransport"].
//
// Who imports package parley alone does not link QUIC.
package webtransport
