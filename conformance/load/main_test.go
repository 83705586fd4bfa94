//go:build linux

package load

import (
	"bufio"
	"encoding/json"
	"flag"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parley-go/parley/bench/bar"
	"github.com/parley-go/parley/internal/postgrestest"
)

// asServer is the environment variable that makes the test binary run as the server. Its value is
// the serverConfig.
const asServer = "BE_LOAD_SERVER"

var full = flag.Bool("full", false, "measure with the sizes of docs/performance.md, and check the bars")

// patience is how long a test waits for something that must happen. Nothing that works takes so long.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	if config := os.Getenv(asServer); config != "" {
		serve(config)
		return
	}
	flag.Parse()
	os.Exit(postgrestest.Main(m).Run())
}

// size returns the number of connections: large with -full, a fifth of usual with the race detector,
// otherwise usual. It never exceeds 80 % of the file descriptors.
func size(usual, large int) int {
	n := usual
	switch {
	case *full:
		n = large
	case raceEnabled:
		n = usual / 5
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && uint64(n) > limit.Cur*4/5 {
		n = int(limit.Cur * 4 / 5)
	}
	return n
}

// rounds returns how often to measure for a median: n times with -full, otherwise once.
func rounds(n int) int {
	if *full {
		return n
	}
	return 1
}

// child is a server process.
type child struct {
	t       *testing.T
	address string // the address of Socket.IO
	control string // the address for control
}

func start(t *testing.T, c serverConfig) *child {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asServer+"="+string(config))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // the server ends when this is closed, even if this process crashes
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("server: %v", err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the server has not started: %v", err)
	}
	address, control, _ := strings.Cut(strings.TrimSpace(line), " ")
	return &child{t, address, control}
}

// ask calls a function of the server; see command.
func (c *child) ask(function string, arguments url.Values, answer any) {
	c.t.Helper()
	response, err := http.Get("http://" + c.control + "/control/" + function + "?" + arguments.Encode())
	if err != nil {
		c.t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		c.t.Fatalf("%s: status %d, %v", function, response.StatusCode, err)
	}
}

func (c *child) usage() (u usage) {
	c.t.Helper()
	c.ask("usage", nil, &u)
	return u
}

// settled returns the server's usage after it has released unused memory.
func (c *child) settled() (u usage) {
	c.t.Helper()
	c.ask("usage", url.Values{"collect": {"1"}}, &u)
	return u
}

// emit makes the server emit events; see command.
func (c *child) emit(function, name string, arguments map[string]int) {
	c.t.Helper()
	v := url.Values{"name": {name}}
	for argument, n := range arguments {
		v.Set(argument, strconv.Itoa(n))
	}
	var nothing any
	c.ask(function, v, &nothing)
}

// cost returns the server's processor time while f runs.
func (c *child) cost(f func()) time.Duration {
	c.t.Helper()
	before := c.usage().CPU
	f()
	return c.usage().CPU - before
}

// eventually waits until ok is true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// bare returns the server's processor time for a round trip of size bytes in each direction over a
// loopback connection. The server owns both ends. So this is the kernel's cost, without any protocol.
func (c *child) bare(size int) (each time.Duration) {
	c.t.Helper()
	c.ask("bare", url.Values{"size": {strconv.Itoa(size)}}, &each)
	return each
}

// hold prints a figure with its bar, and fails the test if the bar does not hold. It does so only
// with -full, because a bar depends on the machine.
func hold(t *testing.T, b bar.Bar) {
	t.Helper()
	switch {
	case !*full:
	case b.Holds():
		t.Log(b)
	default:
		t.Error(b)
	}
}

// micros returns a duration in microseconds.
func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
