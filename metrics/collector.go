package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley"
)

// New returns a collector of what stats returns, which is usually the method Stats of a server. It calls
// stats once each time metrics are collected. Figures of the cluster are there if the server is in one.
//
// If a program has several servers, give each a label of its own, with prometheus.WrapRegistererWith. The
// collector is safe for concurrent use if stats is.
func New(stats func() parley.Stats) prometheus.Collector {
	return &collector{stats, families()}
}

type collector struct {
	stats    func() parley.Stats
	families []family
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	stats := c.stats()
	for _, f := range c.families {
		if f.cluster && stats.Cluster == nil {
			continue
		}
		for label, v := range f.values(&stats) {
			var labels []string
			if f.label {
				labels = []string{label}
			}
			ch <- prometheus.MustNewConstMetric(f.desc, f.kind, v, labels...)
		}
	}
}

// family is a metric with a value for each value of its label, or with one value, under "", if it has none.
type family struct {
	desc    *prometheus.Desc
	kind    prometheus.ValueType
	label   bool
	cluster bool // only in a cluster
	values  func(*parley.Stats) map[string]float64
}
