package parley

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/address"
)

// ForwardedFor returns a function for Options.ClientAddress that believes the header
// X-Forwarded-For of proxies in the given networks, and of nobody else: each proxy adds the
// address that it was connected from, so the client's is the last one that is not a
// trusted proxy's. What clients themselves put into the header stands in front of that and
// is ignored.
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

// ForwardedProto returns a function for Options.ClientSecure: what the header X-Forwarded-Proto
// of proxies in the given networks says, or else whether the connection itself is one over
// TLS. The proxy has to set the header for every request, or clients could. Of several proxies
// each has to say "https".
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

// anyOf reports whether one of the networks has an address.
func anyOf(networks []netip.Prefix) func(netip.Addr) bool {
	return func(a netip.Addr) bool {
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
	}
}
