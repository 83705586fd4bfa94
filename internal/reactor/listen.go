package reactor

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// Listen returns a listener whose connections a loop can watch even under crypto/tls. Pass it to
// http.Server.ServeTLS. Without it, each TLS connection has a goroutine.
//
// Accept does not fail when the process or the system runs out of file descriptors or memory. It
// calls short, which may be nil, with each such failure and soon tries again. So waiting clients get
// in within a fraction of a second after others have gone.
func Listen(l net.Listener, short func(error)) net.Listener { return listener{l, short} }

type listener struct {
	net.Listener
	short func(error)
}

// Accept first waits acceptSoon before it tries again, because a client that is being refused gives
// its descriptor back at once. It doubles the wait up to acceptLate. net/http would wait up to 1 s.
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
		time.Sleep(wait) // after Close, the next attempt returns an error
	}
}

// IsShortage reports whether err means that the process or the system has run out of file descriptors
// or memory for connections.
func IsShortage(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
