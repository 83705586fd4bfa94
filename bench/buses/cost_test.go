package buses

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/nats"
	"github.com/parley-go/parley/adapter/nats/embedded"
	"github.com/parley-go/parley/adapter/postgres"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/internal/postgrestest"
)

const (
	size   = 330 // bytes of a message: an event of 300 bytes
	burst  = 500
	window = 4 // bursts under way
)

// full reports whether "make perf" runs the tests. Otherwise they only show that they work.
func full() bool { return os.Getenv("SCALE") != "" }

func TestMain(m *testing.M) {
	if role := os.Getenv("ROLE"); role != "" {
		play(role, os.Getenv("BUS"), os.Getenv("ADDRESS"))
		return
	}
	os.Exit(postgrestest.Main(m).Run())
}

var quiet = slog.New(slog.DiscardHandler)

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return v
}

func connect(kind, address string) adapter.Bus {
	switch kind {
	case "Redis":
		return must(redis.New(rueidis.ClientOption{InitAddress: []string{address}}, &redis.Options{Logger: quiet}))
	case "NATS":
		return must(nats.New(address, &nats.Options{Logger: quiet}))
	case "PostgreSQL":
		return must(postgres.New(address, &postgres.Options{Logger: quiet}))
	}
	o := &embedded.Options{Addr: "127.0.0.1:0", Secret: "secret", Logger: quiet}
	if address != "" {
		o.Peers = []string{address}
	}
	return must(embedded.New(o))
}

// play is what a process of its own does: it receives, or sends, and tells what CPU time a message took.
func play(role, kind, address string) {
	bus := connect(kind, address)
	defer bus.Close()
	if e, ok := bus.(*embedded.Bus); ok {
		fmt.Println(e.Addr())
	}
	n := must(strconv.Atoi(os.Getenv("MESSAGES")))
	var heard atomic.Int64
	progress := make(chan struct{}, 1)
	topic := map[string]string{"receiver": "data", "sender": "acknowledged"}[role]
	l := bus.Listen(topic, func([]byte) {
		count := heard.Add(1)
		if role == "receiver" && count%burst == 0 {
			_ = bus.Publish("acknowledged", nil)
		}
		select {
		case progress <- struct{}{}:
		default:
		}
	})
	<-l.Active()
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	before := cpuTime()
	data := make([]byte, size)
	for sent := 0; role == "sender" && sent < n; {
		for range burst {
			if err := bus.Publish("data", data); err != nil {
				must(0, err)
			}
			sent++
		}
		for int(heard.Load()) < sent/burst-window {
			<-progress
		}
	}
	for role == "sender" && int(heard.Load()) < n/burst || role == "receiver" && int(heard.Load()) < n {
		<-progress
	}
	fmt.Println((cpuTime() - before).Nanoseconds() / int64(n))
	bufio.NewReader(os.Stdin).ReadString('\n')
}

// process is one that plays a role.
type process struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(t *testing.T, role, kind, address string, messages int) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "ROLE="+role, "BUS="+kind, "ADDRESS="+address, fmt.Sprint("MESSAGES=", messages))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		cmd.Wait()
	})
	return &process{t, in, bufio.NewScanner(out)}
}

func (p *process) line() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatal("a process has ended")
	}
	return p.out.Text()
}

// cost is the CPU time of a message.
type cost struct{ sender, receiver time.Duration }

// measure sends messages from a process to another one.
func measure(t *testing.T, kind, address string, messages int) (c cost) {
	t.Helper()
	receiver := start(t, "receiver", kind, address, messages)
	if kind == "embedded" {
		address = receiver.line()
	}
	sender := start(t, "sender", kind, address, messages)
	if kind == "embedded" {
		sender.line()
	}
	for _, p := range []*process{receiver, sender} {
		if line := p.line(); line != "ready" {
			t.Fatal(line)
		}
	}
	for _, p := range []*process{receiver, sender} {
		fmt.Fprintln(p.in)
	}
	took := func(p *process) time.Duration {
		n, err := strconv.Atoi(p.line())
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(n)
	}
	c = cost{took(sender), took(receiver)}
	for _, p := range []*process{receiver, sender} {
		p.in.Close()
	}
	return c
}

// engines starts what buses need, and returns their addresses.
func engines(t *testing.T) map[string]string {
	all := map[string]string{"embedded": ""}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("NATS did not start")
	}
	all["NATS"] = s.ClientURL()
	if full() {
		all["Redis"] = redistest.Start(t).Addr
		all["PostgreSQL"] = postgrestest.Database(t)
	}
	return all
}

// TestCost compares buses with Redis: the least CPU time of a message, of three runs in turns. What servers of
// Redis, NATS and PostgreSQL do is not counted; with embedded, the processes do it.
func TestCost(t *testing.T) {
	messages, rounds := burst, 1
	if full() {
		messages, rounds = 50_000, 3
	}
	least := map[string]cost{}
	all := engines(t)
	for range rounds {
		for kind, address := range all {
			c := measure(t, kind, address, messages)
			before, known := least[kind]
			if !known {
				before = c
			}
			least[kind] = cost{min(before.sender, c.sender), min(before.receiver, c.receiver)}
		}
	}
	if !full() {
		return
	}
	redis := least["Redis"]
	for _, bar := range []struct {
		kind             string
		sender, receiver float64
	}{{"NATS", 1, 1.1}, {"embedded", 2.9, 4.2}, {"PostgreSQL", 8, 3.2}} {
		c := least[bar.kind]
		check(t, "CPU of the sender, "+bar.kind, c.sender, redis.sender, bar.sender)
		check(t, "CPU of the receiver, "+bar.kind, c.receiver, redis.receiver, bar.receiver)
	}
}

func check(t *testing.T, what string, ours, reference time.Duration, most float64) {
	ratio, verdict := float64(ours)/float64(reference), "PASS"
	if ratio > most {
		verdict = "FAIL"
		t.Fail()
	}
	t.Logf("%s  %s: %.1f µs; reference: %.1f µs; %.2f ×, ≤ %.2f ×", verdict, what,
		float64(ours)/1e3, float64(reference)/1e3, ratio, most)
}

// TestHop compares the time from a publish to its delivery with a bare publish and receive on the same engine.
func TestHop(t *testing.T) {
	times := 10
	if full() {
		times = 2000
	}
	for kind, address := range engines(t) {
		bare := address
		if kind == "embedded" {
			continue // there is nothing bare: see NATS
		}
		bus := connect(kind, address)
		heard := make(chan struct{}, 1)
		l := bus.Listen("topic", func([]byte) { heard <- struct{}{} })
		<-l.Active()
		data := make([]byte, size)
		hop := func() {
			if err := bus.Publish("topic", data); err != nil {
				t.Fatal(err)
			}
			<-heard
		}
		one, end := bareHop(t, kind, bare, data)
		var ours, theirs []time.Duration
		for range times {
			ours, theirs = append(ours, clock(hop)), append(theirs, clock(one))
		}
		end()
		bus.Close()
		if full() {
			check(t, "a hop, "+kind, median(ours), median(theirs), 2)
		}
	}
}

func clock(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

func median(all []time.Duration) time.Duration {
	slices.SortFunc(all, cmp.Compare)
	return all[len(all)/2]
}

// bareHop returns a function that publishes a message and waits until it is received, with nothing but the client
// library.
func bareHop(t *testing.T, kind, address string, data []byte) (hop, end func()) {
	ctx := context.Background()
	heard := make(chan struct{}, 1)
	switch kind {
	case "NATS":
		c := must(natsgo.Connect(address))
		must(c.Subscribe("bare", func(*natsgo.Msg) { heard <- struct{}{} }))
		must(0, c.Flush())
		return func() { must(0, c.Publish("bare", data)); <-heard }, c.Close
	case "Redis":
		client := must(rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true}))
		conn, release := client.Dedicate()
		ready := make(chan struct{})
		conn.SetPubSubHooks(rueidis.PubSubHooks{
			OnMessage:      func(rueidis.PubSubMessage) { heard <- struct{}{} },
			OnSubscription: func(rueidis.PubSubSubscription) { close(ready) },
		})
		must(0, conn.Do(ctx, conn.B().Subscribe().Channel("bare").Build()).Error())
		<-ready
		text := rueidis.BinaryString(data)
		return func() {
			must(0, client.Do(ctx, client.B().Publish().Channel("bare").Message(text).Build()).Error())
			<-heard
		}, func() { release(); client.Close() }
	}
	send, listen := must(pgx.Connect(ctx, address)), must(pgx.Connect(ctx, address))
	must(send.Exec(ctx, "SET synchronous_commit = off"))
	must(listen.Exec(ctx, "LISTEN bare"))
	text := strings.Repeat("x", len(data))
	return func() {
			must(send.Exec(ctx, "SELECT pg_notify('bare', $1)", text))
			must(listen.WaitForNotification(ctx))
		}, func() {
			send.Close(ctx)
			listen.Close(ctx)
		}
}
