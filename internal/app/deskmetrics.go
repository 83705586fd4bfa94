package app

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/internal/chat"
)

// conversations makes a metric of the numbers of conversations, which the store counts.
type conversations struct {
	rooms  history.Rooms
	failed func(doing string, err error)
	desc   *prometheus.Desc
}

// registerDesk adds metrics about conversations and those who answer.
func registerDesk(r *prometheus.Registry, service *chat.Service, store history.Store, failed func(string, error)) {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_operators", Help: "Operators that are connected, or were a moment ago.",
		}, func() float64 { return float64(service.Staff()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_lobby_watchers", Help: "Connections that watch the list of conversations.",
		}, func() float64 { return float64(service.Watchers()) }),
	)
	if rooms, ok := store.(history.Rooms); ok {
		r.MustRegister(&conversations{rooms, failed, prometheus.NewDesc("parley_conversations",
			"Open conversations, those of them that wait for an answer, and those that nobody has. More than 1,000 count as 1,000.", []string{"state"}, nil)})
	}
}

// Describe implements prometheus.Collector.
func (c *conversations) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector. If the store does not answer, there is no number.
func (c *conversations) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	counts, err := c.rooms.CountRooms(ctx, history.Member{})
	if err != nil {
		if !errors.Is(err, history.ErrClosed) { // the server is shutting down
			c.failed("count conversations", err)
		}
		return
	}
	for state, n := range map[string]int{"open": counts.Open, "waiting": counts.Waiting, "unassigned": counts.Unassigned} {
		ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), state)
	}
}
