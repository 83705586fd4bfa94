package eio_test

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/parley-go/parley/internal/eio"
)

// limit is the packet limit in the stream tests.
const limit = 100_000

type streamed struct {
	binary bool
	packet string
}

// readStream returns all packets of a stream and the error that ended it.
func readStream(r io.Reader) (all []streamed, err error) {
	packets := eio.NewStreamReader(r)
	for {
		isBinary, b, err := packets.Next(limit)
		if err != nil {
			return all, err
		}
		all = append(all, streamed{isBinary, string(b)})
	}
}

func TestStream(t *testing.T) {
	for name, test := range map[string]struct {
		stream string
		want   []streamed
		err    error
	}{
		"nothing":                        {"", nil, io.EOF},
		"text and binary":                {"\x064hello\x83\x00\x01\x02\x012", []streamed{{false, "4hello"}, {true, "\x00\x01\x02"}, {false, "2"}}, io.EOF},
		"empty ones":                     {"\x80\x00", []streamed{{true, ""}, {false, ""}}, io.EOF},
		"125 bytes":                      {"\x7d" + strings.Repeat("a", 125), []streamed{{false, strings.Repeat("a", 125)}}, io.EOF},
		"126 bytes":                      {"\x7e\x00\x7e" + strings.Repeat("a", 126), []streamed{{false, strings.Repeat("a", 126)}}, io.EOF},
		"65535 bytes":                    {"\xfe\xff\xff" + strings.Repeat("a", 65535), []streamed{{true, strings.Repeat("a", 65535)}}, io.EOF},
		"65536 bytes":                    {"\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("a", 65536), []streamed{{false, strings.Repeat("a", 65536)}}, io.EOF},
		"cut in the length":              {"\x012\x7e\x01", []streamed{{false, "2"}}, io.ErrUnexpectedEOF},
		"cut in the long length":         {"\x7f\x00\x00\x00\x00", nil, io.ErrUnexpectedEOF},
		"cut before the packet":          {"\x02", nil, io.ErrUnexpectedEOF},
		"cut in the packet":              {"\x024", nil, io.ErrUnexpectedEOF},
		"cut in a large packet":          {"\x7e\xff\xffaaa", nil, io.ErrUnexpectedEOF},
		"too large":                      {"\x012\x7f\x00\x00\x00\x00\x00\x01\x86\xa1", []streamed{{false, "2"}}, eio.ErrTooLarge},
		"absurd":                         {"\xff\xff\xff\xff\xff\xff\xff\xff\xff", nil, eio.ErrTooLarge},
		"as a signed number it is small": {"\x7f\x80\x00\x00\x00\x00\x00\x00\x01", nil, eio.ErrTooLarge},
		"2 bytes without need":           {"\x7e\x00\x7d" + strings.Repeat("a", 125), nil, eio.ErrMalformed},
		"8 bytes without need":           {"\x7f\x00\x00\x00\x00\x00\x00\xff\xff", nil, eio.ErrMalformed},
	} {
		for _, r := range []io.Reader{strings.NewReader(test.stream), iotest.OneByteReader(strings.NewReader(test.stream)), iotest.DataErrReader(strings.NewReader(test.stream))} {
			got, err := readStream(r)
			if !slices.Equal(got, test.want) || err != test.err {
				t.Errorf("%s: %.100v, %v, want %.100v, %v", name, got, err, test.want, test.err)
			}
		}
	}
}

// A declared length alone must not cost memory.
func TestStreamAllocatesWhatArrives(t *testing.T) {
	declared := eio.AppendStreamHeader(nil, false, 1<<30)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := eio.NewStreamReader(bytes.NewReader(declared)).Next(1 << 30); err != io.ErrUnexpectedEOF {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 16<<10 {
		t.Errorf("%d bytes were allocated for a packet that never arrived", allocated)
	}
}

func TestStreamPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	for _, begun := range []string{"", "\x7e", "\x064hel", "\x7e\xff\xffaaa"} {
		if _, err := readStream(io.MultiReader(strings.NewReader(begun), iotest.ErrReader(broken))); err != broken {
			t.Errorf("after %q: %v", begun, err)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte("\x064hello\x83\x00\x01\x02\x012"))
	f.Add([]byte("\x7e\x00\x7e" + strings.Repeat("a", 126)))
	f.Add([]byte("\xff\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("a", 65536)))
	f.Add([]byte("\x7f\x80\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		got, err := readStream(bytes.NewReader(stream))
		slow, slowErr := readStream(iotest.OneByteReader(bytes.NewReader(stream)))
		if !slices.Equal(got, slow) || err != slowErr {
			t.Fatalf("%v, %v; byte by byte %v, %v", got, err, slow, slowErr)
		}
		var again []byte
		for _, p := range got {
			again = append(eio.AppendStreamHeader(again, p.binary, len(p.packet)), p.packet...)
		}
		if !bytes.HasPrefix(stream, again) || err == io.EOF && len(again) != len(stream) {
			t.Fatalf("%q was read, and written as %q", stream, again)
		}
	})
}
