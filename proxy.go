package parley

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/address"
)

// ForwardedFor returns a function for Options.ClientAddress. It trusts the X-Forwarded-For header
// only from proxies in the given networks. Each proxy appends the address that connected to it, so
// the client's address is the last one that does not belong to a trusted proxy. If clients send the
// header themselves, their entries come before that one and are ignored.
func ForwardedFor(proxies ...netip.Prefix) func(*http.Request) string {
	trusted := anyOf(proxies)
	return func(r *http.Request) string {
		client := r.RemoteAddr
		hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
		for _, hop := range slices.Backward(hops) {
			from, ok := address.Parse(client)
			if !ok || !trusted(from) {
				break
			}
			hop = strings.TrimSpace(hop)
			if _, ok := address.Parse(hop); !ok {
				break // there is no header, or no address in it
			}
			client = hop
		}
		return client
	}
}

// ForwardedProto returns a function for Options.ClientSecure. For requests from proxies in the
// given networks it uses the X-Forwarded-Proto header. Without that, it reports whether the
// connection itself uses TLS. The proxy must set the header for every request, because otherwise
// clients could set it. If there are several proxies, each must say "https".
func ForwardedProto(proxies ...netip.Prefix) func(*http.Request) bool {
	trusted := anyOf(proxies)
	return func(r *http.Request) bool {
		said := r.Header["X-Forwarded-Proto"]
		if from, ok := address.Parse(r.RemoteAddr); !ok || !trusted(from) || len(said) == 0 {
			return r.TLS != nil
		}
		for proto := range strings.SplitSeq(strings.Join(said, ","), ",") {
			if !strings.EqualFold(strings.TrimSpace(proto), "https") {
				return false
			}
		}
		return true
	}
}

// anyOf returns a function that reports whether an address is in one of the networks.
func anyOf(networks []netip.Prefix) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
}
