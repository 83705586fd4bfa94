// Package app is the application behind the parley binary: a Socket.IO server with durable
// conversations, a web page, and what an operator needs to run it.
//
// command.go has the table of commands, call.go runs one, setting.go and config.go the settings, and serve.go connects
// the parts. Package chat implements the conversations:
//
//	GET /            the page and its files
//	GET /parley.js, /room.js, … and /parley.d.ts, …
//	                 the clients of package js, and their types
//	/socket.io/      Socket.IO; the events of package chat/events
//	GET /rooms/{room}/events
//	                 a room as Server-Sent Events; package chat/feeds
//	GET /healthz     the process is alive
//	GET /readyz      it wants traffic: the store answers, and it is not shutting down
//	GET /metrics     for Prometheus
//
// With TLS, the same is served over HTTP/1.1 and HTTP/2, and a second port redirects to it. Package
// certs provides the certificates.
//
// docs/protocol.md describes what clients send and receive, docs/configuration.md the settings.
package app
