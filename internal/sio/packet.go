package sio

// Type is the kind of a packet. Its values are the numbers on the wire.
type Type byte

// A client opens a namespace with Connect, and the server answers Connect or ConnectError. Then
// Event and Ack flow both ways until either side sends Disconnect. An Event with an id asks for an
// Ack with the same id.
//
// With the JSON parser an Event or Ack with binary travels as BinaryEvent or BinaryAck: a text
// message whose placeholders refer, by number, to the binary messages that follow it. Only headers
// use these two types. A decoded [Packet] is an Event or Ack with attachments, no matter which
// parser decoded it.
const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

// MaxID is the greatest acknowledgement id, 2^53-1. Beyond it a JavaScript peer would answer with a
// different number.
const MaxID = 1<<53 - 1

// Packet is one Socket.IO packet. It is a plain value without locks.
type Packet struct {
	Type      Type
	Namespace string // "/" if the wire has none
	ID        int64  // acknowledgement id, -1 for none

	// Data is raw JSON: an array for Event and Ack, an object for Connect, any value except a
	// number for ConnectError, and empty for a packet without payload. An Event may have no
	// payload, and then has no name.
	//
	// In a decoded packet without attachments, Data may alias the decoded message. It is then valid
	// only until the owner of that message gets it back, after the Decoder's method returns. Copy it
	// to keep it. With attachments Data belongs to the packet.
	Data []byte

	// Attachments are the binaries that placeholders in Data refer to, in the order of the
	// placeholders' numbers. In a decoded packet Data refers to each exactly once, and they belong
	// to the packet.
	Attachments [][]byte
}

// Error means that the peer broke the protocol: it sent something that is not a packet, or a packet
// that it may not send now. Close the connection; its decoder is of no further use.
type Error struct {
	Reason string // one of a fixed set, suitable for a log or a metric's label
}

func (e *Error) Error() string { return "parley: bad packet: " + e.Reason }

// The reasons are allocated once, so that refusing costs no more than accepting.
var (
	errEmpty          = &Error{"empty message"}
	errType           = &Error{"unknown packet type"}
	errCount          = &Error{"illegal attachment count"}
	errTooMany        = &Error{"too many attachments"}
	errTooLarge       = &Error{"attachments too large"}
	errPlaceholder    = &Error{"illegal attachment placeholder"}
	errNamespace      = &Error{"invalid namespace"}
	errID             = &Error{"invalid acknowledgement id"}
	errPayload        = &Error{"invalid payload"}
	errDepth          = &Error{"payload nested too deeply"}
	errName           = &Error{"invalid event name"}
	errReserved       = &Error{"reserved event name"}
	errAwaited        = &Error{"text while attachments are awaited"}
	errUnexpected     = &Error{"unexpected binary message"}
	errUnexpectedText = &Error{"unexpected text message"}
	errMsgpack        = &Error{"invalid MessagePack"}
)

// Limits limits what one packet of a peer may cost. The zero value has the defaults. Decoders only
// read it, so any number of them may share one.
type Limits struct {
	// MaxAttachments is the most attachments that a packet may have. Zero means 10, as in the
	// reference. Negative means unlimited.
	MaxAttachments int

	// MaxAttachmentBytes is the most bytes that a packet's attachments may have in total. Zero
	// means 16 MiB. Negative means unlimited.
	MaxAttachmentBytes int64

	// MaxDepth is how deep a payload's arrays and objects may nest. The array of an event's
	// arguments is the first level. Zero means 64. Negative, or more than 10,000, means 10,000,
	// which is encoding/json's limit.
	MaxDepth int
}

const depthCeiling = 10_000

func (l *Limits) attachments() int {
	switch {
	case l == nil || l.MaxAttachments == 0:
		return 10
	case l.MaxAttachments < 0:
		return 1<<31 - 1
	}
	return l.MaxAttachments
}

func (l *Limits) attachmentBytes() int64 {
	switch {
	case l == nil || l.MaxAttachmentBytes == 0:
		return 16 << 20
	case l.MaxAttachmentBytes < 0:
		return 1<<63 - 1
	}
	return l.MaxAttachmentBytes
}

func (l *Limits) depth() int {
	switch {
	case l == nil || l.MaxDepth == 0:
		return 64
	case l.MaxDepth < 0:
		return depthCeiling
	}
	return min(l.MaxDepth, depthCeiling)
}
