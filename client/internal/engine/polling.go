package engine

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/parley-go/parley/internal/eio"
)

// polling is long polling as a transport: a goroutine asks for what the server has, again and again.
type polling struct {
	requests

	state   sync.Mutex
	polls   bool   // the goroutine runs
	quiet   bool   // it shall not poll again
	resting func() // is called once nothing runs any more
}

func newPolling(s *Session) *polling {
	t := &polling{}
	t.init(s, t)
	return t
}

func (t *polling) name() string { return Polling }

func (t *polling) start() {
	t.state.Lock()
	defer t.state.Unlock()
	t.polls = true
	t.s.run(t.loop)
}

func (t *polling) loop() {
	for {
		t.s.gate(t.ctx)
		t.state.Lock()
		if t.quiet {
			t.polls = false
			t.state.Unlock()
			t.rest()
			return
		}
		t.state.Unlock()
		if err := t.poll(); err != nil {
			t.s.fail(t, TransportError, err)
			return
		}
	}
}

func (t *polling) poll() error {
	var parameters map[string]string
	if t.s.o.Protocol == eio.V3 {
		parameters = map[string]string{"b64": "1"}
	}
	// With a body, net/http does not send the request again by itself when the connection breaks: the server
	// may have answered it, and does not have these packets any more.
	response, err := t.do(http.MethodGet, parameters, struct{ io.Reader }{http.NoBody})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	binary := t.s.o.Protocol == eio.V3 && strings.HasPrefix(response.Header.Get("Content-Type"), "application/octet-stream")
	encoding, ok := t.s.o.Protocol.Encoding(binary)
	if !ok {
		return eio.ErrMalformed
	}
	payload, err := readAll(response.Body, t.s.o.MaxMessage*4/3)
	if err != nil {
		return err
	}
	return encoding.Decode(payload, func(p eio.Packet) error { return t.s.receive(t, p) })
}

// quiesce ends polling without losing anything: it calls done when no request runs any more. The server
// has answered the last poll, or will do so.
func (t *polling) quiesce(done func()) {
	t.state.Lock()
	t.quiet, t.resting = true, done
	t.state.Unlock()
	t.rest()
}

// rest calls what waits until no request runs.
func (t *polling) rest() {
	t.state.Lock()
	if !t.quiet || t.polls || t.resting == nil || t.isPosting() {
		t.state.Unlock()
		return
	}
	done := t.resting
	t.resting = nil
	t.state.Unlock()
	done()
}

// resume takes quiesce back.
func (t *polling) resume() {
	t.state.Lock()
	t.quiet, t.resting = false, nil
	again := !t.polls && t.ctx.Err() == nil
	t.state.Unlock()
	if again {
		t.start()
	}
	t.wake()
}
