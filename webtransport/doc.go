// Package webtransport lets clients connect to a [parley.Server] over WebTransport, that is, over
// QUIC and HTTP/3 on a UDP port. A lost packet does not delay data on other streams, and a connection
// survives a change of networks.
//
//	srv, err := parley.New(nil)
//	…
//	udp, err := net.ListenPacket("udp", ":443")
//	…
//	wt := webtransport.NewServer(srv, tlsConfig, nil)
//	go wt.Serve(udp)
//	err = http.ListenAndServeTLS(":443", certFile, keyFile, srv)
//
// Official clients first poll, and then request WebTransport from the same host and port. So serve
// both on the same port number. A page that should use WebTransport at once sets
// transports: ["webtransport"].
//
// A program that imports only package parley does not link QUIC. The subpackage dialer is for clients.
package webtransport
