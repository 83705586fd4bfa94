package origin

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Check returns an error if s, as an entry of Policy.Origins, could never match what browsers send.
// They send scheme://host with the host in ASCII, and with a port unless it is the scheme's default
// (RFC 6454, 6.2). "*" stands for every origin. Pages without an origin of their own send "null";
// in some browsers, pages from files send "file://". The error says what to write instead.
func Check(s string) error {
	switch s {
	case "*", "null", "file://":
		return nil
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || !consistsOf(scheme, letters+digits+"+-.") {
		return never(s, "it needs a scheme, as in https://example.com")
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return never(s, "nothing may follow host and port: write %s://%s", scheme, rest[:i])
	}
	if strings.Contains(rest, "*") {
		return never(s, "only * alone is a wildcard; AllowOrigin can decide on others")
	}
	if strings.ContainsFunc(rest, func(r rune) bool { return r >= 0x80 }) {
		return never(s, "browsers send the host in its ASCII form, which begins with xn--")
	}
	host, port, ok := splitHostPort(rest, "0")
	if !ok {
		return never(s, "after %s:// comes a host, and perhaps a port", scheme)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return never(s, "%s is not a port", port)
	}
	if port == defaultPort(scheme) {
		return never(s, "browsers leave out the scheme's own port: write %s://%s", scheme, host)
	}
	if ip, isIPv6 := strings.CutPrefix(host, "["); isIPv6 {
		ip = strings.TrimSuffix(ip, "]")
		if a, err := netip.ParseAddr(ip); err != nil {
			return never(s, "%s is not an IPv6 address", ip)
		} else if a.String() != strings.ToLower(ip) {
			return never(s, "browsers write the address as [%s]", a)
		}
	}
	return nil
}

func never(s, format string, args ...any) error {
	return fmt.Errorf("origin %q can never match: "+format, append([]any{s}, args...)...)
}
