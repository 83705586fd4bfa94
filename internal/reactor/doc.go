// Package reactor drives connections by readiness events. An idle connection in a Reactor costs no
// goroutine and no buffer. A few loops, usually one per core, share the connections. Each loop waits
// for all of its connections, reads what arrives into one buffer, and passes the bytes to the
// connection's Handler.
//
//	accept (net/http) → Reactor.Add ─┬─ a socket the kernel can watch → epoll loop
//	                                 └─ anything else → a goroutine that reads
//
// Different goroutines read and write. The loop reads. To write, call Conn.Wake, from any goroutine;
// it never blocks. It puts the connection on the loop's list. A flushing goroutine, which exists only
// while the list is not empty, calls the Drain of each Handler on the list. It first lets other
// runnable goroutines run, so that their messages go out in the same write: sixteen messages to a
// room at once cost one system call per member.
//
// On Linux, the loops use epoll. On other systems each connection has a goroutine behind the same
// interface. So have connections without a file descriptor (net.Pipe), and those that hide it
// (crypto/tls over a foreign listener). The connections of a listener from Listen can be watched
// under TLS, too.
package reactor
