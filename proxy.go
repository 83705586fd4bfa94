package parley

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// ForwardedFor returns a function for Options.ClientAddress that believes the header
// X-Forwarded-For of proxies in the given networks, and of nobody else: each proxy adds the
// address that it was connected from, so the client's is the last one that is not a
// trusted proxy's. What clients themselves put into the header stands in front of that and
// is ignored.
func ForwardedFor(proxies ...netip.Prefix) func(*http.Request) string {
	trusted := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	return func(r *http.Request) string {
		address := r.RemoteAddr
		hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
		for _, hop := range slices.Backward(hops) {
			from, ok := parseAddress(address)
			if !ok || !trusted(from) {
				break
			}
			hop = strings.TrimSpace(hop)
			if _, ok := parseAddress(hop); !ok {
				break // there is no header, or no address in it
			}
			address = hop
		}
		return address
	}
}

// parseAddress parses an IP address with or without a port.
func parseAddress(s string) (netip.Addr, bool) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err == nil
}
