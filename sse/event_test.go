package sse_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/parley-go/parley/sse"
)

func TestEvent(t *testing.T) {
	for _, test := range []struct {
		event sse.Event
		want  string
	}{
		{sse.Event{Data: []byte("a")}, "data: a\n\n"},
		{sse.Event{ID: "7", Name: "news", Data: []byte("a")}, "id: 7\nevent: news\ndata: a\n\n"},
		{sse.Event{Data: []byte("a\nb\rc\r\nd")}, "data: a\ndata: b\ndata: c\ndata: d\n\n"},
		{sse.Event{Data: []byte("\n")}, "data: \ndata: \n\n"},
		{sse.Event{Data: []byte("\r\r\n\n")}, "data: \ndata: \ndata: \ndata: \n\n"},
		{sse.Event{Data: []byte("id: 1\n\nevent: x")}, "data: id: 1\ndata: \ndata: event: x\n\n"},
		{sse.Event{Data: []byte{}}, "data: \n\n"},
		{sse.Event{ID: "7"}, "id: 7\n\n"},
		{sse.Event{ID: " é:", Name: "a b", Data: []byte("\x00")}, "id:  é:\nevent: a b\ndata: \x00\n\n"},
	} {
		got, err := test.event.Append([]byte("before"))
		if err != nil || string(got) != "before"+test.want {
			t.Errorf("%+v: %q, %v, want %q", test.event, got, err, test.want)
		}
	}
	for _, bad := range []string{"\n", "a\rb", "a\x00", "a\r\ndata: x"} {
		for _, e := range []sse.Event{{ID: bad}, {Name: bad}} {
			if got, err := e.Append(nil); !errors.Is(err, sse.ErrIllegal) || len(got) != 0 {
				t.Errorf("%+v: %q, %v", e, got, err)
			}
		}
	}
}

// parse reads a stream as the HTML standard, section 9.2.6, requires. Events without data only set
// the id.
func parse(stream string) (events []sse.Event) {
	stream = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(stream)
	id, name, data := "", "", ""
	for line := range strings.Lines(stream) {
		line, whole := strings.CutSuffix(line, "\n")
		if !whole {
			break
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if data != "" {
				events = append(events, sse.Event{ID: id, Name: name, Data: []byte(strings.TrimSuffix(data, "\n"))})
			}
			name, data = "", ""
		case field == "id" && !strings.Contains(value, "\x00"):
			id = value
		case field == "event":
			name = value
		case field == "data":
			data += value + "\n"
		}
	}
	return events
}

func FuzzEvent(f *testing.F) {
	f.Add("1", "name", []byte("a\r\nb"))
	f.Add("", "", []byte("\r"))
	f.Add(" ", "\x00", []byte(": \n\n"))
	f.Fuzz(func(t *testing.T, id, name string, data []byte) {
		if data == nil {
			data = []byte{}
		}
		b, err := (&sse.Event{ID: id, Name: name, Data: data}).Append(nil)
		if err != nil {
			return
		}
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
		got := parse(string(b) + "data: next\n\n")
		if len(got) != 2 || got[0].ID != id || got[0].Name != name || string(got[0].Data) != want || got[1].Name != "" {
			t.Errorf("%q became %+v", b, got)
		}
	})
}
