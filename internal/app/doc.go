// Package app is the inside of the parley binary: a Socket.IO server with durable
// conversations, its page, and what an operator needs to run it.
//
// The command line is read in command.go, settings come from setting.go and config.go,
// and serve.go ties the parts together. The conversations are package chat's:
//
//	GET /            the page and its files
//	GET /parley.js, /transports.js, /feed.js
//	                 the clients
//	/socket.io/      Socket.IO; the events of package chat/events
//	GET /rooms/{room}/events
//	                 a room as Server-Sent Events; package chat/feeds
//	GET /healthz     the process is alive
//	GET /readyz      it wants traffic: the store answers, and it is not shutting down
//	GET /metrics     for Prometheus
//
// With TLS, whose certificates come from package certs, the same is served over HTTP/1.1 and
// HTTP/2, and a second port redirects to it.
//
// What clients send and get is described in docs/protocol.md, the settings in
// docs/configuration.md.
package app
