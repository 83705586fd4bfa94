package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

// target is where the server listens.
type target struct {
	Host   string // with the port
	TLS    bool
	Closed bool
}

func (t target) url(path string) string {
	if t.TLS {
		return "https://" + t.Host + path
	}
	return "http://" + t.Host + path
}

// handshake returns the URL with which a session over the transport begins.
func (t target) handshake(transport string) string {
	return t.url("/socket.io/?EIO=4&transport=" + transport)
}

// tlsConfig trusts any certificate: the server has made its own.
func tlsConfig(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
}

// from returns the header of a client whose address is to be the given one. The server trusts this
// machine as a proxy.
func from(address string) http.Header {
	return http.Header{"X-Forwarded-For": {address}}
}

// wire carries the packets of an Engine.IO session in which no packet is binary. One goroutine may
// call next, and one send.
type wire interface {
	send(packet string) error
	next() (packet string, err error)
	close() // makes send and next fail
}

// open begins a session. The first packet that arrives is OPEN.
func (t target) open(ctx context.Context, transport string, header http.Header) (wire, error) {
	switch transport {
	case "websocket":
		conn, resp, err := ws.Dial(ctx, t.handshake(transport), &ws.DialOptions{Header: header, TLS: tlsConfig()})
		if err != nil {
			return nil, refused(err, resp)
		}
		return websocket{conn}, nil
	case "websocket of version 3":
		conn, resp, err := ws.Dial(ctx, t.url("/socket.io/?EIO=3&transport=websocket"), &ws.DialOptions{Header: header, TLS: tlsConfig()})
		if err != nil {
			return nil, refused(err, resp)
		}
		return oldWebSocket{websocket{conn}}, nil
	case "polling":
		return newPolling(t, header), nil
	case "webtransport":
		return openWebTransport(ctx, t, header)
	}
	return nil, fmt.Errorf("there is no transport %q", transport)
}

// refused adds what the server said to an error.
func refused(err error, resp *http.Response) error {
	if resp == nil {
		return err
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	resp.Body.Close()
	return fmt.Errorf("status %d %q", resp.StatusCode, body)
}

type websocket struct{ conn *ws.Conn }

func (w websocket) send(packet string) error {
	return w.conn.WriteMessage(context.Background(), ws.OpText, []byte(packet))
}

func (w websocket) next() (string, error) {
	_, b, err := w.conn.ReadMessage(context.Background())
	return string(b), err
}

func (w websocket) close() { w.conn.CloseNow() }

// oldWebSocket is a session of Engine.IO 3, which joins the main namespace without being asked.
type oldWebSocket struct{ websocket }

func (w oldWebSocket) send(packet string) error {
	if strings.HasPrefix(packet, "40") {
		return nil
	}
	return w.websocket.send(packet)
}

// polling is a session over HTTP requests, with HTTP/2 if the server has TLS.
type polling struct {
	ctx    context.Context
	cancel context.CancelFunc
	client *http.Client
	header http.Header
	url    string

	mu       sync.Mutex
	sid      string
	received []string
}

func newPolling(t target, header http.Header) *polling {
	ctx, cancel := context.WithCancel(context.Background())
	return &polling{
		ctx: ctx, cancel: cancel, header: header, url: t.handshake("polling"),
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(), ForceAttemptHTTP2: true, IdleConnTimeout: time.Second}},
	}
}

// do makes a request and returns the body of the answer.
func (p *polling) do(method, body string) ([]byte, error) {
	p.mu.Lock()
	url := p.url
	if p.sid != "" {
		url += "&sid=" + p.sid
	}
	p.mu.Unlock()
	r, err := http.NewRequestWithContext(p.ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range p.header {
		r.Header[name] = values
	}
	resp, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refused(errors.New("refused"), resp)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Encoding") != "gzip" { // net/http knows only what it has asked for
		return io.ReadAll(resp.Body)
	}
	in, err := gzip.NewReader(resp.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(in)
}

func (p *polling) send(packet string) error {
	_, err := p.do(http.MethodPost, packet)
	return err
}

func (p *polling) next() (string, error) {
	for len(p.received) == 0 {
		payload, err := p.do(http.MethodGet, "")
		if err != nil {
			return "", err
		}
		for packet := range bytes.SplitSeq(payload, []byte{0x1e}) {
			p.received = append(p.received, string(packet))
		}
		if p.sid == "" {
			sid, err := sessionID(p.received[0])
			if err != nil {
				return "", err
			}
			p.mu.Lock()
			p.sid = sid
			p.mu.Unlock()
		}
	}
	packet := p.received[0]
	p.received = p.received[1:]
	return packet, nil
}

func (p *polling) close() { p.cancel() }

// sessionID returns the id in an OPEN packet.
func sessionID(packet string) (string, error) {
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(packet, "0")), &open); err != nil || open.SID == "" {
		return "", fmt.Errorf("want OPEN, got %.100q", packet)
	}
	return open.SID, nil
}

type webTransport struct {
	session *wt.Session
	stream  *wt.Stream
	packets *eio.StreamReader
}

func openWebTransport(ctx context.Context, t target, header http.Header) (*webTransport, error) {
	w, err := dialWebTransport(ctx, t, header)
	if err != nil {
		return nil, err
	}
	return w, w.send("0")
}

// dialWebTransport opens a WebTransport session and its stream. The first packet is still to be sent.
func dialWebTransport(ctx context.Context, t target, header http.Header) (*webTransport, error) {
	transport := &wt.Transport{
		TLSClientConfig: tlsConfig(),
		QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true},
	}
	resp, session, err := transport.Dial(ctx, t.url("/socket.io/"), header)
	if err != nil {
		return nil, refused(err, resp)
	}
	stream, err := session.OpenStreamSync(ctx)
	if err != nil {
		session.CloseWithError(0, "")
		return nil, err
	}
	return &webTransport{session, stream, eio.NewStreamReader(stream)}, nil
}

func (w *webTransport) send(packet string) error {
	_, err := w.stream.Write(append(eio.AppendStreamHeader(nil, false, len(packet)), packet...))
	return err
}

func (w *webTransport) next() (string, error) {
	_, b, err := w.packets.Next(64 << 20)
	return string(b), err
}

func (w *webTransport) close() { w.session.CloseWithError(0, "") }
