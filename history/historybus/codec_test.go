package historybus

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/parley-go/parley/history"
)

var samples = []history.Message{
	{RoomID: "r", ID: "m1", Seq: 1, UserID: "ann", Message: []byte(`"hi"`), Timestamp: history.TimeMilli(1_700_000_000_000)},
	{RoomID: "r", ID: "m2", Seq: 2, Rev: 1 << 40, UserID: "u", OperatorID: "o", ClientID: "c", Message: []byte(`null`), Timestamp: history.TimeMilli(1), EditedAt: history.TimeMilli(-5)},
	{RoomID: "r", ID: "m3", Seq: 3, Rev: 4, UserID: "ü", Timestamp: history.TimeMilli(1), EditedAt: history.TimeMilli(2), Deleted: true},
}

func TestCodec(t *testing.T) {
	for _, m := range samples {
		data := encode(&m)
		if got, ok := decode("r", data); !ok || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v, %v", m, got, ok)
		}
		for n := range data {
			if got, ok := decode("r", data[:n]); ok {
				t.Errorf("%d of %d bytes are %+v", n, len(data), got)
			}
		}
		if _, ok := decode("r", append(data, 0)); ok {
			t.Error("something follows")
		}
	}
	large := samples[1]
	large.Message = []byte(`"` + strings.Repeat("x", maxWhole) + `"`)
	for _, m := range []history.Message{large, {RoomID: "r"}} {
		data := encode(&m)
		if got, ok := decode("r", data); !ok || got.ID != "" || got.Seq != m.Number() || len(data) > 12 {
			t.Errorf("a hint of %d bytes: %+v, %v", len(data), got, ok)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, m := range samples {
		f.Add(encode(&m))
	}
	f.Add(encode(&history.Message{RoomID: "r"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, ok := decode("r", bytes.Clone(data))
		if !ok {
			return
		}
		if again, ok := decode("r", encode(&m)); !ok || m.Size() <= maxWhole && fmt.Sprint(again) != fmt.Sprint(m) && m.ID != "" {
			t.Errorf("%+v became %+v, %v", m, again, ok)
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	m := samples[0]
	m.Message = []byte(`"` + strings.Repeat("x", 200) + `"`)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(&m)
		}
	})
	data := encode(&m)
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			decode("r", data)
		}
	})
}
