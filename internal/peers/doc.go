// Package peers passes requests on between the servers of a cluster, so that clients need no sticky
// sessions. A session's id ends with the tag of its server. A server that gets a request of another
// one's session sends it to that server's internal address, and returns the answer:
//
//	client ──► any server ──────────────────────► the session's server
//	           Peers.Serve    Parley-Forward: …   Peers.Handler
//
// Polls and streams go over HTTP/1.1, so that they have flow control and end with their client. A
// WebSocket becomes a tunnel: the same request on a connection of its own, then bytes in both directions.
//
// The header Parley-Forward, a seal, says who the client is, and proves with the cluster's secret that a
// server of the cluster has sent the request. It holds for one server, for one request, and for 30
// seconds on the receiver's clock, which counts from the receiver's start. A sender learns that clock
// from the receiver: when a seal is too old, the refusal says what time it is, and proves that too. So
// the clocks of the machines do not matter.
//
// A seal covers the whole head of the request. It does not cover the body, and what follows in a tunnel:
// whoever can change what is on the way between servers needs to be kept out by TLS, or by the network.
package peers
