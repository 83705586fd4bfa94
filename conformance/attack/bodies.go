package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// trickle sends b one byte at a time.
func trickle(ctx context.Context, w io.Writer, b []byte) error {
	for i := range b {
		if _, err := w.Write(b[i : i+1]); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// trickles opens n connections and sends on each what begin returns: at once what comes first, the
// rest one byte at a time.
func trickles(n int, begin func(a *attacker) (first, rest string)) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(n, func(int) {
			conn, err := a.dial(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			defer conn.Close()
			first, rest := begin(a)
			if _, err := io.WriteString(conn, first); err != nil {
				a.failed(ctx, err)
				return
			}
			go a.drop(ctx, conn)
			trickle(ctx, conn, []byte(rest))
		})
		return nil
	}
}

func slowHeader(a *attacker) (first, rest string) {
	return "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: " + a.Host + "\r\n", strings.Repeat("X-Slow: s\r\n", 1000)
}

func slowBody(a *attacker) (first, rest string) {
	return "POST /socket.io/?EIO=4&transport=polling&sid=" + marker + " HTTP/1.1\r\nHost: " + a.Host + "\r\nContent-Length: 1000000\r\n\r\n",
		strings.Repeat("4", 1000)
}

// slowFrames trickles a frame on each of n WebSockets.
func slowFrames(n int) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		frame := ws.AppendMaskedFrame(nil, ws.OpText, bytes.Repeat([]byte("4"), 60_000))
		a.each(n, func(int) {
			conn, err := a.websocket(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			go a.drop(ctx, conn)
			trickle(ctx, conn, frame)
		})
		return nil
	}
}

// unread asks for much on each of n connections and reads none of it.
func unread(n int, request func(a *attacker, i int) string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(n, func(i int) {
			conn, err := a.dial(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			if _, err := io.WriteString(conn, request(a, i)); err != nil {
				a.failed(ctx, err)
				return
			}
			<-ctx.Done()
		})
		return nil
	}
}

func getRequest(a *attacker, path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: " + a.Host + "\r\nX-Forwarded-For: " + attackerAddress + "\r\n\r\n"
}

// unreadStreams opens streams of HTTP/2 whose windows are closed.
func unreadStreams(ctx context.Context, a *attacker) error {
	a.each(10, func(int) {
		c, err := a.http2(ctx)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		for i := range uint32(100) {
			path := "/rooms/archive/events?lastEventId=earliest"
			if i%2 == 0 {
				path = "/app.js"
			}
			if err := c.request(2*i+1, path, true); err != nil {
				break
			}
			a.count("units", 1)
		}
		c.flush()
		<-ctx.Done()
	})
	return nil
}

// race lets candidates over several transports and generations ask for one session at once, again
// and again.
func race(ctx context.Context, a *attacker) error {
	a.each(8, func(i int) {
		for ctx.Err() == nil {
			p := newPolling(a.target, from(attackerAddress))
			if _, err := p.next(); err != nil {
				a.failed(ctx, err)
				p.close()
				return
			}
			round, cancel := context.WithTimeout(ctx, patience)
			var won atomic.Int64
			candidate := func(f func() error) func(int) {
				return func(int) {
					if f() == nil {
						won.Add(1)
					}
				}
			}
			candidates := []func(int){
				candidate(func() error { return a.candidateWebSocket(round, p.sid, "4") }),
				candidate(func() error { return a.candidateWebSocket(round, p.sid, "4") }),
				candidate(func() error { return a.candidateWebSocket(round, p.sid, "3") }),
				candidate(func() error { return a.candidateWebTransport(round, p.sid) }),
				candidate(func() error { return a.candidateWebTransport(round, p.sid) }),
				candidate(func() error { _, err := a.fetch(round, "/socket.io/?EIO=4&transport=sse&sid="+p.sid); return err }),
				candidate(func() error { _, err := a.fetch(round, "/socket.io/?EIO=3&transport=polling&sid="+p.sid); return err }),
				candidate(func() error { return p.send("40") }),
				candidate(func() error { _, err := p.next(); return err }),
				candidate(func() error { return p.send("1") }),
			}
			if !a.TLS {
				candidates = append(candidates[:3], candidates[5:]...)
			}
			a.each(len(candidates), func(i int) { candidates[i](i) })
			a.count("won", int(won.Load()))
			cancel()
			p.close()
		}
	})
	return nil
}

// candidateWebSocket tries to upgrade a session to a WebSocket.
func (a *attacker) candidateWebSocket(ctx context.Context, sid, revision string) error {
	address := a.url("/socket.io/?EIO=" + revision + "&transport=websocket&sid=" + sid)
	conn, resp, err := ws.Dial(ctx, address, &ws.DialOptions{Header: from(attackerAddress), TLS: tlsConfig()})
	if err != nil {
		return refused(err, resp)
	}
	defer conn.CloseNow()
	return probeAndUpgrade(websocket{conn})
}

// candidateWebTransport tries to upgrade a session to WebTransport.
func (a *attacker) candidateWebTransport(ctx context.Context, sid string) error {
	w, err := dialWebTransport(ctx, a.target, from(attackerAddress))
	if err != nil {
		return err
	}
	defer w.close()
	context.AfterFunc(ctx, w.close)
	if err := w.send(`0{"sid":"` + sid + `"}`); err != nil {
		return err
	}
	return probeAndUpgrade(w)
}

func probeAndUpgrade(w wire) error {
	if err := w.send("2probe"); err != nil {
		return err
	}
	if answer, err := w.next(); err != nil || answer != "3probe" {
		return fmt.Errorf("answer to a probe: %q, %v", answer, err)
	}
	return w.send("5")
}

// fetch makes a request and returns the body's beginning.
func (a *attacker) fetch(ctx context.Context, path string) (string, error) {
	conn, err := a.dial(ctx)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, getRequest(a, path)); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	a.count(fmt.Sprint("status ", resp.StatusCode), 1)
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", resp.StatusCode)
	}
	b := make([]byte, 1000)
	n, _ := resp.Body.Read(b)
	return string(b[:n]), nil
}

// legacy lets clients of revision 3 flood, in their own encodings.
func legacy(ctx context.Context, a *attacker) error {
	a.each(4, func(i int) {
		open, err := a.fetch(ctx, "/socket.io/?EIO=3&transport=polling")
		if err != nil {
			a.failed(ctx, err)
			return
		}
		_, packet, _ := strings.Cut(open, ":")
		packet, _, _ = strings.Cut(packet, "}2:40")
		sid, err := sessionID(strings.TrimSuffix(packet, "}") + "}")
		if err != nil {
			a.failed(ctx, err)
			return
		}
		bodies := []string{
			strings.Repeat("1:6", 300_000),                        // Noop packets
			strings.Repeat("1:2", 300_000),                        // pings, which the server answers
			"99999999999999999999:4",                              // an absurd length
			"\x00\x09\x09\x09\x09\x09\x09\x09\x09\xff4",           // the same in frames
			"3:4\xf0\x9f",                                         // half a character
			strings.Repeat("1:\xed\xa0\xbd", 1000),                // half surrogate pairs
			strings.Repeat("\x00\x01\xff6", 200_000),              // Noop packets in frames
			"5:42[]x4:42[]" + strings.Repeat("2:40", 100_000),     // CONNECT again and again
			"12:b4" + strings.Repeat("A", 1<<16),                  // base64
			"1:5" + strings.Repeat("9:2probe5:5", 100),            // upgrades in a POST
			strings.Repeat("10:42[\"typing\"]", 1000) + "0:" + "", // an empty packet
		}
		conn, in := io.ReadWriteCloser(nil), (*bufio.Reader)(nil)
		for n := 0; ctx.Err() == nil; n++ {
			if conn == nil {
				dialed, err := a.dial(ctx)
				if err != nil {
					a.failed(ctx, err)
					return
				}
				conn, in = dialed, bufio.NewReader(dialed)
			}
			body := bodies[(i+n)%len(bodies)]
			kind := "text/plain;charset=UTF-8"
			if n%2 == 1 {
				kind = "application/octet-stream"
			}
			_, err := fmt.Fprintf(conn, "POST /socket.io/?EIO=3&transport=polling&sid=%s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
				sid, a.Host, kind, len(body), body)
			var resp *http.Response
			if err == nil {
				resp, err = http.ReadResponse(in, nil)
			}
			if err != nil {
				conn = nil
				continue
			}
			io.Copy(io.Discard, resp.Body)
			a.count("bytes", len(body))
			a.count(fmt.Sprint("status ", resp.StatusCode), 1)
			if resp.StatusCode == http.StatusBadRequest || resp.Close { // the session has ended: begin another
				return
			}
		}
	})
	<-ctx.Done()
	return nil
}

var bodies = []*attack{
	{name: "slow-headers", what: "500 requests whose headers arrive byte by byte", do: trickles(500, slowHeader), memory: 64 << 20},
	{name: "slow-bodies", what: "500 POSTs whose bodies arrive byte by byte", do: trickles(500, slowBody), memory: 64 << 20},
	{name: "slow-frames", what: "500 WebSockets, each with a frame that arrives byte by byte", do: slowFrames(500), memory: 64 << 20},
	{
		name: "unread-pages", what: "300 connections ask for files and metrics, 50 at a time, and read nothing",
		do: unread(300, func(a *attacker, i int) string {
			return strings.Repeat(getRequest(a, []string{"/", "/app.js", "/metrics"}[i%3]), 50)
		}),
		memory: 128 << 20,
	},
	{
		name: "unread-streams", what: "10 connections of HTTP/2 with 100 streams each, none of which is read",
		prefill: fillRoom, do: unreadStreams, memory: feedMemory(500),
	},
	{name: "race", what: "WebSockets, WebTransport and sse ask for one session at once, in both revisions", do: race, memory: 64 << 20},
	{name: "legacy", what: "clients of Engine.IO 3 post floods, absurd lengths and broken text", do: legacy, memory: 96 << 20},
}
