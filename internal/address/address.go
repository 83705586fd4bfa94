// Package address reads the network addresses of clients: "host:port", "[host]:port" or a host
// alone, as http.Request.RemoteAddr and proxies' headers have them.
package address

import (
	"net"
	"net/netip"
	"strings"
)

// Parse returns the IP address in s. An IPv4 address within IPv6 becomes IPv4, and a zone is
// left out. ok is false if s holds no IP address.
func Parse(s string) (a netip.Addr, ok bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// clientBits is how much of an IPv6 address tells one client from another: a network of this
// size is the least that a client gets (RFC 6177, 2), and it can use all addresses in it.
const clientBits = 64

// Client returns what limits for each client count by: the IPv4 address, or the /64 network of
// the IPv6 address. Of what is no IP address, a Unix socket's for example, it is the host.
func Client(s string) string {
	a, ok := Parse(s)
	switch {
	case !ok:
		if host, _, err := net.SplitHostPort(s); err == nil {
			return host
		}
		return s
	case a.Is4():
		return a.String()
	}
	return netip.PrefixFrom(a, clientBits).Masked().String()
}
