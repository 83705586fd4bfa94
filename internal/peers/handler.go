package peers

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Client is what another server says about the client of a request that it passes on.
type Client struct {
	Address string
	Secure  bool // it uses TLS
}

type clientKey struct{}

// ClientOf returns the client of a request that another server has passed on. ok is false for other
// requests.
func ClientOf(r *http.Request) (c Client, ok bool) {
	c, ok = r.Context().Value(clientKey{}).(Client)
	return c, ok
}

// Handler accepts the requests that other servers pass on, and refuses all others with 403. It belongs
// to the internal address.
func (p *Peers) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, refusal := p.verify(r)
		if refusal == "" {
			p.stats.Accepted.Add(1)
			r = r.WithContext(context.WithValue(r.Context(), clientKey{}, Client{s.client, s.secure}))
			r.RemoteAddr = s.client
			w.Header().Set(sealHeader, sealVersion)
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set(refusedHeader, refusal)
		h.Set("Cache-Control", "no-store")
		if refusal == expired {
			p.tell(h, s)
		} else {
			p.stats.Rejected.Add(1)
			p.opts.Notices.Post(slog.LevelWarn, "rejected\n"+refusal, "parley: a request to the address for other servers is refused",
				"seal", refusal, "from", r.RemoteAddr, "hint", "only servers of the cluster with the same secret may use it")
		}
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(dialTimeout)) // net/http waits for the body
		}
		http.Error(w, "403: this address is for the other servers of a cluster.", http.StatusForbidden)
	})
}
