package wire_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/internal/wiretest"
	"github.com/parley-go/parley/internal/ws"
)

// allocated returns how many bytes the process has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// ways of FuzzServer. Each begins with what opens a session and joins the main namespace.
var ways = []struct {
	client.Options
	opening string
	raw     bool // what follows are bytes of the WebSocket, not messages
}{
	{client.Options{Transports: []string{"websocket"}}, "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}\n40{\"sid\":\"s\",\"pid\":\"p\"}\n", false},
	{client.Options{Transports: []string{"websocket"}}, "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}\n40{\"sid\":\"s\"}\n", true},
	{client.Options{Transports: []string{"websocket"}}, "", true},
	{client.Options{Transports: []string{"websocket"}, Protocol: 3}, "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}\n40\n", false},
	{client.Options{Transports: []string{"websocket"}, Msgpack: true}, "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}\nb\x83\xa4type\x00\xa4data\x81\xa3sid\xa1s\xa3nsp\xa1/\n", false},
	{client.Options{Transports: []string{"websocket"}}, "", false},
	{client.Options{Transports: []string{"polling"}}, "0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}\n40{\"sid\":\"s\"}\n", false},
	{client.Options{Transports: []string{"polling", "websocket"}}, "0{\"sid\":\"x\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000}\n40{\"sid\":\"s\"}\n", false},
	{client.Options{Transports: []string{"polling"}, Protocol: 3}, "63:0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":2000}2:40\n", false},
	{client.Options{Transports: []string{"sse"}}, "id: 0\ndata: 0{\"sid\":\"x\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000}\n\nid: 1\ndata: 40{\"sid\":\"s\"}\n\n", false},
	{client.Options{Transports: []string{"sse"}}, "", false},
}

// FuzzServer feeds the client what a server could send: nothing panics, the client allocates no more than in
// proportion, and after Close there is no goroutine (synctest fails otherwise).
func FuzzServer(f *testing.F) {
	for way := range ways {
		for _, seed := range []string{
			"", "42[\"a\",1]\n2\n3\n1\n6\n", "4212[\"ask\",{\"_placeholder\":true}]\n43[]\n4399[]\n", "452-[\"x\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]\nb\x01\nb\n",
			"44{\"message\":\"no\"}\n40{\"sid\":\"t\"}\n41\n42[\"late\"]\n", "44\"no\"\n44/admin,{}\n40/admin,{\"sid\":\"t\"}\n", "3probe\n42[\"b\"]\n5\n2probe\n",
			"14:42[\"hello\",\"é\"]2:b4\n\x00\x09\xff4hello\n", "id: 2\nevent: json\ndata: \"42[\\\"a\\\"]\"\n\nid: 3\ndata: 42[\"a\"]\x1e2\n\n: comment\n\n",
			"\x81\x0742[\"ab\"]\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff\x88\x02\x03\xe8\x8a\x00\x89\x00", "452147483647-[\"a\"]\n51999999-[]\n", "0{\"sid\":\"y\",\"pingInterval\":1,\"pingTimeout\":1}\n4\n40{}\n",
			"b\x83\xa4type\x02\xa4data\x91\xa1b\xa3nsp\xa1/\nb\xdf\xff\xff\xff\xff\nb\xc6\xff\xff\xff\xff\n",
		} {
			f.Add(byte(way), []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, way byte, data []byte) {
		w := ways[int(way)%len(ways)]
		if len(data) > 64<<10 {
			return
		}
		before := allocated()
		synctest.Test(t, func(t *testing.T) { feed(t, w.Options, w.opening, w.raw, data) })
		if took, most := allocated()-before, uint64(32<<20+1000*len(data)); took > most {
			t.Errorf("%d bytes of a server make the client allocate %d, more than %d", len(data), took, most)
		}
	})
}

func feed(t *testing.T, o client.Options, opening string, raw bool, data []byte) {
	l := wiretest.Listen()
	var fed chan []byte // what the server still has to say
	sse := o.Transports[0] == "sse"
	if messages := bytes.Split([]byte(opening), []byte("\n")); !sse {
		if !raw {
			messages = append(messages, bytes.Split(data, []byte("\n"))...)
		}
		fed = make(chan []byte, len(messages))
		for _, m := range messages {
			if len(m) > 0 {
				fed <- m
			}
		}
		close(fed)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch transport := r.URL.Query().Get("transport"); {
		case transport == "websocket":
			speak(w, r, fed, raw, data)
		case r.Method == http.MethodPost:
			io.WriteString(w, "ok")
		case sse && r.URL.Query().Get("sid") == "":
			io.WriteString(w, opening+string(data))
		case sse:
			w.Write(data)
		default:
			m, ok := <-fed
			if !ok {
				<-r.Context().Done()
				return
			}
			w.Header().Set("Content-Type", "text/plain")
			if m[0] == 0 {
				w.Header().Set("Content-Type", "application/octet-stream")
			}
			w.Write(m)
		}
	})}
	go web.Serve(l)
	defer web.Close()
	o.NetDial, o.Timeout = l.Dial, time.Minute
	o.Auth = func(context.Context) (any, error) { return map[string]int{"a": 1}, nil }
	c, err := client.New("http://server", &o)
	must(t, err)
	c.OnAny(func(p *client.Packet) error {
		var n int
		p.Values()
		p.Decode(&n)
		return p.Ack(p.Args())
	})
	c.OnError(func(string, error) {})
	go c.Connect(t.Context())
	admin := c.Of("/admin", nil)
	go admin.Connect(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go c.EmitWithAck(ctx, "x", []byte{1})
	synctest.Wait()
	time.Sleep(30 * time.Second)
	c.State()
	c.Emit("y")
	admin.Emit("y")
	c.Close()
	admin.Close()
}

// speak says what there is over a WebSocket.
func speak(w http.ResponseWriter, r *http.Request, fed chan []byte, raw bool, data []byte) {
	a, err := ws.Accept(r, nil)
	if err != nil {
		return
	}
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer nc.Close()
	gone := make(chan bool)
	go func() { io.Copy(io.Discard, nc); close(gone) }()
	nc.Write(a.AppendResponse(nil))
	for m := range fed {
		op := ws.OpText
		if m[0] == 'b' {
			op, m = ws.OpBinary, m[1:]
		}
		nc.Write(ws.AppendFrame(nil, op, m))
	}
	if raw {
		nc.Write(data)
	}
	<-gone
}
