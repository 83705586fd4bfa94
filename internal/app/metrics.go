package app

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
	"github.com/parley-go/parley/internal/budget"
	"github.com/parley-go/parley/internal/certs"
	"github.com/parley-go/parley/internal/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/sse"
	"github.com/parley-go/parley/webtransport"
)

// newTelemetry returns the server for metrics and probes of health on a port of their own.
func (s *Server) newTelemetry(p *Ports) *http.Server {
	mux := http.NewServeMux()
	s.handleHealth(mux)
	mux.Handle("/metrics", metricsHandler(s.newRegistry()))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "404: the metrics are at /metrics", http.StatusNotFound)
	})
	return s.bounded(s.hostsOn(p.Metrics.Addr()).guard(limitAnswers(readOnly(mux))))
}

// metricsHandler serves metrics.
func metricsHandler(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(gatherer{r, make(chan struct{}, 1)}, promhttp.HandlerOpts{Registry: r, EnableOpenMetrics: true})
}

// newRegistry contains all metrics. docs/operations.md lists each of them.
func (s *Server) newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	registerFeeds(r, s.feeds)
	if s.certs != nil {
		registerTLS(r, s.certs)
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_frames_slowed_total", Help: "Connections over HTTP/2 that sent too many frames and were read more slowly.",
		}, func() float64 { return float64(s.http2.Slowed()) }))
	}
	if s.config.webTransport() {
		registerWebTransport(r, s)
	}
	registerStore(r, s.store)
	registerDesk(r, s.chat, s.store, s.metrics.failed)
	r.MustRegister(
		metrics.New(s.stats), newRefusals(s.chat, s.requests), s.metrics,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_tcp_refused_total", Help: "TCP connections that were closed at once since their address had too many.",
		}, func() float64 { return float64(s.crowd.refused.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_hosts_refused_total", Help: "Requests for a host that is not allowed.",
		}, func() float64 { return float64(s.hostsRefused.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_subscriptions_behind", Help: "Sockets' rooms, and feeds, that get messages from the store because their clients are slow.",
		}, func() float64 { return float64(s.history.Behind()) }),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_build_info", Help: "Always 1.",
			ConstLabels: prometheus.Labels{"version": version(), "goversion": runtime.Version()},
		}, func() float64 { return 1 }),
	)
	return r
}

// gatherer gathers for one request after the other, since each time costs as much as a hundred events.
// Whoever asks for metrics without end then takes part of the machine, and not all of it.
//
// It omits a gauge that duplicates go_memstats_heap_alloc_bytes. OpenMetrics removes "_total" from the
// names of counters, so the gauge would have the name of another metric (go_memstats_alloc_bytes_total).
type gatherer struct {
	prometheus.Gatherer
	turn chan struct{} // holds one value while somebody gathers
}

func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	g.turn <- struct{}{}
	defer func() { <-g.turn }()
	families, err := g.Gatherer.Gather()
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "go_memstats_alloc_bytes" }), err
}

// What some stores can tell about themselves.
type (
	// faulty is implemented by stores that find out whether they can be used.
	faulty interface{ Fault() error }
	// queued is implemented by stores whose reads take turns.
	queued interface{ Waiting() int }
	// files is implemented by stores that keep messages in their own files.
	files interface {
		Sizes() (database, log int64, err error)
		Free() (int64, error)
	}
	// sized is implemented by stores in a database on another server.
	sized interface {
		Size(context.Context) (int64, error)
	}
)

// registerStore adds metrics for whether the store can be used, for its size, and for reading.
func registerStore(r *prometheus.Registry, store history.Store) {
	gauge := func(name, help, file string, value func() (float64, error)) {
		opts := prometheus.GaugeOpts{Name: "parley_store_" + name, Help: help}
		if file != "" {
			opts.ConstLabels = prometheus.Labels{"file": file}
		}
		r.MustRegister(prometheus.NewGaugeFunc(opts, func() float64 {
			v, err := value()
			if err != nil {
				return math.NaN()
			}
			return v
		}))
	}
	if s, ok := store.(faulty); ok {
		gauge("usable", "1, or 0 while the store refuses messages or cannot be reached.", "", func() (float64, error) {
			if s.Fault() != nil {
				return 0, nil
			}
			return 1, nil
		})
	}
	if s, ok := store.(queued); ok {
		gauge("reads_waiting", "Reads of history that wait for their turn.", "", func() (float64, error) { return float64(s.Waiting()), nil })
	}
	const bytes = "Bytes that the store's files take."
	if s, ok := store.(files); ok {
		gauge("free_bytes", "Bytes that are free on the store's disk, without those that its log may need.", "", func() (float64, error) {
			free, err := s.Free()
			return float64(free), err
		})
		gauge("bytes", bytes, "database", func() (float64, error) {
			database, _, err := s.Sizes()
			return float64(database), err
		})
		gauge("bytes", bytes, "log", func() (float64, error) {
			_, log, err := s.Sizes()
			return float64(log), err
		})
	}
	if s, ok := store.(sized); ok {
		gauge("bytes", bytes, "database", func() (float64, error) {
			ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
			defer cancel()
			size, err := s.Size(ctx)
			return float64(size), err
		})
	}
}

// registerFeeds adds the counters of the feeds.
func registerFeeds(r *prometheus.Registry, feeds *sse.Handler) {
	counter := func(name, help string, v func(sse.Stats) uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "parley_" + name, Help: help},
			func() float64 { return float64(v(feeds.Stats())) }))
	}
	gauge := func(name, help string, v func(sse.Stats) int) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "parley_" + name, Help: help},
			func() float64 { return float64(v(feeds.Stats())) }))
	}
	gauge("feeds", "Server-Sent Events feeds that are open.", func(s sse.Stats) int { return s.Streams })
	gauge("feeds_behind", "Feeds whose clients have yet to take what is queued.", func(s sse.Stats) int { return s.Behind })
	gauge("feeds_queued_bytes", "Bytes queued for feeds.", func(s sse.Stats) int { return s.Queued })
	counter("feeds_opened_total", "Feeds, since the start.", func(s sse.Stats) uint64 { return s.Opened })
	counter("feeds_slow_total", "Feeds ended since the client was too far behind.", func(s sse.Stats) uint64 { return s.Slow })
	counter("feeds_failed_total", "Feeds ended since the store failed.", func(s sse.Stats) uint64 { return s.Failed })
	for _, reason := range sse.Refusals {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_feeds_refused_total", Help: "Requests for a feed that were refused, by reason.", ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(feeds.Stats().Refused[reason]) }))
	}
	counter("feed_events_total", "Events to feeds, each receiver counted.", func(s sse.Stats) uint64 { return s.Events })
}

// registerWebTransport adds the counters of the server for WebTransport.
func registerWebTransport(r *prometheus.Registry, s *Server) {
	counter := func(reason string, v func(webtransport.Refused) uint64) {
		r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_quic_refused_total", Help: "QUIC connections, for WebTransport, that were refused since there were too many, by reason.",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(v(s.webTransport.Refused())) }))
	}
	counter("sessions", func(n webtransport.Refused) uint64 { return n.Connections })
	counter("address", func(n webtransport.Refused) uint64 { return n.PerAddress })
}

// registerTLS adds metrics about certificates.
func registerTLS(r *prometheus.Registry, source certs.Source) {
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "parley_tls_certificate_expires_timestamp_seconds", Help: "When the first certificate expires; 0 before there is one.",
		}, func() float64 {
			if t := source.Stats().Expires; !t.IsZero() {
				return float64(t.Unix())
			}
			return 0
		}),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_tls_certificates_loaded_total", Help: "Certificates put to use, renewed ones included.",
		}, func() float64 { return float64(source.Stats().Loaded) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "parley_tls_certificate_failures_total", Help: "Attempts to get or to reload a certificate that failed.",
		}, func() float64 { return float64(source.Stats().Failures) }),
	)
}

// stats returns what package metrics describes, with what other parts of the server know.
func (s *Server) stats() parley.Stats {
	stats := s.sockets.Stats()
	maps.Copy(stats.Slowed, s.chat.Stats().Slowed)
	stats.Slowed[budget.Requests.String()] = s.requests.slowed.Load()
	if s.node != nil {
		cluster := s.node.native.Stats() // also if another wire carries what concerns sockets
		stats.Cluster = &cluster
	}
	return stats
}

// refusals counts what was refused because there was too much of it, by kind.
type refusals struct {
	desc    *prometheus.Desc
	service *chat.Service
	http    *requests
}

func newRefusals(service *chat.Service, http *requests) *refusals {
	const help = "Events, openings of connections and feeds, and requests that were refused, by what there was too much of."
	return &refusals{prometheus.NewDesc("parley_over_budget_total", help, []string{"kind"}, nil), service, http}
}

// Describe implements prometheus.Collector.
func (r *refusals) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

// Collect implements prometheus.Collector.
func (r *refusals) Collect(ch chan<- prometheus.Metric) {
	refused := r.service.Stats().Refused
	refused[budget.Requests.String()] = r.http.refused.Load()
	for kind, n := range refused {
		ch <- prometheus.MustNewConstMetric(r.desc, prometheus.CounterValue, float64(n), kind)
	}
}

// alarmEvery limits how often the log repeats that the store fails: with a full disk, every message
// fails.
const alarmEvery = 10 * time.Second

// storeMetrics counts what the store does and logs its failures. It is a history.Observer and a
// prometheus.Collector.
type storeMetrics struct {
	log *slog.Logger

	commitSeconds  prometheus.Histogram
	commitMessages prometheus.Histogram
	commitErrors   prometheus.Counter
	appended       prometheus.Counter
	duplicates     prometheus.Counter
	repaired       prometheus.Counter
	pruned         prometheus.Counter

	mu     sync.Mutex
	alarm  time.Time // time of the last alarm
	silent int       // failures since then
}

func newStoreMetrics(log *slog.Logger) *storeMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "parley_" + name, Help: help})
	}
	return &storeMetrics{
		log: log,
		commitSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "parley_store_commit_seconds", Help: "How long commits took.",
			Buckets: prometheus.ExponentialBuckets(0.00025, 2, 15), // up to 4 s
		}),
		commitMessages: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "parley_store_commit_messages", Help: "Messages of a commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 11), // up to 1,024
		}),
		commitErrors: counter("store_commit_errors_total", "Commits that failed."),
		appended:     counter("messages_appended_total", "Messages that were stored."),
		duplicates:   counter("messages_duplicate_total", "Messages that were sent again and were stored already."),
		pruned:       counter("messages_pruned_total", "Messages that were deleted because they were old, or too many."),
		repaired:     counter("messages_repaired_total", "Live messages that had to be read from the store."),
	}
}

// Committed implements history.Observer.
func (m *storeMetrics) Committed(messages int, took time.Duration, err error) {
	m.commitSeconds.Observe(took.Seconds())
	m.commitMessages.Observe(float64(messages))
	if err != nil {
		m.commitErrors.Inc()
		m.failed("commit", err)
	}
}

// Repaired implements history.Observer.
func (m *storeMetrics) Repaired(messages int) { m.repaired.Add(float64(messages)) }

// stored counts a message.
func (m *storeMetrics) stored(duplicate bool) {
	if duplicate {
		m.duplicates.Inc()
	} else {
		m.appended.Inc()
	}
}

// failed reports an error of the store to the operator. Faults of the whole store are in the log
// already, once.
func (m *storeMetrics) failed(doing string, err error) {
	if errors.Is(err, sqlite.ErrMoved) || errors.Is(err, sqlite.ErrLow) {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.alarm) < alarmEvery {
		m.silent++
		return
	}
	m.log.Error("store failed", "doing", doing, "error", err, "failures_not_logged", m.silent)
	m.alarm, m.silent = time.Now(), 0
}

func (m *storeMetrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.commitSeconds, m.commitMessages, m.commitErrors, m.appended, m.duplicates, m.repaired, m.pruned}
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}
