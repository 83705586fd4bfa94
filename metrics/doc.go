// Package metrics describes a parley.Server to Prometheus. It is a package of its own, so that other
// programs do not link Prometheus.
//
//	registry.MustRegister(metrics.New(srv.Stats))
//	http.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
//
// The parley program has the same metrics, with the same names, and more of its own: one dashboard
// serves both. docs/operations.md lists each of them, with what to do about it.
package metrics
