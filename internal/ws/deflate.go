package ws

import (
	"compress/flate"
	"fmt"
	"math"
	"sync"
)

// maxWindowBits is DEFLATE's largest LZ77 window, 32 KiB. It is the default of both window
// parameters (RFC 7692, 7.1.2).
const (
	minWindowBits = 8
	maxWindowBits = 15
)

// DeflateParams holds the parameters of permessage-deflate that a handshake has agreed on. Do not
// change it once a connection uses it.
type DeflateParams struct {
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool
	ServerMaxWindowBits     int // 8 to 15
	ClientMaxWindowBits     int // 8 to 15

	confirm bool // answer with ServerMaxWindowBits even if it is 15, since the client has limited it

	// Level is our compression level, as in compress/flate. If zero, it is flate.BestSpeed.
	Level int

	// Threshold is the size in bytes below which compressing a message is not worthwhile. Parser
	// and Deflater ignore it.
	Threshold int
}

// readWindow returns how many bytes of earlier messages a message that side receives may refer to.
func (d *DeflateParams) readWindow(side Side) int {
	bits, reset := d.ClientMaxWindowBits, d.ClientNoContextTakeover
	if side == Client {
		bits, reset = d.ServerMaxWindowBits, d.ServerNoContextTakeover
	}
	if reset {
		return 0
	}
	// zlib up to 1.2.8 uses a window of 9 bits where 8 are asked for.
	return 1 << max(bits, 9)
}

// maxDeflated returns the largest compressed size to accept for a message of n bytes. The worst
// honest encoding has fixed Huffman codes of 9 bits per byte.
func maxDeflated(n uint64) uint64 {
	return min(n+n/8+64, math.MaxInt)
}

// syncTail ends every flush of a DEFLATE stream: an empty stored block without its three header
// bits. Senders remove it (RFC 7692, 7.2.1), receivers add it again (7.2.2).
const syncTail = "\x00\x00\xff\xff"

// A Deflater compresses the messages that one side sends.
//
// With context takeover, a Deflater belongs to one connection, and only one goroutine at a time may
// use it. You must send every message that it compresses, in order. From the first message on, it
// holds a compressor of about 1 MB.
//
// Without context takeover, a Deflater holds nothing, and many goroutines may use it. The same side
// may send its messages to every peer whose window is the same or larger. But do not send them on a
// connection that also has a Deflater with context takeover.
type Deflater struct {
	side     Side
	level    int
	window   int
	takeover bool
	own      *compressor // only with context takeover, from the first message on
}

// NewDeflater returns a Deflater for the messages that side sends.
//
// compress/flate always uses a window of 32 KiB. To keep to a smaller window, the Deflater resets
// the compressor each time it has compressed as many bytes as the window has. Then no reference can
// go further back. Such a Deflater works without context takeover, which a sender may do without
// negotiation.
//
// NewDeflater panics if the parameters are out of range.
func NewDeflater(side Side, d *DeflateParams) *Deflater {
	bits, reset := d.ServerMaxWindowBits, d.ServerNoContextTakeover
	if side == Client {
		bits, reset = d.ClientMaxWindowBits, d.ClientNoContextTakeover
	}
	level := d.Level
	if level == 0 {
		level = flate.BestSpeed
	}
	if level < flate.HuffmanOnly || level > flate.BestCompression {
		panic(fmt.Sprintf("ws: compression level %d", level))
	}
	if bits < minWindowBits || bits > maxWindowBits {
		panic(fmt.Sprintf("ws: window of %d bits", bits))
	}
	return &Deflater{
		side:     side,
		level:    level,
		window:   1 << bits,
		takeover: !reset && bits == maxWindowBits,
	}
}

// Shareable reports whether d works without context takeover: see [Deflater].
func (d *Deflater) Shareable() bool { return !d.takeover }

// AppendFrame appends a whole message: a frame with FIN and RSV1 that holds payload compressed. It
// does not keep payload.
func (d *Deflater) AppendFrame(dst []byte, op Opcode, payload []byte) ([]byte, error) {
	// The size of the header depends on the compressed size. Leave room for the largest header, and
	// close the gap afterwards.
	start := len(dst)
	var room [MaxHeader + maskSize]byte
	dst, err := d.AppendMessage(append(dst, room[:]...), payload)
	if err != nil {
		return dst[:start], err
	}
	body := dst[start+len(room):]
	head, first := dst[:start], firstByte(op, true, true)
	if d.side == Client {
		var key uint32
		head = appendHeader(head, first, maskBit, len(body))
		head, key = appendMaskingKey(head)
		mask(body, key)
	} else {
		head = appendHeader(head, first, 0, len(body))
	}
	return append(head, body...), nil
}

// AppendMessage appends payload compressed, in the form that a message's frames carry: without the
// tail of the final flush (RFC 7692, 7.2.1). It does not keep payload.
func (d *Deflater) AppendMessage(dst, payload []byte) ([]byte, error) {
	if d.takeover {
		if d.own == nil {
			d.own = newCompressor(d.level)
		}
		return d.own.deflate(dst, payload)
	}
	pool := &compressors[d.level-flate.HuffmanOnly]
	c, _ := pool.Get().(*compressor)
	if c == nil {
		c = newCompressor(d.level)
	}
	defer pool.Put(c)
	for {
		chunk := payload
		if d.window < 1<<maxWindowBits {
			chunk = payload[:min(len(payload), d.window)]
		}
		c.w.Reset(&c.out)
		var err error
		if dst, err = c.deflate(dst, chunk); err != nil {
			return dst, err
		}
		if payload = payload[len(chunk):]; len(payload) == 0 {
			return dst, nil
		}
		dst = append(dst, syncTail...)
	}
}

// compressors holds idle compressors, by level.
var compressors [flate.BestCompression - flate.HuffmanOnly + 1]sync.Pool

type compressor struct {
	w   *flate.Writer // writes to out
	out appender
}

func newCompressor(level int) *compressor {
	c := new(compressor)
	w, err := flate.NewWriter(&c.out, level)
	if err != nil {
		panic("ws: " + err.Error())
	}
	c.w = w
	return c
}

// deflate appends payload to dst, compressed and flushed, without the tail.
func (c *compressor) deflate(dst, payload []byte) ([]byte, error) {
	c.out.b = dst
	_, err := c.w.Write(payload)
	if err == nil {
		err = c.w.Flush()
	}
	out := c.out.b
	c.out.b = nil // it belongs to the caller
	if err != nil {
		return dst, fmt.Errorf("deflate message: %w", err)
	}
	return out[:len(out)-len(syncTail)], nil
}

// An appender is an io.Writer that appends.
type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}
