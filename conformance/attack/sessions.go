package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// pipelineHandshakes begins total polling sessions over 8 connections, 50 requests at a time, and
// never uses them. padding is the size of a header that nobody needs.
func pipelineHandshakes(total, padding int) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		const connections, atOnce = 8, 50
		request := "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: " + a.Host +
			"\r\nX-Forwarded-For: " + attackerAddress + "\r\n"
		if padding > 0 {
			request += "X-Padding: " + strings.Repeat("p", padding) + "\r\n"
		}
		requests := strings.Repeat(request+"\r\n", atOnce)
		a.each(connections, func(int) {
			var conn io.ReadWriteCloser
			var in *bufio.Reader
			for begun := 0; begun < total/connections && ctx.Err() == nil; begun += atOnce {
				if conn == nil {
					dialed, err := a.dial(ctx)
					if err != nil {
						a.failed(ctx, err)
						return
					}
					conn, in = dialed, bufio.NewReader(dialed)
				}
				if _, err := io.WriteString(conn, requests); err != nil {
					a.failed(ctx, err)
					conn = nil
					continue
				}
				for range atOnce {
					resp, err := http.ReadResponse(in, nil)
					if err != nil {
						a.failed(ctx, err)
						conn = nil
						break
					}
					io.Copy(io.Discard, resp.Body)
					a.count(fmt.Sprint("status ", resp.StatusCode), 1)
				}
			}
		})
		return nil
	}
}

// resetHandshakes begins polling sessions over HTTP/2 and resets each stream at once
// (CVE-2023-44487).
func resetHandshakes(ctx context.Context, a *attacker) error {
	const connections, each, atOnce = 4, 10_000, 100
	a.each(connections, func(int) {
		for begun := 0; begun < each && ctx.Err() == nil; {
			c, err := a.http2(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			for id := uint32(1); begun < each && err == nil; id += 2 * atOnce {
				begun += atOnce
				for i := range uint32(atOnce) {
					err = errors.Join(err, c.request(id+2*i, "/socket.io/?EIO=4&transport=polling", true))
				}
				err = errors.Join(err, c.flush())
				time.Sleep(time.Millisecond) // the handlers begin
				for i := range uint32(atOnce) {
					err = errors.Join(err, c.WriteRSTStream(id+2*i, http2.ErrCodeCancel))
				}
				err = errors.Join(err, c.flush())
				a.count("units", atOnce)
			}
		}
	})
	<-ctx.Done()
	return nil
}

// h2 is a raw connection of HTTP/2. One goroutine may write.
type h2 struct {
	*http2.Framer
	host    string
	headers *hpack.Encoder
	block   *bytes.Buffer
	flush   func() error
}

// http2 opens a connection of HTTP/2 that allows the server to send much, and drops what arrives.
func (a *attacker) http2(ctx context.Context) (*h2, error) {
	conn, err := a.dial(ctx, "h2")
	if err != nil {
		return nil, err
	}
	out := bufio.NewWriterSize(conn, 64<<10)
	c := &h2{Framer: http2.NewFramer(out, conn), host: a.Host, block: new(bytes.Buffer), flush: out.Flush}
	c.headers = hpack.NewEncoder(c.block)
	c.AllowIllegalWrites = true
	out.WriteString(http2.ClientPreface)
	if err := c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30}); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	go a.drop(ctx, conn)
	return c, nil
}

// request writes the header of a GET request.
func (c *h2) request(id uint32, path string, endStream bool) error {
	c.block.Reset()
	for _, f := range [][2]string{
		{":method", "GET"}, {":scheme", "https"}, {":authority", c.host}, {":path", path}, {"x-forwarded-for", attackerAddress},
	} {
		c.headers.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: endStream, EndHeaders: true})
}

// idle opens n sessions over a transport and, unless joined, does not join a namespace.
func idle(transport string, n, atOnce int, joined bool) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		places := make(chan struct{}, atOnce)
		var all sync.WaitGroup
		defer all.Wait()
		for range n {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			a.count("attempts", 1)
			all.Go(func() {
				w, err := a.open(ctx, transport, from(attackerAddress))
				if err == nil {
					_, err = w.next()
				}
				if err == nil && joined {
					err = w.send("40")
				}
				<-places
				if err != nil {
					a.failed(ctx, err)
					return
				}
				a.count("opened", 1)
				defer w.close()
				context.AfterFunc(ctx, w.close)
				for err == nil {
					_, err = w.next()
				}
				if ctx.Err() == nil {
					a.count("closed", 1)
				}
			})
		}
		return nil
	}
}

// idleStreams opens n sse streams over HTTP/2 and does not join a namespace.
func idleStreams(ctx context.Context, a *attacker) error {
	a.each(20, func(int) {
		c, err := a.http2(ctx)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		for i := range uint32(200) {
			if err := c.request(2*i+1, "/socket.io/?EIO=4&transport=sse", true); err != nil {
				break
			}
			a.count("units", 1)
		}
		c.flush()
		<-ctx.Done()
	})
	return nil
}

// fewConnections makes attacks on their number quick.
var fewConnections = []string{"--max-connections", "1000"}

var sessions = []*attack{
	{
		name: "handshakes", what: "20,000 polling handshakes over 8 connections, none joins a namespace",
		flags: fewConnections, do: pipelineHandshakes(20_000, 0), whole: true, memory: 64 << 20,
	},
	{
		name: "handshakes-headers", what: "6,000 of them with 14 KB of headers each",
		do: pipelineHandshakes(6000, 14<<10), whole: true, memory: 64 << 20,
	},
	{
		name: "handshakes-reset", what: "HTTP/2 streams with polling handshakes that are reset at once",
		flags: fewConnections, do: resetHandshakes, until: counted("units", 40_000), memory: 64 << 20,
	},
	{
		name: "handshakes-websocket", what: "1,500 WebSockets, none joins a namespace",
		flags: fewConnections, do: idle("websocket", 1500, 16, false), until: counted("attempts", 1200), memory: 96 << 20,
		without: []string{"--max-connections", "100"}, doWithout: idle("websocket", 200, 16, true), broken: "failed",
	},
	{
		name: "handshakes-webtransport", metric: `parley_connections_unjoined_total{reason="room"}`, what: "300 WebTransport sessions, none joins a namespace",
		flags: []string{"--max-pending-connections", "100"}, do: idle("webtransport", 300, 8, false),
		until: counted("attempts", 200), memory: 96 << 20,
	},
	{
		name: "handshakes-sse", what: "4,000 sse streams over 20 connections of HTTP/2, none joins a namespace",
		flags: fewConnections, do: idleStreams, until: counted("units", 4000), memory: 96 << 20,
	},
}
