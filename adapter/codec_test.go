package adapter_test

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/parley-go/parley/adapter"
)

func samples() []*adapter.Message {
	return []*adapter.Message{
		{},
		{
			Kind: adapter.Broadcast, Flags: adapter.Volatile | adapter.Uncompressed, Node: adapter.NodeID{1, 2, 3, 4, 5, 6, 7, 8}, Number: 1 << 60, Namespace: "/chat",
			Request: 300, Timeout: 5 * time.Second, Selection: adapter.Selection{Rooms: []string{"a", "", "ü"}, Except: []string{"b"}},
			Targets: []string{"c"}, Data: []byte(`["event",1]`), Attachments: [][]byte{{0, 1}, {}, bytes.Repeat([]byte{7}, 300)},
		},
	}
}

func TestEnvelope(t *testing.T) {
	for _, m := range samples() {
		got, err := adapter.Decode(m.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Data) == 0 {
			got.Data = m.Data
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, sent %+v", got, m)
		}
		for i := range m.Encode() { // none of its beginnings is a message
			if got, err := adapter.Decode(m.Encode()[:i]); err == nil {
				t.Errorf("%d bytes of it are %+v", i, got)
			}
		}
	}
}

// Whatever arrives, decoding neither panics nor takes more memory than the bytes justify.
func FuzzEnvelope(f *testing.F) {
	for _, m := range samples() {
		f.Add(m.Encode())
	}
	f.Add(append(samples()[0].Encode()[:12], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := adapter.Decode(data)
		if err != nil {
			return
		}
		again, err := adapter.Decode(m.Encode())
		if err != nil || !reflect.DeepEqual(m, again) {
			t.Errorf("%+v became %+v, %v", m, again, err)
		}
	})
}

func TestTags(t *testing.T) {
	tag := adapter.TagOf("a node")
	if len(tag) != 4 || tag == adapter.TagOf("another") {
		t.Errorf("the tag is %q", tag)
	}
	for id, want := range map[string]string{
		"abcdefghijklmnopqr-_.aB3_":       "aB3_",
		"/chat#abcdefghijklmnopqr-_.aB3_": "aB3_",
		"abcdefghijklmnopqrst":            "",
		"507f1f77bcf86cd799439011":        "",
		"507f1f77bcf86cd7994390111":       "",
		"abcdefghijklmnopqrs .aB3_":       "",
		"abcdefghijklmnopqrst.aB3/":       "",
		"abcdefghijklmnopqrst.aB3.":       "",
		"abcdefghijklmnopqrstuv.B3_":      "",
		"":                                "",
		"#":                               "",
	} {
		if got := adapter.TagIn(id); got != want {
			t.Errorf("the tag of %q is %q, not %q", id, got, want)
		}
	}
}
