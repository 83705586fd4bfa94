package engine

import (
	"io"
	"net/http"
	"time"
)

// Wheel is the timing wheel, for tests.
type Wheel struct{ w *wheel }

// WheelTimer is a timer of the wheel that calls Alarm.
type WheelTimer struct {
	t     timer
	w     *wheel
	Alarm func()
}

func NewWheel(tick time.Duration) Wheel { return Wheel{newWheel(tick)} }

func (w Wheel) Since() time.Duration           { return w.w.since() }
func (w Wheel) Close()                         { w.w.close() }
func (w Wheel) Timer(alarm func()) *WheelTimer { return &WheelTimer{w: w.w, Alarm: alarm} }
func (t *WheelTimer) Set(at time.Duration)     { t.w.set(&t.t, t, at) }
func (t *WheelTimer) Clear()                   { t.w.clear(&t.t) }
func (t *WheelTimer) alarm(*timer) {
	if t.w.fired(&t.t) {
		t.Alarm()
	}
}

// FormData decodes the body of a JSONP form, for fuzzing.
func FormData(body []byte) ([]byte, bool) { return formData(body) }

// AppendEvent appends a message as an event of an sse stream.
func AppendEvent(dst []byte, id uint64, m *Message) []byte { return appendEvent(dst, id, m) }

// RefusedInAll returns how many requests were refused.
func (s *Stats) RefusedInAll() (n uint64) {
	for i := range s.Refused {
		n += s.Refused[i].Load()
	}
	return n
}

// Conns returns the number of WebSocket connections, including candidates.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// NewHTTP2Stream returns the connection of a WebSocket over HTTP/2.
func NewHTTP2Stream(w http.ResponseWriter, r *http.Request) io.WriteCloser {
	return newHTTP2Stream(w, r)
}
