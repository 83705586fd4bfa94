//go:build linux

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/parley-go/parley"
)

// serverConfig is the configuration of the server process.
type serverConfig struct {
	PingInterval time.Duration
	WriteTimeout time.Duration
	Compression  *parley.Compression
	Chat         string // if set, serve the binary's application with its data in this directory
	Redis, Name  string // if set, the server is one of a cluster
	Store        string // of such a server with Chat: the URL of PostgreSQL
}

// usage is the server's resource usage so far.
type usage struct {
	CPU        time.Duration
	RSS, Heap  int // bytes
	Goroutines int
	Sockets    parley.Stats
}

// join puts the socket into the rooms, then acknowledges.
const join = parley.RPC[[]string, int]("join")

// serve runs the server process. It ends when its standard input does.
func serve(config string) {
	var c serverConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		fail(err)
	}
	o := &parley.Options{PingInterval: c.PingInterval, WriteTimeout: c.WriteTimeout, Compression: c.Compression, Logger: slog.New(slog.DiscardHandler)}
	if c.Chat != "" {
		serveChat(c)
		return
	}
	if c.Redis != "" {
		o.Cluster = connect(c.Redis, c.Name)
	}
	srv, err := parley.New(o)
	if err != nil {
		fail(err)
	}
	parley.Handle(srv, join, func(_ context.Context, s *parley.Socket, rooms []string) (int, error) {
		return len(rooms), s.Join(rooms...)
	})
	// The sender's text goes to a room, with the time at which the sender sent it.
	srv.On("relay", func(p *parley.Packet) error {
		var room, text string
		var at int64
		if err := p.Decode(&room, &at, &text); err != nil {
			return err
		}
		return srv.To(room).Emit("tick", at, text)
	})
	srv.On("discard", func(p *parley.Packet) error { return p.Ack() })
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", srv)
	mux.Handle("/control/", control(func(function string, arguments url.Values) (any, error) {
		return command(srv, function, arguments)
	}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Println(l.Addr(), l.Addr())
	go http.Serve(l, mux)
	io.Copy(io.Discard, os.Stdin)
}

// control serves functions of the server process over HTTP. They answer with JSON.
func control(call func(function string, arguments url.Values) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := call(strings.TrimPrefix(r.URL.Path, "/control/"), r.URL.Query())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		json.NewEncoder(w).Encode(answer)
	})
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// command runs the functions that the tests call besides Socket.IO.
func command(srv *parley.Server, function string, arguments url.Values) (any, error) {
	number := func(name string) int {
		n, _ := strconv.Atoi(arguments.Get(name))
		return n
	}
	text := prose(number("size"))
	switch function {
	case "bare":
		return bare(number("size"))
	case "usage":
		if arguments.Has("collect") {
			debug.FreeOSMemory()
			debug.FreeOSMemory() // releases what the first call has moved to the pools' victim caches
		}
		u := measure()
		u.Sockets = srv.Stats()
		return u, nil
	case "emit": // emits an event with the time and a text to each room name-0, name-1, …
		for i := range number("rooms") {
			if err := srv.To(fmt.Sprint(arguments.Get("name"), "-", i)).Emit("tick", time.Now().UnixNano(), text); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "each": // emits such events to each socket separately, several times
		sockets, err := srv.All().FetchSockets(context.Background())
		if err != nil {
			return nil, err
		}
		for range number("times") {
			for _, s := range sockets {
				if err := srv.To(s.ID).Emit("tick", time.Now().UnixNano(), text); err != nil {
					return nil, err
				}
			}
		}
		return nil, nil
	case "enter": // the median time that a socket takes to join a room that is new on this server
		ids, err := srv.Local().SocketIDs(context.Background())
		if err != nil {
			return nil, err
		}
		s := srv.Socket(ids[0])
		took := make([]time.Duration, number("times"))
		for i := range took {
			room := fmt.Sprint(arguments.Get("name"), "-", i)
			at := time.Now()
			if err := s.Join(room); err != nil {
				return nil, err
			}
			took[i] = time.Since(at)
			s.Leave(room)
		}
		return middle(took), nil
	case "flow": // emits such events to one room, several times, one every so many microseconds
		every := time.NewTicker(time.Duration(number("every")) * time.Microsecond)
		defer every.Stop()
		for range number("times") {
			if err := srv.To(arguments.Get("name")).Emit("tick", time.Now().UnixNano(), text); err != nil {
				return nil, err
			}
			<-every.C
		}
		return nil, nil
	}
	return nil, fmt.Errorf("there is no %q", function)
}

// bare returns the processor time of both ends for a round trip of size bytes in each direction
// over a loopback connection. Many connections take turns, like those of clients.
func bare(size int) (time.Duration, error) {
	const connections, times = 500, 40
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	var all [connections][2]net.Conn
	for i := range all {
		for end, open := range []func() (net.Conn, error){
			func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }, l.Accept,
		} {
			nc, err := open()
			if err != nil {
				return 0, err
			}
			defer nc.Close()
			all[i][end] = nc
		}
	}
	b := make([]byte, size)
	before := measure().CPU
	for range times {
		for _, ends := range all {
			for from := range ends {
				if _, err := ends[from].Write(b); err != nil {
					return 0, err
				}
				if _, err := io.ReadFull(ends[1-from], b); err != nil {
					return 0, err
				}
			}
		}
	}
	return (measure().CPU - before) / (connections * times), nil
}

// prose returns text that compresses about as well as people's messages.
func prose(size int) string {
	words := strings.Fields("the parcel has not arrived and page says that it was handed over on monday could you " +
		"have a look please thank for your patience we are looking into this order number address street city")
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < size {
		fmt.Fprint(&b, words[random.IntN(len(words))], " ")
		if random.IntN(8) == 0 {
			fmt.Fprint(&b, random.IntN(100_000), " ")
		}
	}
	return b.String()[:size]
}

func measure() (u usage) {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		_, rest, _ := bytes.Cut(status, []byte("\nVmRSS:"))
		var kib int
		fmt.Sscan(string(rest), &kib)
		u.RSS = kib << 10
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.Heap = int(m.HeapAlloc)
	u.Goroutines = runtime.NumGoroutine()
	return u
}
