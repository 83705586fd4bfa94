package bench

import (
	"context"
	"sync"

	"github.com/parley-go/parley/internal/reactor"
	"github.com/parley-go/parley/internal/ws"
)

// websocket is a wire without its own goroutines. Each packet is a frame, and each frame is a write,
// as if each connection were a separate program. Several messages in flight on one connection reach
// the server in one piece only if the network joins them.
type websocket struct {
	client *client
	conn   reactor.Conn
	parser ws.Parser // owned by the reading goroutine

	mu     sync.Mutex
	queued frames

	writing frames // owned by Drain
}

// frames are consecutive frames.
type frames struct {
	bytes []byte
	ends  []int // end of each frame in bytes
	sent  int   // number of bytes already taken by next
}

func (f *frames) append(op ws.Opcode, payload []byte) {
	f.bytes = ws.AppendMaskedFrame(f.bytes, op, payload)
	f.ends = append(f.ends, len(f.bytes))
}

// next takes and returns the next frame, or nil if there is none.
func (f *frames) next() []byte {
	if len(f.ends) == 0 {
		return nil
	}
	frame := f.bytes[f.sent:f.ends[0]]
	f.sent, f.ends = f.ends[0], f.ends[1:]
	return frame
}

// parserConfig allows messages as large as a page of history.
var parserConfig = &ws.ParserConfig{MaxMessage: 16 << 20}

// openWebSocket does the WebSocket handshake and starts to receive for c.
func openWebSocket(ctx context.Context, c *client) error {
	f := c.fleet
	conn, resp, err := ws.Connect(ctx, f.websocketURL, &ws.DialOptions{
		Header: f.options.header, NetDial: f.dialer(c.index), TLS: f.tls,
	})
	if err != nil {
		return f.explain(err, resp)
	}
	w := &websocket{client: c}
	w.parser.Init(parserConfig, ws.Client, nil)
	c.wire = w
	f.reactor.Add(conn.Conn, conn.Buffered, w, func(pc reactor.Conn) { w.conn = pc })
	return nil
}

func (w *websocket) send(packets ...[]byte) {
	w.mu.Lock()
	for _, p := range packets {
		w.queued.append(ws.OpText, p)
	}
	w.mu.Unlock()
	w.conn.Wake()
}

func (w *websocket) end() { w.sendClose(ws.CloseNormal) }

func (w *websocket) sendClose(code int) {
	w.mu.Lock()
	w.queued.bytes = ws.AppendClose(w.queued.bytes, ws.Client, code, "")
	w.queued.ends = append(w.queued.ends, len(w.queued.bytes))
	w.mu.Unlock()
	w.conn.Wake()
}

func (w *websocket) abort() { w.conn.Close() }

// Receive, Drain and Closed implement reactor.Handler.

func (w *websocket) Receive(b []byte) {
	if err := w.parser.Feed(b, w); err != nil {
		w.client.answer(err)
		w.conn.Close()
	}
}

func (w *websocket) Drain([]byte) {
	rest := len(w.writing.ends) > 0
	if !rest {
		w.mu.Lock()
		w.queued, w.writing = frames{bytes: w.writing.bytes[:0], ends: w.writing.ends[:0]}, w.queued
		w.mu.Unlock()
	}
	for frame := w.writing.next(); frame != nil; frame = w.writing.next() {
		if !w.conn.Write(frame) {
			return
		}
	}
	if rest {
		w.conn.Wake() // more may be queued by now
	}
}

func (w *websocket) Closed(error) { w.client.closed(errHungUp) }

// OnMessage and OnControl implement ws.Handler.

func (w *websocket) OnMessage(op ws.Opcode, payload []byte) error {
	if op == ws.OpText { // we send no attachments, so ignore binary messages
		w.client.receive(payload)
	}
	return nil
}

func (w *websocket) OnControl(op ws.Opcode, payload []byte) error {
	switch op {
	case ws.OpPing:
		w.mu.Lock()
		w.queued.append(ws.OpPong, payload)
		w.mu.Unlock()
		w.conn.Wake()
	case ws.OpClose:
		if w.client.leaving.Load() {
			w.conn.Close() // the server has answered our Close frame
			break
		}
		w.sendClose(ws.CloseNormal) // then the server closes the connection
	}
	return nil
}
