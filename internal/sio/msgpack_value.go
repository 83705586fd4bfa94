package sio

import (
	"errors"

	"github.com/parley-go/parley/internal/jsonscan"
)

// AppendMsgpack appends a JSON value as MessagePack. Each placeholder in it becomes the binary data
// of its attachment. The wires between servers consist of such values.
func AppendMsgpack(dst, data []byte, attachments [][]byte) ([]byte, error) {
	if validate(data, depthCeiling) != nil {
		return dst, errors.New("parley: encode MessagePack: data is not valid JSON")
	}
	if len(attachments) > 0 && checkPlaceholders(data, len(attachments)) != nil {
		return dst, errAttachments
	}
	w := msgpackWriter{b: data, counts: countElements(data), attachments: attachments}
	dst, _ = w.value(dst, jsonscan.SkipSpace(data, 0))
	return dst, nil
}

// FromMsgpack converts a MessagePack value to JSON, in which placeholders stand for binary data. It
// does not keep b.
func FromMsgpack(b []byte, limits *Limits) (data []byte, attachments [][]byte, err error) {
	r := msgpackReader{b: b, maxDepth: limits.depth(), maxAttachments: limits.attachments(), room: limits.attachmentBytes()}
	data, err = r.value(make([]byte, 0, len(b)+len(b)/4+16), 0)
	switch {
	case err != nil:
		return nil, nil, err
	case len(r.b) > 0:
		return nil, nil, errMsgpack
	case r.attachments != nil:
		err = checkPlaceholders(data, len(r.attachments))
	}
	return data, r.attachments, err
}
