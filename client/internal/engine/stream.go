package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/eio"
)

// stream is a stream of WebTransport as a transport. One goroutine reads, one closes it in the end, and one
// writes while there is something to write.
type stream struct {
	s *Session
	Stream
	over    chan struct{} // closed by cut
	cutOnce sync.Once

	mu      sync.Mutex
	writing bool
	again   bool
}

func (s *Session) dialStream(ctx context.Context) error {
	if s.o.OpenStream == nil {
		return errors.New("engine: there is no WebTransport")
	}
	opened, err := s.o.OpenStream(ctx, s.o.address(WebTransport, ""), s.headers(WebTransport))
	if err != nil {
		return err
	}
	t := &stream{s: s, Stream: opened, over: make(chan struct{})}
	s.run(t.end)
	s.use(t)
	if deadline, ok := ctx.Deadline(); ok {
		if err := opened.SetWriteDeadline(deadline); err != nil {
			return err
		}
		defer opened.SetWriteDeadline(time.Time{})
	}
	if _, err := opened.Write(append(eio.AppendStreamHeader(nil, false, 1), byte(eio.Open))); err != nil {
		return err
	}
	s.run(t.read)
	return nil
}

func (t *stream) name() string { return WebTransport }
func (t *stream) pause(bool)   {} // reading looks at the session's gate
func (t *stream) cut()         { t.cutOnce.Do(func() { close(t.over) }) }

// end closes the stream, which may take a while, once it is cut.
func (t *stream) end() {
	<-t.over
	t.Close()
}

func (t *stream) read() {
	packets := eio.NewStreamReader(t.Stream)
	for {
		t.s.gate(context.Background())
		binary, b, err := packets.Next(t.s.o.MaxMessage)
		var p eio.Packet
		if err == nil {
			p, err = t.s.o.Protocol.Decode(binary, b)
		}
		if err == nil {
			err = t.s.receive(t, p)
		}
		if err != nil {
			t.s.fail(t, TransportClose, err)
			return
		}
	}
}

func (t *stream) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.again = true
	if !t.writing {
		t.writing = true
		t.s.run(t.write)
	}
}

func (t *stream) write() {
	for {
		t.mu.Lock()
		if !t.again {
			t.writing = false
			t.mu.Unlock()
			return
		}
		t.again = false
		t.mu.Unlock()
		for {
			packets, last := t.s.take(t, 64<<10)
			var b []byte
			for _, p := range packets {
				n := len(p.Data)
				if !p.Binary {
					n++
				}
				b = eio.AppendStreamHeader(b, p.Binary, n)
				if !p.Binary {
					b = append(b, byte(p.Type))
				}
				b = append(b, p.Data...)
			}
			if len(b) > 0 {
				if _, err := t.Write(b); err != nil {
					t.s.fail(t, TransportError, err)
				}
			}
			if last {
				t.s.end(nil)
			}
			if len(b) == 0 {
				break
			}
		}
	}
}
