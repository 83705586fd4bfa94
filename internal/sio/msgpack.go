package sio

// A packet in the MessagePack format is one binary message, a map
//
//	{type, nsp, data?, id?, options?}
//
// The type is never a binary one, since MessagePack carries binary in place. Absent members are
// left out, since the reference refuses nil.

type msgpackParser struct{}

func (msgpackParser) Binary() bool { return true }

func (msgpackParser) NewDecoder(limits *Limits) Decoder { return &msgpackDecoder{limits} }

// msgpackDecoder keeps nothing between messages.
type msgpackDecoder struct{ limits *Limits }

func (*msgpackDecoder) Waiting() bool { return false }

func (*msgpackDecoder) Text([]byte) (Packet, bool, error) {
	return Packet{}, false, errUnexpectedText
}

func (d *msgpackDecoder) Binary(b []byte) (Packet, bool, error) {
	r := msgpackReader{
		b:              b,
		maxDepth:       d.limits.depth(),
		maxAttachments: d.limits.attachments(),
		room:           d.limits.attachmentBytes(),
	}
	p, err := r.packet()
	if err != nil {
		return Packet{}, false, err
	}
	return p, true, nil
}
