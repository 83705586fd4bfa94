package app

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
)

// connKey is the context key for a request's connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// smallBuffer limits what the kernel buffers for a client that does not read. Asking for 64 KiB
// gives 0.27 MB; the kernel's own choice goes up to 3.9 MB. Over HTTP/2, the client's window is the
// limit.
func smallBuffer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connKey{}).(net.Conn)
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		if b, ok := c.(interface{ SetWriteBuffer(int) error }); ok && r.ProtoMajor == 1 {
			b.SetWriteBuffer(64 << 10) // if this fails, the client is still served
		}
		next.ServeHTTP(w, r)
	})
}

// smallBufferOfStreams does the same for streams of the sse transport.
func smallBufferOfStreams(sockets http.Handler) http.Handler {
	streams := smallBuffer(sockets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && slices.Contains(r.URL.Query()["transport"], "sse") { // also matches "%73se"
			streams.ServeHTTP(w, r)
			return
		}
		sockets.ServeHTTP(w, r)
	})
}
