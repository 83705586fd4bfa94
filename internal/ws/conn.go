package ws

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ConnOptions configure [NewConn], which copies them.
type ConnOptions struct {
	Side    Side
	Parser  *ParserConfig  // nil for the default limits
	Deflate *DeflateParams // as negotiated in the handshake; nil without compression

	// Buffered holds bytes that you have already read from the connection. The Conn takes the
	// slice and overwrites it.
	Buffered []byte

	// CloseTimeout limits the duration of the closing handshake. If zero, it is 5 seconds.
	CloseTimeout time.Duration
}

const (
	defaultCloseTimeout = 5 * time.Second

	// readSize limits the bytes of one read. Since DEFLATE expands by a factor of at most 1032, it
	// also limits what can wait for ReadMessage, to 4 MB.
	readSize = 4 << 10

	// maxPongs is how many pongs may wait for a writer. When there are more, the oldest is dropped:
	// only the latest ping needs an answer (RFC 6455, 5.5.3).
	maxPongs = 60
)

// ErrClosed is the error of writes to a [Conn] after you have called Close or the peer has closed.
var ErrClosed = errors.New("ws: connection is closed")

// A Conn is a WebSocket connection with blocking calls. ReadMessage answers pings and the peer's
// Close frame, so keep one call of it running all the time.
//
// Several goroutines may call its methods. Concurrent calls of ReadMessage wait for each other, and
// so do calls of WriteMessage. If the context of a call ends while it reads or writes, the
// connection breaks.
type Conn struct {
	nc           net.Conn
	side         Side
	closeTimeout time.Duration

	// reading and writing each hold a token. The goroutine that has received it owns the fields
	// below.
	reading chan struct{}
	parser  Parser
	buf     []byte
	unread  []byte // read during the handshake
	queue   []message
	closing error // the peer's Close frame or its protocol violation
	readErr error // the error of all further calls of ReadMessage

	writing   chan struct{}
	out       []byte
	deflater  *Deflater
	threshold int
	writeErr  error // set after a Close frame or a partial write: no frame may follow

	mu    sync.Mutex
	pongs [][]byte // waiting for a writer
}

type message struct {
	op      Opcode
	payload []byte
}

// NewConn returns a connection over nc, whose opening handshake must be complete. The Conn owns nc
// from then on.
func NewConn(nc net.Conn, o ConnOptions) *Conn {
	c := &Conn{
		nc:           nc,
		side:         o.Side,
		closeTimeout: o.CloseTimeout,
		reading:      make(chan struct{}, 1),
		writing:      make(chan struct{}, 1),
		unread:       o.Buffered,
	}
	if c.closeTimeout == 0 {
		c.closeTimeout = defaultCloseTimeout
	}
	if o.Deflate != nil {
		c.deflater = NewDeflater(o.Side, o.Deflate)
		c.threshold = o.Deflate.Threshold
	}
	c.parser.Init(o.Parser, o.Side, o.Deflate)
	c.reading <- struct{}{}
	c.writing <- struct{}{}
	return c
}

// ReadMessage returns the next message. The payload belongs to the caller.
//
// At the end of the connection the error is a [*CloseError]. Either the peer has sent a Close frame,
// which the Conn has answered, or it has broken the protocol, which the Conn has told it. Any other
// error comes from the network or the context. After an error, every call fails, except when the
// context ended before the call could start to read.
func (c *Conn) ReadMessage(ctx context.Context) (Opcode, []byte, error) {
	select {
	case <-c.reading:
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	defer func() { c.reading <- struct{}{} }()
	m, err := c.readMessage(ctx)
	return m.op, m.payload, err
}

// readMessage must be called with the token of reading.
func (c *Conn) readMessage(ctx context.Context) (message, error) {
	if len(c.queue) == 0 && c.readErr == nil {
		stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(aLongTimeAgo) })
		for len(c.queue) == 0 && c.readErr == nil {
			c.readErr = c.readSome()
		}
		if !stop() && c.readErr != nil {
			c.readErr = ctx.Err()
		}
	}
	if len(c.queue) == 0 {
		return message{}, c.readErr
	}
	m := c.queue[0]
	c.queue[0] = message{}
	if c.queue = c.queue[1:]; len(c.queue) == 0 {
		c.queue = nil
	}
	return m, nil
}

// aLongTimeAgo is a deadline that makes I/O fail at once.
var aLongTimeAgo = time.Unix(1, 0)

// readSome reads and parses once, and answers pings. It does not end the connection until the caller
// has taken the messages before the end, so that the caller can still reply to them.
func (c *Conn) readSome() error {
	if c.closing != nil {
		c.end(c.closing)
		return c.closing
	}
	b := c.unread
	c.unread = nil
	if len(b) == 0 {
		if c.buf == nil {
			c.buf = make([]byte, readSize)
		}
		n, err := c.nc.Read(c.buf)
		if n == 0 && err != nil {
			c.nc.Close()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // without a Close frame
			}
			return err
		}
		b = c.buf[:n]
	}
	if c.closing = c.parser.Feed(b, (*connHandler)(c)); c.closing != nil {
		return nil
	}
	return c.flushPongs()
}

// end closes the connection after the peer's Close frame or protocol violation.
func (c *Conn) end(err error) {
	defer c.nc.Close()
	var closing *CloseError
	if !errors.As(err, &closing) {
		return
	}
	c.nc.SetDeadline(time.Now().Add(c.closeTimeout))
	c.write(context.Background(), OpClose, closePayload(closing.Code, closing.Reason))
	// The server ends the TCP connection (RFC 6455, 7.1.1). If it closed the connection while there
	// are unread bytes, TCP would reset it, and the client might never see our Close frame. So end
	// our half, and read until the client ends its half.
	if c.side == Server {
		w, ok := c.nc.(interface{ CloseWrite() error })
		if !ok || w.CloseWrite() != nil {
			return
		}
	}
	io.Copy(io.Discard, c.nc)
}

// connHandler implements [Handler] for a Conn.
type connHandler Conn

func (c *connHandler) OnMessage(op Opcode, payload []byte) error {
	c.queue = append(c.queue, message{op, slices.Clone(payload)})
	return nil
}

func (c *connHandler) OnControl(op Opcode, payload []byte) error {
	switch op {
	case OpPing:
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.pongs) == maxPongs {
			c.pongs = slices.Delete(c.pongs, 0, 1)
		}
		c.pongs = append(c.pongs, slices.Clone(payload))
	case OpClose:
		code, reason := ParseClose(payload)
		return &CloseError{Code: code, Reason: reason}
	}
	return nil
}

// WriteMessage sends a message. It compresses the message if compression was negotiated and the
// message reaches the threshold. When it returns, payload belongs to the caller again.
func (c *Conn) WriteMessage(ctx context.Context, op Opcode, payload []byte) error {
	if op != OpText && op != OpBinary {
		return errors.New("ws: a message is text or binary")
	}
	return c.write(ctx, op, payload)
}

// Ping sends a ping with at most 125 bytes. You do not hear of the pong.
func (c *Conn) Ping(ctx context.Context, payload []byte) error {
	if len(payload) > MaxControlPayload {
		return errors.New("ws: ping of more than 125 bytes")
	}
	return c.write(ctx, OpPing, payload)
}

// Close sends a Close frame, waits for the peer's Close frame, and closes the connection. It drops
// messages that arrive meanwhile. The error is nil if the peer has answered or had closed before.
func (c *Conn) Close(code int, reason string) error {
	if code != CloseNoStatus && !ValidCloseCode(code) {
		return errors.New("ws: close code must not be sent")
	}
	defer c.nc.Close()
	c.nc.SetDeadline(time.Now().Add(c.closeTimeout))
	err := c.write(context.Background(), OpClose, closePayload(code, reason))
	if err != nil && err != ErrClosed {
		return err
	}
	<-c.reading // a reader returns it by the deadline at the latest
	defer func() { c.reading <- struct{}{} }()
	for c.readErr == nil {
		c.readErr = c.readSome()
	}
	c.queue = nil
	if closing := (*CloseError)(nil); errors.As(c.readErr, &closing) {
		return nil
	}
	return c.readErr
}

// CloseNow closes the connection without a closing handshake.
func (c *Conn) CloseNow() error { return c.nc.Close() }

// write sends the waiting pongs, then a frame.
func (c *Conn) write(ctx context.Context, op Opcode, payload []byte) error {
	select {
	case <-c.writing:
	case <-ctx.Done():
		return ctx.Err()
	}
	stop := context.AfterFunc(ctx, func() { c.nc.SetWriteDeadline(aLongTimeAgo) })
	err := c.writeFrames(op, payload)
	if !stop() && err != nil {
		err = ctx.Err()
	}
	c.writing <- struct{}{}
	if err != nil {
		return err
	}
	return c.flushPongs()
}

// flushPongs sends the waiting pongs. If another goroutine is writing, it leaves them to that one,
// which flushes after it has returned the token.
func (c *Conn) flushPongs() error {
	for c.havePongs() {
		select {
		case <-c.writing:
		default:
			return nil
		}
		err := c.writeFrames(OpPong, nil)
		c.writing <- struct{}{}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) havePongs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pongs) > 0
}

func (c *Conn) takePongs() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	pongs := c.pongs
	c.pongs = nil
	return pongs
}

// writeFrames writes the waiting pongs and, unless op is OpPong, a frame. It must be called with the
// token of writing.
func (c *Conn) writeFrames(op Opcode, payload []byte) error {
	pongs := c.takePongs()
	if c.writeErr != nil {
		return c.writeErr
	}
	out := c.out[:0]
	for _, pong := range pongs {
		out = appendFrame(out, c.side, OpPong, pong)
	}
	switch {
	case op == OpPong:
	case !op.isControl() && c.deflater != nil && len(payload) >= c.threshold:
		var err error
		if out, err = c.deflater.AppendFrame(out, op, payload); err != nil {
			return err
		}
	default:
		out = appendFrame(out, c.side, op, payload)
	}
	if cap(out) <= maxPooled {
		c.out = out
	}
	_, c.writeErr = c.nc.Write(out)
	if c.writeErr == nil && op == OpClose {
		c.writeErr = ErrClosed
		return nil
	}
	return c.writeErr
}

// Upgrade hijacks the connection of an accepted request and sends the response. If hijacking fails,
// you can still answer on w.
func Upgrade(w http.ResponseWriter, a *Accepted, cfg *ParserConfig) (*Conn, error) {
	nc, brw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	nc.SetDeadline(time.Time{}) // the HTTP server may have set one
	buffered, _ := brw.Reader.Peek(brw.Reader.Buffered())
	if _, err := nc.Write(a.AppendResponse(nil)); err != nil {
		nc.Close()
		return nil, fmt.Errorf("write handshake: %w", err)
	}
	return NewConn(nc, ConnOptions{Side: Server, Parser: cfg, Deflate: a.Deflate, Buffered: buffered}), nil
}
