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
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something was lost or failed, or nothing could be measured
	exitUsage  = 2
)

// Usage is the documentation of the command.
const Usage = `Parley bench measures a Socket.IO server of protocol 5, ours or another one.

  parley bench [flags] URL      such as parley bench --scenario echo http://127.0.0.1:8080

Scenarios, several separated by commas, or all:

  idle        connections are made and held open: connects per second, the server's CPU for
              each, then its CPU while they are idle, and its memory for each
  churn       connect, join the namespace, disconnect, again and again
  echo        each connection has --window messages in flight that are echoed to it
  ack         likewise, acknowledged
  broadcast   one room with all connections, --window messages in flight; what counts is
              each delivery to a member
  rooms       the same with rooms of --members connections, --window in flight in each
  history     for servers such as parley itself, which store messages: sends, from sending
              until the acknowledgement, and then joins with a page of history

For idle and churn any server will do. For the others it must offer a small application in
the namespace:

  "echo" (any)                      → emits "echo" with the same argument to the sender
  "ackme" (any)                     → acknowledges with any argument
  "joinRoom" {roomId, userId}       → joins the room, acknowledges with any argument
  "sendMessage" {roomId, message}   → emits "newMessage" with the message, or with an object
                                      that contains it, to all in the room

Parley itself offers joinRoom and sendMessage, and history.

Without --rate the loop is closed: who has an answer sends the next message. With --rate it is
open: messages, or connections, are due at that rate, whether the server keeps up or not, and
latencies run from when they were due, so that a stall counts for all that had to wait.

The exit code is 0 if nothing was lost and nothing has failed, 1 if something has, and 2
if the command line is wrong. Ctrl-C ends the run; the results so far are printed.

Flags:

`

// options is the command line.
type options struct {
	url         *url.URL // of Engine.IO, its scheme http or https
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

// flags returns the flags and a function that checks and completes o once they are parsed.
func (o *options) flags() (*flag.FlagSet, func() error) {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	o.header = make(http.Header)
	names := f.String("scenario", "all", "what to measure, `names` separated by commas, or all")
	f.StringVar(&o.transport, "transport", "websocket", "websocket or polling")
	f.IntVar(&o.connections, "connections", 0, "connections; if 0, 1000 for idle, broadcast and rooms, else 100")
	f.DurationVar(&o.duration, "duration", 5*time.Second, "time of each measurement")
	f.DurationVar(&o.warmup, "warmup", time.Second, "time of the same load before each measurement, not counted")
	f.Float64Var(&o.rate, "rate", 0, "open loop: messages or, for idle and churn, connections due per second in all; if 0, a closed loop")
	f.IntVar(&o.window, "window", 0, "closed loop: messages in flight; if 0, 4 for echo, 16 for broadcast, else 1")
	f.IntVar(&o.members, "members", 5, "members of each room, for rooms and history")
	f.IntVar(&o.parallel, "parallel", 16, "connections that are made at the same time in a closed loop")
	size := f.Int("size", 64, "bytes of each message, some more come in addition")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long to wait for a connection, and for messages that are missing")
	f.StringVar(&o.namespace, "namespace", "/", "namespace to join")
	f.StringVar(&o.auth, "auth", "", "`JSON` object to join the namespace with")
	f.Func("header", "HTTP `header` of the handshake, as \"Name: value\"; may be given more than once", func(s string) error {
		name, value, ok := strings.Cut(s, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return errors.New("want \"Name: value\"")
		}
		o.header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
		return nil
	})
	f.IntVar(&o.pid, "pid", 0, "the server's process, for its CPU and memory; if 0, who listens at the URL's port, if that is on this machine. Linux only")
	f.BoolVar(&o.insecure, "insecure-skip-verify", false, "accept any certificate of the server")
	f.BoolVar(&o.json, "json", false, "print JSON instead of a table")
	f.BoolVar(&o.progress, "progress", false, "show progress on the standard error even if that is no terminal")
	return f, func() (err error) {
		if f.NArg() != 1 {
			return errors.New("want one URL, after the flags; see parley help bench")
		}
		if o.url, err = parseURL(f.Arg(0)); err != nil {
			return err
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
		{strings.HasPrefix(o.namespace, "/") && !strings.Contains(o.namespace, ","), "--namespace: want a name that begins with a slash, without commas"},
		{o.auth == "" || strings.HasPrefix(o.auth, "{") && json.Valid([]byte(o.auth)), "--auth: want a JSON object"},
	} {
		if !c.ok {
			return errors.New(c.want)
		}
	}
	return nil
}

// parseURL returns the URL of Engine.IO: its path is /socket.io/ unless it is given.
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

// Main runs the command with its arguments and returns the exit code. When ctx ends it stops
// and prints the results so far.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags, check := o.flags()
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		PrintUsage(stdout)
		return exitOK
	}
	if err == nil {
		err = check()
	}
	if err != nil {
		fmt.Fprintln(stderr, "parley: bench:", err)
		return exitUsage
	}
	p := startProgress(stderr, o.progress)
	report, err := run(ctx, &o, p)
	p.close()
	if err == nil || len(report.Results) > 0 {
		if werr := report.write(stdout, o.json); err == nil {
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

func (r *Report) write(w io.Writer, asJSON bool) error {
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
