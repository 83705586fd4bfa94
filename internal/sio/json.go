package sio

import (
	"bytes"
	"errors"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/jsonscan"
)

type jsonParser struct{}

func (jsonParser) Binary() bool { return false }

func (jsonParser) NewDecoder(limits *Limits) Decoder { return &jsonDecoder{limits: limits} }

func (jsonParser) Append(dst []byte, p *Packet) ([]byte, error) {
	if err := p.check(); err != nil {
		return dst, err
	}
	t := p.Type
	if len(p.Attachments) > 0 {
		t += BinaryEvent - Event
	}
	dst = AppendHeader(dst, t, len(p.Attachments), p.Namespace, p.ID)
	return append(dst, p.Data...), nil
}

// check returns an error for a packet that no format can carry.
func (p *Packet) check() error {
	switch {
	case p.Type > ConnectError:
		return errors.New("parley: encode packet: unknown type")
	case len(p.Attachments) > 0 && p.Type != Event && p.Type != Ack:
		return errors.New("parley: encode packet: attachments on neither event nor acknowledgement")
	case p.Namespace != "" && p.Namespace[0] != '/' || strings.IndexByte(p.Namespace, ',') >= 0:
		return errors.New("parley: encode packet: invalid namespace")
	case p.ID > MaxID:
		return errors.New("parley: encode packet: id exceeds 2^53-1")
	case len(p.Data) > 0 && startsNumber(p.Data[0]):
		return errors.New("parley: encode packet: data is a number, which would be read as an id")
	}
	return nil
}

// jsonDecoder is small, since there is one per connection.
type jsonDecoder struct {
	limits    *Limits
	namespace string   // the last one seen; further packets to it share the string
	pending   *pending // nil unless the decoder waits for attachments
}

// pending is a packet that still waits for attachments.
type pending struct {
	packet  Packet
	missing int
	room    int64 // bytes left for the missing attachments
}

func (d *jsonDecoder) Waiting() bool { return d.pending != nil }

func (d *jsonDecoder) Text(b []byte) (p Packet, ok bool, err error) {
	if d.pending != nil {
		return Packet{}, false, errAwaited
	}
	h, data, err := readHeader(b, d.limits.attachments())
	if err != nil {
		return Packet{}, false, err
	}
	typ := h.typ
	if h.attachments > 0 {
		typ -= BinaryEvent - Event
	}
	if err := checkPayload(typ, data, d.limits.depth()); err != nil {
		return Packet{}, false, err
	}
	if len(data) == 0 {
		data = nil
	}
	p = Packet{Type: typ, Namespace: d.intern(h.namespace), ID: h.id, Data: data}
	if h.attachments == 0 {
		return p, true, nil
	}
	// Check the placeholders before storing any attachment.
	if err := checkPlaceholders(data, h.attachments); err != nil {
		return Packet{}, false, err
	}
	p.Data = bytes.Clone(data)
	d.pending = &pending{packet: p, missing: h.attachments, room: d.limits.attachmentBytes()}
	return Packet{}, false, nil
}

func (d *jsonDecoder) Binary(b []byte) (p Packet, ok bool, err error) {
	w := d.pending
	if w == nil {
		return Packet{}, false, errUnexpected
	}
	if w.room -= int64(len(b)); w.room < 0 {
		return Packet{}, false, errTooLarge
	}
	w.packet.Attachments = append(w.packet.Attachments, append([]byte{}, b...))
	if w.missing--; w.missing > 0 {
		return Packet{}, false, nil
	}
	d.pending = nil
	return w.packet, true, nil
}

// intern returns the namespace as a string. It does not allocate for "/" and for the last one seen.
// It does not keep names that no server would use.
func (d *jsonDecoder) intern(namespace []byte) string {
	switch {
	case len(namespace) == 0:
		return "/"
	case d.namespace == string(namespace):
		return d.namespace
	case len(namespace) > 64:
		return string(namespace)
	}
	d.namespace = string(namespace)
	return d.namespace
}

// validate checks that b is one JSON value, nested at most maxDepth deep.
func validate(b []byte, maxDepth int) error {
	switch jsonscan.Check(b, maxDepth) {
	case nil:
		return nil
	case jsonscan.ErrDepth:
		return errDepth
	}
	return errPayload
}

// checkPayload checks the JSON of a packet whose type is not a binary one. Every type may come
// without data: the reference accepts "2" as an event without arguments.
func checkPayload(t Type, data []byte, maxDepth int) error {
	if len(data) == 0 {
		return nil
	}
	if err := checkShape(t, data); err != nil {
		return err
	}
	if err := validate(data, maxDepth); err != nil {
		return err
	}
	if t == Event {
		return checkName(data)
	}
	return nil
}

// checkShape checks the beginning of the payload, which must not be space.
func checkShape(t Type, data []byte) error {
	switch {
	case len(data) == 0:
		return nil
	case t == Disconnect,
		t == Connect && data[0] != '{',
		(t == Event || t == Ack) && data[0] != '[',
		t == ConnectError && startsNumber(data[0]), // in text it would be an id
		jsonscan.IsSpace(data[0]):
		return errPayload
	}
	return nil
}

// reserved lists the event names that both sides use for events of their own.
var reserved = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

// Reserved reports whether name must not be used as the name of an event.
func Reserved(name string) bool { return slices.Contains(reserved, name) }

// checkName checks the first element of a valid JSON array.
func checkName(data []byte) error {
	i := jsonscan.SkipSpace(data, 1)
	switch c := data[i]; {
	case startsNumber(c):
		return nil
	case c != '"':
		return errName
	}
	name, _ := stringToken(data, i)
	for _, r := range reserved {
		if stringIs(name, r) {
			return errReserved
		}
	}
	return nil
}
