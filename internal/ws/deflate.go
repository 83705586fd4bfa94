package ws

import (
	"compress/flate"
	"fmt"
	"math"
	"sync"
)

// maxWindowBits is DEFLATE's largest LZ77 window, 32 KiB, and the default of
// both window parameters (RFC 7692, 7.1.2).
const (
	minWindowBits = 8
	maxWindowBits = 15
)

// DeflateParams is what a handshake has agreed on for permessage-deflate. It
// must not change once a connection uses it.
type DeflateParams struct {
	ServerNoContextTakeover bool
	ClientNoContextTakeover bool
	ServerMaxWindowBits     int // 8 to 15
	ClientMaxWindowBits     int // 8 to 15

	confirm bool // ServerMaxWindowBits, which the client has limited, perhaps to 15

	// Level is what we compress with, as for compress/flate. If zero,
	// flate.BestSpeed.
	Level int

	// Threshold is the size in bytes below which compressing a message is
	// not worthwhile. Parser and Deflater do not look at it.
	Threshold int
}

// readWindow returns how many bytes of earlier messages those that side reads
// may refer to.
func (d *DeflateParams) readWindow(side Side) int {
	bits, reset := d.ClientMaxWindowBits, d.ClientNoContextTakeover
	if side == Client {
		bits, reset = d.ServerMaxWindowBits, d.ServerNoContextTakeover
	}
	if reset {
		return 0
	}
	// zlib up to 1.2.8 takes a window of 8 bits for one of 9.
	return 1 << max(bits, 9)
}

// maxDeflated returns the size a message of n bytes may have when compressed.
// The worst honest encoding has fixed Huffman codes of 9 bits a byte.
func maxDeflated(n uint64) uint64 {
	return min(n+n/8+64, math.MaxInt)
}

// syncTail ends what a DEFLATE stream flushes: an empty stored block without its
// three header bits. Senders remove it (RFC 7692, 7.2.1), receivers add it
// again (7.2.2).
const syncTail = "\x00\x00\xff\xff"

// A Deflater compresses the messages that one side sends.
//
// With context takeover it belongs to one connection, holds a compressor of
// about 1 MB from the first message on, and is used by one goroutine at a time;
// every message it makes must be sent, in order. Without context takeover it
// holds nothing, may be used by many goroutines, and what it makes may be sent
// by the same side to every peer with the same or a larger window; but not
// beside another Deflater that takes context over.
type Deflater struct {
	side     Side
	level    int
	window   int
	takeover bool
	own      *compressor // with context takeover, from the first message on
}

// NewDeflater returns a Deflater for what side sends.
//
// compress/flate always uses a window of 32 KiB. To keep to a smaller one, the
// compressor is reset after as many bytes as the window has: there is then
// nothing further away to refer to. Such connections do not take context over,
// which a sender is free to do without negotiation.
//
// It panics if the parameters are out of range.
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

// AppendFrame appends a frame with FIN and RSV1 that holds payload, compressed:
// a whole message. payload is copied.
func (d *Deflater) AppendFrame(dst []byte, op Opcode, payload []byte) ([]byte, error) {
	// The header's size depends on the compressed size: leave room for the
	// largest, and close the gap afterwards.
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

// AppendMessage appends payload compressed, in the form a message's frames
// carry: without the tail of the final flush (RFC 7692, 7.2.1). payload is
// copied.
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
	c.out.b = nil // the caller's
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
