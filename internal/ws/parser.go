package ws

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// Limits of a [ParserConfig] that leaves them zero.
const (
	DefaultMaxMessage   = 1_000_000
	DefaultMaxFragments = 16_384
)

// A ParserConfig holds the limits of incoming messages. It is shared by any
// number of parsers and must not change once one of them uses it.
type ParserConfig struct {
	// MaxMessage limits a message's bytes, after inflating. If zero,
	// DefaultMaxMessage. If negative, unlimited.
	MaxMessage int64

	// MaxFragments limits a message's frames, empty ones included. If zero,
	// DefaultMaxFragments. If negative, unlimited.
	MaxFragments int
}

func (c *ParserConfig) maxMessage() int64 {
	switch {
	case c == nil || c.MaxMessage == 0:
		return DefaultMaxMessage
	case c.MaxMessage < 0:
		return math.MaxInt
	}
	return min(c.MaxMessage, math.MaxInt)
}

func (c *ParserConfig) maxFragments() int {
	switch {
	case c == nil || c.MaxFragments == 0:
		return DefaultMaxFragments
	case c.MaxFragments < 0:
		return math.MaxInt
	}
	return c.MaxFragments
}

// A Handler receives what a [Parser] has read. A payload is valid only until
// the method returns; until then the handler may overwrite it. An error stops
// the parser for good and is returned by [Parser.Feed].
type Handler interface {
	// OnMessage is called with each whole message, inflated; text is UTF-8.
	OnMessage(op Opcode, payload []byte) error

	// OnControl is called with each ping, pong and Close frame, at its place
	// between the frames of a message. A Close frame's payload is valid:
	// see ParseClose.
	OnControl(op Opcode, payload []byte) error
}

// A Parser turns the bytes of one connection, in whatever pieces they arrive,
// into messages and control frames. It buffers only what has arrived of an
// incomplete message or frame, and, if the peer compresses with context
// takeover, the last 32 KiB it sent. Init must be called before Feed.
//
// A Parser is used by one goroutine at a time.
type Parser struct {
	cfg *ParserConfig
	err error // what Feed has failed with: it does not go on

	inflater inflater
	deflate  bool // compressed messages are allowed
	side     Side
	closed   bool // a Close frame has been read
	muted    bool // only a Close frame is still handed on
	stopped  bool // by Stop; msg holds what Feed has yet to parse

	// The frame being read.
	headLen   uint8
	head      [MaxHeader + maskSize]byte // the first headLen bytes of an incomplete header
	inPayload bool
	fin       bool
	op        Opcode
	key       uint32 // rotated to the next byte
	remaining int64  // of the payload
	control   []byte // payload of an incomplete control frame

	// The message being read.
	msgOp      Opcode // OpContinuation between messages
	compressed bool
	text       utf8Stream
	msg        []byte
	fragments  int
}

// Init makes p ready for a new connection. A nil cfg has the default limits; d
// is what the handshake has negotiated, nil without compression.
func (p *Parser) Init(cfg *ParserConfig, side Side, d *DeflateParams) {
	*p = Parser{cfg: cfg, side: side}
	if d != nil {
		p.deflate = true
		p.inflater.window = d.readWindow(side)
	}
}

// Mute makes p skip all that still comes but a Close frame: messages, pings and pongs are not
// unmasked, inflated, kept or handed on. The peer's faults that show in a frame's header are
// still returned by Feed. A [Handler] may call it.
func (p *Parser) Mute() {
	if p.muted {
		return
	}
	p.muted = true
	p.text, p.inflater = utf8Stream{}, inflater{}
	if !p.stopped {
		p.msg = nil
	}
	if p.op != OpClose {
		p.control = nil
	}
}

// Stop makes Feed return when the Handler does. What Feed was given and has not parsed is
// kept, and parsed first by the next call. A [Handler] may call it within OnMessage.
func (p *Parser) Stop() { p.stopped = true }

// Buffered returns the number of bytes kept: of an incomplete message or frame, or by Stop.
func (p *Parser) Buffered() int {
	return int(p.headLen) + len(p.control) + len(p.msg)
}

// Feed parses b, the next bytes of the connection, and calls h for all that
// becomes complete. b is overwritten while it is unmasked and may be reused by
// the caller as soon as Feed returns.
//
// The peer's faults are returned as [*CloseError] as soon as they can be seen.
// After an error every call returns the same error. What follows a Close frame
// is discarded (RFC 6455, 5.5.1).
func (p *Parser) Feed(b []byte, h Handler) error {
	if p.stopped {
		b = append(p.msg, b...)
		p.msg, p.stopped = nil, false
	}
	for p.err == nil && !p.closed && !p.stopped {
		if !p.inPayload {
			if b = b[p.readHeader(b):]; !p.inPayload {
				break // needs more bytes, or has failed
			}
		}
		n := int(min(int64(len(b)), p.remaining))
		p.err = p.readPayload(b[:n:n], h)
		if b = b[n:]; p.inPayload {
			break
		}
	}
	if p.stopped {
		p.msg = bytes.Clone(b)
	}
	if p.err != nil || p.closed { // it will not go on
		p.msg, p.control, p.headLen = nil, nil, 0
		p.inflater = inflater{}
	}
	return p.err
}

// readHeader consumes bytes of a header, sets inPayload when it is complete, or
// sets err. It returns the number of bytes used.
func (p *Parser) readHeader(b []byte) int {
	if p.headLen == 0 {
		if n := p.parseHeader(b); n > 0 || p.err != nil {
			return n
		}
	}
	// Byte by byte: there are few, and a fault must show with its first byte.
	for i, c := range b {
		p.head[p.headLen] = c
		p.headLen++
		if p.parseHeader(p.head[:p.headLen]); p.inPayload || p.err != nil {
			p.headLen = 0
			return i + 1
		}
	}
	return len(b)
}

// parseHeader parses b as far as it goes. It returns the size of the header, 0
// while it is incomplete or when it is faulty.
func (p *Parser) parseHeader(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	fin, rsv1 := b[0]&finBit != 0, b[0]&rsv1Bit != 0
	op := Opcode(b[0] & 0x0f)
	if p.err = p.checkFirstByte(b[0], op, fin, rsv1); p.err != nil || len(b) < 2 {
		return 0
	}

	masked, size := b[1]&maskBit != 0, 2
	if masked != (p.side == Server) {
		p.err = errMasking(p.side)
		return 0
	}
	length := uint64(b[1] &^ maskBit)
	if op.isControl() && length > MaxControlPayload {
		p.err = protocolError("control frame of more than 125 bytes")
		return 0
	}
	switch length {
	case length16:
		if size = 4; len(b) < size {
			return 0
		}
		length = uint64(binary.BigEndian.Uint16(b[2:]))
		if length < length16 {
			p.err = errLength
			return 0
		}
	case length64:
		if size = 10; len(b) < size {
			return 0
		}
		length = binary.BigEndian.Uint64(b[2:])
		if length <= math.MaxUint16 || length > math.MaxInt64 {
			p.err = errLength
			return 0
		}
	}
	if !op.isControl() {
		if p.err = p.checkLimits(op, length, rsv1); p.err != nil {
			return 0
		}
	}
	if masked {
		if size += maskSize; len(b) < size {
			return 0
		}
		p.key = binary.LittleEndian.Uint32(b[size-maskSize:])
	}

	p.op, p.fin, p.remaining, p.inPayload = op, fin, int64(length), true
	if !op.isControl() {
		p.fragments++
		if op != OpContinuation {
			p.msgOp, p.compressed = op, rsv1
		}
	}
	return size
}

var (
	errLength      = protocolError("invalid payload length")
	errTooBig      = error(&CloseError{Code: CloseMessageTooBig, Reason: "message too big"})
	errManyFrames  = error(&CloseError{Code: ClosePolicyViolation, Reason: "too many fragments"})
	errNotMasked   = protocolError("client frame is not masked")
	errMaskedFrame = protocolError("server frame is masked")
)

func errMasking(side Side) error {
	if side == Server {
		return errNotMasked
	}
	return errMaskedFrame
}

func (p *Parser) checkFirstByte(b byte, op Opcode, fin, rsv1 bool) error {
	if b&(rsv2Bit|rsv3Bit) != 0 || rsv1 && !p.deflate {
		return protocolError("reserved bit is set")
	}
	switch op {
	case OpText, OpBinary:
		if p.msgOp != OpContinuation {
			return protocolError("new message within a fragmented one")
		}
		return nil
	case OpContinuation:
		if p.msgOp == OpContinuation {
			return protocolError("continuation of no message")
		}
	case OpClose, OpPing, OpPong:
		if !fin {
			return protocolError("fragmented control frame")
		}
	default:
		return protocolError("reserved opcode")
	}
	if rsv1 { // it is for the first frame of a message, RFC 7692 6.1
		return protocolError("reserved bit is set")
	}
	return nil
}

// checkLimits refuses a data frame by its header alone: a message that is too
// big need not arrive for that.
func (p *Parser) checkLimits(op Opcode, length uint64, rsv1 bool) error {
	if p.fragments >= p.cfg.maxFragments() {
		return errManyFrames
	}
	limit := uint64(p.cfg.maxMessage())
	if rsv1 || p.compressed && op == OpContinuation {
		limit = maxDeflated(limit)
	}
	if length > limit-uint64(len(p.msg)) {
		return errTooBig
	}
	return nil
}

// readPayload takes the next bytes of the frame's payload, which may be none,
// and clears inPayload with the last one.
func (p *Parser) readPayload(b []byte, h Handler) error {
	if p.muted && p.op != OpClose {
		p.remaining -= int64(len(b))
		if p.inPayload = p.remaining > 0; !p.inPayload && p.fin && !p.op.isControl() {
			p.msgOp, p.compressed, p.fragments = OpContinuation, false, 0
		}
		return nil
	}
	if p.side == Server {
		p.key = mask(b, p.key)
	}
	p.remaining -= int64(len(b))
	p.inPayload = p.remaining > 0
	if p.op.isControl() {
		return p.readControl(b, h)
	}

	last := p.fin && !p.inPayload
	isText := p.msgOp == OpText && !p.compressed
	if last && len(p.msg) == 0 { // all of the message is in b: no copy
		if isText && !utf8.Valid(b) {
			return errInvalidUTF8
		}
		return p.finishMessage(b, h)
	}
	if isText && !p.text.write(b) {
		return errInvalidUTF8
	}
	p.appendMessage(b)
	if !last {
		return nil
	}
	if !p.text.complete() {
		return errInvalidUTF8
	}
	return p.finishMessage(p.msg, h)
}

// minBuffer is the capacity an incomplete message starts with, if its frame is
// not known to end before.
const minBuffer = 512

// appendMessage adds b to the buffered message. The buffer doubles, so that it
// follows what has arrived; what the frame declares is only an upper bound.
func (p *Parser) appendMessage(b []byte) {
	need := len(p.msg) + len(b)
	if need > cap(p.msg) {
		size := max(need, 2*cap(p.msg), minBuffer)
		if p.fin {
			size = int(min(int64(size), int64(need)+p.remaining))
		}
		size = int(min(int64(size), max(p.cfg.maxMessage(), int64(need))))
		p.msg = append(make([]byte, 0, size), p.msg...)
	}
	p.msg = append(p.msg, b...)
}

func (p *Parser) finishMessage(payload []byte, h Handler) error {
	op, compressed := p.msgOp, p.compressed
	p.msgOp, p.compressed, p.fragments, p.msg = OpContinuation, false, 0, nil
	if !compressed {
		return h.OnMessage(op, payload)
	}
	out := getBuffer()
	defer putBuffer(out)
	if err := p.inflater.inflate(out, payload, p.cfg.maxMessage()); err != nil {
		return err
	}
	if op == OpText && !utf8.Valid(out.b) {
		return errInvalidUTF8
	}
	return h.OnMessage(op, out.b)
}

func (p *Parser) readControl(b []byte, h Handler) error {
	if p.inPayload || len(p.control) > 0 {
		p.control = append(p.control, b...)
		if p.inPayload {
			return nil
		}
		b, p.control = p.control, nil
	}
	if p.op == OpClose {
		if err := checkClose(b); err != nil {
			return err
		}
		p.closed = true
	}
	return h.OnControl(p.op, b)
}
