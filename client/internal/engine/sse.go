package engine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/parley-go/parley/internal/eio"
)

// sse is Server-Sent Events as a transport; see docs/protocol.md. A goroutine reads the stream. If the
// stream ends, it asks for another one, which continues after the last event.
type sse struct {
	requests
	last int64 // the id of the last event; -1: none
}

func newSSE(s *Session) *sse {
	t := &sse{last: -1}
	t.init(s, t)
	return t
}

func (t *sse) name() string { return SSE }
func (t *sse) start()       { t.s.run(t.loop) }

const (
	maxFruitless  = 5                      // streams in a row that bring no event, before the session ends
	fruitlessWait = 500 * time.Millisecond // before the next one, and longer each time
)

func (t *sse) loop() {
	fruitless := 0
	for {
		before := t.last
		err := t.stream()
		var refused *RefusedError
		switch {
		case t.s.isClosed():
			return
		case t.last < 0 || errors.As(err, &refused) || errors.Is(err, eio.ErrMalformed) || errors.Is(err, errStream):
			t.s.fail(t, TransportError, err)
			return
		case t.last > before:
			fruitless = 0
			continue
		}
		if fruitless++; fruitless >= maxFruitless {
			t.s.fail(t, TransportError, fmt.Errorf("engine: the last %d streams brought nothing: %w", fruitless, err))
			return
		}
		select {
		case <-time.After(time.Duration(fruitless) * fruitlessWait):
		case <-t.ctx.Done():
		}
	}
}

var errStream = errors.New("engine: the server's stream of events")

// stream reads one stream until it ends.
func (t *sse) stream() error {
	var parameters map[string]string
	if t.last >= 0 {
		parameters = map[string]string{"lastEventId": strconv.FormatInt(t.last, 10)}
	}
	response, err := t.do(http.MethodGet, parameters, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewReaderSize(response.Body, 4<<10)
	limit := t.s.o.MaxMessage*4/3 + 64
	var name, data []byte
	id := int64(-1)
	for {
		line, err := readLine(lines, limit)
		if err != nil {
			return err
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "id":
			if id, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return fmt.Errorf("%w: the id %.20q", errStream, value)
			}
		case "event":
			name = value
		case "data":
			data = value
		case "":
			if len(line) > 0 || data == nil { // a comment, or an empty event
				continue
			}
			if id != t.last+1 {
				return fmt.Errorf("%w: the id %d follows %d", errStream, id, t.last)
			}
			if err := t.event(string(name), data); err != nil {
				return err
			}
			t.last, name, data, id = id, nil, nil, -1
			t.s.gate(t.ctx)
		}
	}
}

// readLine returns the next line without its end. It belongs to the caller.
func readLine(r *bufio.Reader, limit int64) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if int64(len(line)) > limit {
			return nil, fmt.Errorf("%w: a line of more than %d bytes", errStream, limit)
		}
		if err == nil {
			return bytes.TrimRight(line, "\r\n"), nil
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != bufio.ErrBufferFull {
			return nil, err
		}
	}
}

func (t *sse) event(name string, data []byte) error {
	if name == "json" {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return fmt.Errorf("%w: %w", errStream, err)
		}
		data = []byte(text)
	}
	return eio.Separated.Decode(data, func(p eio.Packet) error { return t.s.receive(t, p) })
}
