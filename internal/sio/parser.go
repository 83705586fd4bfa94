package sio

// Parser is a packet format. Both sides of a connection must use the same one.
// [JSON] and [Msgpack] have no state and are safe for concurrent use.
type Parser interface {
	// Append appends the packet's message to dst. With [JSON] that is a text message
	// after which the caller sends p.Attachments, each as a binary message; with
	// [Msgpack] it is one binary message, attachments included. Neither keeps nor
	// changes what p refers to. Errors mean that p is no valid packet.
	Append(dst []byte, p *Packet) ([]byte, error)

	// Binary reports whether Append makes a binary message.
	Binary() bool

	// NewDecoder returns a decoder for one connection. It keeps limits, which must not
	// change any more; nil means the defaults.
	NewDecoder(limits *Limits) Decoder
}

// Decoder turns the messages of one connection into packets. It belongs to whoever
// reads the connection: its methods must not be called concurrently.
//
// Both methods report ok false while attachments are still to come, and an [*Error]
// when the peer must be disconnected. They do not keep b.
type Decoder interface {
	// Text takes a text message.
	Text(b []byte) (p Packet, ok bool, err error)

	// Binary takes a binary message.
	Binary(b []byte) (p Packet, ok bool, err error)

	// Waiting reports whether a packet lacks attachments.
	Waiting() bool
}

// The packet formats.
var (
	JSON    Parser = jsonParser{}    // the default format, socket.io-parser
	Msgpack Parser = msgpackParser{} // one binary message a packet, socket.io-msgpack-parser
)
