package nodewire_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/internal/sio"
)

// Each subtest has the number of a fact about the wires, as docs/testing.md lists them.

// both runs a test on the classic and on the sharded wire.
func both(t *testing.T, name string, f func(t *testing.T, w *wire)) {
	for _, sharded := range []bool{false, true} {
		wireName := map[bool]string{false: "classic", true: "sharded"}[sharded]
		t.Run(name+", "+wireName, func(t *testing.T) { f(t, openWire(t, sharded, nil)) })
	}
}

// ask publishes a request with an event or options, and returns the channel of its answers.
func (w *wire) ask(id, classic, sharded string) <-chan string {
	w.t.Helper()
	if w.sharded {
		answers := w.listen("socket.io#/#asker#")
		w.publish("socket.io#/#", fmt.Sprintf(`{"uid":"asker","nsp":"/",%s}`, sharded), false)
		return answers
	}
	answers := w.listen("socket.io-response#/#")
	w.publish("socket.io-request#/#", fmt.Sprintf(`{"uid":"asker","requestId":%q,%s}`, id, classic), strings.Contains(classic, "packet"))
	return answers
}

// member returns a member of an answer's content.
func member(t *testing.T, answer, name string) string {
	t.Helper()
	var a map[string]json.RawMessage
	object, _, _ := strings.Cut(answer, "} ") // in front of the attachments
	if object != answer {
		object += "}"
	}
	if err := json.Unmarshal([]byte(object), &a); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	if data, ok := a["data"]; ok && bytes.HasPrefix(data, []byte("{")) {
		if err := json.Unmarshal(data, &a); err != nil {
			t.Fatal(err)
		}
	}
	return string(a[name])
}

func TestAnswers(t *testing.T) {
	const everybody = `"opts":{"rooms":[],"except":[],"flags":{"timeout":60000,"expectSingleResponse":true}}`
	both(t, "1.1/1 every server answers once, with 0 too", func(t *testing.T, w *wire) {
		answers := w.ask("r", `"type":7,"packet":{"type":2,"data":["question"],"nsp":"/"},`+everybody, `"type":3,"data":{"requestId":"r","packet":{"type":2,"data":["question"]},`+everybody+`}`)
		if got := member(t, w.next(answers), "clientCount"); got != "0" {
			t.Errorf("the count is %s", got)
		}
		w.publish(map[bool]string{false: "socket.io-request#/#", true: "socket.io#/#"}[w.sharded],
			map[bool]string{false: `{"uid":"asker","requestId":"s","type":5,"opts":{"rooms":["nowhere"],"except":[]}}`, true: `{"uid":"asker","nsp":"/","type":7,"data":{"requestId":"s","opts":{"rooms":["nowhere"],"except":[]}}}`}[w.sharded], false)
		if got := w.next(answers); member(t, got, "sockets") != "[]" || member(t, got, "requestId") != `"s"` {
			t.Errorf("the second answer is %s", got)
		}
		if len(answers) > 0 {
			t.Errorf("one answer too many: %s", w.next(answers))
		}
	})
	both(t, "1.1/2 without a handler there is no answer", func(t *testing.T, w *wire) {
		answers := w.ask("r", `"type":6,"data":["nobody handles it"]`, `"type":9,"data":{"requestId":"r","packet":["nobody handles it"]}`)
		k := w.space.Connect("k")
		w.flush(k)
		if len(answers) > 0 {
			t.Errorf("it was answered: %s", w.next(answers))
		}
	})
	both(t, "1.1/3 only the first argument of an acknowledgement crosses", func(t *testing.T, w *wire) {
		k := w.space.Connect("k")
		for _, test := range []struct{ all, first string }{{`["one","two"]`, `"one"`}, {`[{"a":[1]}]`, `{"a":[1]}`}, {`[]`, ""}, {`[null]`, "null"}} {
			k.Answer([]byte(test.all))
			answers := w.ask("r", `"type":7,"packet":{"type":2,"data":["question"],"nsp":"/"},`+everybody, `"type":3,"data":{"requestId":"r","packet":{"type":2,"data":["question"]},`+everybody+`}`)
			if got := member(t, w.next(answers), "clientCount"); got != "1" {
				t.Errorf("the count is %s", got)
			}
			if got := member(t, w.next(answers), "packet"); got != test.first {
				t.Errorf("of %s crossed %s", test.all, got)
			}
		}
	})
	t.Run("1.1/14 events between servers are answered on the common channel", func(t *testing.T) {
		w := openWire(t, false, &nodewire.Options{SpecificResponses: true})
		w.space.Handle(func([]byte) ([]byte, bool) { return []byte(`["yes"]`), true })
		if got := w.next(w.ask("r", `"type":6,"data":["hello"]`, "")); member(t, got, "data") != `"yes"` {
			t.Errorf("the answer is %s", got)
		}
		own := w.listen("socket.io-response#/#asker#")
		w.publish("socket.io-request#/#", `{"uid":"asker","requestId":"s","type":5,"opts":{"rooms":[],"except":[]}}`, false)
		if got := w.next(own); member(t, got, "sockets") != "[]" {
			t.Errorf("the answer to another request is %s", got)
		}
	})
}

func TestRequests(t *testing.T) {
	t.Run("1.1/14 requests have a uid, and options without flags", func(t *testing.T) {
		w := open(t)
		requests := w.listen("socket.io-request#/#")
		for _, m := range []*adapter.Message{
			{Kind: adapter.Join, Selection: adapter.Selection{Rooms: []string{"a"}}, Targets: []string{"b"}},
			{Kind: adapter.Leave, Targets: []string{"b"}}, {Kind: adapter.Disconnect}, {Kind: adapter.ServerEvent, Data: []byte(`["hello"]`)},
		} {
			if err := w.space.Link.Publish(m); err != nil {
				t.Fatal(err)
			}
			got := w.next(requests)
			if uid := member(t, got, "uid"); len(uid) != 18 {
				t.Errorf("the uid is %s", uid)
			}
			if strings.Contains(got, "flags") || strings.Contains(got, "requestId") {
				t.Errorf("the request is %s", got)
			}
		}
	})
	both(t, "1.1/15 a server ignores its own echo", func(t *testing.T, w *wire) {
		k := w.space.Connect("k")
		k.Join("room")
		echo := w.listen("socket.io#/#")
		if err := w.space.Emit(adapter.Selection{}, "mine"); err != nil {
			t.Fatal(err)
		}
		w.raw("socket.io#/#", <-echo) // again, and again it is an echo
		w.flush(k)
		if got := k.Heard(); !slices.Equal(got, []string{"mine", "end 1"}) {
			t.Errorf("heard %q", got)
		}
	})
	t.Run("1.1/18 interest in rooms needs no pattern", func(t *testing.T) {
		w := openWire(t, false, &nodewire.Options{Interest: nodewire.Rooms})
		k := w.space.Connect("k")
		k.Join("room")
		if got := w.server.Do("PUBSUB NUMPAT"); got != ":0" {
			t.Errorf("%s patterns", got)
		}
		for _, channel := range []string{"socket.io#/#room#", "socket.io#/#k#", "socket.io#/#"} {
			w.publish(channel, `["u",{"type":2,"data":["event","`+channel+`"],"nsp":"/"},{"rooms":[],"except":[]}]`, true)
		}
		w.flush(k)
		if got := len(k.Heard()); got != 4 {
			t.Errorf("heard %q", k.Heard())
		}
	})
	t.Run("1.1/7 delivery here does not wait for Redis", func(t *testing.T) {
		w := open(t)
		k := w.space.Connect("k")
		w.server.Pause()
		defer w.server.Resume()
		if err := w.space.Emit(adapter.Selection{}, "at once"); err != nil || len(k.Heard()) != 1 {
			t.Errorf("heard %q, %v", k.Heard(), err)
		}
	})
	t.Run("1.1/21 a server counts the others where they are", func(t *testing.T) {
		w := openWire(t, true, nil)
		all := w.listen("socket.io#/#") // one more server, which says nothing
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-all
			cancel()
		}()
		var partial *adapter.Partial
		if err := w.space.Link.Call(ctx, &adapter.Message{Kind: adapter.Count}, func(*adapter.Answer) {}); !errors.As(err, &partial) || len(partial.Missing) != 1 {
			t.Errorf("one is missing, and the error is %v", err)
		}
	})
}

// A server that dies owing acknowledgements does not keep the others waiting, as far as they can know which one
// died. This takes a second: a server must be missing twice.
func TestDeath(t *testing.T) {
	t.Parallel()
	for _, sharded := range []bool{false, true} {
		t.Run(map[bool]string{false: "classic", true: "sharded"}[sharded], func(t *testing.T) {
			t.Parallel()
			w := openWire(t, sharded, nil)
			dying, other := w.another(nil), w.another(nil)
			dying.space.Connect("dying").Silence()
			other.space.Connect("other")
			silent := other.space.Connect("silent")
			silent.Silence()
			w.call(func(answers int) { // until the answers are there
				if answers == 1 {
					dying.close()
				}
			}, func(done <-chan error) {
				select {
				case err := <-done:
					t.Errorf("one that lives owes an acknowledgement, and the call ended: %v", err)
				case <-time.After(4 * nodewire.Recount):
				}
				other.close()
				var partial *adapter.Partial
				if err := <-done; !errors.As(err, &partial) || len(partial.Missing) != 2 || partial.Cause != nil {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
	t.Run("a server that does not say who it is", func(t *testing.T) {
		t.Parallel()
		w := openWire(t, false, nil)
		w.another(nil).space.Connect("other")
		foreign := w.client()
		requests := make(chan string, 10)
		active := make(chan struct{})
		ctx := rueidis.WithOnSubscriptionHook(t.Context(), func(rueidis.PubSubSubscription) { close(active) })
		go foreign.Receive(ctx, foreign.B().Subscribe().Channel("socket.io-request#/#").Build(), func(m rueidis.PubSubMessage) { requests <- m.Message })
		<-active
		w.call(func(int) {
			w.publish("socket.io-response#/#", `{"type":8,"requestId":`+member(t, w.next(requests), "requestId")+`,"clientCount":1}`, false)
			foreign.Close()
		}, func(done <-chan error) {
			var partial *adapter.Partial
			if err := <-done; !errors.As(err, &partial) || len(partial.Missing) != 1 || partial.Cause != nil {
				t.Errorf("the error is %v", err)
			}
		})
	})
}

// call asks all sockets. It calls answered after each answer, and then with what tells of its end.
func (w *wire) call(answered func(answers int), with func(done <-chan error)) {
	done := make(chan error, 1)
	got := make(chan int, 10)
	go func() {
		answers := 0
		done <- w.space.Link.Call(w.t.Context(), &adapter.Message{Kind: adapter.Broadcast, Data: []byte(`["question"]`)}, func(*adapter.Answer) {
			answers++
			got <- answers
		})
	}()
	answered(<-got)
	with(done)
}

// What servers on Node.js send on the sharded wire, in all its forms.
func TestClusterMessages(t *testing.T) {
	w := openWire(t, true, nil)
	const id = "twenty characters..."
	k := w.space.Connect(id)
	k.Join("room", "42", "1.5")
	const rest = `,"uid":"u","nsp":"/"}`
	for _, test := range []struct {
		name, channel, text string
		packed, heard       bool
	}{
		{"plain", "", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[],"flags":{}}}` + rest, false, true},
		{"1.1/22 as MessagePack", "", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[],"flags":{}}}` + rest, true, true},
		{"white space", "", ` {"type": 3, "data": {"packet": {"type": 2, "data": ["event", "x"]}, "opts": {}}` + rest, false, false}, // begins with no brace: not JSON
		{"1.1/20 a room", "room#", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":["room"],"except":[]}}` + rest, false, true},
		{"1.1/20 a socket's id", "", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":["` + id + `"],"except":[]}}` + rest, false, true},
		{"1.1/10 a number", "42#", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[42],"except":[]}}` + rest, false, true},
		{"1.1/10 a fraction", "1.5#", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[1.50],"except":[]}}` + rest, true, true},
		{"1.1/10 except a number", "", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[42]}}` + rest, false, false},
		{"1.1/4 any flags", "", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[],"flags":{"volatile":false,"compress":null,"timeout":"x","expectSingleResponse":true,"more":{}}}}` + rest, false, true},
		{"1.1/6 for a socket of the sender, with an acknowledgement", "", `{"type":3,"data":{"packet":{"type":2,"id":0,"data":["event","x"]},"opts":{"rooms":["` + id + `"],"except":[]}}` + rest, false, false},
		{"1.1/11 more members", "", `{"x":[],"type":3,"data":{"y":1,"packet":{"z":{},"type":2,"data":["event","x"]},"opts":{"q":0,"rooms":[],"except":[]}}` + rest, false, true},
		{"1.1/11 an unknown type", "", `{"type":14,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[]}}` + rest, false, false},
		{"1.1/11 types of other adapters", "", `{"type":2` + rest, false, false},
		{"another namespace", "", `{"type":3,"data":{"packet":{"type":2,"data":["event","x"]},"opts":{"rooms":[],"except":[]}},"uid":"u","nsp":"/other"}`, false, false},
		{"no event", "", `{"type":3,"data":{"packet":{"type":3,"data":["event","x"]},"opts":{"rooms":[],"except":[]}}` + rest, false, false},
		{"no array", "", `{"type":3,"data":{"packet":{"type":2,"data":"event"},"opts":{"rooms":[],"except":[]}}` + rest, false, false},
		{"no data", "", `{"type":3` + rest, false, false},
		{"nothing", "", `{}`, false, false},
		{"no object", "", `[1,2]`, true, false},
		{"no JSON", "", `{"type":3,"data":{"packet"`, false, false},
		{"no end", "", `{`, false, false},
		{"empty", "", ``, false, false},
	} {
		before := len(k.Heard())
		if test.packed {
			w.publish("socket.io#/#"+test.channel, test.text, true)
		} else {
			w.raw("socket.io#/#"+test.channel, test.text)
		}
		w.flush(k)
		if got := len(k.Heard())-before == 2; got != test.heard {
			t.Errorf("%s: heard %v, want %v", test.name, got, test.heard)
		}
	}
	for _, step := range []struct {
		text string
		want []string
	}{
		{`{"type":4,"data":{"opts":{"rooms":["` + id + `"],"except":[]},"rooms":["a",7]}` + rest, []string{"1.5", "42", "7", "a", "room"}},
		{`{"type":5,"data":{"opts":{"rooms":["a"],"except":[]},"rooms":["room","42","1.5",7]}` + rest, []string{"a"}},
		{`{"type":4,"data":{"opts":{"rooms":[],"except":["a"]},"rooms":["b"]}` + rest, []string{"a"}},
		{`{"type":6}`, []string{"a"}},
		{`{"type":6,"data":{"close":true}` + rest, []string{"a"}},
	} {
		w.raw("socket.io#/#", step.text)
		w.flush(k)
		if got := k.Rooms(); !slices.Equal(got, step.want) {
			t.Errorf("after %s: in %q, want %q", step.text, got, step.want)
		}
	}
	w.raw("socket.io#/#", `{"type":6,"data":{"opts":{"rooms":["a"],"except":[]},"close":false}`+rest)
	adaptertest.Eventually(t, "the end of the socket", func() bool { return w.space.Count(adapter.Selection{}) == 0 })
}

// 1.1/13: what MessagePack writers of several ages send, and what arrives.
func TestAgesOfMessagePack(t *testing.T) {
	for _, test := range []struct{ name, packed, want string }{
		{"a date in seconds", "d6ff3b9aca00", `"2001-09-09T01:46:40.000Z"`},
		{"a date in nanoseconds", "d7ff01312d0000000000", `"1970-01-01T00:00:00.005Z"`},
		{"a date in 12 bytes", "c70cff000f42400000000000000001", `"1970-01-01T00:00:01.001Z"`},
		{"an old date", "d7000000000000000005", `"1970-01-01T00:00:00.005Z"`},
		{"old undefined", "d40000", "null"},
		{"an old ArrayBuffer", "c702000102", `{"_placeholder":true,"num":0}`},
		{"nil", "c0", "null"},
		{"a large integer", "cf0020000000000001", "9007199254740993"},
		{"a negative one", "d3ffdfffffffffffff", "-9007199254740993"},
	} {
		packed, err := hex.DecodeString(test.packed)
		if err != nil {
			t.Fatal(err)
		}
		got, _, err := sio.FromMsgpack(packed, &sio.Limits{})
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %s, %v, want %s", test.name, got, err, test.want)
		}
	}
}
