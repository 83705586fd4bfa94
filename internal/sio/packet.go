package sio

// Type is the kind of a packet, as it is numbered on the wire.
type Type byte

// A client opens a namespace with Connect and the server answers Connect or
// ConnectError; then Event and Ack flow both ways until either side sends Disconnect.
// An Event with an id asks for an Ack with the same id.
//
// With the JSON parser an Event or Ack that carries binary goes as BinaryEvent or
// BinaryAck, a text message whose placeholders number the binary messages that follow
// it. Only headers know these two: a decoded [Packet] is an Event or Ack with
// attachments, whichever parser it came through.
const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

// MaxID is the greatest acknowledgement id, 2^53-1: beyond it a JavaScript peer would
// answer with another number than it was asked with.
const MaxID = 1<<53 - 1

// Packet is one Socket.IO packet. It is a plain value without locks.
type Packet struct {
	Type      Type
	Namespace string // "/" where the wire has none
	ID        int64  // acknowledgement id, -1 for none

	// Data is raw JSON: an array for Event and Ack, an object for Connect, any
	// value but a number for ConnectError, empty where the packet has no payload. An Event may have no
	// payload, and so no name either.
	//
	// In a decoded packet without attachments it may alias the message that was
	// decoded and is valid until the Decoder's method returns to whoever owns that
	// message: copy it to keep it. With attachments it belongs to the packet.
	Data []byte

	// Attachments are the binaries that placeholders in Data number, in the order of
	// those numbers. In a decoded packet each is referred to exactly once, and they
	// belong to the packet.
	Attachments [][]byte
}

// Error is the peer's fault: it sent something that is not a packet, or not one it may
// send now. The connection must be closed; its decoder is of no further use.
type Error struct {
	Reason string // one of a fixed set, fit for a log or a metric's label
}

func (e *Error) Error() string { return "parley: bad packet: " + e.Reason }

// The reasons, allocated once: refusing costs no more than accepting.
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

// Limits bound what one packet of a peer may cost. The zero value is the default.
// Decoders only read it, so any number of them may share one.
type Limits struct {
	// MaxAttachments is the number of attachments of a packet.
	// If zero, 10, as in the reference. If negative, unlimited.
	MaxAttachments int

	// MaxAttachmentBytes is the sum of the sizes of a packet's attachments.
	// If zero, 16 MiB. If negative, unlimited.
	MaxAttachmentBytes int64

	// MaxDepth is how deeply a payload's arrays and objects may nest; the array of an
	// event's arguments is the first level. If zero, 64. If negative, or above it,
	// 10,000, which is as deep as encoding/json decodes.
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
