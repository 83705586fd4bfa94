package metrics_test

import (
	"context"
	"log/slog"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/parleytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gather returns the values by name and label, such as slowed_total{frames}. The registry checks the collector.
func gather(t *testing.T, stats func() parley.Stats) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(metrics.New(stats))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), "parley_")
			for _, l := range m.Label {
				name += "{" + l.GetValue() + "}"
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return values
}

// Each figure of parley.Stats is in a metric.
func TestEveryFigure(t *testing.T) {
	next := 0
	want := map[float64]string{}
	var fill func(name string, v reflect.Value)
	fill = func(name string, v reflect.Value) {
		if v.CanInt() || v.CanUint() || v.Kind() == reflect.Bool {
			next++
			want[float64(next)] = name
		}
		switch {
		case v.CanInt():
			v.SetInt(int64(next))
		case v.CanUint():
			v.SetUint(uint64(next))
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
			want[1], next = want[1]+" "+name, next-1 // its value is 1
			delete(want, float64(next+1))
		case v.Kind() == reflect.Map:
			element := reflect.New(v.Type().Elem()).Elem()
			fill(name, element)
			v.Set(reflect.MakeMap(v.Type()))
			v.SetMapIndex(reflect.ValueOf("part").Convert(v.Type().Key()), element)
		case v.Kind() == reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
			fill(name, v.Elem())
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				fill(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		default:
			t.Fatalf("%s is a %v", name, v.Kind())
		}
	}
	var stats parley.Stats
	fill("Stats", reflect.ValueOf(&stats).Elem())
	found := map[float64]bool{}
	for _, v := range gather(t, func() parley.Stats { return stats }) {
		found[v] = true
	}
	for v, name := range want {
		if !found[v] {
			t.Errorf("no metric has %s", name)
		}
	}
	if len(want) < 30 {
		t.Errorf("%d figures", len(want))
	}
}

// A server alone, and one in a cluster.
func TestOfServers(t *testing.T) {
	native, err := adapter.New(adapter.NewMemory().Connect(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]*parley.Options{"alone": {}, "cluster": {Cluster: native}} {
		o.Logger = slog.New(slog.DiscardHandler)
		srv, err := parley.New(o)
		if err != nil {
			t.Fatal(err)
		}
		s := parleytest.NewServer(t, srv)
		client := s.MustDial()
		got := gather(t, srv.Stats)
		for metric, want := range map[string]float64{
			"sockets": 1, "connections": 1, "connections_by_transport{websocket}": 1, "connections_by_transport{polling}": 0,
			"connections_opened_total{websocket}": 1, "connections_refused_total{origin}": 0, "namespaces": 1,
			"sockets_disconnected_total{ping timeout}": 0, "slowed_total{frames}": 0, "connections_unjoined_total{timeout}": 0,
		} {
			if v, there := got[metric]; !there || v != want {
				t.Errorf("%s: %s is %v, %v, want %v", name, metric, v, there, want)
			}
		}
		for _, metric := range []string{"cluster_peers", "cluster_up", "cluster_published_total", "cluster_forwarded_total{ok}", "cluster_tunnels"} {
			if _, there := got[metric]; there != (name == "cluster") {
				t.Errorf("%s: %s is there: %v", name, metric, there)
			}
		}
		client.Close()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// docs/operations.md says of each metric what to do about it, and lists no others in these tables.
func TestWhatToDoIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n### Of the library\n")
	section, _, _ = strings.Cut(section, "\n### ")
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `parley_([a-z_]+(?:\\{[a-z]+\\})?)` \\| (?:gauge|counter) \\| [^|]+ \\| ([^|]+) \\|$").FindAllStringSubmatch(section, -1) {
		documented[row[1]] = row[2]
	}
	ch := make(chan *prometheus.Desc, 100)
	metrics.New(func() parley.Stats { return parley.Stats{} }).Describe(ch)
	close(ch)
	for d := range ch {
		parts := regexp.MustCompile(`fqName: "parley_(\w+)".*variableLabels: (\{.*\})\}`).FindStringSubmatch(d.String())
		name := parts[1] + strings.TrimSuffix(parts[2], "{}")
		if len(strings.Fields(documented[name])) < 3 {
			t.Errorf("docs/operations.md does not say what to do about %s", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/operations.md has %s, which does not exist", name)
	}
}
