//go:build linux

package load

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/ws"
)

// crowd is a set of many clients in this process. It does not need a goroutine for each.
type crowd struct {
	t        *testing.T
	address  string
	compress bool // offer permessage-deflate
	window   int  // for new clients: the kernel's read buffer in bytes; 0: the kernel's default
	sampled  bool // for new clients: whether their delays count; see sample
	reactor  *reactor.Reactor

	// receive, if not nil, is called for each event and acknowledgement. data is valid until it
	// returns.
	receive func(c *client, data []byte)

	connected atomic.Int64 // clients that have joined the main namespace
	gone      atomic.Int64 // clients that were closed
	failed    atomic.Int64 // clients that were closed before they had connected
	events    atomic.Int64
	acks      atomic.Int64
	pings     atomic.Int64
	bytes     atomic.Int64 // bytes received on the wire
	samples   atomic.Pointer[samples]

	mu      sync.Mutex
	clients []*client
}

func newCrowd(t *testing.T, server *child) *crowd {
	c := &crowd{t: t, address: server.address, reactor: reactor.New(runtime.GOMAXPROCS(0))}
	t.Cleanup(c.reactor.Close)
	return c
}

// samples are the delays of events, from Emit to their arrival here.
type samples struct {
	values    []time.Duration
	taken, in atomic.Int64 // places reserved, and places filled
}

func (s *samples) add(d time.Duration) {
	if i := int(s.taken.Add(1)) - 1; i < len(s.values) {
		s.values[i] = d
		s.in.Add(1)
	}
}

// sample runs f and returns the delays of n events that arrive at sampled clients.
func (c *crowd) sample(n int, f func()) *samples {
	c.t.Helper()
	s := &samples{values: make([]time.Duration, n)}
	c.samples.Store(s)
	f()
	eventually(c.t, fmt.Sprintf("%d events to arrive", n), func() bool { return int(s.in.Load()) == n })
	c.samples.Store(nil)
	slices.Sort(s.values)
	return s
}

func (s *samples) quantile(q float64) time.Duration { return s.values[int(q*float64(len(s.values)-1))] }

// grow dials n more clients and returns them once they have connected.
func (c *crowd) grow(n int) []*client {
	c.t.Helper()
	before, failed := c.connected.Load(), c.failed.Load()
	added := c.dial(n)
	eventually(c.t, fmt.Sprintf("%d clients to connect", n), func() bool {
		return c.connected.Load() == before+int64(n) || c.failed.Load() > failed
	})
	if lost := c.failed.Load() - failed; lost > 0 {
		c.t.Fatalf("%d of %d clients could not connect", lost, n)
	}
	return added
}

// dial begins to connect n more clients, a hundred at a time.
func (c *crowd) dial(n int) []*client {
	added := make([]*client, n)
	for i := range added {
		added[i] = &client{crowd: c, sampled: c.sampled}
	}
	c.mu.Lock()
	for i, cl := range added {
		cl.number = len(c.clients) + i
	}
	c.clients = append(c.clients, added...)
	c.mu.Unlock()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, 100) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				added[i].dial()
			}
		})
	}
	wg.Wait()
	return added
}

// close ends all connections at once, as if the network had failed.
func (c *crowd) close() {
	c.t.Helper()
	c.mu.Lock()
	all := c.clients
	c.clients = nil
	c.mu.Unlock()
	gone := c.gone.Load()
	for _, cl := range all {
		cl.conn.Close()
	}
	eventually(c.t, "the connections to be closed", func() bool { return c.gone.Load() >= gone+int64(len(all)) })
}

// join puts each client into the rooms that the function returns for its index.
func (c *crowd) join(clients []*client, rooms func(i int) []string) {
	c.t.Helper()
	acks := c.acks.Load()
	for i, cl := range clients {
		var names []byte
		for _, room := range rooms(i) {
			names = strconv.AppendQuote(append(names, ','), room)
		}
		cl.send(fmt.Sprintf(`420["join",[%s]]`, names[1:]))
	}
	eventually(c.t, "the rooms to be joined", func() bool { return c.acks.Load() == acks+int64(len(clients)) })
}

// want calls f and waits for exactly n more events.
func (c *crowd) want(n int, f func()) {
	c.t.Helper()
	before := c.events.Load()
	f()
	eventually(c.t, fmt.Sprintf("%d events to arrive", n), func() bool { return c.events.Load() >= before+int64(n) })
	if got := c.events.Load() - before; got != int64(n) {
		c.t.Fatalf("%d events, want %d", got, n)
	}
}

// client is one connection. It is a reactor.Handler and a ws.Handler.
type client struct {
	crowd  *crowd
	number int // counts the clients in the order of dialling
	conn   reactor.Conn

	// Owned by the goroutine that receives.
	parser    ws.Parser
	head      []byte // the response's header, until it is complete
	opened    bool
	connected bool

	sampled bool   // whether the delays of its events count; see crowd.sample
	again   func() // see chatters

	mu  sync.Mutex
	out []byte // frames to write
}

func (c *client) dial() {
	// A source address has 28,000 ports, and some stay blocked for a minute after use.
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+c.number%8))}
	nc, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", c.crowd.address)
	if err != nil {
		c.Closed(err)
		return
	}
	if c.crowd.window > 0 {
		nc.(*net.TCPConn).SetReadBuffer(c.crowd.window)
	}
	request := "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	var params *ws.DeflateParams
	if c.crowd.compress {
		request += "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
		params = &ws.DeflateParams{ServerNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	}
	c.parser.Init(&ws.ParserConfig{}, ws.Client, params)
	c.out = []byte(request + "\r\n")
	c.crowd.reactor.Add(nc, nil, c, func(conn reactor.Conn) {
		c.conn = conn
		conn.Wake()
	})
}

// send sends a packet.
func (c *client) send(packet string) {
	c.mu.Lock()
	c.out = ws.AppendMaskedFrame(c.out, ws.OpText, []byte(packet))
	c.mu.Unlock()
	c.conn.Wake()
}

// sendDeflated sends a packet that d compresses.
func (c *client) sendDeflated(d *ws.Deflater, packet string) {
	frame, err := d.AppendFrame(nil, ws.OpText, []byte(packet))
	if err != nil {
		c.crowd.t.Fatal(err)
	}
	c.mu.Lock()
	c.out = append(c.out, frame...)
	c.mu.Unlock()
	c.conn.Wake()
}

func (c *client) Drain([]byte) {
	c.mu.Lock()
	out := c.out
	c.out = nil
	c.mu.Unlock()
	if len(out) > 0 {
		c.conn.Write(out)
	}
}

func (c *client) Closed(error) {
	if !c.connected {
		c.crowd.failed.Add(1)
	}
	c.crowd.gone.Add(1)
}

func (c *client) Receive(b []byte) {
	c.crowd.bytes.Add(int64(len(b)))
	if !c.opened {
		c.head = append(c.head, b...)
		end := bytes.Index(c.head, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		if !bytes.HasPrefix(c.head, []byte("HTTP/1.1 101 ")) {
			c.conn.Close()
			return
		}
		b, c.head, c.opened = c.head[end+4:], nil, true
		c.send("40")
	}
	if err := c.parser.Feed(b, c); err != nil {
		c.crowd.t.Errorf("the server breaks the protocol: %v", err)
		c.conn.Close()
	}
}

func (c *client) OnControl(ws.Opcode, []byte) error { return nil }

var tick = []byte(`42["tick",`)

func (c *client) OnMessage(_ ws.Opcode, packet []byte) error {
	crowd := c.crowd
	switch {
	case len(packet) == 1 && packet[0] == '2':
		crowd.pings.Add(1)
		c.send("3")
		return nil
	case bytes.HasPrefix(packet, []byte("40")):
		c.connected = true
		crowd.connected.Add(1)
		return nil
	case bytes.HasPrefix(packet, []byte("42")):
		if s := crowd.samples.Load(); s != nil && c.sampled && bytes.HasPrefix(packet, tick) {
			sent, _, _ := bytes.Cut(packet[len(tick):], []byte(","))
			ns, err := strconv.ParseInt(string(sent), 10, 64)
			if err != nil {
				return err
			}
			s.add(time.Duration(time.Now().UnixNano() - ns))
		}
		crowd.events.Add(1)
	case bytes.HasPrefix(packet, []byte("43")):
		crowd.acks.Add(1)
	}
	if crowd.receive != nil {
		crowd.receive(c, packet)
	}
	return nil
}
