// Command member is a server of a cluster, for tests beside servers on Node.js (member.mjs), which do the
// same. A client tells it what to do.
//
// It listens on 127.0.0.1, prints its address, and shuts down on SIGTERM.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/emitter"
	"github.com/parley-go/parley/adapter/redis"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/event"
)

var (
	addr     = flag.String("redis", "127.0.0.1:6379", "address of Redis; several: of a Redis Cluster")
	wire     = flag.String("wire", "classic", "native, classic or sharded")
	name     = flag.String("name", "", "name of the server")
	key      = flag.String("key", "socket.io", "key of the wire")
	specific = flag.Bool("specific", false, "answer on the asker's own channel")
	interest = flag.String("interest", "all", "all or rooms")
	mode     = flag.String("mode", "dynamic", "subscription mode of the sharded wire")
	recovery = flag.Bool("recovery", false, "recover clients")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	cluster, outside := connect()
	o := &parley.Options{Cluster: cluster}
	if *recovery {
		o.Recovery = &parley.Recovery{}
	}
	srv, err := parley.New(o)
	if err != nil {
		log.Fatal(err)
	}
	begin := func(n *parley.Namespace) { serve(n, outside.Of(n.Name())) }
	begin(srv.Of("/"))
	srv.OfPattern(regexp.MustCompile(`/dynamic-.*`))
	srv.OnNewNamespace(begin)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	go func() {
		if err := srv.Serve(l); err != parley.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	<-stop.Done()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := errors.Join(srv.Shutdown(ctx), outside.Close()); err != nil {
		log.Fatal(err)
	}
}

// connect returns the cluster, and an emitter to it.
func connect() (adapter.Cluster, *emitter.Emitter) {
	options := rueidis.ClientOption{InitAddress: strings.Split(*addr, ",")}
	quiet := slog.New(slog.NewTextHandler(os.Stderr, nil))
	o := &nodewire.Options{
		Key: *key, Name: *name, SpecificResponses: *specific, Interest: nodewire.Interest(*interest), Mode: nodewire.Mode(*mode), Logger: quiet,
	}
	switch *wire {
	case "classic":
		return must(nodewire.Classic(options, o)), must(nodewire.ClassicEmitter(options, o))
	case "sharded":
		return must(nodewire.Sharded(options, o)), must(nodewire.ShardedEmitter(options, o))
	}
	bus := func() adapter.Bus { return must(redis.New(options, &redis.Options{Logger: quiet})) }
	return must(adapter.New(bus(), &adapter.Options{Name: *name, Logger: quiet})), emitter.New(bus())
}

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

// order is what a client wants.
type order struct {
	Op       string   `json:"op"`
	To       []string `json:"to"`
	Except   []string `json:"except"`
	Volatile bool     `json:"volatile"`
	Local    bool     `json:"local"`
	Outside  bool     `json:"outside"` // by the emitter
	Rooms    []string `json:"rooms"`
	Close    bool     `json:"close"`
	Timeout  int      `json:"timeout"` // ms
	Event    string   `json:"event"`
	Times    int      `json:"times"`
}

type socket struct {
	ID    string          `json:"id"`
	Rooms []string        `json:"rooms"`
	Data  json.RawMessage `json:"data"`
	Query string          `json:"query"`
}

// serve makes a namespace do what clients want.
func serve(nsp *parley.Namespace, outside *emitter.Emitter) {
	var mu sync.Mutex
	heard := []json.RawMessage{}
	nsp.OnServer("note", func(p *parley.ServerPacket) error {
		mu.Lock()
		defer mu.Unlock()
		all, err := json.Marshal(p.Args())
		heard = append(heard, all)
		return err
	})
	nsp.OnServer("ask", func(p *parley.ServerPacket) error {
		var question any
		if err := p.Decode(&question); err != nil {
			return err
		}
		return p.Ack(map[string]any{"name": *name, "question": question})
	})
	nsp.OnConnection(func(s *parley.Socket) { s.SetData(map[string]any{"of": *name}) })
	nsp.On("do", func(p *parley.Packet) error {
		var o order
		if err := p.Decode(&o); err != nil {
			return err
		}
		values, err := p.Values()
		if err != nil {
			return err
		}
		if o.Outside {
			err := emit(outside, o, values[1:])
			return errors.Join(err, p.Ack(nil))
		}
		go do(nsp, p, o, values[1:], func() []json.RawMessage {
			mu.Lock()
			defer mu.Unlock()
			return heard
		})
		return nil
	})
}

// emit does what a client wants by the emitter.
func emit(e *emitter.Emitter, o order, args []any) error {
	if len(o.To) > 0 {
		e = e.To(o.To...)
	}
	if len(o.Except) > 0 {
		e = e.Except(o.Except...)
	}
	switch o.Op {
	case "emit":
		return e.Emit(o.Event, args...)
	case "join":
		return e.SocketsJoin(o.Rooms...)
	case "leave":
		return e.SocketsLeave(o.Rooms...)
	case "disconnect":
		return e.DisconnectSockets(o.Close)
	case "note":
		return e.ServerEmit("note", args...)
	}
	return fmt.Errorf("an emitter cannot do %q", o.Op)
}

// exotic is what JSON does not have.
var exotic = []any{
	time.UnixMilli(1e12).UTC().Format(isoTime), nil, map[string]any{"b": []any{time.UnixMilli(5).UTC().Format(isoTime), event.Binary{7}}},
	[]byte{1, 2}, int64(1)<<53 - 1, -0.5,
}

const isoTime = "2006-01-02T15:04:05.000Z"

func do(nsp *parley.Namespace, p *parley.Packet, o order, args []any, heard func() []json.RawMessage) {
	b := nsp.All()
	if len(o.To) > 0 {
		b = nsp.To(o.To...)
	}
	if len(o.Except) > 0 {
		b = b.Except(o.Except...)
	}
	if o.Volatile {
		b = b.Volatile()
	}
	if o.Local {
		b = b.Local()
	}
	timeout := time.Duration(o.Timeout) * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), max(timeout, time.Minute))
	defer cancel()
	var err error
	var result any
	switch o.Op = strings.TrimPrefix(o.Op, "remote "); o.Op { // a socket of any server is a room
	case "emit":
		err = b.Emit(o.Event, args...)
	case "exotic":
		err = b.Emit("exotic", exotic...)
	case "burst":
		for range o.Times {
			err = errors.Join(err, b.Emit(o.Event, args...))
		}
	case "ack":
		var replies []parley.Reply
		replies, err = b.Timeout(timeout).EmitWithAck(ctx, o.Event, args...)
		result, err = outcome(replies, err), nil
	case "join":
		err = b.SocketsJoin(ctx, o.Rooms...)
	case "join and emit":
		if err = b.SocketsJoin(ctx, o.Rooms...); err == nil {
			err = nsp.To(o.Rooms...).Emit(o.Event, args...)
		}
	case "leave":
		err = b.SocketsLeave(ctx, o.Rooms...)
	case "disconnect":
		err = b.DisconnectSockets(ctx, o.Close)
	case "fetch":
		var all []parley.SocketInfo
		all, err = b.FetchSockets(ctx)
		sockets := []socket{}
		for _, i := range all {
			data, _ := json.Marshal(i.Data)
			sockets = append(sockets, socket{i.ID, i.Rooms, data, i.Handshake.Query.Get("who")})
		}
		result = sockets
	case "rooms": // of this socket
		result = p.Socket().Rooms()
	case "enter":
		err = p.Socket().Join(o.Rooms...)
	case "note":
		err = nsp.ServerEmit("note", args...)
	case "ask":
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		var replies []parley.Reply
		replies, err = nsp.ServerEmitWithAck(ctx, "ask", args...)
		result, err = outcome(replies, err), nil
	case "all rooms":
		var all map[string]int
		all, err = nsp.Rooms(ctx)
		result = slices.Collect(maps.Keys(all))
	case "heard":
		result = heard()
	default:
		err = fmt.Errorf("cannot do %q", o.Op)
	}
	if err != nil {
		log.Printf("%s: %v", o.Op, err)
		p.Ack(map[string]any{"error": err.Error()})
		return
	}
	p.Ack(result)
}

// outcome returns the first arguments of some replies, and whether others failed to come.
func outcome(replies []parley.Reply, err error) any {
	all := []any{}
	for _, r := range replies {
		values, err := r.Values()
		if err != nil || len(values) == 0 {
			values = []any{nil}
		}
		all = append(all, values[0])
	}
	return map[string]any{"replies": all, "failed": err != nil}
}
