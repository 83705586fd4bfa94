package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/parley-go/parley/internal/eio"
)

// polling is a wire over HTTP requests. One goroutine polls. Another one posts; it exists only while
// there is something to send.
type polling struct {
	client *client
	ctx    context.Context
	cancel context.CancelFunc
	url    string // with the session's id

	mu      sync.Mutex
	queued  []byte // a payload
	posting bool
	over    bool // no more posts
	posts   sync.WaitGroup
}

const maxPayload = 16 << 20 // bytes of the answer to a poll

// openPolling begins a session and starts to receive for c.
func openPolling(ctx context.Context, c *client) error {
	f := c.fleet
	p := &polling{client: c}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	payload, err := p.do(ctx, http.MethodGet, f.pollingURL, nil)
	if err != nil {
		p.cancel()
		return err
	}
	var open struct{ SID string }
	if len(payload) == 0 || payload[0] != byte(eio.Open) || json.Unmarshal(payload[1:], &open) != nil || open.SID == "" {
		p.cancel()
		return fmt.Errorf("%s answered a poll with %.40q, which is not an Engine.IO handshake: is it a Socket.IO server of version 3 or later?", f.pollingURL, payload)
	}
	p.url = f.pollingURL + "&sid=" + open.SID
	c.wire = p
	go p.poll(payload)
	return nil
}

// poll polls until the session has ended.
func (p *polling) poll(payload []byte) {
	var err error
	for err == nil {
		eio.Separated.Decode(payload, func(packet eio.Packet) error {
			if !packet.Binary {
				p.client.receive(append([]byte{byte(packet.Type)}, packet.Data...))
			}
			return nil
		})
		payload, err = p.do(p.ctx, http.MethodGet, p.url, nil)
	}
	p.cancel()
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
	p.posts.Wait()
	if errors.Is(err, context.Canceled) {
		err = errHungUp
	}
	p.client.closed(err)
}

// do makes a request and returns the body of the response.
func (p *polling) do(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	f := p.client.fleet
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range f.options.header {
		r.Header[name] = values
	}
	if body != nil {
		r.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := f.http.Do(r)
	if err != nil {
		return nil, f.explain(err, nil)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxPayload))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, f.explain(errors.New("refused"), resp)
	}
	return answer, nil
}

func (p *polling) send(packets ...[]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range packets {
		p.queued = eio.Separated.Append(p.queued, eio.Packet{Type: eio.Type(b[0]), Data: b[1:]})
	}
	if !p.posting && !p.over {
		p.posting = true
		p.posts.Go(p.post)
	}
}

// post sends what is queued until the queue is empty.
func (p *polling) post() {
	for {
		p.mu.Lock()
		payload := p.queued
		p.queued = nil
		p.posting = payload != nil
		p.mu.Unlock()
		if payload == nil {
			return
		}
		if _, err := p.do(p.ctx, http.MethodPost, p.url, payload); err != nil {
			p.cancel()
			return
		}
	}
}

func (p *polling) end() { p.send([]byte{byte(eio.Close)}) }

func (p *polling) abort() { p.cancel() }
