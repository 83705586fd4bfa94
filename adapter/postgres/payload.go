package postgres

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// A payload of NOTIFY is text, of less than 8,000 bytes. PostgreSQL sends equal ones of a transaction only
// once, so the place in the batch distinguishes them.
//
//	<place>:<base64 of the topic's length, the topic, the data>
//	<place>=<id>,<base64 of the topic>                           it is in the table; a long topic is left out
const maxPayload = 7999

var (
	encoding  = base64.RawStdEncoding
	errFormat = errors.New("postgres: not a message of this version")
)

// inline returns the payload of a message, or "" if that would be too long.
func inline(place int, topic string, data []byte) string {
	if 4+encoding.EncodedLen(binary.MaxVarintLen32+len(topic)+len(data)) > maxPayload {
		return ""
	}
	raw := make([]byte, 0, binary.MaxVarintLen32+len(topic)+len(data))
	raw = binary.AppendUvarint(raw, uint64(len(topic)))
	raw = append(append(raw, topic...), data...)
	text := make([]byte, 0, 4+encoding.EncodedLen(len(raw)))
	text = append(strconv.AppendInt(text, int64(place), 10), ':')
	return string(encoding.AppendEncode(text, raw))
}

// stored returns the payload of a message that is in the table.
func stored(place int, id int64, topic string) string {
	if encoding.EncodedLen(len(topic)) > maxPayload/2 {
		topic = ""
	}
	text := append(strconv.AppendInt(nil, int64(place), 10), '=')
	text = append(strconv.AppendInt(text, id, 10), ',')
	return string(encoding.AppendEncode(text, []byte(topic)))
}

// payload is one that has arrived.
type payload struct {
	topic string // of one that is stored: may be "", which says nothing
	data  []byte
	isRow bool // it is stored
	id    int64
}

func parse(text string) (p payload, err error) {
	i := strings.IndexAny(text, ":=")
	if i < 0 {
		return p, errFormat
	}
	if p.isRow = text[i] == '='; p.isRow {
		id, name, _ := strings.Cut(text[i+1:], ",")
		topic, err := encoding.DecodeString(name)
		if err != nil {
			return p, errFormat
		}
		p.topic = string(topic)
		p.id, err = strconv.ParseInt(id, 10, 64)
		return p, err
	}
	raw, err := encoding.DecodeString(text[i+1:])
	if err != nil {
		return p, errFormat
	}
	n, size := binary.Uvarint(raw)
	if size <= 0 || n > uint64(len(raw)-size) {
		return p, errFormat
	}
	p.topic, p.data = string(raw[size:][:n]), raw[size+int(n):]
	return p, nil
}
