package app

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
)

// connKey is that of a request's connection in its context.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// smallBuffer bounds what the kernel keeps for a client that does not read: 64 KiB asked for
// are 0.27 MB, its own choice up to 3.9 MB. Over HTTP/2 the client's window bounds it.
func smallBuffer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connKey{}).(net.Conn)
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		if b, ok := c.(interface{ SetWriteBuffer(int) error }); ok && r.ProtoMajor == 1 {
			b.SetWriteBuffer(64 << 10) // without it the client is served all the same
		}
		next.ServeHTTP(w, r)
	})
}

// smallBufferOfStreams does the same for the streams of the transport sse.
func smallBufferOfStreams(sockets http.Handler) http.Handler {
	streams := smallBuffer(sockets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && slices.Contains(r.URL.Query()["transport"], "sse") { // written "%73se", too
			streams.ServeHTTP(w, r)
			return
		}
		sockets.ServeHTTP(w, r)
	})
}
