package webtransport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	wt "github.com/quic-go/webtransport-go"
	"go.uber.org/goleak"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/webtransport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience limits every wait in these tests. Working code never comes near it.
const patience = 2 * time.Minute

// certificate is for 127.0.0.1.
var certificate, roots = func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, pool
}()

func tlsConfig() *tls.Config { return &tls.Config{Certificates: []tls.Certificate{certificate}} }

// server is a parley.Server that serves WebTransport, and HTTP on the TCP port with the same number.
type server struct {
	*parley.Server
	t    *testing.T
	wt   *webtransport.Server
	addr string
	http *http.Client
}

// serve starts a server and stops it at the end of the test.
func serve(t *testing.T, o *parley.Options, wo *webtransport.Options) *server {
	t.Helper()
	if o == nil {
		o = &parley.Options{}
	}
	o.Logger = slog.New(slog.DiscardHandler)
	srv, err := parley.New(o)
	if err != nil {
		t.Fatal(err)
	}
	tcp, udp := listen(t)
	s := &server{Server: srv, t: t, addr: tcp.Addr().String()}
	s.wt = webtransport.NewServer(srv, tlsConfig(), wo)
	ended := make(chan error, 1)
	go func() { ended <- s.wt.Serve(udp) }()
	hs := &http.Server{Handler: srv, TLSConfig: tlsConfig(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go hs.ServeTLS(tcp, "", "")
	s.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	t.Cleanup(func() {
		s.http.CloseIdleConnections()
		if err := srv.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := s.wt.Close(); err != nil {
			t.Errorf("Close of WebTransport: %v", err)
		}
		if err := await(t, "end of Serve", ended); err != webtransport.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
		hs.Close()
		udp.Close()
	})
	return s
}

// listen listens on a TCP port and a UDP port with the same number.
func listen(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return tcp, udp
		}
		tcp.Close()
	}
	t.Fatal("no port is free for both")
	panic("unreachable")
}

// poll sends a polling request and returns the answer. Without a sid it is a handshake, with a body it
// is a POST, and otherwise it is a poll.
func (s *server) poll(sid, body string) string {
	s.t.Helper()
	url := "https://" + s.addr + "/socket.io/?EIO=4&transport=polling"
	if sid != "" {
		url += "&sid=" + sid
	}
	method := "GET"
	if body != "" {
		method = "POST"
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// client is a WebTransport client that sends and receives single packets.
type client struct {
	t       *testing.T
	session *wt.Session
	stream  *wt.Stream
	packets *eio.StreamReader
	open    struct {
		SID        string
		Upgrades   []string
		MaxPayload int64
	}
}

// request requests a WebTransport session.
func (s *server) request(path string, header http.Header) (*http.Response, *wt.Session, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	return s.requestContext(ctx, path, header)
}

func (s *server) requestContext(ctx context.Context, path string, header http.Header) (*http.Response, *wt.Session, error) {
	s.t.Helper()
	transport := &wt.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots},
		QUICConfig:      &quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true, MaxStreamReceiveWindow: 64 << 10, InitialStreamReceiveWindow: 64 << 10},
	}
	resp, session, err := transport.Dial(ctx, "https://"+s.addr+path, header)
	if err == nil {
		s.t.Cleanup(func() { session.CloseWithError(0, "") })
	}
	return resp, session, err
}

// dial opens a WebTransport session and its stream, and sends the first packet.
func (s *server) dial(first string) *client {
	s.t.Helper()
	_, session, err := s.request("/socket.io/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := session.OpenStream()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &client{t: s.t, session: session, stream: stream, packets: eio.NewStreamReader(stream)}
	c.send(first)
	return c
}

// begin begins a session.
func (s *server) begin() *client {
	s.t.Helper()
	c := s.dial("0")
	if err := json.Unmarshal([]byte(strings.TrimPrefix(c.recv(), "0")), &c.open); err != nil {
		s.t.Fatal(err)
	}
	return c
}

// join begins a session and joins the main namespace.
func (s *server) join() *client {
	s.t.Helper()
	c := s.begin()
	c.send("40")
	if got := c.recv(); !strings.HasPrefix(got, `40{"sid":"`) {
		s.t.Fatalf("answer to CONNECT: %q", got)
	}
	return c
}

// write writes raw bytes.
func (c *client) write(b []byte) {
	c.t.Helper()
	c.stream.SetWriteDeadline(time.Now().Add(patience))
	if _, err := c.stream.Write(b); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *client) send(packets ...string) {
	c.t.Helper()
	var b []byte
	for _, p := range packets {
		b = append(eio.AppendStreamHeader(b, false, len(p)), p...)
	}
	c.write(b)
}

func (c *client) sendBinary(data []byte) {
	c.t.Helper()
	c.write(append(eio.AppendStreamHeader(nil, true, len(data)), data...))
}

// next returns the next packet that is not a ping. It answers pings.
func (c *client) next() (binary bool, packet string, err error) {
	for {
		c.stream.SetReadDeadline(time.Now().Add(patience))
		binary, b, err := c.packets.Next(1 << 30)
		if err == nil && !binary && string(b) == "2" {
			c.send("3")
			continue
		}
		return binary, string(b), err
	}
}

func (c *client) recv() string {
	c.t.Helper()
	binary, p, err := c.next()
	if err != nil || binary {
		c.t.Fatalf("receive: %v %.200q, %v", binary, p, err)
	}
	return p
}

func (c *client) recvBinary() string {
	c.t.Helper()
	binary, p, err := c.next()
	if err != nil || !binary {
		c.t.Fatalf("receive: %v %.200q, %v", binary, p, err)
	}
	return p
}

func (c *client) expect(packets ...string) {
	c.t.Helper()
	for _, want := range packets {
		if got := c.recv(); got != want {
			c.t.Fatalf("received %.200q, want %.200q", got, want)
		}
	}
}

// expectClosed waits for the end of the stream, and for the end of the session with the code and the
// message.
func (c *client) expectClosed(code wt.SessionErrorCode, message string) {
	c.t.Helper()
	for {
		if _, p, err := c.next(); err != nil {
			break
		} else {
			c.t.Logf("before the close: %.100q", p)
		}
	}
	c.expectSessionClosed(code, message)
}

func (c *client) expectSessionClosed(code wt.SessionErrorCode, message string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	_, err := c.session.AcceptStream(ctx)
	var closed *wt.SessionError
	if !errors.As(err, &closed) || !closed.Remote || closed.ErrorCode != code || closed.Message != message {
		c.t.Fatalf("session ended with %v, want code %d, %q", err, code, message)
	}
}

// http3Transport sends ordinary requests over HTTP/3.
type http3Transport struct{ http3.Transport }

func (t *http3Transport) get(tt *testing.T, url string) (*http.Response, error) {
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	req, err := http.NewRequestWithContext(tt.Context(), "GET", url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := t.RoundTrip(req)
	if err == nil {
		resp.Body.Close()
	}
	return resp, err
}

// network is a network path to a server for one client. The test can cut it.
type network struct {
	addr  string
	conns []net.PacketConn
}

func newNetwork(t *testing.T, server string) *network {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to, err := net.ResolveUDPAddr("udp", server)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{addr: front.LocalAddr().String(), conns: []net.PacketConn{front, back}}
	t.Cleanup(n.cut)
	var client atomic.Pointer[net.Addr]
	go func() {
		b := make([]byte, 2048)
		for {
			size, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			client.Store(&from)
			back.WriteTo(b[:size], to)
		}
	}()
	go func() {
		b := make([]byte, 2048)
		for {
			size, _, err := back.ReadFrom(b)
			if err != nil {
				return
			}
			front.WriteTo(b[:size], *client.Load())
		}
	}()
	return n
}

func (n *network) cut() {
	for _, c := range n.conns {
		c.Close()
	}
}

// await receives from a channel, or fails the test.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		buf := make([]byte, 1<<20)
		t.Fatalf("no %s\n%s", what, buf[:runtime.Stack(buf, true)])
		panic("unreachable")
	}
}
