package ws

import (
	"compress/flate"
	"io"
	"slices"
	"sync"
)

// An inflater inflates the messages that one side receives. With context takeover, it keeps the end
// of what it has inflated so far.
type inflater struct {
	window int // how many bytes of earlier messages a new one may refer to; 0 for none
	dict   []byte
}

var errInflate error = &CloseError{Code: CloseInvalidData, Reason: "invalid compressed data"}

// maxFinalBlocks limits the number of DEFLATE streams in a message. A message may end its stream and
// start another (RFC 7692, 7.2.3.4), but each start copies the window.
const maxFinalBlocks = 16

// inflate appends the inflated message to out, which must be empty. It stops as soon as out holds
// more than limit bytes.
func (f *inflater) inflate(out *buffer, msg []byte, limit int64) error {
	d := decompressors.Get().(*decompressor)
	defer d.free()
	d.src = messageReader{msg: msg, tail: inflateTail}
	dict := f.dict
	for range maxFinalBlocks {
		if err := d.z.(flate.Resetter).Reset(&d.src, dict); err != nil {
			return errInflate
		}
		if err := out.readFrom(d.z, limit); err != nil {
			return err
		}
		if len(d.src.msg) == 0 {
			f.slide(out.b)
			return nil
		}
		dict = slices.Concat(f.dict, out.b)
	}
	return errInflate
}

// slide makes the window end with out.
func (f *inflater) slide(out []byte) {
	if len(out) >= f.window {
		f.dict = append(f.dict[:0], out[len(out)-f.window:]...)
		return
	}
	keep := min(len(f.dict), f.window-len(out))
	copy(f.dict, f.dict[len(f.dict)-keep:])
	f.dict = append(f.dict[:keep], out...)
}

// inflateTail follows every message: the tail that the sender has removed, and an empty final block,
// so that the decompressor ends with io.EOF.
const inflateTail = syncTail + "\x01\x00\x00\xff\xff"

// A messageReader reads a message, then its tail. Since it is an io.ByteReader, compress/flate does
// not read beyond the end of the DEFLATE stream.
type messageReader struct {
	msg  []byte
	tail string
}

func (r *messageReader) ReadByte() (c byte, err error) {
	switch {
	case len(r.msg) > 0:
		c, r.msg = r.msg[0], r.msg[1:]
	case len(r.tail) > 0:
		c, r.tail = r.tail[0], r.tail[1:]
	default:
		return 0, io.EOF
	}
	return c, nil
}

func (r *messageReader) Read(p []byte) (n int, err error) {
	if len(r.msg) > 0 {
		n = copy(p, r.msg)
		r.msg = r.msg[n:]
		return n, nil
	}
	if len(r.tail) == 0 {
		return 0, io.EOF
	}
	n = copy(p, r.tail)
	r.tail = r.tail[n:]
	return n, nil
}

type decompressor struct {
	z   io.Reader
	src messageReader
}

var decompressors = sync.Pool{New: func() any {
	d := new(decompressor)
	d.z = flate.NewReader(&d.src)
	return d
}}

func (d *decompressor) free() {
	d.src = messageReader{} // the message belongs to the caller
	decompressors.Put(d)
}

// A buffer holds an inflated message while the handler uses it.
type buffer struct{ b []byte }

// maxPooled is the largest capacity of a buffer that is kept for reuse.
const maxPooled = 64 << 10

var buffers = sync.Pool{New: func() any { return new(buffer) }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

func putBuffer(out *buffer) {
	if cap(out.b) <= maxPooled {
		out.b = out.b[:0]
		buffers.Put(out)
	}
}

// readFrom appends the output of z, up to one byte beyond limit.
func (out *buffer) readFrom(z io.Reader, limit int64) error {
	for {
		if len(out.b) == cap(out.b) {
			size := max(minBuffer, 2*cap(out.b))
			if int64(size) >= limit {
				size = int(limit) + 1
			}
			out.b = append(make([]byte, 0, size), out.b...)
		}
		n, err := z.Read(out.b[len(out.b):cap(out.b)])
		out.b = out.b[:len(out.b)+n]
		switch {
		case int64(len(out.b)) > limit:
			return errTooBig
		case err == io.EOF:
			return nil
		case err != nil:
			return errInflate
		}
	}
}
