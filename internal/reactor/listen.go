package reactor

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Listen returns a listener whose connections can be watched even under crypto/tls: give it to
// http.Server.ServeTLS. Without it a TLS connection gets a goroutine.
//
// Accept does not fail when the process, or the system, has run out of file descriptors or
// memory. It tells short, which may be nil, of each failure and tries again soon, so that clients
// that wait get in within a fraction of a second once others have gone.
func Listen(l net.Listener, short func(error)) net.Listener { return listener{l, short} }

type listener struct {
	net.Listener
	short func(error)
}

// How long Accept waits before it tries again: at first, since a client that is being refused
// gives its descriptor back at once, and at most. net/http would wait for up to 1 s.
const (
	acceptSoon = 2 * time.Millisecond
	acceptLate = 100 * time.Millisecond
)

func (l listener) Accept() (net.Conn, error) {
	for wait := acceptSoon; ; wait = min(2*wait, acceptLate) {
		nc, err := l.Listener.Accept()
		switch {
		case err == nil:
			return watchable(nc), nil
		case !IsShortage(err):
			return nil, err
		case l.short != nil:
			l.short(err)
		}
		time.Sleep(wait) // after Close the next attempt fails for good
	}
}

// IsShortage reports whether the process or the system has run out of what a connection takes.
func IsShortage(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
