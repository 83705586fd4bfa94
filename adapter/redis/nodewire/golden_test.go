package nodewire_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/redis/nodewire"
)

// capture is a message that a server on Node.js has published; conformance/capture.mjs writes them.
type capture struct {
	Wire, Version, What, Channel, Hex string
	Want                              json.RawMessage
}

func captures(t testing.TB) (all []capture) {
	t.Helper()
	file, err := os.Open("testdata/node.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var c capture
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if lines.Err() != nil || len(all) < 100 {
		t.Fatalf("%d messages, %v", len(all), lines.Err())
	}
	return all
}

func (c *capture) message(t testing.TB) []byte {
	t.Helper()
	message, err := hex.DecodeString(c.Hex)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// Messages of real servers say here what the servers there were told to do.
func TestGolden(t *testing.T) {
	for _, c := range captures(t) {
		var heard scribe
		peer := nodewire.NewPeer(&heard, c.Wire == "sharded")
		message := c.message(t)
		var want struct{ Call adapter.Kind }
		if err := json.Unmarshal(c.Want, &want); err != nil {
			t.Fatalf("%s: no want: %v", c.What, err)
		}
		var got any
		if want.Call != 0 {
			got = peer.Answer(want.Call, c.Channel, message)
		} else {
			peer.Hear(c.Channel, message)
			if len(heard.all) != 1 {
				t.Errorf("%s %s, %s: %d calls", c.Wire, c.Version, c.What, len(heard.all))
				continue
			}
			got = heard.all[0]
		}
		var values [2]map[string]any
		text, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range [][]byte{text, c.Want} {
			if err := json.Unmarshal(b, &values[i]); err != nil {
				t.Fatalf("%s: %v", b, err)
			}
		}
		if !reflect.DeepEqual(values[0], values[1]) {
			t.Errorf("%s %s, %s:\n%s, want\n%s", c.Wire, c.Version, c.What, text, c.Want)
		}
	}
}

// scribe is a namespace that writes down what it is told.
type scribe struct {
	adapter.Local
	all []map[string]any
}

func (s *scribe) note(m *adapter.Message) {
	content := map[string]any{"kind": m.Kind, "rooms": list(m.Rooms), "except": list(m.Except)}
	set := func(name string, is bool, value any) {
		if is {
			content[name] = value
		}
	}
	set("targets", m.Targets != nil, m.Targets)
	set("data", m.Data != nil, json.RawMessage(m.Data))
	set("attachments", len(m.Attachments) > 0, hexes(m.Attachments))
	set("volatile", m.Flags&adapter.Volatile != 0, true)
	set("plain", m.Flags&adapter.Uncompressed != 0, true)
	set("close", m.Flags&adapter.CloseAll != 0, true)
	set("request", m.Request != 0, true)
	set("timeout", m.Request != 0 && m.Kind == adapter.Broadcast, m.Timeout.Milliseconds())
	s.all = append(s.all, content)
}

func list(names []string) []string { return append([]string{}, names...) }

func hexes(attachments [][]byte) (all []string) {
	for _, a := range attachments {
		all = append(all, hex.EncodeToString(a))
	}
	return all
}

func (s *scribe) Has(string) bool                            { return true }
func (s *scribe) Deliver(m *adapter.Message)                 { s.note(m) }
func (s *scribe) Change(m *adapter.Message) int              { s.note(m); return 0 }
func (s *scribe) Count(adapter.Selection) int                { return 0 }
func (s *scribe) Gap()                                       {}
func (s *scribe) RoomSizes(adapter.Selection) map[string]int { return nil }
func (s *scribe) DeliverAck(m *adapter.Message, counted func(int), answered func([]byte, [][]byte)) {
	s.note(m)
	counted(1)
	answered(m.Data, m.Attachments)
}

func (s *scribe) Event(m *adapter.Message, answer func([]byte, [][]byte)) bool {
	s.note(m)
	answer(m.Data, m.Attachments)
	return true
}

func (s *scribe) Fetch(which adapter.Selection) []adapter.SocketInfo {
	s.note(&adapter.Message{Kind: adapter.Fetch, Selection: which})
	return nil
}

// Whatever arrives, what is passed on is well-formed, and nothing panics.
func FuzzHear(f *testing.F) {
	for _, c := range captures(f) {
		f.Add(c.Wire == "sharded", c.Channel, c.message(f))
	}
	for _, m := range []*adapter.Message{{Kind: adapter.Join, Targets: []string{"a"}}, {Kind: adapter.Fetch}, {Kind: adapter.ServerEvent, Data: []byte(`["a",1]`)}, message()} {
		for _, sharded := range []bool{false, true} {
			_, encode := nodewire.Decoder(nil, sharded)
			data, err := encode(m)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(sharded, "socket.io#/#", data)
			f.Add(sharded, "socket.io-request#/#", data)
		}
	}
	f.Fuzz(func(t *testing.T, sharded bool, channel string, data []byte) {
		var heard scribe
		before := bytes.Clone(data)
		nodewire.NewPeer(&heard, sharded).Hear(channel, data)
		for _, kind := range []adapter.Kind{adapter.Broadcast, adapter.Fetch, adapter.ServerEvent, adapter.Count} {
			nodewire.NewPeer(&heard, sharded).Answer(kind, channel, data)
		}
		if !bytes.Equal(data, before) {
			t.Error("the message was changed")
		}
		for _, content := range heard.all {
			if _, err := json.Marshal(content); err != nil {
				t.Error(err)
			}
			if data, ok := content["data"].(json.RawMessage); ok && (len(data) == 0 || data[0] != '[') {
				t.Errorf("%q is no array", data)
			}
		}
	})
}
