// Command goclient is package client in the tests of servers. Its arguments are the server's address, and
// flags. It goes through the steps below and prints "ok" and the name of each. It prints "restart" to ask for
// the server to be killed and another one to be started at the same address.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"reflect"
	"strings"
	"time"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
	"github.com/parley-go/parley/webtransport/dialer"
)

var (
	transports = flag.String("transports", "websocket", "the client's transports, separated by commas")
	protocol   = flag.Int("protocol", 4, "the revision of Engine.IO")
	msgpack    = flag.Bool("msgpack", false, "speak msgpack")
	recovers   = flag.Bool("recovery", false, "the server recovers the connection state")
	maxPayload = flag.Int("max-payload", 1_000_000, "bytes that the server accepts")
	insecure   = flag.Bool("insecure", false, "accept any certificate")
)

// patience is how long a step may take. Nothing that works takes so long.
const patience = 2 * time.Minute

func main() {
	log.SetFlags(0)
	flag.Parse()
	r := &run{url: flag.Arg(0), got: make(chan []any, 1000), back: make(chan client.Connection, 10), lost: make(chan error, 10)}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"connect", r.connect},
		{"events", r.events},
		{"binary", r.binary},
		{"acknowledgements", r.acknowledgements},
		{"answers", r.answers},
		{"volatile", r.volatile},
		{"namespaces", r.namespaces},
		{"refusals", r.refusals},
		{"the server disconnects", r.disconnected},
		{"large messages", r.large},
		{"the connection is lost", r.cut},
		{"the server is restarted", r.restart},
		{"the client disconnects", r.close},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := step.do(ctx); err != nil {
			log.Fatalf("%s: %v", step.name, err)
		}
		cancel()
		fmt.Println("ok", step.name)
	}
}

type run struct {
	url  string
	c    *client.Client
	got  chan []any // the arguments of message-back
	back chan client.Connection
	lost chan error
}

func (r *run) options() *client.Options {
	o := &client.Options{Transports: strings.Split(*transports, ","), Protocol: *protocol, Msgpack: *msgpack}
	o.Reconnection = client.Reconnection{Delay: 20 * time.Millisecond, MaxDelay: 100 * time.Millisecond}
	o.TLS = &tls.Config{InsecureSkipVerify: *insecure}
	o.OpenStream = dialer.New(o.TLS)
	return o
}

// receive returns the next value of a channel.
func receive[T any](ctx context.Context, what string, from <-chan T) (v T, err error) {
	select {
	case v = <-from:
		return v, nil
	case <-ctx.Done():
		return v, fmt.Errorf("no %s", what)
	}
}

// drain empties the channels.
func (r *run) drain() {
	for len(r.back) > 0 {
		<-r.back
	}
	for len(r.lost) > 0 {
		<-r.lost
	}
}

func (r *run) connect(ctx context.Context) (err error) {
	if r.c, err = client.New(r.url, r.options()); err != nil {
		return err
	}
	r.c.OnConnect(func(n client.Connection) { r.back <- n })
	r.c.OnDisconnect(func(why error) { r.lost <- why })
	r.c.On("message-back", func(p *client.Packet) error {
		v, err := p.Values()
		r.got <- v
		return err
	})
	if err := r.c.Connect(ctx); err != nil {
		return err
	}
	if _, err := receive(ctx, "connection", r.back); err != nil {
		return err
	}
	list := strings.Split(*transports, ",")
	want := list[0]
	if want == "polling" && len(list) > 1 {
		want = list[1]
	}
	for r.c.State().Transport != want {
		if ctx.Err() != nil {
			return fmt.Errorf("the transport is %q", r.c.State().Transport)
		}
		time.Sleep(time.Millisecond)
	}
	who, err := r.whoami(ctx, r.c)
	if err == nil && (who.ID != r.c.ID() || who.Transport != want) {
		err = fmt.Errorf("%+v, not %s, %s", who, r.c.ID(), want)
	}
	return err
}

type who struct {
	ID        string `json:"id"`
	Transport string `json:"transport"`
	Recovered bool   `json:"recovered"`
}

func (r *run) whoami(ctx context.Context, c *client.Client) (w who, err error) {
	reply, err := c.EmitWithAck(ctx, "whoami")
	if err != nil {
		return w, err
	}
	return w, reply.Decode(&w)
}

const text = "é€😀𝒳\u2028\n\"\\n\u0000"

// same compares what was sent with what came back. A server that recovers the connection state adds an offset
// to events.
func same(sent, got []any) error {
	if *recovers && len(got) == len(sent)+1 {
		got = got[:len(sent)]
	}
	a, _ := json.Marshal(sent)
	b, _ := json.Marshal(got)
	if !bytes.Equal(a, b) {
		return fmt.Errorf("sent %.200s, got %.200s", a, b)
	}
	for i, v := range sent {
		if b, ok := v.([]byte); ok && reflect.TypeOf(got[i]) != reflect.TypeFor[event.Binary]() {
			return fmt.Errorf("sent %d bytes, got %T", len(b), got[i])
		}
	}
	return nil
}

var texts = [][]any{
	{text}, {strings.Repeat(text, 1000)}, {1.5, nil, true, map[string]any{"a": []any{text}}}, {},
}

var binaries = [][]any{
	{[]byte{0, 1, 4, 0x1e, 255}}, {bytes.Repeat([]byte("é😀"), 10_000), text}, {[]byte{}}, {[]byte{1}, "between", []byte{2}},
}

func (r *run) echo(ctx context.Context, all [][]any) error {
	for _, args := range all {
		if err := r.c.Emit("message", args...); err != nil {
			return err
		}
	}
	for _, args := range all {
		got, err := receive(ctx, "message-back", r.got)
		if err == nil {
			err = same(args, got)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) events(ctx context.Context) error { return r.echo(ctx, texts) }
func (r *run) binary(ctx context.Context) error { return r.echo(ctx, binaries) }

func (r *run) acknowledgements(ctx context.Context) error {
	for _, args := range append(texts, binaries...) {
		reply, err := r.c.EmitWithAck(ctx, "message-with-ack", args...)
		if err != nil {
			return err
		}
		got, err := reply.Values()
		if err == nil {
			err = same(args, got)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *run) answers(ctx context.Context) error {
	defer r.c.On("question", func(p *client.Packet) error {
		v, err := p.Values()
		if err != nil {
			return err
		}
		return p.Ack(append(v, text, []byte{4, 3})...)
	}).Remove()
	reply, err := r.c.EmitWithAck(ctx, "ask", patience.Milliseconds(), []byte{9}, "q")
	if err != nil {
		return err
	}
	got, err := reply.Values()
	if err != nil {
		return err
	}
	return same([]any{[]byte{9}, "q", text, []byte{4, 3}}, got)
}

func (r *run) volatile(ctx context.Context) error {
	for { // what is on its way to the server comes first
		err := r.c.Volatile().Emit("message", "now")
		if err == nil {
			break
		}
		if err != client.ErrNotConnected || ctx.Err() != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	got, err := receive(ctx, "message-back", r.got)
	if err != nil {
		return err
	}
	return same([]any{"now"}, got)
}

func (r *run) namespaces(ctx context.Context) error {
	sent := map[string]any{"token": "é &=", "n": "1"}
	c := r.c.Of("/custom", func(context.Context) (any, error) { return sent, nil })
	defer c.Close()
	greeted := make(chan map[string]any, 1)
	client.On(c, event.Event[map[string]any]("auth"), func(_ context.Context, v map[string]any) error {
		greeted <- v
		return nil
	})
	if err := c.Connect(ctx); err != nil {
		return err
	}
	got, err := receive(ctx, "auth", greeted)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(got, sent) {
		return fmt.Errorf("the server got %v", got)
	}
	who, err := r.whoami(ctx, c)
	if err != nil {
		return err
	}
	if who.ID != c.ID() || (*protocol == 3) != (c.ID() == "/custom#"+r.c.ID()) {
		return fmt.Errorf("the ids are %s, %s and %s", who.ID, c.ID(), r.c.ID())
	}
	return r.echo(ctx, texts)
}

func (r *run) refusals(ctx context.Context) error {
	refused := func(namespace string, auth any, message string, data string) error {
		c := r.c.Of(namespace, func(context.Context) (any, error) { return auth, nil })
		defer c.Close()
		err := c.Connect(ctx)
		var refusal *client.ConnectError
		if !errors.As(err, &refusal) || refusal.Message != message || string(refusal.Data) != data {
			return fmt.Errorf("%s: %w %+v", namespace, err, refusal)
		}
		if s := c.State(); s.Status != client.Idle || s.Err != err {
			return fmt.Errorf("%s: %+v", namespace, s)
		}
		return nil
	}
	message := "Not authorized"
	if *protocol == 3 { // which sends only the data
		message = "refused"
	}
	none := map[string]string{}
	if err := errors.Join(
		refused("/refused", none, message, `{"code":"E1","label":"no token"}`),
		refused("/token", none, "Not authorized", ""),
		refused("/nowhere", none, "Invalid namespace", ""),
	); err != nil {
		return err
	}
	c := r.c.Of("/token", func(context.Context) (any, error) { return map[string]string{"token": "secret"}, nil })
	defer c.Close()
	return c.Connect(ctx)
}

func (r *run) disconnected(ctx context.Context) error {
	c := r.c.Of("/custom", nil)
	defer c.Close()
	lost := make(chan error, 1)
	c.OnDisconnect(func(why error) { lost <- why })
	for range 2 { // it may come back
		if err := c.Connect(ctx); err != nil {
			return err
		}
		if err := c.Emit("disconnect-me", false); err != nil {
			return err
		}
		if why, err := receive(ctx, "disconnect", lost); why != client.ErrServerDisconnect {
			return fmt.Errorf("lost because of %v, %v", why, err)
		}
	}
	if s := c.State(); s.Status != client.Idle || s.Err != client.ErrServerDisconnect {
		return fmt.Errorf("%+v", s)
	}
	if s := r.c.State(); s.Status != client.Connected {
		return fmt.Errorf("the main namespace: %+v", s)
	}
	if err := r.c.Emit("disconnect-me", true); err != nil { // the connection as well
		return err
	}
	if why, err := receive(ctx, "disconnect", r.lost); why != client.ErrServerDisconnect {
		return fmt.Errorf("lost because of %v, %v", why, err)
	}
	if err := r.c.Connect(ctx); err != nil {
		return err
	}
	return r.echo(ctx, texts)
}

func (r *run) large(ctx context.Context) error {
	text, binary := *maxPayload*9/10, *maxPayload*7/10
	if list := *transports; list == "polling" || list == "sse" {
		if *msgpack { // which is binary
			text = binary
		}
	} else if *protocol == 4 { // which needs no base64
		binary = text
	}
	fits := [][]any{{strings.Repeat("x", text)}, {bytes.Repeat([]byte{7}, binary)}}
	if err := r.echo(ctx, fits); err != nil {
		return err
	}
	r.drain()
	err := r.c.Emit("message", strings.Repeat("x", *maxPayload+100))
	if err == client.ErrTooLarge {
		return r.echo(ctx, texts)
	}
	if err != nil || *protocol == 4 { // the server has said what it accepts
		return fmt.Errorf("a message that is too large: %v", err)
	}
	var why *client.LostError
	if err, _ := receive(ctx, "disconnect", r.lost); !errors.As(err, &why) {
		return fmt.Errorf("lost because of %v", err)
	}
	if _, err := receive(ctx, "connection", r.back); err != nil {
		return err
	}
	return r.echo(ctx, texts)
}

// cut loses the connection. If the server recovers it, nothing that was sent meanwhile is missing.
func (r *run) cut(ctx context.Context) error {
	other, err := client.Dial(ctx, r.url, r.options())
	if err != nil {
		return err
	}
	defer other.Close()
	ticks := make(chan int, 100)
	defer client.On(r.c, event.Event[int]("tick"), func(_ context.Context, v int) error { ticks <- v; return nil }).Remove()
	tick := func(v int) error {
		_, err := other.EmitWithAck(ctx, "broadcast", map[string]any{}, "tick", v)
		return err
	}
	expect := func(want int) error {
		if got, err := receive(ctx, "tick", ticks); err != nil || got != want {
			return fmt.Errorf("tick %d, want %d: %v", got, want, err)
		}
		return nil
	}
	if err := errors.Join(tick(0), expect(0)); err != nil {
		return err
	}
	id := r.c.ID()
	r.drain()
	away := make(chan error, 1)
	registration := r.c.OnDisconnect(func(error) { away <- errors.Join(tick(1), tick(2)) }) // before it comes back
	if err := r.c.Emit("cut"); err != nil {
		return err
	}
	var why *client.LostError
	if err, _ := receive(ctx, "disconnect", r.lost); !errors.As(err, &why) {
		return fmt.Errorf("lost because of %v", err)
	}
	if err, late := receive(ctx, "ticks while it is away", away); err != nil || late != nil {
		return errors.Join(err, late)
	}
	registration.Remove()
	n, err := receive(ctx, "connection", r.back)
	if err != nil {
		return err
	}
	if n.Recovered != *recovers || (r.c.ID() == id) != *recovers {
		return fmt.Errorf("%+v, %s after %s", n, r.c.ID(), id)
	}
	if *recovers {
		if err := errors.Join(expect(1), expect(2)); err != nil {
			return err
		}
	}
	for range 10 { // and nothing twice
		if err := tick(3); err != nil {
			return err
		}
		got, err := receive(ctx, "tick", ticks)
		for err == nil && !*recovers && got < 3 { // it came back so soon that it has missed nothing
			got, err = receive(ctx, "tick", ticks)
		}
		if err != nil || got != 3 {
			return fmt.Errorf("tick %d, %v", got, err)
		}
	}
	return r.echo(ctx, binaries)
}

func (r *run) restart(ctx context.Context) error {
	r.drain()
	down := r.c.OnConnectError(func(error) {})
	defer down.Remove()
	fmt.Println("restart")
	var why *client.LostError
	if err, _ := receive(ctx, "disconnect", r.lost); !errors.As(err, &why) {
		return fmt.Errorf("lost because of %v", err)
	}
	for _, args := range texts { // these wait
		if err := r.c.Emit("message", args...); err != nil {
			return err
		}
	}
	if n, err := receive(ctx, "connection", r.back); err != nil || n.Recovered {
		return fmt.Errorf("%+v, %v, %+v", n, err, r.c.State())
	}
	for _, args := range texts {
		got, err := receive(ctx, "message-back", r.got)
		if err == nil {
			err = same(args, got)
		}
		if err != nil {
			return err
		}
	}
	return r.echo(ctx, binaries)
}

func (r *run) close(ctx context.Context) error {
	watcher, err := client.Dial(ctx, r.url, r.options())
	if err != nil {
		return err
	}
	defer watcher.Close()
	left := make(chan string, 10)
	client.On2(watcher, event.Event2[string, string]("left"), func(_ context.Context, id, reason string) error {
		left <- id + " " + reason
		return nil
	})
	if _, err := watcher.EmitWithAck(ctx, "join", "watchers"); err != nil {
		return err
	}
	id := r.c.ID()
	r.c.Close()
	got, err := receive(ctx, "left", left)
	if err == nil && got != id+" client namespace disconnect" {
		err = errors.New(got)
	}
	return err
}
