package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/bench"
)

// short holds the flags of a short scenario. They include the pid, which would take longer to find.
var short = []string{"--warmup", "10ms", "--duration", "30ms", "--connections", "12", "--timeout", "1m"}

func init() {
	if runtime.GOOS == "linux" {
		short = append(short, "--pid", strconv.Itoa(os.Getpid()))
	}
}

func with(flags []string, args ...string) []string {
	return append(append([]string{}, flags...), args...)
}

func checkMeasured(t *testing.T, r bench.Result) {
	t.Helper()
	if r.Count == 0 || r.PerSecond <= 0 || r.Lost != 0 || r.Failed != 0 || r.Latency == nil || r.Connections == 0 {
		t.Errorf("%+v", r)
	}
	if l := r.Latency; l != nil && (l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max || l.Max == 0) {
		t.Errorf("latencies %+v", *l)
	}
	if runtime.GOOS == "linux" && (r.Server == nil || r.Server.RSS == 0) {
		t.Errorf("the server's use is missing: %+v", r.Server)
	}
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	url := application(t, "/", nil)
	for _, flags := range [][]string{{"--transport", "websocket"}, {"--transport", "polling"}, {"--rate", "200"}} {
		for _, scenario := range []string{"idle", "churn", "echo", "ack", "broadcast", "rooms"} {
			t.Run(fmt.Sprint(scenario, flags), func(t *testing.T) {
				t.Parallel()
				args := with(with(short, flags...), "--scenario", scenario, url)
				r, code := measure(t, t.Context(), args...)
				if code != 0 || len(r.Results) != 1 || r.Results[0].Scenario != scenario {
					t.Fatalf("exit code %d, %+v", code, r)
				}
				checkMeasured(t, r.Results[0])
			})
		}
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	r, code := measure(t, t.Context(), with(short, "--scenario", "history", binary(t))...)
	if code != 0 || len(r.Results) != 2 || r.Results[0].Unit != "sends" || r.Results[1].Unit != "joins" {
		t.Fatalf("exit code %d, %+v", code, r)
	}
	checkMeasured(t, r.Results[0])
	checkMeasured(t, r.Results[1])
}

func TestNamespaceAndHeader(t *testing.T) {
	t.Parallel()
	url := application(t, "/bench", nil)
	r, code := measure(t, t.Context(), with(short, "--scenario", "rooms", "--namespace", "/bench",
		"--auth", `{"token":"x"}`, "--header", "Cookie: a=b", url)...)
	if code != 0 {
		t.Fatalf("exit code %d, %+v", code, r)
	}
	checkMeasured(t, r.Results[0])
}

// In an open loop, a stall shows in every message that is due during it. In a closed loop, it shows
// only in the messages in flight.
func TestStallShowsInOpenLoop(t *testing.T) {
	t.Parallel()
	const stall = 3 * time.Second
	for _, test := range []struct {
		rate string
		open bool
	}{{"500", true}, {"0", false}} {
		t.Run("rate "+test.rate, func(t *testing.T) {
			t.Parallel()
			var gate sync.RWMutex
			var once sync.Once
			url := application(t, "/", func() bool {
				once.Do(func() {
					time.AfterFunc(200*time.Millisecond, func() {
						gate.Lock()
						time.AfterFunc(stall, gate.Unlock)
					})
				})
				gate.RLock()
				defer gate.RUnlock()
				return true
			})
			r, code := measure(t, t.Context(), "--scenario", "echo", "--connections", "10", "--window", "1", "--warmup", "0",
				"--duration", "4500ms", "--rate", test.rate, url)
			if code != 0 || len(r.Results) != 1 {
				t.Fatalf("exit code %d, %+v", code, r)
			}
			// Two thirds of the messages that are due wait for half of the stall on average.
			l := *r.Results[0].Latency
			shows := time.Duration(l.P50)*time.Microsecond > stall/10
			if shows != test.open || time.Duration(l.Max)*time.Microsecond < stall*9/10 {
				t.Errorf("latencies %+v", l)
			}
			if sent := r.Results[0].Sent; test.open && sent != 2250 {
				t.Errorf("%d messages sent, 2250 were due", sent)
			}
		})
	}
}

func TestLossIsToldAndFails(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	url := application(t, "/", func() bool { return n.Add(1) != 20 })
	r, code := measure(t, t.Context(), with(short, "--scenario", "echo", "--timeout", "3s", url)...)
	if code != 1 || len(r.Results) != 1 || r.Results[0].Lost != 1 {
		t.Errorf("exit code %d, %+v", code, r)
	}
}

func TestAllLeavesOutWhatIsNotOffered(t *testing.T) {
	t.Parallel()
	srv, err := parley.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	url := serve(t, srv, func() { srv.Shutdown(context.Background()) })
	r, code := measure(t, t.Context(), with(short, "--scenario", "echo,idle", url)...)
	if code != 0 || len(r.Results) != 2 || !strings.Contains(r.Results[0].NotOffered, `"echo"`) || !strings.Contains(r.Results[0].NotOffered, `"joinRoom"`) {
		t.Fatalf("exit code %d, %+v", code, r)
	}
	checkMeasured(t, r.Results[1])
}

// The binary has neither of the events, so its own stand in for them.
func TestBinaryIsMeasured(t *testing.T) {
	t.Parallel()
	url := binary(t)
	for _, transport := range []string{"websocket", "polling"} {
		r, code := measure(t, t.Context(), with(short, "--scenario", "echo,ack", "--transport", transport, url)...)
		if code != 0 || len(r.Results) != 2 {
			t.Fatalf("exit code %d, %+v", code, r)
		}
		for i, via := range []string{"sendMessage", "leaveRoom"} {
			checkMeasured(t, r.Results[i])
			if !strings.Contains(r.Results[i].Via, via) || r.Results[i].Count != r.Results[i].Sent {
				t.Errorf("%s: %+v", via, r.Results[i])
			}
		}
		if !strings.HasPrefix(r.ServerVersion, "parley ") || r.Version == "" || r.Cores < 1 || r.Started.IsZero() || r.Duration != 0.03 || r.WarmUp != 0.01 || r.Size != 64 {
			t.Errorf("%+v", r)
		}
	}
	_, table, _ := command(t.Context(), with(short, "--scenario", "ack", url)...)
	if !strings.Contains(table, "ack: the server lacks the event, so this is leaveRoom") || !strings.HasPrefix(table, url+"/socket.io/ (parley ") {
		t.Error(table)
	}
}

// What the server refuses is no answer.
func TestRefusalIsNoAnswer(t *testing.T) {
	t.Parallel()
	srv, err := parley.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	parley.Handle(srv, ackMe, func(_ context.Context, _ *parley.Socket, v json.RawMessage) (json.RawMessage, error) {
		if n.Add(1) == 20 {
			return nil, &parley.Error{Code: "busy", Message: "later"}
		}
		return v, nil
	})
	url := serve(t, srv, func() { srv.Shutdown(context.Background()) })
	r, code := measure(t, t.Context(), with(short, "--scenario", "ack", url)...)
	if code != 1 || r.Results[0].Failed != 1 || r.Results[0].Failures[0].Reason != `refused: {"code":"busy","message":"later"}` {
		t.Errorf("exit code %d, %+v", code, r)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	var answered atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	url := application(t, "/", func() bool {
		if answered.Add(1) == 100 {
			cancel()
		}
		return true
	})
	r, code := measure(t, ctx, with(short, "--scenario", "echo,ack", "--warmup", "0", "--duration", "1m", url)...)
	if code != 0 || !r.Interrupted || len(r.Results) != 1 {
		t.Fatalf("exit code %d, %+v", code, r)
	}
	checkMeasured(t, r.Results[0])
}
