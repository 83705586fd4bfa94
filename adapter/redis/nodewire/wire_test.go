package nodewire_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/redis/rueidis"

	"github.com/parley-go/parley/adapter"
	"github.com/parley-go/parley/adapter/adaptertest"
	"github.com/parley-go/parley/adapter/redis/nodewire"
	"github.com/parley-go/parley/adapter/redis/redistest"
	"github.com/parley-go/parley/internal/sio"
)

// wire is a server, and a client of Redis that speaks to it as a server on Node.js would.
type wire struct {
	t       *testing.T
	redis   rueidis.Client
	server  *redistest.Server
	space   *adaptertest.Space
	sharded bool
	close   func()

	flushes int
	heard   map[string]chan string // by channel, see listen
}

func open(t *testing.T) *wire { return openWire(t, false, nil) }

func openWire(t *testing.T, sharded bool, o *nodewire.Options) *wire {
	w := &wire{t: t, server: redistest.Start(t), sharded: sharded}
	w.redis = w.client()
	return w.another(o)
}

// client returns a client of the same Redis.
func (w *wire) client() rueidis.Client {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{w.server.Addr}, DisableCache: true})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(client.Close)
	return client
}

// another returns one more server on the same Redis.
func (w *wire) another(o *nodewire.Options) *wire {
	w.t.Helper()
	if o == nil {
		o = &nodewire.Options{}
	}
	o.Logger = quiet
	connect := nodewire.Classic
	if w.sharded {
		connect = nodewire.Sharded
	}
	c, err := connect(rueidis.ClientOption{InitAddress: []string{w.server.Addr}}, o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return &wire{t: w.t, redis: w.redis, server: w.server, sharded: w.sharded, heard: map[string]chan string{}, space: adaptertest.NewSpace(c, "/"), close: func() { c.Close() }}
}

// listen returns what is published to a channel from the first call on.
func (w *wire) listen(channel string) <-chan string {
	w.t.Helper()
	if heard := w.heard[channel]; heard != nil {
		return heard
	}
	heard := make(chan string, 1000)
	w.heard[channel] = heard
	active := make(chan struct{})
	ctx := rueidis.WithOnSubscriptionHook(w.t.Context(), func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" || s.Kind == "ssubscribe" {
			close(active)
		}
	})
	command := w.redis.B().Subscribe().Channel(channel).Build()
	if w.sharded {
		command = w.redis.B().Ssubscribe().Channel(channel).Build()
	}
	go w.redis.Receive(ctx, command, func(m rueidis.PubSubMessage) { heard <- m.Message })
	<-active
	return heard
}

// next returns the next one, as JSON.
func (w *wire) next(heard <-chan string) string {
	w.t.Helper()
	text := <-heard
	if text[0] != '{' {
		data, attachments, err := sio.FromMsgpack([]byte(text), &sio.Limits{})
		if err != nil {
			w.t.Fatal(err)
		}
		text = string(data)
		for _, a := range attachments {
			text += fmt.Sprintf(" %x", a)
		}
	}
	return text
}

// publish publishes JSON, packed as MessagePack or not.
func (w *wire) publish(channel, text string, packed bool) {
	w.t.Helper()
	data := []byte(text)
	if packed {
		var err error
		if data, err = sio.AppendMsgpack(nil, data, nil); err != nil {
			w.t.Fatal(err)
		}
	}
	w.raw(channel, string(data))
}

func (w *wire) raw(channel, data string) {
	w.t.Helper()
	command := w.redis.B().Publish().Channel(channel).Message(data).Build()
	if w.sharded {
		command = w.redis.B().Spublish().Channel(channel).Message(data).Build()
	}
	if err := w.redis.Do(w.t.Context(), command).Error(); err != nil {
		w.t.Fatal(err)
	}
}

// flush waits for the end of what was published.
func (w *wire) flush(k *adaptertest.Socket) {
	w.t.Helper()
	w.flushes++
	last := fmt.Sprint("end ", w.flushes)
	if w.sharded {
		w.publish("socket.io#/#", `{"type":3,"uid":"end","nsp":"/","data":{"packet":{"type":2,"data":["event","`+last+`"]},"opts":{"rooms":[],"except":[]}}}`, false)
	} else {
		w.publish("socket.io#/#", `["end",{"type":2,"data":["event","`+last+`"],"nsp":"/"},{"rooms":[],"except":[]}]`, true)
	}
	adaptertest.Eventually(w.t, "the end", func() bool { return slices.Contains(k.Heard(), last) })
}

// What servers on Node.js and emitters send, in all its forms.
func TestBroadcasts(t *testing.T) {
	w := open(t)
	k := w.space.Connect("k")
	k.Join("room", "42", "1.5")
	for _, test := range []struct {
		channel, text string
		heard         bool
	}{
		{"socket.io#/#", `["u",{"type":2,"data":["event","plain"],"nsp":"/"},{"rooms":[],"except":[],"flags":{}}]`, true},
		{"socket.io#/#", `["u",{"type":2,"data":["event","no nsp"]},{"rooms":[],"except":[]}]`, true},
		{"socket.io#/#", `["u",{"type":5,"data":["event","binary type"],"nsp":"/"},{"rooms":[],"except":[]}]`, true},
		{"socket.io#/#", `["u",{"nsp":"/","x":1,"data":["event","more members"],"type":2},{"y":{},"flags":{"volatile":true,"compress":false,"z":1},"rooms":[],"except":[]},"a fourth"]`, true},
		{"socket.io#/#", `["u",{"type":2,"data":["event","null lists"],"nsp":"/"},{"rooms":null}]`, true},
		{"socket.io#/#room#", `["u",{"type":2,"data":["event","room"],"nsp":"/"},{"rooms":["room"],"except":[]}]`, true},
		{"socket.io#/#42#", `["u",{"type":2,"data":["event","a number"],"nsp":"/"},{"rooms":[42],"except":[]}]`, true},
		{"socket.io#/#1.5#", `["u",{"type":2,"data":["event","a fraction"],"nsp":"/"},{"rooms":[1.50],"except":[]}]`, true},
		{"socket.io#/#", `["u",{"type":2,"data":["event","except a number"],"nsp":"/"},{"rooms":[],"except":[42]}]`, false},
		{"socket.io#/#", `["u",{"type":2,"data":["event","another nsp"],"nsp":"/other"},{"rooms":[],"except":[]}]`, false},
		{"socket.io#/#", `["u",{"type":2,"id":7,"data":["event","for one socket, with an acknowledgement"],"nsp":"/"},{"rooms":["k"],"except":[]}]`, false},
		{"socket.io#/#", `["u",{"type":1,"data":["event","no event"],"nsp":"/"},{"rooms":[],"except":[]}]`, false},
		{"socket.io#/#nobody#", `["u",{"type":2,"data":["event","nobody"],"nsp":"/"},{"rooms":["nobody"],"except":[]}]`, false},
		{"socket.io#/#", `["u",{"type":2,"data":"text","nsp":"/"},{"rooms":[],"except":[]}]`, false},
		{"socket.io#/#", `["u"]`, false},
		{"socket.io#/#", `{}`, false},
		{"socket.io#/#", `[1,2,3]`, false},
	} {
		before := len(k.Heard())
		w.publish(test.channel, test.text, true)
		w.flush(k)
		if got := len(k.Heard())-before == 2; got != test.heard {
			t.Errorf("%s: heard %v, want %v", test.text, got, test.heard)
		}
	}
	for _, nonsense := range []string{"", "x", "\x93", "\xdd\xff\xff\xff\xff", "\xc1", "\x93\xa1u\x80"} {
		w.raw("socket.io#/#", nonsense)
		w.raw("socket.io-request#/#", nonsense)
		w.raw("socket.io-response#/#", nonsense)
	}
	w.flush(k)
}

// What asks for a change, in all its forms.
func TestChanges(t *testing.T) {
	w := open(t)
	k := w.space.Connect("k")
	other := w.space.Connect("other")
	for _, test := range []struct {
		text string
		want []string
	}{
		{`{"uid":"u","type":2,"opts":{"rooms":["k"],"except":[]},"rooms":["a",7]}`, []string{"7", "a"}},
		{`{"type":2,"opts":{"rooms":[],"except":["other"]},"rooms":["b"]}`, []string{"7", "a", "b"}}, // of an emitter
		{`{"type":2,"requestId":"r","sid":"k","room":"c"}`, []string{"7", "a", "b", "c"}},            // old
		{`{"type":3,"requestId":"r","sid":"k","room":"c"}`, []string{"7", "a", "b"}},
		{`{"type":2,"requestId":"r","sid":"unknown","room":"c"}`, []string{"7", "a", "b"}},
		{`{"type":2}`, []string{"7", "a", "b"}},
		{`{"type":99}`, []string{"7", "a", "b"}},
		{`{}`, []string{"7", "a", "b"}},
		{`{"uid":"u","type":3,"opts":{"rooms":["k"],"except":[]},"rooms":["a","b",7]}`, nil},
	} {
		w.publish("socket.io-request#/#", test.text, false)
		w.flush(k)
		if got := k.Rooms(); !slices.Equal(got, test.want) {
			t.Errorf("after %s: in %q, want %q", test.text, got, test.want)
		}
	}
	if got := other.Rooms(); len(got) > 0 {
		t.Errorf("the other one is in %q", got)
	}
	w.publish("socket.io-request#/#", `{"type":4,"opts":{"rooms":["k"]},"close":true}`, false)
	adaptertest.Eventually(t, "the end of the socket", func() bool { return w.space.Count(adapter.Selection{}) == 1 })
}
