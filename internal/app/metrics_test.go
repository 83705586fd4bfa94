package app_test

import (
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/engine"
)

// family is a metric family of an OpenMetrics text.
type family struct {
	kind    string
	samples []sample
}

type sample struct {
	name, labels string
	value        float64
}

// suffixes lists the suffixes that samples of a type may have (OpenMetrics 1.0, section 5).
var suffixes = map[string][]string{
	"counter": {"_total", "_created"}, "gauge": {""}, "info": {"_info"}, "unknown": {""},
	"histogram": {"_bucket", "_count", "_sum", "_created"},
	"summary":   {"", "_count", "_sum", "_created"},
}

var (
	metadata   = regexp.MustCompile(`^# (TYPE|HELP|UNIT) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+)(?: [0-9.]+)?$`)
)

// openMetrics parses a text as strictly as OpenMetrics 1.0 requires.
func openMetrics(t *testing.T, text string) map[string]*family {
	t.Helper()
	body, ok := strings.CutSuffix(text, "# EOF\n")
	if !ok {
		t.Fatal("the text does not end with # EOF")
	}
	families := map[string]*family{}
	seen := map[string]bool{} // metadata and samples, which must be unique
	name := ""
	for line := range strings.Lines(body) {
		line = strings.TrimSuffix(line, "\n")
		if m := metadata.FindStringSubmatch(line); m != nil {
			if m[2] != name { // a new family; all its lines must be together
				if families[m[2]] != nil {
					t.Fatalf("%s is there twice: %s", m[2], line)
				}
				name = m[2]
				families[name] = &family{kind: "unknown"}
			}
			if len(families[name].samples) > 0 || seen[m[1]+" "+name] {
				t.Fatalf("metadata after samples, or again: %s", line)
			}
			seen[m[1]+" "+name] = true
			if m[1] == "TYPE" {
				families[name].kind = m[3]
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		f := families[name]
		if m == nil || f == nil {
			t.Fatalf("neither metadata nor a sample: %s", line)
		}
		suffix, ok := strings.CutPrefix(m[1], name)
		if !ok || !slices.Contains(suffixes[f.kind], suffix) {
			t.Fatalf("not a sample of the %s %s: %s", f.kind, name, line)
		}
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil || f.kind == "counter" && !(value >= 0) || seen[m[1]+m[2]] {
			t.Fatalf("value, or the same sample again: %s", line)
		}
		seen[m[1]+m[2]] = true
		f.samples = append(f.samples, sample{m[1], m[2], value})
	}
	// The name of a family must not be the name of another family's sample.
	for name, f := range families {
		for _, suffix := range suffixes[f.kind] {
			if suffix != "" && families[name+suffix] != nil {
				t.Errorf("%s clashes with %s", name+suffix, name)
			}
		}
	}
	return families
}

func metrics(t *testing.T, url string) map[string]*family {
	t.Helper()
	resp, body := request(t, "GET", url+"/metrics", "Accept", "application/openmetrics-text; version=1.0.0")
	if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("content type %q", got)
	}
	return openMetrics(t, body)
}

// value returns the value of a family's sample.
func (f *family) value(t *testing.T, labels string) float64 {
	t.Helper()
	for _, s := range f.samples {
		if s.labels == labels {
			return s.value
		}
	}
	t.Fatalf("no sample %s in %v", labels, f.samples)
	return 0
}

// Strict parsers accept the output, and it contains the sizes of the store's files.
func TestOpenMetrics(t *testing.T) {
	c := testConfig()
	c.Data = t.TempDir()
	i := start(t, c)
	a := i.dial(t)
	join(t, a, object{"roomId": "r", "userId": "u"})
	send(t, a, object{"roomId": "r", "message": 1})
	found := metrics(t, i.url)
	if n := found["parley_messages_appended"].value(t, ""); n != 1 {
		t.Errorf("%v messages appended", n)
	}
	for _, file := range []string{"database", "log"} {
		if n := found["parley_store_bytes"].value(t, `{file="`+file+`"}`); n < 4096 {
			t.Errorf("the %s has %v bytes", file, n)
		}
	}
}

// The metrics say how many people wait, and who is there.
func TestMetricsOfTheDesk(t *testing.T) {
	d := startClosed(t)
	d.operators()
	ann := d.mustConnect("websocket", withToken(tokenOf("u1", "")))
	ann.mustAsk("startConversation", object{"message": "hello"})
	operator := d.mustConnect("websocket", withToken(tokenOf("bob", asOperator)))
	operator.mustAsk("watchRooms", object{})
	who := withBearer(tokenOf("eve", asAdmin)).header
	who.Set("Accept", "application/openmetrics-text; version=1.0.0")
	_, body, _ := d.request("GET", "/metrics", who, "")
	found := openMetrics(t, string(body))
	for name, want := range map[string]float64{
		`parley_conversations{state="open"}`: 1, `parley_conversations{state="waiting"}`: 1, `parley_conversations{state="unassigned"}`: 1,
		"parley_operators": 1, "parley_lobby_watchers": 1,
	} {
		name, labels, _ := strings.Cut(name, "{")
		if labels != "" {
			labels = "{" + labels
		}
		if found[name] == nil || found[name].value(t, labels) != want {
			t.Errorf("%s%s is not %v", name, labels, want)
		}
	}
}

// slowCollector is a metric that takes a second.
type slowCollector struct{ prometheus.Gauge }

func (c slowCollector) Collect(ch chan<- prometheus.Metric) {
	time.Sleep(time.Second)
	c.Gauge.Collect(ch)
}

// Requests for metrics are served one after the other.
func TestMetricsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := prometheus.NewRegistry()
		r.MustRegister(slowCollector{prometheus.NewGauge(prometheus.GaugeOpts{Name: "g", Help: "h"})})
		h := app.MetricsHandler(r)
		start := time.Now()
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				w := httptest.NewRecorder()
				if h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil)); w.Code != 200 || !strings.Contains(w.Body.String(), "g 0") {
					t.Errorf("%d %s", w.Code, w.Body)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("5 requests took %v, want 5 s", d)
		}
	})
}

// docs/operations.md lists each metric with its labels and type, and no others.
func TestMetricsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	documented, types := map[string]bool{}, map[string]string{} // documented: names with labels; types: by name
	for _, row := range regexp.MustCompile("(?m)^\\| `((parley_[a-z_]+)(?:\\{[a-z,]+\\})?)` \\| (\\w+) \\|").FindAllStringSubmatch(string(text), -1) {
		documented[row[1]], types[row[2]] = true, row[3]
	}
	c := testConfig()
	c.Data, c.TLSSelfSigned, c.Cluster = t.TempDir(), true, "redis://"+redistest.Start(t).Addr
	s, err := app.Open(c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	served := map[string]bool{}
	label := regexp.MustCompile(`="[^"]*"`)
	for _, description := range app.Metrics(s) {
		d := regexp.MustCompile(`fqName: "(\w+)", .* constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}`).FindStringSubmatch(description)
		if d == nil {
			t.Fatal(description)
		}
		name := d[1]
		if labels := label.ReplaceAllString(d[2], "") + d[3]; labels != "" {
			name += "{" + labels + "}"
		}
		if strings.HasPrefix(name, "parley_") && !documented[name] {
			t.Errorf("docs/operations.md lacks %s", name)
		}
		served[name] = true
	}
	for name := range documented {
		if !served[name] {
			t.Errorf("docs/operations.md has %s, which is not served", name)
		}
	}
	for _, reason := range engine.Refusals {
		if !strings.Contains(string(text), "\n| `"+reason+"` | ") {
			t.Errorf("docs/operations.md lacks the reason %s", reason)
		}
	}
	for name, f := range metrics(t, start(t, testConfig()).url) {
		if f.kind == "counter" {
			name += "_total"
		}
		if kind := types[name]; kind != "" && kind != f.kind {
			t.Errorf("%s is a %s, not a %s", name, f.kind, kind)
		}
	}
}
