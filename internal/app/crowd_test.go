package app_test

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/app"
)

// An address that only opens TCP connections gets a bounded number of them, over TLS too. Those that
// it has as WebSockets do not count, and when it closes some it can open others.
func TestCrowd(t *testing.T) {
	for _, overTLS := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[overTLS], func(t *testing.T) {
			c := testConfig()
			c.MaxConnectionsPerAddress = 2 // 8 TCP connections
			if overTLS {
				c.TLSSelfSigned, c.Data = true, t.TempDir()
			}
			s, err := app.Open(c, quiet)
			if err != nil {
				t.Fatal(err)
			}
			app.ExemptNobody(s)
			i := run(t, s)
			if !overTLS {
				for range 20 {
					i.dial(t)
				}
			}
			if n := app.CrowdRefused(s); n > 0 {
				t.Errorf("%d WebSockets were refused", n)
			}
			const tries = 1000
			var conns []net.Conn
			for len(conns) < tries && app.CrowdRefused(s) == 0 {
				conn, err := net.Dial("tcp", strings.TrimPrefix(i.url, "http://"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				conns = append(conns, conn)
			}
			if len(conns) <= 8 || len(conns) == tries {
				t.Errorf("of %d connections one was refused", len(conns))
			}
			// A connection that was refused is closed, and none of them had an answer.
			conns[len(conns)-1].SetDeadline(time.Now().Add(time.Minute))
			if answer, _ := io.ReadAll(conns[len(conns)-1]); len(answer) > 0 {
				t.Errorf("an answer: %q", answer)
			}
			for _, conn := range conns {
				conn.Close()
			}
			url := i.url + "/metrics"
			if overTLS {
				url = "https" + strings.TrimPrefix(i.url, "http") + "/healthz"
			}
			// When they are gone, there is room again, over HTTP/2 too. Nothing is left of any.
			wire := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			var metrics string
			waitFor(t, "there is room", func() bool {
				resp, err := (&http.Client{Transport: wire}).Get(url)
				if err != nil {
					return false
				}
				defer resp.Body.Close()
				body, err := io.ReadAll(resp.Body)
				metrics = string(body)
				return err == nil && (resp.ProtoMajor == 2) == overTLS
			})
			if !overTLS && (!strings.Contains(metrics, "\nparley_tcp_refused_total ") || strings.Contains(metrics, "\nparley_tcp_refused_total 0\n")) {
				t.Error("it is not counted")
			}
			wire.CloseIdleConnections()
			waitFor(t, "all are gone", func() bool { return app.CrowdSize(s) == 0 })
		})
	}
}
