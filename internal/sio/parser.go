package sio

// Parser is a packet format. Both sides of a connection must use the same one.
// [JSON] and [Msgpack] have no state and are safe for concurrent use.
type Parser interface {
	// Append appends the packet's message to dst. With [JSON] that is a text message; the caller
	// then sends each of p.Attachments as a binary message. With [Msgpack] it is one binary message
	// that includes the attachments. Append does not keep or change what p refers to. An error
	// means that p is not a valid packet.
	Append(dst []byte, p *Packet) ([]byte, error)

	// Binary reports whether Append makes a binary message.
	Binary() bool

	// NewDecoder returns a decoder for one connection. It keeps limits, which must not change
	// afterwards. nil means the defaults.
	NewDecoder(limits *Limits) Decoder
}

// Decoder turns the messages of one connection into packets. Do not call its methods concurrently.
//
// Text and Binary return ok false while attachments are still missing, and an [*Error] when the
// peer must be disconnected. They do not keep b.
type Decoder interface {
	// Text takes a text message.
	Text(b []byte) (p Packet, ok bool, err error)

	// Binary takes a binary message.
	Binary(b []byte) (p Packet, ok bool, err error)

	// Waiting reports whether a packet still lacks attachments.
	Waiting() bool
}

// The packet formats.
var (
	JSON    Parser = jsonParser{}    // the default format, socket.io-parser
	Msgpack Parser = msgpackParser{} // one binary message per packet, socket.io-msgpack-parser
)
