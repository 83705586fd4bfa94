package sio_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/sio"
)

var (
	small = []byte(`2["message",{"room":"lobby","text":"Hello, world!"}]`)
	adm   = []byte(`2/adm,12["message",{"room":"lobby","text":"Hello, world!"}]`)
)

func TestAllocations(t *testing.T) {
	d := sio.JSON.NewDecoder(nil)
	buf := make([]byte, 0, 1024)
	args := make([][]byte, 0, 8)
	hello, broken, reserved := []byte(`"Hello"`), []byte(`2[`), []byte(`2["\u0063onnect"]`)
	p := sio.Packet{Type: sio.Event, Namespace: "/adm", ID: 12, Data: []byte(`["message"]`)}
	tests := []struct {
		name string
		f    func()
	}{
		{"decode event", func() { _, _, _ = d.Text(small) }},
		{"decode event with namespace and id", func() { _, _, _ = d.Text(adm) }},
		{"refuse", func() { _, _, _ = d.Text(broken) }},
		{"refuse escaped reserved name", func() { _, _, _ = d.Text(reserved) }},
		{"event name and arguments", func() {
			sio.EventName(small[1:])
			args = sio.EventArgs(args[:0], small[1:])
		}},
		{"append event", func() { buf = sio.AppendEvent(buf[:0], "message é", hello, hello) }},
		{"append packet", func() { buf, _ = sio.JSON.Append(buf[:0], &p) }},
	}
	for _, test := range tests {
		if n := testing.AllocsPerRun(100, test.f); n != 0 {
			t.Errorf("%s: %v allocations", test.name, n)
		}
	}
}

func BenchmarkJSONDecode(b *testing.B) {
	for _, payload := range []string{
		string(small),
		`2["message","` + strings.Repeat("Hello, world! ", 1000) + `"]`,
		`2["message","` + strings.Repeat("Привет, мир! ", 1000) + `"]`,
		`2["message"` + strings.Repeat(`,{"id":12345,"name":"someone","tags":["a","b"]}`, 300) + `]`,
	} {
		b.Run(fmt.Sprint(len(payload)), func(b *testing.B) {
			d := sio.JSON.NewDecoder(nil)
			message := []byte(payload)
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := d.Text(message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEventAccess(b *testing.B) {
	args := make([][]byte, 0, 8)
	b.ReportAllocs()
	for b.Loop() {
		sio.EventName(small[1:])
		args = sio.EventArgs(args[:0], small[1:])
	}
}

func BenchmarkAppendEventArgs(b *testing.B) {
	type message struct {
		Room, Text string
	}
	for name, arg := range map[string]any{
		"string": "Hello, world!",
		"struct": message{"lobby", "Hello, world!"},
		"map":    map[string]any{"room": "lobby", "text": "Hello, world!"},
		"binary": upload{"name", sio.Binary("content")},
	} {
		b.Run(name, func(b *testing.B) {
			buf := make([]byte, 0, 1024)
			args := []any{arg}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := sio.AppendEventArgs(buf, "message", args); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMsgpack(b *testing.B) {
	p := sio.Packet{Type: sio.Event, Namespace: "/", ID: -1, Data: small[1:]}
	message, err := sio.Msgpack.Append(nil, &p)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("decode", func(b *testing.B) {
		d := sio.Msgpack.NewDecoder(nil)
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := d.Binary(message); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		buf := make([]byte, 0, 1024)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := sio.Msgpack.Append(buf, &p); err != nil {
				b.Fatal(err)
			}
		}
	})
}
