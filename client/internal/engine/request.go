package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/parley-go/parley/internal/eio"
)

// requests is what polling and sse have in common: the client sends by POST.
type requests struct {
	s    *Session
	t    transport
	ctx  context.Context // of all requests
	stop context.CancelFunc

	mu      sync.Mutex
	posting bool
	again   bool // there is more to post
}

func (r *requests) init(s *Session, t transport) {
	r.s, r.t = s, t
	r.ctx, r.stop = context.WithCancel(context.Background())
}

func (r *requests) cut()       { r.stop() }
func (r *requests) pause(bool) {} // reading looks at the session's gate

// wake sends what is queued, on a goroutine that exists only meanwhile.
func (r *requests) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.again = true
	if !r.posting {
		r.posting = true
		r.s.run(r.post)
	}
}

// defaultPayload is the size of a POST if the server does not say what it accepts, in bytes.
const defaultPayload = 100_000

func (r *requests) post() {
	for {
		r.mu.Lock()
		r.again = false
		r.mu.Unlock()
		limit := r.s.MaxPayload
		if limit == 0 {
			limit = defaultPayload
		}
		packets, last := r.s.take(r.t, limit)
		if len(packets) > 0 {
			if err := r.send(packets); err != nil {
				r.s.fail(r.t, TransportError, err)
				last = false
			}
		}
		if last { // by itself: the reference forgets what comes with it
			_ = r.send([]eio.Packet{{Type: eio.Close}})
			r.s.end(nil)
		}
		if last || len(packets) > 0 {
			continue
		}
		r.mu.Lock()
		if !r.again {
			r.posting = false
			r.mu.Unlock()
			if p, ok := r.t.(*polling); ok {
				p.rest()
			}
			return
		}
		r.mu.Unlock()
	}
}

// isPosting reports whether a POST is running.
func (r *requests) isPosting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.posting
}

func (r *requests) send(packets []eio.Packet) error {
	encoding, _ := r.s.o.Protocol.Encoding(false)
	var body []byte
	for _, p := range packets {
		body = encoding.Append(body, p)
	}
	response, err := r.do(http.MethodPost, nil, bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<10))
	return err
}

// do sends a request and returns the answer, if its status is 200.
func (r *requests) do(method string, parameters map[string]string, body io.Reader) (*http.Response, error) {
	u := r.s.o.address(r.t.name(), r.s.SID)
	q := u.Query()
	for name, value := range parameters {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	request, err := http.NewRequestWithContext(r.ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	request.Header = r.s.headers(r.t.name())
	if method == http.MethodPost {
		request.Header.Set("Content-Type", "text/plain; charset=UTF-8")
	}
	response, err := r.s.o.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, refusal(response)
	}
	return response, nil
}

// headers returns the headers of a request.
func (s *Session) headers(transport string) http.Header {
	h := s.o.Header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if jar := s.o.HTTP.Jar; jar != nil && transport == WebSocket {
		for _, c := range jar.Cookies(s.o.URL) {
			h.Add("Cookie", c.Name+"="+c.Value)
		}
	}
	return h
}

// refusal returns the error that a response stands for.
func refusal(response *http.Response) error {
	e := &RefusedError{Status: response.StatusCode, Code: -1}
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
	var said struct {
		Code    *int   `json:"code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil && said.Code != nil {
		e.Code, e.Message = *said.Code, said.Message
		return e
	}
	e.Message = strings.TrimSpace(string(body))
	return errors.Join(e, err)
}

// readAll reads a response within a limit.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("engine: the server sent more than %d bytes at once", limit)
	}
	return b, err
}
