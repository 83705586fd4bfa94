package bench

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/cmdline"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something was lost or failed, or nothing could be measured
	exitUsage  = 2
)

// Usage is the documentation of the command.
const Usage = `Parley bench measures any Socket.IO server of protocol 5.

  parley bench [flags] URL      such as parley bench --scenario echo http://127.0.0.1:8080
  parley bench [flags] A B      compares two servers, in turns: A, B, B, A, A, B

Scenarios, separated by commas, or all:

  idle        opens connections and holds them: connects per second, the server's CPU per
              connect, its CPU while they are idle, and its memory per connection
  churn       connects, joins the namespace and disconnects, again and again
  echo        keeps --window messages in flight on each connection; the server echoes them
  ack         the same; the server acknowledges them
  broadcast   puts all connections into one room and keeps --window messages in flight;
              counts each delivery to a member
  rooms       the same with many rooms of --members connections, --window in flight in each
  history     for servers that store messages, such as parley: measures sends, from sending
              to the acknowledgement, and then joins with a page of history

Idle and churn work with any server. For the other scenarios, the server must handle these
events in the namespace:

  "echo" (any)                      → emits "echo" with the same argument to the sender
  "ackme" (any)                     → acknowledges with any argument
  "joinRoom" {roomId, userId}       → joins the room, acknowledges with any argument
  "sendMessage" {roomId, message}   → emits "newMessage" with the message, or with an object
                                      that contains it, to all in the room

The parley binary itself offers joinRoom, sendMessage and history. If a server lacks "echo",
sendMessage in rooms of one member stands in for it, and leaveRoom for "ackme"; a note then says
so. Two servers are compared only if both answer the same event.

Without --rate the loop is closed: each answer triggers the next message. With --rate the loop
is open: messages or connections are due at that rate, whether the server keeps up or not. A
latency starts when its message was due, so a stall shows in all messages that had to wait.

Of two servers, each figure is the median of its --rounds. A ratio is that of B to A in the same
round: the median, with the lowest and the highest one.

The exit code is 0 if nothing was lost or failed, 1 if something was, and 2 if the command
line is wrong. Ctrl-C ends the run and prints the results so far.

Flags:

`

// options is the command line.
type options struct {
	url         *url.URL // of Engine.IO, its scheme http or https
	other       *url.URL // of the server to compare with; nil for none
	rounds      int
	scenarios   []scenario
	transport   string
	namespace   string
	auth        string
	header      http.Header
	connections int
	window      int
	members     int
	parallel    int
	rate        float64
	pad         string
	warmup      time.Duration
	duration    time.Duration
	timeout     time.Duration
	pid         int
	insecure    bool
	json        bool
	progress    bool
}

// flags returns the flags, and a function that checks and completes o after they are parsed, with the URLs.
func (o *options) flags() (*flag.FlagSet, func(urls []string) error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	o.header = make(http.Header)
	names := f.String("scenario", "all", "what to measure, `names` separated by commas, or all")
	f.StringVar(&o.transport, "transport", "websocket", "websocket or polling")
	f.IntVar(&o.connections, "connections", 0, "connections; if 0, 1000 for idle, broadcast and rooms, else 100")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "duration of each measurement")
	f.DurationVar(&o.warmup, "warmup", time.Second, "duration of the same load before each measurement, not counted")
	f.Float64Var(&o.rate, "rate", 0, "open loop: total messages per second or, for idle and churn, connections per second; if 0, a closed loop")
	f.IntVar(&o.window, "window", 0, "closed loop: messages in flight; if 0, 4 for echo, 16 for broadcast, else 1")
	f.IntVar(&o.members, "members", 5, "members of each room, for rooms and history")
	f.IntVar(&o.rounds, "rounds", 3, "how often to measure each of two servers, in turns")
	f.IntVar(&o.parallel, "parallel", 16, "connections to make at the same time in a closed loop")
	size := f.Int("size", 64, "bytes of padding in each message")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long to wait for a connection, and for missing messages")
	f.StringVar(&o.namespace, "namespace", "/", "namespace to join")
	f.StringVar(&o.auth, "auth", "", "`JSON` object to join the namespace with")
	f.Func("header", "HTTP `header` of the handshake, as \"Name: value\"; you can repeat it", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return errors.New("want \"Name: value\"")
		}
		o.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	f.IntVar(&o.pid, "pid", 0, "id of the server's process, to measure its CPU and memory; if 0, the local process that listens on the URL's port. Linux only")
	f.BoolVar(&o.insecure, "insecure-skip-verify", false, "accept any certificate from the server")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.BoolVar(&o.progress, "progress", false, "show progress on standard error even if it is not a terminal")
	return f, func(urls []string) (err error) {
		if len(urls) != 1 && len(urls) != 2 {
			return errors.New("want one URL, or two to compare; see parley help bench")
		}
		if o.url, err = parseURL(urls[0]); err != nil {
			return err
		}
		if len(urls) == 2 {
			if o.other, err = parseURL(urls[1]); err != nil {
				return err
			}
		}
		if o.scenarios, err = selectScenarios(*names); err != nil {
			return err
		}
		o.pad = strings.Repeat("x", max(*size, 0))
		return o.check(*size)
	}
}

func (o *options) check(size int) error {
	for _, c := range []struct {
		ok   bool
		want string
	}{
		{o.transport == "websocket" || o.transport == "polling", "--transport: want websocket or polling"},
		{0 <= o.connections && o.connections <= 1_000_000, "--connections: want at most 1000000"},
		{0 < o.duration && o.duration <= time.Hour, "--duration: want at most 1h"},
		{0 <= o.warmup && o.warmup <= time.Hour, "--warmup: want at most 1h"},
		{0 < o.timeout && o.timeout <= time.Hour, "--timeout: want at most 1h"},
		{0 <= o.rate && o.rate <= 10_000_000, "--rate: want at most 10000000"},
		{0 <= o.window && o.window <= 10_000, "--window: want at most 10000"},
		{1 <= o.members && o.members <= 1_000_000, "--members: want 1 to 1000000"},
		{1 <= o.parallel && o.parallel <= 10_000, "--parallel: want 1 to 10000"},
		{0 <= size && size <= 1_000_000, "--size: want at most 1000000"},
		{0 <= o.pid, "--pid: want the id of a process"},
		{o.pid == 0 || o.other == nil, "--pid: two servers have two processes, and parley bench finds those of this machine itself"},
		{1 <= o.rounds && o.rounds <= 1000, "--rounds: want 1 to 1000"},
		{strings.HasPrefix(o.namespace, "/") && !strings.Contains(o.namespace, ","), "--namespace: want a name that begins with a slash, without commas"},
		{o.auth == "" || strings.HasPrefix(o.auth, "{") && json.Valid([]byte(o.auth)), "--auth: want a JSON object"},
	} {
		if !c.ok {
			return errors.New(c.want)
		}
	}
	return nil
}

// parseURL returns the URL of Engine.IO. If s has no path, it is /socket.io/.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Fragment != "" {
		return nil, fmt.Errorf("want a URL such as http://127.0.0.1:8080, not %q", s)
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("want a URL that begins with http or https, not %q", s)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/socket.io/"
	}
	return u, nil
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// Main runs the command with its arguments and returns the exit code. If ctx ends, it stops and prints
// the results so far.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags, check := o.flags()
	urls, err := cmdline.Parse(flags, args)
	if errors.Is(err, flag.ErrHelp) {
		PrintUsage(stdout)
		return exitOK
	}
	if err == nil {
		err = check(urls)
	}
	if err != nil {
		fmt.Fprintln(stderr, "parley: bench:", err)
		return exitUsage
	}
	p := startProgress(stderr, o.progress)
	report, err := o.measure(ctx, p)
	p.close()
	if report != nil {
		if werr := write(stdout, report, o.json); err == nil {
			err = werr
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "parley: bench:", err)
		return exitFailed
	}
	if !report.Faultless() {
		return exitFailed
	}
	return exitOK
}

// results are a Report or a Comparison.
type results interface {
	WriteTable(io.Writer) error
	Faultless() bool
}

// measure measures one server or compares two. It returns nil if there is nothing to report.
func (o *options) measure(ctx context.Context, p *progress) (results, error) {
	if o.other != nil {
		b := *o
		b.url = o.other
		if c, err := compare(ctx, o, &b, p); err == nil {
			return c, nil
		} else {
			return nil, err
		}
	}
	r, err := run(ctx, o, p)
	if err != nil && len(r.Results) == 0 {
		return nil, err
	}
	return r, err
}

func write(w io.Writer, r results, asJSON bool) error {
	if !asJSON {
		return r.WriteTable(w)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// PrintUsage prints the documentation and the flags.
func PrintUsage(w io.Writer) {
	io.WriteString(w, Usage)
	flags, _ := new(options).flags()
	flags.VisitAll(func(f *flag.Flag) {
		kind, usage := flag.UnquoteUsage(f)
		line := "  --" + f.Name
		if kind != "" {
			line += " " + kind
		}
		if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "false" {
			usage += fmt.Sprintf(" (%s)", f.DefValue)
		}
		fmt.Fprintf(w, "%s\n        %s\n", line, usage)
	})
}
