package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley/adapter"
)

// registerCluster adds metrics about the other servers, and about what connects them.
func registerCluster(r *prometheus.Registry, n *node) {
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
}
