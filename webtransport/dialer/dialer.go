// Package dialer lets package client connect over WebTransport. Only programs that import it link QUIC, and it
// does not link the server.
//
//	c, err := client.Dial(ctx, "https://example.com", &client.Options{
//		Transports: []string{"webtransport", "websocket", "polling"},
//		OpenStream: dialer.New(nil),
//	})
package dialer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	wt "github.com/quic-go/webtransport-go"

	"github.com/parley-go/parley/client"
)

const (
	window  = 1 << 20     // bytes that the server may send before they are read
	arrival = time.Second // for what was written before Close
)

// New returns what opens streams, for client.Options.OpenStream. Each stream has a QUIC connection of its own.
// config is for TLS; nil: the zero value. It is safe for concurrent use.
func New(config *tls.Config) func(ctx context.Context, u *url.URL, header http.Header) (client.Stream, error) {
	return func(ctx context.Context, u *url.URL, header http.Header) (client.Stream, error) {
		if u.Scheme != "https" {
			return nil, errors.New("dialer: WebTransport needs https")
		}
		at := *u
		if at.Port() == "" {
			at.Host = net.JoinHostPort(at.Hostname(), "443")
		}
		transport := &wt.Transport{TLSClientConfig: config, QUICConfig: &quic.Config{
			EnableDatagrams: true, EnableStreamResetPartialDelivery: true, // WebTransport demands them
			MaxStreamReceiveWindow: window, MaxConnectionReceiveWindow: window,
		}}
		defer transport.Close()
		_, session, err := transport.Dial(ctx, at.String(), header)
		if err != nil {
			return nil, err
		}
		opened, err := session.OpenStreamSync(ctx)
		if err != nil {
			return nil, errors.Join(err, session.CloseWithError(0, ""))
		}
		return &stream{Stream: opened, session: session}, nil
	}
}

// stream is the only stream of a session.
type stream struct {
	*wt.Stream
	session *wt.Session
	once    sync.Once
}

// Close ends the session, after what was written has had time to arrive. It makes Read return at once.
func (s *stream) Close() (err error) {
	s.once.Do(func() {
		s.CancelRead(0)
		s.Stream.Close()
		timer := time.NewTimer(arrival)
		defer timer.Stop()
		select {
		case <-s.session.Context().Done(): // the server has read all
		case <-timer.C:
		}
		err = s.session.CloseWithError(0, "")
	})
	return err
}
