package access

import (
	"net"
	"net/netip"
	"strings"
)

// Closed reports whether everybody has to prove who they are. That is so if a key for tokens,
// visitors, an operator or an API key is configured. A server that has become closed does not open
// again before it is started anew, whatever is removed.
func (a *Access) Closed() bool { return a.closed.Load() }

func (a *Access) mustCloseLocked() bool {
	return a.opts.TokenKeys || a.opts.Visitors || len(a.operators) > 0 || len(a.apiKeys) > 0
}

// Answers reports whether anybody could answer visitors: an operator, a program, or somebody whose tokens
// others sign.
func (a *Access) Answers() bool {
	if a.opts.TokenKeys {
		return true
	}
	now := now()
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, r := range a.operators {
		if !r.value.Disabled {
			return true
		}
	}
	for _, r := range a.apiKeys {
		if !r.value.over(now) {
			return true
		}
	}
	return false
}

// An OpenError says that an open server would listen where others reach it.
type OpenError struct{ Address string }

func (e *OpenError) Error() string {
	return "parley: " + e.Address + " is reachable by others, and nobody has to prove who they are. " +
		"Add an operator (parley operator add NAME) or a key (--token-secret-file FILE), or insist: --insecure-open"
}

// CheckAddresses returns an *OpenError if the server is open and one of the addresses on which it
// would listen is reachable by others.
func (a *Access) CheckAddresses(addresses ...string) error {
	for _, address := range addresses {
		if !a.Closed() && Reachable(address) {
			return &OpenError{address}
		}
	}
	return nil
}

// Reachable reports whether others than this machine's users can reach an address on which a server
// listens: "host:port", or a Unix socket as "unix:" and a path, or a path.
func Reachable(listen string) bool {
	if strings.HasPrefix(listen, "unix:") || strings.HasPrefix(listen, "/") || strings.HasPrefix(listen, "@") {
		return false
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		host = strings.Trim(listen, "[]")
	}
	if strings.EqualFold(host, "localhost") {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err != nil || !ip.Unmap().IsLoopback()
}
