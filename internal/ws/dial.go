package ws

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// DialOptions configure [Dial] and [Connect]. You can share them. Do not change them once they are
// in use.
type DialOptions struct {
	// Header holds additional fields for the request, such as Origin or Cookie.
	Header http.Header

	// Subprotocols are the subprotocols to offer to the server, in order of preference.
	Subprotocols []string

	// Compression is the compression to offer to the server. If nil, the client offers none. It
	// accepts every answer that keeps within the offer, including a smaller window and no context
	// takeover for us.
	Compression *Compression

	// Parser holds the limits of incoming messages. If nil, the defaults apply.
	Parser *ParserConfig

	// NetDial makes the connection. If nil, a net.Dialer does.
	NetDial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS is the configuration for wss addresses. If nil, it is the zero value.
	TLS *tls.Config

	// CloseTimeout is the same as in ConnOptions.
	CloseTimeout time.Duration
}

const (
	maxResponse     = 64 << 10 // bytes read of the response to the handshake
	maxResponseBody = 4 << 10  // bytes kept of its body if it refuses
)

// Dial connects to a ws or wss address and does the opening handshake of RFC 6455, 4.1 and 4.2.2.
// You can write http for ws and https for wss. ctx applies only until Dial returns. Dial does not
// follow redirects.
//
// If the server has answered, Dial returns its response, even with an error. The body holds the
// first 4 KiB; you need not close it.
func Dial(ctx context.Context, address string, o *DialOptions) (*Conn, *http.Response, error) {
	if o == nil {
		o = &DialOptions{}
	}
	c, resp, err := Connect(ctx, address, o)
	if err != nil {
		return nil, resp, err
	}
	return NewConn(c.Conn, ConnOptions{
		Side:         Client,
		Parser:       o.Parser,
		Deflate:      c.Deflate,
		Buffered:     c.Buffered,
		CloseTimeout: o.CloseTimeout,
	}), resp, nil
}

// Connected is a client's connection after the opening handshake.
type Connected struct {
	Conn    net.Conn       // without a deadline
	Deflate *DeflateParams // as negotiated; nil without compression

	// Buffered holds the bytes that were read beyond the handshake. It belongs to the caller.
	Buffered []byte
}

// Connect is [Dial] for callers that read and parse themselves. It does only the opening handshake,
// as [Accept] does on the server. It ignores the options for the time afterwards: Parser and
// CloseTimeout.
func Connect(ctx context.Context, address string, o *DialOptions) (*Connected, *http.Response, error) {
	if o == nil {
		o = &DialOptions{}
	}
	u, err := parseAddress(address)
	if err != nil {
		return nil, nil, err
	}
	nc, err := o.dial(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.SetDeadline(aLongTimeAgo) })
	c, resp, err := o.handshake(nc, u)
	if !stop() {
		c, err = nil, ctx.Err()
	}
	if err != nil {
		nc.Close()
		return nil, resp, fmt.Errorf("ws: dial %s: %w", u.Redacted(), err)
	}
	return c, resp, nil
}

func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("ws: malformed address") // err could show a password
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	case "http", "https":
	default:
		return nil, fmt.Errorf("ws: address has scheme %q, not ws or wss", u.Scheme)
	}
	if u.Host == "" || u.Fragment != "" { // RFC 6455, 3
		return nil, errors.New("ws: address needs a host and may not have a fragment")
	}
	return u, nil
}

func (o *DialOptions) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	dial := o.NetDial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	nc, err := dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || u.Scheme == "http" {
		return nc, err
	}
	config := o.TLS.Clone()
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName == "" {
		config.ServerName = u.Hostname()
	}
	config.NextProtos = []string{"http/1.1"}
	tc := tls.Client(nc, config)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return tc, nil
}

func (o *DialOptions) handshake(nc net.Conn, u *url.URL) (*Connected, *http.Response, error) {
	var random [16]byte
	rand.Read(random[:])
	key := base64.StdEncoding.EncodeToString(random[:])
	r := o.request(u, key)
	if err := r.Write(nc); err != nil {
		return nil, nil, fmt.Errorf("write handshake: %w", err)
	}
	br := bufio.NewReader(io.LimitReader(nc, maxResponse))
	resp, err := http.ReadResponse(br, r)
	if err != nil {
		return nil, nil, fmt.Errorf("read handshake: %w", err)
	}
	d, err := o.checkResponse(resp, key)
	if err != nil {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxResponseBody))
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		return nil, resp, err
	}
	resp.Body = http.NoBody
	buffered, _ := br.Peek(br.Buffered())
	return &Connected{Conn: nc, Deflate: d, Buffered: buffered}, resp, nil
}

func (o *DialOptions) request(u *url.URL, key string) *http.Request {
	h := o.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	h.Set("Upgrade", "websocket")
	h.Set("Connection", "Upgrade")
	h.Set(headerVersion, "13")
	h.Set(headerKey, key)
	if len(o.Subprotocols) > 0 {
		h.Set(headerProtocol, strings.Join(o.Subprotocols, ", "))
	}
	if o.Compression != nil {
		h.Set(headerExtensions, o.Compression.offer())
	}
	r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: h}
	if host := h.Get("Host"); host != "" {
		r.Host = host
	}
	if u.User != nil && h.Get("Authorization") == "" {
		password, _ := u.User.Password()
		r.SetBasicAuth(u.User.Username(), password)
	}
	return r
}

// checkResponse fails unless the server has agreed to what we asked for, and to nothing else
// (RFC 6455, 4.1, "If the response ...").
func (o *DialOptions) checkResponse(resp *http.Response, key string) (*DeflateParams, error) {
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("handshake refused with status %d", resp.StatusCode)
	}
	h := resp.Header
	if v, _ := single(h, "Upgrade"); !strings.EqualFold(v, "websocket") {
		return nil, errors.New("handshake: response lacks Upgrade: websocket")
	}
	if !hasToken(h["Connection"], "upgrade") {
		return nil, errors.New("handshake: response lacks Connection: Upgrade")
	}
	if v, _ := single(h, headerAccept); v != string(appendAcceptKey(nil, key)) {
		return nil, errors.New("handshake: wrong Sec-WebSocket-Accept")
	}
	protocol, ok := single(h, headerProtocol)
	if !ok || protocol != "" && !slices.Contains(o.Subprotocols, protocol) {
		return nil, errors.New("handshake: server picked a subprotocol that was not offered")
	}
	extensions, err := parseExtensions(h[headerExtensions])
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if len(extensions) == 0 {
		return nil, nil
	}
	if len(extensions) > 1 || extensions[0].name != permessageDeflate || o.Compression == nil {
		return nil, errors.New("handshake: server picked an extension that was not offered")
	}
	return o.Compression.agree(extensions[0].params)
}
