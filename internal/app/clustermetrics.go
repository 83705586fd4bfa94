package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
)

// registerCluster adds metrics about the other servers, and about what connects them.
func registerCluster(r *prometheus.Registry, n *node, server *parley.Server) {
	number := func(name, help string, counts bool, v func(adapter.Stats) float64) {
		value := func() float64 { return v(n.native.Stats()) }
		if name = "parley_cluster_" + name; counts {
			r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, value))
		} else {
			r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
		}
	}
	number("peers", "Other servers of the cluster that are known to be alive.", false, func(s adapter.Stats) float64 { return float64(s.Peers) })
	number("up", "1 if what other servers send arrives, otherwise 0.", false, func(s adapter.Stats) float64 {
		if s.Up {
			return 1
		}
		return 0
	})
	number("published_total", "Messages to other servers.", true, func(s adapter.Stats) float64 { return float64(s.Published) })
	number("received_total", "Messages of other servers.", true, func(s adapter.Stats) float64 { return float64(s.Received) })
	number("dropped_total", "Messages to other servers that were not sent, since the engine was away or too slow.", true, func(s adapter.Stats) float64 { return float64(s.Dropped) })
	number("holes_total", "How often messages of other servers may have been lost.", true, func(s adapter.Stats) float64 { return float64(s.Gaps) })
	number("unanswered_total", "Requests to other servers that not all of them answered in time.", true, func(s adapter.Stats) float64 { return float64(s.Unanswered) })
	number("malformed_total", "Messages of other servers that were not understood.", true, func(s adapter.Stats) float64 { return float64(s.Malformed) })
	forwards := func(name, help, result string, v func(parley.Stats) uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_cluster_" + name, Help: help, ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(v(server.Stats())) }))
	}
	const forwarded = "Requests of other servers' sessions that were passed on to them, and those for which that failed."
	forwards("forwarded_total", forwarded, "ok", func(s parley.Stats) uint64 { return s.Forwarded })
	forwards("forwarded_total", forwarded, "failed", func(s parley.Stats) uint64 { return s.NotForwarded })
	const accepted = "Requests that other servers passed on to this one, and those that were refused since they do not come from the cluster."
	forwards("accepted_total", accepted, "ok", func(s parley.Stats) uint64 { return s.ForwardsAccepted })
	forwards("accepted_total", accepted, "refused", func(s parley.Stats) uint64 { return s.ForwardsRejected })
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "parley_cluster_tunnels", Help: "WebSockets of other servers' sessions that pass through this one.",
	}, func() float64 { return float64(server.Stats().Tunnels) }))
}
