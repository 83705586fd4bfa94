// Package address reads the network addresses of clients: "host:port", "[host]:port" or a host
// alone, as in http.Request.RemoteAddr and in proxies' headers.
package address

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Parse returns the IP address in s. It turns an IPv4-mapped IPv6 address into IPv4 and drops a
// zone. ok is false if s holds no IP address.
func Parse(s string) (a netip.Addr, ok bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}

// clientBits is the length of the IPv6 prefix that identifies a client. A client gets a network of
// at least this size (RFC 6177, 2) and can use every address in it.
const clientBits = 64

// Client returns the key for limits per client: the IPv4 address, or the /64 network of the IPv6
// address. If s is no IP address, such as that of a Unix socket, it is the host.
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

// Loopback holds the addresses of this machine.
var Loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// Limited returns the key for limits per client, as Client does, or "" if these limits do not apply:
// s is in one of the exempt networks, or it is the address of a Unix socket.
func Limited(s string, exempt []netip.Prefix) string {
	a, ok := Parse(s)
	if ok && slices.ContainsFunc(exempt, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return ""
	}
	if strings.HasPrefix(s, "@") || strings.HasPrefix(s, "/") { // as net.UnixAddr writes it
		return ""
	}
	return Client(s)
}
