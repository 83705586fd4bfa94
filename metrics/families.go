package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley"
)

// families returns all metrics. docs/operations.md says what to do about each of them.
func families() (all []family) {
	add := func(kind prometheus.ValueType, name, help, label string, values func(*parley.Stats) map[string]float64) {
		f := family{kind: kind, label: label != "", values: values}
		var labels []string
		if f.label {
			labels = []string{label}
		}
		f.desc = prometheus.NewDesc("parley_"+name, help, labels, nil)
		all = append(all, f)
	}
	gauge := func(name, help string, v func(*parley.Stats) int) {
		add(prometheus.GaugeValue, name, help, "", func(s *parley.Stats) map[string]float64 { return one(v(s)) })
	}
	counter := func(name, help string, v func(*parley.Stats) uint64) {
		add(prometheus.CounterValue, name, help, "", func(s *parley.Stats) map[string]float64 { return one(v(s)) })
	}
	counters := func(name, help, label string, v func(*parley.Stats) map[string]uint64) {
		add(prometheus.CounterValue, name, help, label, func(s *parley.Stats) map[string]float64 { return parts(v(s)) })
	}

	gauge("connections", "Clients that are connected.", func(s *parley.Stats) int { return s.Sessions })
	gauge("connections_pending", "Connections that wait for the client to join.", func(s *parley.Stats) int { return s.Pending })
	add(prometheus.GaugeValue, "connections_by_transport", "Clients that are connected, by the transport that they have now.", "transport",
		func(s *parley.Stats) map[string]float64 { return parts(s.Open) })
	gauge("sockets", "Sockets, one for each namespace of a connection.", func(s *parley.Stats) int { return s.Sockets })
	gauge("namespaces", "Namespaces that exist.", func(s *parley.Stats) int { return s.Namespaces })
	gauge("rooms", "Rooms with members.", func(s *parley.Stats) int { return s.Rooms })
	counters("connections_opened_total", "Connections, by the transport they began with.", "transport",
		func(s *parley.Stats) map[string]uint64 { return s.Opened })
	counters("connections_refused_total", "Requests of Socket.IO that were refused, nearly all of them handshakes, by reason.", "reason",
		func(s *parley.Stats) map[string]uint64 { return s.Refused })
	counters("connections_unjoined_total", "Connections that ended because the client did not join, by reason: in time, or before it had to make room.", "reason",
		func(s *parley.Stats) map[string]uint64 {
			return map[string]uint64{"timeout": s.JoinTimeouts, "room": s.MadeRoom}
		})
	counter("upgrades_total", "Connections upgraded to another transport.", func(s *parley.Stats) uint64 { return s.Upgrades })
	counter("sockets_connected_total", "Sockets that have connected.", func(s *parley.Stats) uint64 { return s.Connected })
	counter("sockets_recovered_total", "Sockets that have continued after a disconnection, without loss.", func(s *parley.Stats) uint64 { return s.Recovered })
	add(prometheus.CounterValue, "sockets_disconnected_total", "Sockets that have disconnected, by reason.", "reason",
		func(s *parley.Stats) map[string]float64 { return parts(s.Disconnected) })
	counter("events_received_total", "Events from clients.", func(s *parley.Stats) uint64 { return s.EventsIn })
	counter("events_sent_total", "Events and acknowledgements to clients, each receiver counted.", func(s *parley.Stats) uint64 { return s.EventsOut })
	counter("received_bytes_total", "Bytes of messages from clients.", func(s *parley.Stats) uint64 { return s.BytesIn })
	counter("sent_bytes_total", "Bytes of messages to clients.", func(s *parley.Stats) uint64 { return s.BytesOut })
	counter("volatile_dropped_total", "Volatile events that were dropped.", func(s *parley.Stats) uint64 { return s.VolatileDrops })
	counter("slow_consumers_total", "Connections ended since the client was too far behind.", func(s *parley.Stats) uint64 { return s.SlowConsumers })
	counter("evicted_total", "Clients disconnected since the server held too much for all of them.", func(s *parley.Stats) uint64 { return s.Evicted })
	gauge("held_bytes", "Bytes held for clients: queued for them, waiting for handlers, and in incomplete messages.", func(s *parley.Stats) int { return int(s.Held) })
	counter("malformed_total", "Packets for which a client was disconnected.", func(s *parley.Stats) uint64 { return s.Malformed })
	counter("inbox_floods_total", "Clients disconnected for events that they sent while they owed an acknowledgement.", func(s *parley.Stats) uint64 { return s.InboxFloods })
	counters("slowed_total", "How often a client or a room had to wait, by what there was too much of.", "kind",
		func(s *parley.Stats) map[string]uint64 { return s.Slowed })
	counter("unauthorized_total", "Refused attempts to join or to renew an identity.", func(s *parley.Stats) uint64 { return s.Unauthorized })
	counter("identities_expired_total", "Sockets disconnected since their identity had expired.", func(s *parley.Stats) uint64 { return s.Expired })
	counter("handler_errors_total", "Events that failed for another reason than the client's mistake.", func(s *parley.Stats) uint64 { return s.HandlerErrors })

	alone := len(all)
	gauge("cluster_peers", "Other servers of the cluster that are known to be alive.", func(s *parley.Stats) int { return s.Cluster.Peers })
	gauge("cluster_up", "1 if what other servers send arrives, otherwise 0.", func(s *parley.Stats) int {
		if s.Cluster.Up {
			return 1
		}
		return 0
	})
	counter("cluster_published_total", "Messages to other servers.", func(s *parley.Stats) uint64 { return s.Cluster.Published })
	counter("cluster_received_total", "Messages of other servers.", func(s *parley.Stats) uint64 { return s.Cluster.Received })
	counter("cluster_dropped_total", "Messages to other servers that were not sent, since the engine was away or too slow.", func(s *parley.Stats) uint64 { return s.Cluster.Dropped })
	counter("cluster_holes_total", "How often messages of other servers may have been lost.", func(s *parley.Stats) uint64 { return s.Cluster.Gaps })
	counter("cluster_unanswered_total", "Requests to other servers that not all of them answered in time.", func(s *parley.Stats) uint64 { return s.Cluster.Unanswered })
	counter("cluster_malformed_total", "Messages of other servers that were not understood.", func(s *parley.Stats) uint64 { return s.Cluster.Malformed })
	counters("cluster_forwarded_total", "Requests of other servers' sessions that were passed on to them, and those for which that failed.", "result",
		func(s *parley.Stats) map[string]uint64 {
			return map[string]uint64{"ok": s.Forwarded, "failed": s.NotForwarded}
		})
	counters("cluster_accepted_total", "Requests that other servers passed on to this one, and those that were refused since they do not come from the cluster.", "result",
		func(s *parley.Stats) map[string]uint64 {
			return map[string]uint64{"ok": s.ForwardsAccepted, "refused": s.ForwardsRejected}
		})
	gauge("cluster_tunnels", "WebSockets of other servers' sessions that pass through this one.", func(s *parley.Stats) int { return s.Tunnels })
	for i := alone; i < len(all); i++ {
		all[i].cluster = true
	}
	return all
}

// one returns the value of a metric without a label.
func one[T int | uint64](v T) map[string]float64 { return map[string]float64{"": float64(v)} }

// parts returns the values of a metric by its label. A gauge may be below 0 for a moment, because a session may
// end while the values are read.
func parts[K ~string, V int | uint64](values map[K]V) map[string]float64 {
	all := make(map[string]float64, len(values))
	for label, v := range values {
		all[string(label)] = float64(max(v, 0))
	}
	return all
}
