package engine_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/engine"
	"github.com/parley-go/parley/internal/ws"
)

// cut sends the first n bytes of b on a new connection, then resets or closes it.
func (s *server) cut(b string, n int, reset bool) {
	s.t.Helper()
	nc, err := s.dial(s.t.Context(), "tcp", s.host)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(nc, b[:n]); err != nil {
		s.t.Fatal(err)
	}
	if reset {
		nc.(*net.TCPConn).SetLinger(0)
	}
	nc.Close()
}

// The connection is cut at every byte of handshakes, requests and frames (CVE-2022-21676,
// CVE-2022-41940, CVE-2023-31125). The server goes on and keeps nothing.
func TestCutAtEveryByte(t *testing.T) {
	frames := string(ws.AppendMaskedFrame(ws.AppendMaskedFrame(ws.AppendMaskedFrame(nil,
		ws.OpText, []byte("4abc")), ws.OpBinary, []byte(long(130))), ws.OpPing, []byte("p")))
	probe := string(ws.AppendMaskedFrame(ws.AppendMaskedFrame(nil, ws.OpText, []byte("2probe")), ws.OpText, []byte("5")))
	for _, tt := range []struct {
		name   string
		query  string // SID stands for the id of a session
		frames string
		plain  bool // not an upgrade
	}{
		{"websocket", newWebSocket, frames, false},
		{"upgrade", ofWebSocket("SID"), probe, false},
		{"mismatch", newPolling, "", false},
		{"unknown", ofWebSocket("unknown"), "", false},
		{"revision 3", newWebSocket3, frames, false},
		{"handshake", newPolling, "", true},
		{"JSONP handshake", newPolling3 + "&j=0", "", true},
		{"poll", ofPolling("SID"), "", true},
	} {
		for _, reset := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, reset %v", tt.name, reset), func(t *testing.T) {
				// These settings end silent connections soon.
				s := overTCP(t, engine.Options{Open: echo, AllowEIO3: true, JSONP: true, PingInterval: 200 * time.Millisecond, PingTimeout: 200 * time.Millisecond})
				var all []*owner
				for n := 0; ; n += 1 + n/100 {
					query := tt.query
					if strings.Contains(query, "SID") {
						sid, o := s.open()
						all = append(all, o)
						query = strings.Replace(query, "SID", sid, 1)
					}
					r := s.handshake(query)
					if tt.plain {
						r.Header = http.Header{}
					}
					var b strings.Builder
					r.Write(&b)
					b.WriteString(tt.frames)
					s.cut(b.String(), min(n, b.Len()), reset)
					if n >= b.Len() {
						break
					}
				}
				for _, o := range all {
					<-o.ended
				}
				eventually(t, "an answer: it still works", func() bool {
					p, _ := s.openWebSocket()
					defer p.Close()
					err := p.tryFrame(ws.OpText, "4a")
					packet := "2" // on a slow machine the server pings it, or even gives it up
					for packet == "2" && err == nil {
						_, packet, err = p.tryRead()
					}
					return packet == "4a"
				})
				eventually(t, "no session", func() bool { return s.Sessions() == 0 })
			})
		}
	}
}

// 10,000 posts of a refused type, some with a body that does not arrive (CVE-2026-59725). Each gets
// an answer, and none holds its connection.
func TestOctetStreamPosts(t *testing.T) {
	s := overTCP(t, engine.Options{BodyTimeout: 200 * time.Millisecond})
	before := descriptors(t)
	const workers, each = 4, 2500
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := range each {
				sid := "unknown"
				want := 400
				if i%50 == 0 {
					sid, _ = s.open()
				}
				a, err := s.try("POST", ofPolling(sid), strings.NewReader(long(i%3000)), "Content-Type", "application/octet-stream")
				if err != nil || a.status != want {
					t.Errorf("answer %d, %v", a.status, err)
					return
				}
			}
		})
	}
	all.Wait()
	s.wantSessions(0)
	s.client.CloseIdleConnections()
	eventually(t, "no more descriptors than before", func() bool { return descriptors(t) <= before+4 })
}

// descriptors counts this process's open file descriptors.
func descriptors(t testing.TB) int {
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
