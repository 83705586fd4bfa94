package parleytest

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/parley-go/parley/client"
)

// Option says how a client connects.
type Option func(*dialing)

// dialing is what options change.
type dialing struct {
	client.Options
	t         testing.TB
	namespace string
	patience  time.Duration
	from      net.IP
}

// patience limits every wait. Nothing that works comes close to it.
const patience = time.Minute

// Auth sends v as the proof of who the client is: a value that encoding/json encodes as an object, such as
// map[string]string{"token": …}. The default is nothing.
func Auth(v any) Option {
	return func(d *dialing) {
		d.Auth = func(context.Context) (any, error) { return v, nil }
	}
}

// Namespace makes the client join this namespace. The default is "/".
func Namespace(name string) Option { return func(d *dialing) { d.namespace = name } }

// Header adds a header to each request of the client, for example a Cookie.
func Header(key, value string) Option {
	return func(d *dialing) {
		if d.Header == nil {
			d.Header = http.Header{}
		}
		d.Header.Add(key, value)
	}
}

// Query adds a parameter to the URL of each request of the client.
func Query(key, value string) Option {
	return func(d *dialing) {
		if d.Query == nil {
			d.Query = url.Values{}
		}
		d.Query.Add(key, value)
	}
}

// Polling makes the client use HTTP long polling only. The default is a WebSocket.
func Polling() Option { return Transports("polling") }

// Transports are the transports that the client tries, as in client.Options: "websocket", "polling", "sse".
func Transports(names ...string) Option { return func(d *dialing) { d.Transports = names } }

// From is the client's address, as the server sees it: a text such as "203.0.113.7". The default is 127.0.0.1.
func From(ip string) Option { return func(d *dialing) { d.from = net.ParseIP(ip) } }

// Reconnecting lets the client connect again by itself, as client.Reconnection says, instead of waiting for
// [Client.Reconnect].
func Reconnecting(r client.Reconnection) Option { return func(d *dialing) { d.Reconnection = r } }

// Patience is how long the client waits for what must come before it fails the test: a minute, on the clock of
// the bubble if there is one, where it takes no time.
func Patience(p time.Duration) Option { return func(d *dialing) { d.patience = p } }

// For makes the client one of another test than the server's, such as a subtest: that one fails, and its end
// closes the client.
func For(t testing.TB) Option { return func(d *dialing) { d.t = t } }

// With changes any other option of the client.
func With(change func(*client.Options)) Option { return func(d *dialing) { change(&d.Options) } }
