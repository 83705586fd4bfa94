package apptest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/parley-go/parley/internal/ws"
)

// Packet is an event, or an acknowledgement, whose Event is empty.
type Packet struct {
	Event string
	ID    int64 // of the acknowledgement that is wanted or given, else -1
	Args  []json.RawMessage
}

// Decode decodes the first argument into v, a pointer, of which nothing else remains.
func (p Packet) Decode(v any) error {
	if len(p.Args) == 0 {
		return errors.New("there is no argument")
	}
	reflect.ValueOf(v).Elem().SetZero()
	return json.Unmarshal(p.Args[0], v)
}

// Client is one connection that has joined the main namespace. It is safe for concurrent
// use. What is received waits, without a bound, until it is asked for.
type Client struct {
	ID   string // of the socket
	conn *ws.Conn
	done chan struct{} // closed when nothing more will be received

	mu       sync.Mutex
	received []Packet
	news     chan struct{} // closed when received grows
	err      error         // why done is closed
	lastID   int64
}

// Connect connects to the server at an address such as http://127.0.0.1:8080.
func Connect(ctx context.Context, url string) (*Client, error) {
	return ConnectWith(ctx, url, nil)
}

// ConnectWith is Connect with additional fields in the request's header.
func ConnectWith(ctx context.Context, url string, header http.Header) (*Client, error) {
	return connect(ctx, url, header, "")
}

// ConnectAs is Connect with the payload of CONNECT, JSON.
func ConnectAs(ctx context.Context, url, auth string) (*Client, error) {
	return connect(ctx, url, nil, auth)
}

func connect(ctx context.Context, url string, header http.Header, auth string) (*Client, error) {
	conn, _, err := ws.Dial(ctx, url+"/socket.io/?EIO=4&transport=websocket", &ws.DialOptions{Header: header})
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, done: make(chan struct{}), news: make(chan struct{})}
	if err := c.handshake(ctx, auth); err != nil {
		conn.CloseNow()
		return nil, err
	}
	go c.receive()
	return c, nil
}

func (c *Client) handshake(ctx context.Context, auth string) error {
	if open, err := c.read(ctx); err != nil || !strings.HasPrefix(open, "0{") {
		return fmt.Errorf("want an OPEN packet, got %q, %v", open, err)
	}
	if err := c.Write(ctx, "40"+auth); err != nil {
		return err
	}
	connected, err := c.read(ctx)
	rest, ok := strings.CutPrefix(connected, "40")
	var answer struct{ SID string }
	if err != nil || !ok || json.Unmarshal([]byte(rest), &answer) != nil {
		return fmt.Errorf("want a CONNECT packet, got %q, %v", connected, err)
	}
	c.ID = answer.SID
	return nil
}

func (c *Client) read(ctx context.Context) (string, error) {
	_, data, err := c.conn.ReadMessage(ctx)
	return string(data), err
}

// Write sends an Engine.IO packet.
func (c *Client) Write(ctx context.Context, packet string) error {
	return c.conn.WriteMessage(ctx, ws.OpText, []byte(packet))
}

// receive reads until the connection ends.
func (c *Client) receive() {
	defer close(c.done)
	for {
		packet, err := c.read(context.Background())
		switch {
		case err != nil:
		case packet == "2":
			err = c.Write(context.Background(), "3")
		case packet == "41":
			err = errors.New("disconnected by the server")
		case strings.HasPrefix(packet, "42"), strings.HasPrefix(packet, "43"):
			var p Packet
			if p, err = parse(packet[1:]); err == nil {
				c.mu.Lock()
				c.received = append(c.received, p)
				close(c.news)
				c.news = make(chan struct{})
				c.mu.Unlock()
			}
		default:
			err = fmt.Errorf("unexpected packet %q", packet)
		}
		if err != nil {
			c.mu.Lock()
			c.err = err
			c.mu.Unlock()
			return
		}
	}
}

// parse parses "2[…]", "2<id>[…]" and "3<id>[…]".
func parse(packet string) (Packet, error) {
	p := Packet{ID: -1}
	start := strings.IndexByte(packet, '[')
	if start < 0 {
		return p, fmt.Errorf("packet %q has no arguments", packet)
	}
	if id := packet[1:start]; id != "" {
		var err error
		if p.ID, err = strconv.ParseInt(id, 10, 64); err != nil {
			return p, err
		}
	}
	if err := json.Unmarshal([]byte(packet[start:]), &p.Args); err != nil {
		return p, err
	}
	if packet[0] == '2' {
		if len(p.Args) == 0 {
			return p, fmt.Errorf("event %q has no name", packet)
		}
		if err := json.Unmarshal(p.Args[0], &p.Event); err != nil {
			return p, err
		}
		p.Args = p.Args[1:]
	}
	return p, nil
}

// Emit sends an event that wants no acknowledgement.
func (c *Client) Emit(ctx context.Context, event string, args ...any) error {
	return c.emit(ctx, "", event, args)
}

// EmitID sends an event that wants an acknowledgement and returns its id.
func (c *Client) EmitID(ctx context.Context, event string, args ...any) (int64, error) {
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	c.mu.Unlock()
	return id, c.emit(ctx, strconv.FormatInt(id, 10), event, args)
}

func (c *Client) emit(ctx context.Context, id, event string, args []any) error {
	data, err := json.Marshal(append([]any{event}, args...))
	if err != nil {
		return err
	}
	return c.Write(ctx, "42"+id+string(data))
}

// Call sends an event and decodes the first argument of its acknowledgement into reply.
func (c *Client) Call(ctx context.Context, event string, arg, reply any) error {
	id, err := c.EmitID(ctx, event, arg)
	if err != nil {
		return err
	}
	p, err := c.Take(ctx, func(p Packet) bool { return p.Event == "" && p.ID == id })
	if err != nil {
		return err
	}
	return p.Decode(reply)
}

// Take waits for a packet that match accepts and returns it. Those before it stay.
func (c *Client) Take(ctx context.Context, match func(Packet) bool) (Packet, error) {
	for seen, last := 0, false; ; {
		c.mu.Lock()
		for ; seen < len(c.received); seen++ {
			if p := c.received[seen]; match(p) {
				c.received = append(c.received[:seen:seen], c.received[seen+1:]...)
				c.mu.Unlock()
				return p, nil
			}
		}
		news, err := c.news, c.err
		c.mu.Unlock()
		if last {
			return Packet{}, err
		}
		select {
		case <-news:
		case <-c.done:
			last = true // what came before the end is still there
		case <-ctx.Done():
			return Packet{}, ctx.Err()
		}
	}
}

// Done is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.done }

// Close ends the connection.
func (c *Client) Close() {
	c.conn.Close(ws.CloseNormal, "")
	<-c.done
}
