package parley_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/parley-go/parley/adapter"
)

// What a client names as its former session costs other servers no more than a question.
func TestLongNamesDoNotCross(t *testing.T) {
	p := recoveryPool(t, 2, nil)
	v := p.traveller(0)
	v.lose()
	var largest atomic.Int64
	spy := p.net.Connect()
	self := p.servers[0].Nodes()[0]
	for _, topic := range []string{"c", "n/" + self.ID.String()} {
		l := spy.Listen(topic, func(data []byte) { largest.Store(max(largest.Load(), int64(len(data)))) })
		defer l.Close()
		<-l.Active()
	}
	long := strings.Repeat("x", 50_000)
	tag := adapter.TagIn(v.PID)
	for name, auth := range map[string]string{
		"pid":            back("/"+long+"#"+v.PID, ""),
		"pid of nowhere": back("/"+long+"#"+strings.TrimSuffix(v.PID, tag)+"none", ""),
		"offset":         back(v.PID, long),
	} {
		if missed, answer := missedUntilConnect(t, dial(t, p.urls[1]), auth); answer.PID == v.PID || len(missed) > 0 {
			t.Errorf("%s: it came back", name)
		}
		p.flush()
		if n := largest.Swap(0); n == 0 || n > 1000 {
			t.Errorf("%s: the largest message has %d bytes", name, n)
		}
	}
	if !v.back(1) {
		t.Error("the client was not recovered with its own names")
	}
}
