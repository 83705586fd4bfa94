package historybus

import (
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/parley-go/parley/history"
)

// A message on the wire, after which nothing follows. Its room is in the subject.
//
//	version  1
//	flags    deleted; whole: what follows is there, else this is a hint
//	seq, rev                                                 uvarint
//	timestamp, editedAt                                      varint, milliseconds since 1970; 0: none
//	id, userId, operatorId, clientId, message                uvarint length, bytes
const (
	version = 1

	deleted = 1 << (iota - 1)
	whole
)

// encode returns m for the wire, or a hint if it is too large or is one.
func encode(m *history.Message) []byte {
	flags := byte(0)
	if m.Deleted {
		flags |= deleted
	}
	if m.ID == "" || m.Size() > maxWhole {
		dst := append(make([]byte, 0, 12), version, flags)
		return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(m.Number())), 0)
	}
	dst := append(make([]byte, 0, m.Size()), version, flags|whole)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(m.Seq)), uint64(m.Rev))
	dst = binary.AppendVarint(binary.AppendVarint(dst, milli(m.Timestamp)), milli(m.EditedAt))
	for _, s := range [...]string{m.ID, m.UserID, m.OperatorID, m.ClientID} {
		dst = append(binary.AppendUvarint(dst, uint64(len(s))), s...)
	}
	return append(binary.AppendUvarint(dst, uint64(len(m.Message))), m.Message...)
}

func milli(t history.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func unmilli(ms int64) history.Time {
	if ms == 0 {
		return history.Time{Time: time.Time{}}
	}
	return history.TimeMilli(ms)
}

// decode is the inverse of encode. The message keeps data. ok is false if data is nothing that encode
// makes.
func decode(room string, data []byte) (m history.Message, ok bool) {
	if len(data) < 2 || data[0] != version {
		return m, false
	}
	r := reader{data[2:], true}
	m = history.Message{RoomID: room, Seq: int64(r.uvarint()), Rev: int64(r.uvarint()), Deleted: data[1]&deleted != 0}
	if data[1]&whole != 0 {
		m.Timestamp, m.EditedAt = unmilli(r.varint()), unmilli(r.varint())
		m.ID, m.UserID, m.OperatorID, m.ClientID = string(r.bytes()), string(r.bytes()), string(r.bytes()), string(r.bytes())
		if text := r.bytes(); len(text) > 0 {
			m.Message = json.RawMessage(text)
		}
		r.ok = r.ok && m.ID != ""
	}
	return m, r.ok && len(r.data) == 0 && m.Seq >= 0 && m.Rev >= 0
}

// reader reads what is left of a message. Once something is missing, ok is false.
type reader struct {
	data []byte
	ok   bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.data)
	return v * r.skip(n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.data)
	return v * int64(r.skip(n))
}

// skip returns 1, or 0 if what was read is not there.
func (r *reader) skip(n int) uint64 {
	if n <= 0 {
		r.ok, r.data = false, nil
		return 0
	}
	r.data = r.data[n:]
	return 1
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.data)) {
		r.ok, r.data = false, nil
		return nil
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}
