// Package target judges the target of a request (RFC 9110, 7.1): the host that the client asked for,
// and the path in it.
package target

import (
	"net/netip"
	"net/url"
	"strings"
)

// Name returns the host of a Host header or of :authority as names are compared: without the port,
// without the brackets of an IPv6 address, without the dot that ends a complete name, and in lower
// case. The result may be empty or no host at all, as clients send anything.
func Name(host string) string {
	if name, rest, ok := strings.Cut(host, "]"); ok && strings.HasPrefix(name, "[") && (rest == "" || rest[0] == ':') {
		return strings.ToLower(name[1:])
	}
	host, _, _ = strings.Cut(host, ":")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// IsFixed reports whether nobody can make a name lead to another machine: it is an address, or
// localhost or below it (RFC 6761, 6.3). Any other name is in the hands of whoever owns its domain.
func IsFixed(name string) bool {
	_, err := netip.ParseAddr(name)
	return err == nil || isLocalhost(name)
}

// IsLoopback reports whether a name stands for the client's own machine. Browsers trust such servers
// as they trust https (W3C Secure Contexts, 3.1).
func IsLoopback(name string) bool {
	a, err := netip.ParseAddr(name)
	return err == nil && a.Unmap().IsLoopback() || isLocalhost(name)
}

func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// IsPlain reports whether the path of a URL has no needless escapes. A letter, a digit, "-", "." or
// "_" stands for itself, and its escape means the same (RFC 3986, 2.3). A proxy's rule for a path may
// overlook such an escape. "~" may be escaped, because old encoders do that.
func IsPlain(u *url.URL) bool {
	// Without a RawPath, the path came as net/url would write it.
	for rest := u.RawPath; ; {
		_, escape, found := strings.Cut(rest, "%")
		if !found {
			return true
		}
		c, err := url.PathUnescape("%" + escape[:min(2, len(escape))])
		if err != nil || strings.Trim(c, unreserved) == "" {
			return false
		}
		rest = escape[2:]
	}
}

const unreserved = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
