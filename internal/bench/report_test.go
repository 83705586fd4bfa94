package bench_test

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/bench"
)

func TestPercentiles(t *testing.T) {
	seen := make([]time.Duration, 10_000)
	for i := range seen {
		seen[i] = time.Duration(i+1) * 100 * time.Microsecond
	}
	l := bench.Latencies(seen)
	for _, c := range []struct {
		name      string
		got, want int64
	}{{"p50", l.P50, 500_000}, {"p90", l.P90, 900_000}, {"p99", l.P99, 990_000}, {"p99.9", l.P999, 999_000}, {"max", l.Max, 1_000_000}} {
		if c.got < c.want || c.got > c.want*1001/1000 {
			t.Errorf("%s is %d, want %d", c.name, c.got, c.want)
		}
	}
	if bench.Latencies(nil) != nil {
		t.Error("latencies of nothing")
	}
	if l := bench.Latencies([]time.Duration{-time.Second, 2 * time.Hour}); l.P50 != 0 || l.Max < time.Hour.Microseconds() {
		t.Errorf("latencies beyond the histogram: %+v", l)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	reasons := []string{"often", "often"}
	for i := range 100 {
		reasons = append(reasons, fmt.Sprint("reason ", i))
	}
	f := bench.Failures(reasons)
	var sum int64
	for _, f := range f {
		sum += f.Count
	}
	if sum != 102 || len(f) != 21 || f[0] != (bench.Failure{Reason: "others", Count: 81}) || f[1].Reason != "often" {
		t.Errorf("%d failures: %v", sum, f)
	}
}

func TestTable(t *testing.T) {
	r := bench.Report{
		URL: "http://127.0.0.1:3000/socket.io/", ServerVersion: "parley 1.2", Started: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC),
		Version: "1.3", Platform: "linux/amd64", Cores: 2, Transport: "polling", Size: 64, Duration: 5, WarmUp: 0.5,
		Server:      &bench.Server{PID: 12, Name: "node"},
		Interrupted: true,
		Results: []bench.Result{
			{
				Scenario: "idle", Unit: "connects", Connections: 1000, PerSecond: 12345.6,
				Latency: &bench.Latency{P50: 999, P99: 1234, P999: 12345, Max: 1234567},
				Server:  &bench.Use{CPUPerUnit: 80.04, CPUPercent: 0.51, BytesPerConnection: 3999},
			},
			{Scenario: "echo", Unit: "echoes", Connections: 100, Rate: 500, Lost: 3, Failed: 1, ClientCPU: 97, Failures: []bench.Failure{{Reason: "connection lost", Count: 1}}},
			{Scenario: "history", NotOffered: "no joinRoom"},
		},
	}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	const want = `
http://127.0.0.1:3000/socket.io/ (parley 1.2) by parley bench 1.3, 2026-01-02 15:04 UTC: polling, 64 B of padding, 5 s after 0.5 s of warm-up; linux/amd64, 2 cores

scenario  conns   load       per second     p50      p99    p99.9     max  CPU each    CPU  memory each  lost  failed
idle      1,000      –  12,346 connects  999 µs  1.23 ms  12.3 ms  1.23 s   80.0 µs  0.5 %      3,999 B     0       0
echo        100  500/s         0 echoes       –        –        –       –         –      –            –     3       1
history   not offered by the server

echo: 1 times: connection lost
echo: this client used 97 % of its CPU: rate and latencies are its own limit, too
history: no joinRoom
server: process 12 (node)
interrupted: these are the results so far
`
	if got := "\n" + b.String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567"} {
		if got := bench.TableInteger(n); got != want {
			t.Errorf("integer %d: %q", n, got)
		}
	}
	for n, want := range map[int64]string{0: "0 µs", 1000: "1.00 ms", 99_999: "100.0 ms", 123_456: "123 ms", 60_000_000: "60.00 s"} {
		if got := bench.TableMicros(n); got != want {
			t.Errorf("%d microseconds: %q", n, got)
		}
	}
}

func TestPackets(t *testing.T) {
	for _, test := range []struct {
		packet string
		kind   byte
		id     int64
		data   string
		ok     bool
	}{
		{`2["echo",1]`, 2, -1, `["echo",1]`, true},
		{`312[true]`, 3, 12, `[true]`, true},
		{`3/a,12[]`, 3, 12, `[]`, true},
		{`0{"sid":"x"}`, 0, -1, `{"sid":"x"}`, true},
		{`0/a,{"sid":"x"}`, 0, -1, `{"sid":"x"}`, true},
		{`1`, 1, -1, ``, true},
		{`1/a`, 1, -1, ``, true},
		{``, 0, 0, ``, false},
		{`7`, 0, 0, ``, false},
		{`399999999999999999999[]`, 3, -1, ``, false},
	} {
		kind, id, data, ok := bench.Parse(test.packet)
		if ok != test.ok || ok && (kind != test.kind || id != test.id || data != test.data) {
			t.Errorf("%q: type %d, id %d, data %q, %v", test.packet, kind, id, data, ok)
		}
	}
	for data, want := range map[string]bool{`["echo",1]`: true, `["echo"]`: true, `["echoes"]`: false, `["ech"]`: false, `["echo`: false, ``: false, `{"echo":`: false} {
		if bench.IsEvent(data, "echo") != want {
			t.Errorf("%q is an echo: %v", data, !want)
		}
	}
	for data, want := range map[string]int64{`["x",{"pad":"","bench":7}]`: 7, `["x",{"id":1,"message":{"bench": 12,"pad":""}}]`: 12, `["bench",7]`: -1, `["x",{"bench":"7"}]`: -1, `["x",{"bench":`: -1} {
		if n, ok := bench.Number(data); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: number %d, %v", data, n, ok)
		}
	}
	if why, refused := bench.Refusal(`[{"error":{"code":"not_joined","message":"join"}}]`); !refused || why != `{"code":"not_joined","message":"join"}` {
		t.Errorf("refusal %q, %v", why, refused)
	}
	if _, refused := bench.Refusal(`[{"id":1}]`); refused {
		t.Error("a normal answer counts as a refusal")
	}
}

func TestListenerTable(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 111 1
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1
`
	for port, want := range map[string]string{"8080": "222", "8081": "", "http": ""} {
		if got := bench.Listener(table, port); got != want {
			t.Errorf("port %s: inode %q, want %q", port, got, want)
		}
	}
}

func TestFindServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	pid, err := bench.FindServer("127.0.0.1", port)
	if runtime.GOOS == "linux" && (pid != os.Getpid() || err != nil) {
		t.Errorf("process %d, %v; this is %d", pid, err, os.Getpid())
	}
	if _, err := bench.FindServer("192.0.2.1", port); err == nil {
		t.Error("a server on another machine is found")
	}
}
