package ws

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// The default limits of a [ParserConfig].
const (
	DefaultMaxMessage   = 1_000_000
	DefaultMaxFragments = 16_384
)

// A ParserConfig holds the limits of incoming messages. Any number of parsers may share it. Do not
// change it once one of them uses it.
type ParserConfig struct {
	// MaxMessage limits the size of a message in bytes, after inflating. If zero, it is
	// DefaultMaxMessage. If negative, there is no limit.
	MaxMessage int64

	// MaxFragments limits the number of frames of a message, including empty ones. If zero, it is
	// DefaultMaxFragments. If negative, there is no limit.
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

// A Handler receives the messages and control frames of a [Parser]. A payload is valid only until
// the method returns; until then the handler may overwrite it. If a method returns an error, the
// parser stops permanently and [Parser.Feed] returns the error.
type Handler interface {
	// OnMessage receives each complete message, inflated. The payload of a text message is valid
	// UTF-8.
	OnMessage(op Opcode, payload []byte) error

	// OnControl receives each ping, pong and Close frame as soon as it is complete, even between
	// the frames of a message. The payload of a Close frame is valid: see ParseClose.
	OnControl(op Opcode, payload []byte) error
}

// A Parser turns the bytes of one connection, however they are split, into messages and control
// frames. It buffers only what has arrived of an incomplete message or frame and, if the peer
// compresses with context takeover, up to the last 32 KiB that it inflated. Call Init before Feed.
//
// Only one goroutine at a time may use a Parser.
type Parser struct {
	cfg *ParserConfig
	err error // the first error of Feed, which does nothing afterwards

	inflater inflater
	deflate  bool // compressed messages are allowed
	side     Side
	closed   bool // a Close frame has arrived
	muted    bool // the handler gets only a Close frame
	stopped  bool // Stop was called; msg holds what Feed has yet to parse

	// The frame being read.
	headLen   uint8
	head      [MaxHeader + maskSize]byte // the first headLen bytes are an incomplete header
	inPayload bool
	fin       bool
	op        Opcode
	key       uint32 // rotated for the next byte
	remaining int64  // bytes of the payload still to come
	control   []byte // payload of an incomplete control frame

	// The message being read.
	msgOp      Opcode // OpContinuation between messages
	compressed bool
	text       utf8Stream
	msg        []byte
	fragments  int

	extra    int32 // frames, see TakeFrames
	inflated int32 // bytes, see TakeInflated
}

// freeFragment is the size in bytes from which a continuation is worth its frame. Some clients send
// large messages in such pieces: 4 KiB, 8 KiB, and 64 KiB in Chromium.
const freeFragment = 1024

// TakeFrames returns the number of frames since its last call that brought little: control frames, and
// continuations of less than freeFragment. After Mute it counts all frames.
func (p *Parser) TakeFrames() int {
	n := p.extra
	p.extra = 0
	return int(n)
}

// TakeInflated returns how many bytes inflating has added to compressed messages since its last call.
func (p *Parser) TakeInflated() int {
	n := p.inflated
	p.inflated = 0
	return int(n)
}

// Init prepares p for a new connection. A nil cfg means the default limits. d holds the negotiated
// compression parameters; it is nil without compression.
func (p *Parser) Init(cfg *ParserConfig, side Side, d *DeflateParams) {
	*p = Parser{cfg: cfg, side: side}
	if d != nil {
		p.deflate = true
		p.inflater.window = d.readWindow(side)
	}
}

// Mute makes p skip everything but a Close frame from now on. It no longer unmasks, inflates, keeps
// or passes on messages, pings and pongs. Feed still returns protocol errors that a frame's header
// shows. A [Handler] may call Mute.
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

// Stop makes Feed return as soon as the [Handler] does. The parser keeps the bytes that it has not
// parsed yet, and the next call of Feed parses them first. A Handler may call Stop in OnMessage.
func (p *Parser) Stop() { p.stopped = true }

// Buffered returns the number of bytes that p keeps: those of an incomplete message or frame, or
// those that Stop has left.
func (p *Parser) Buffered() int {
	return int(p.headLen) + len(p.control) + len(p.msg)
}

// Feed parses b, the next bytes of the connection, and calls h for every message and control frame
// that becomes complete. It unmasks b in place. The caller may reuse b as soon as Feed returns.
//
// If the peer breaks the protocol, Feed returns a [*CloseError] as soon as the bytes show it. After
// an error, every call returns the same error. Feed discards what follows a Close frame
// (RFC 6455, 5.5.1).
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
	if p.err != nil || p.closed { // nothing more will be parsed
		p.msg, p.control, p.headLen = nil, nil, 0
		p.inflater = inflater{}
	}
	return p.err
}

// readHeader consumes bytes of a header and returns their number. When the header is complete, it
// sets inPayload; if the header is invalid, it sets err.
func (p *Parser) readHeader(b []byte) int {
	if p.headLen == 0 {
		if n := p.parseHeader(b); n > 0 || p.err != nil {
			return n
		}
	}
	// Go byte by byte: there are few, and an error must show at its first byte.
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

// parseHeader parses b as far as it goes. It returns the size of the header, or 0 if the header is
// incomplete or invalid.
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
	if op.isControl() || op == OpContinuation && length < freeFragment || p.muted {
		p.extra++
	}
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
	if rsv1 { // only the first frame of a message may have it, RFC 7692 6.1
		return protocolError("reserved bit is set")
	}
	return nil
}

// checkLimits checks a data frame by its header alone, so that a message that is too big fails before
// its payload arrives.
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

// readPayload takes the next bytes of the frame's payload; there may be none. It clears inPayload at
// the last one.
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
	if last && len(p.msg) == 0 { // b is the whole message: no copy
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

// minBuffer is the first capacity of a buffer for a message, unless its last frame shows that it will
// be shorter.
const minBuffer = 512

// appendMessage adds b to the buffered message. The buffer doubles, so that its size follows what has
// arrived. The length that a frame declares is only an upper bound.
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
	err := p.inflater.inflate(out, payload, p.cfg.maxMessage())
	p.inflated += int32(max(0, len(out.b)-len(payload)))
	if err != nil {
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
