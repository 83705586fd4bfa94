package engine

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/ws"
)

// webSocket is a WebSocket as a transport. The reactor reads and writes it.
type webSocket struct {
	s        *Session
	made     *ws.Connected // until begin
	conn     reactor.Conn
	parser   ws.Parser     // of the goroutine that receives
	deflater *ws.Deflater  // of the one that writes
	least    int           // bytes: smaller messages are not compressed
	settled  chan struct{} // of a probe: closed when it is known whether it becomes the transport
	settle   func()        // closes settled

	mu      sync.Mutex
	first   []eio.Packet // to be sent before those of the session
	control []byte       // frames to be sent before those
	ending  bool         // our Close frame is sent or queued
	hangUp  bool         // the connection is to be closed when it is sent
	gone    bool         // the connection is closed
}

// dialWebSocket makes a WebSocket, which is silent until begin.
func (s *Session) dialWebSocket(ctx context.Context) (*webSocket, error) {
	made, response, err := ws.Connect(ctx, s.o.address(WebSocket, s.SID).String(), &ws.DialOptions{
		Header: s.headers(WebSocket), Compression: s.o.Compression, NetDial: s.o.NetDial, TLS: s.o.TLS,
	})
	if err != nil {
		if response != nil && response.StatusCode != http.StatusSwitchingProtocols {
			return nil, refusal(response)
		}
		return nil, err
	}
	t := &webSocket{s: s, made: made}
	if s.SID != "" {
		t.settled = make(chan struct{})
		t.settle = sync.OnceFunc(func() { close(t.settled) })
	}
	t.parser.Init(&ws.ParserConfig{MaxMessage: s.o.MaxMessage}, ws.Client, made.Deflate)
	if d := made.Deflate; d != nil {
		t.deflater, t.least = ws.NewDeflater(ws.Client, d), d.Threshold
	}
	return t, nil
}

// begin lets the reactor have the connection.
func (t *webSocket) begin() {
	t.s.running.Add(1)
	made := t.made
	t.made = nil
	t.s.o.Reactor.Add(made.Conn, made.Buffered, t, func(c reactor.Conn) { t.conn = c })
}

func (t *webSocket) name() string { return WebSocket }
func (t *webSocket) wake()        { t.conn.Wake() }

func (t *webSocket) pause(paused bool) {
	if paused {
		t.conn.Pause()
	} else {
		t.conn.Resume()
	}
}

func (t *webSocket) cut() {
	if t.conn == nil { // the reactor has refused it
		return
	}
	t.mu.Lock()
	t.hangUp = len(t.control) > 0
	later := t.hangUp
	t.mu.Unlock()
	if !later {
		t.conn.Close()
		return
	}
	t.conn.Wake()
	time.AfterFunc(closeTimeout, t.conn.Close)
}

// send sends a packet before those of the session.
func (t *webSocket) send(p eio.Packet) {
	t.mu.Lock()
	t.first = append(t.first, p)
	t.mu.Unlock()
	t.conn.Wake()
}

// Receive implements reactor.Handler.
func (t *webSocket) Receive(b []byte) {
	err := t.parser.Feed(b, t)
	if err == nil {
		return
	}
	code, reason := ws.CloseProtocolError, TransportError
	if e, ok := err.(*ws.CloseError); ok {
		code = e.Code
	}
	if err == errEnded {
		code, reason, err = ws.CloseNormal, TransportClose, nil
	}
	t.farewell(code)
	t.s.fail(t, reason, err)
}

var errEnded = fmt.Errorf("engine: the server has closed the WebSocket")

// farewell queues a Close frame, once.
func (t *webSocket) farewell(code int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ending {
		t.ending = true
		t.control = ws.AppendClose(t.control, ws.Client, code, "")
		t.conn.Wake()
	}
}

// OnMessage implements ws.Handler.
func (t *webSocket) OnMessage(op ws.Opcode, payload []byte) error {
	p, err := t.s.o.Protocol.Decode(op == ws.OpBinary, payload)
	if err != nil {
		return err
	}
	return t.s.receive(t, p)
}

// OnControl implements ws.Handler.
func (t *webSocket) OnControl(op ws.Opcode, payload []byte) error {
	switch op {
	case ws.OpPing:
		t.mu.Lock()
		if len(t.control) < 1<<10 { // otherwise the server does not read
			t.control = ws.AppendMaskedFrame(t.control, ws.OpPong, payload)
		}
		t.mu.Unlock()
		t.conn.Wake()
	case ws.OpClose:
		return errEnded
	}
	return nil
}

// Closed implements reactor.Handler.
func (t *webSocket) Closed(err error) {
	if err == reactor.ErrClosed {
		err = nil
	}
	t.mu.Lock()
	t.gone = true
	t.mu.Unlock()
	t.s.fail(t, TransportClose, err)
	t.s.running.Done()
}

// Drain implements reactor.Handler.
func (t *webSocket) Drain(scratch []byte) {
	for {
		t.mu.Lock()
		b := append(scratch[:0], t.control...)
		packets, ending, hangUp := t.first, t.ending, t.hangUp
		t.control, t.first = nil, nil
		t.mu.Unlock()
		last := false
		if !ending {
			var more []eio.Packet
			more, last = t.s.take(t, reactor.BufferSize)
			packets = append(packets, more...)
		}
		for _, p := range packets {
			var err error
			if b, err = t.append(b, p); err != nil {
				t.s.fail(t, TransportError, err)
				return
			}
		}
		if last {
			t.farewell(ws.CloseNormal) // what follows is its next round
		}
		if len(b) > 0 && !t.conn.Write(b) {
			return
		}
		if len(b) == 0 && !last {
			if hangUp {
				t.conn.Close()
			}
			return
		}
	}
}

// append appends the frame of a packet.
func (t *webSocket) append(b []byte, p eio.Packet) ([]byte, error) {
	op, payload := ws.OpBinary, p.Data
	switch {
	case !p.Binary:
		op, payload = ws.OpText, append([]byte{byte(p.Type)}, p.Data...)
	case t.s.o.Protocol.WritesType():
		payload = eio.AppendBinary(nil, p.Data)
	}
	if t.deflater != nil && len(payload) >= t.least {
		return t.deflater.AppendFrame(b, op, payload)
	}
	return ws.AppendMaskedFrame(b, op, payload), nil
}
