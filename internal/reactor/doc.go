// Package reactor drives connections by readiness. A connection that is handed to a
// Reactor costs no goroutine and no buffer while it is idle: one loop a core waits
// for all of its connections, reads what has arrived into a buffer of its own and
// gives the bytes to the connection's Handler.
//
//	accept (net/http) → Reactor.Add ─┬─ a socket the kernel can watch → epoll loop
//	                                 └─ anything else → a goroutine that reads
//
// Reading and writing are done by different goroutines. The loop reads. Writing is
// asked for with Conn.Wake, which may be called from anywhere and never blocks: it
// puts the connection on the loop's list, and one flushing goroutine, which exists
// only while that list is not empty, calls each Handler's Drain. It first lets the
// goroutines run that are ready to run, so that what they send goes into the same
// write: a room that gets sixteen messages at once costs each member one system
// call.
//
// Linux has epoll. Elsewhere, and for connections that have no file
// descriptor (net.Pipe) or hide it (crypto/tls over a foreign listener), a goroutine
// for each connection stands behind the same interface. Listen returns a listener
// whose connections can be watched under TLS, too.
package reactor
