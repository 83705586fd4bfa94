package peers_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/parley-go/parley/internal/ws"
)

//lint:file-ignore SA1019 The client that replaces it cannot make extended CONNECTs.

// Go's HTTP/2 server accepts extended CONNECTs only with this in the process's environment.
const extendedConnect = "http2xconnect=1"

// A WebSocket over HTTP/2 becomes an ordinary one on the way to its server.
func TestTunnelOverHTTP2(t *testing.T) {
	if !strings.Contains(os.Getenv("GODEBUG"), extendedConnect) {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		child.Env = append(os.Environ(), "GODEBUG="+extendedConnect)
		if out, err := child.CombinedOutput(); err != nil || !strings.Contains(string(out), "\n--- PASS: "+t.Name()) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}

	p := connect(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Refused") != "" {
			http.Error(w, "refused", http.StatusBadRequest)
			return
		}
		if key := r.Header["Sec-Websocket-Key"]; len(key) != 1 || len(key[0]) != 24 || r.Header.Get("Sec-Websocket-Version") != "13" {
			t.Errorf("header %v", r.Header)
		}
		switched(echoes)(w, r)
	}, nil)
	ended := make(chan struct{}, 10)
	public := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served, why := p.front.Serve(w, r, p.sid, ws.OverHTTP2(r)); !served {
			t.Errorf("not served: %q", why)
		}
		ended <- struct{}{}
	}))
	public.EnableHTTP2 = true
	public.StartTLS()
	defer public.Close()
	config := public.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"h2"}
	nc, err := tls.Dial("tcp", public.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := new(http2.Transport).NewClientConn(nc)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	open := func(header ...string) (*io.PipeWriter, *http.Response) {
		body, w := io.Pipe()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, public.URL+"/socket.io/?sid="+p.sid, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(":protocol", "websocket")
		r.Header.Set("Sec-WebSocket-Version", "13")
		for _, name := range header {
			r.Header.Set(name, "1")
		}
		resp, err := conn.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		return w, resp
	}

	w, resp := open()
	for name, want := range map[string]string{"Sec-Websocket-Accept": "[]", "Connection": "[]", "Upgrade": "[]", "Parley-Forward": "[]"} {
		if got := fmt.Sprint(resp.Header[name]); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	for _, size := range []int{1, 100, 300_000} {
		text := strings.Repeat("x", size)
		go io.WriteString(w, text)
		if size == 1 {
			text = "hello " + text
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != text {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	w.Close() // the server's direction goes on
	if got, err := io.ReadAll(resp.Body); err != nil || string(got) != " goodbye" {
		t.Errorf("%q, %v", got, err)
	}
	await(t, "end", ended)

	w, resp = open("X-Refused")
	if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusBadRequest || string(got) != "refused\n" {
		t.Errorf("refused: %d %q, %v", resp.StatusCode, got, err)
	}
	w.Close()
	await(t, "end", ended)

	// The stream is cut.
	_, resp = open()
	resp.Body.Close()
	await(t, "end", ended)

	// The server in between shuts down.
	_, resp = open()
	p.front.Close(t.Context())
	await(t, "end", ended)
	resp.Body.Close()
}
