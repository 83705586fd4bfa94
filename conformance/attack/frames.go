package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/parley-go/parley/internal/app"
	"github.com/parley-go/parley/internal/eio"
	"github.com/parley-go/parley/internal/ws"
)

// defaults are the settings of the server.
var defaults = app.Defaults()

// volume bounds what an attacker writes on a connection, whatever happens.
const volume = 8 << 30

// pile returns a frame many times, 256 KiB or a little less.
func pile(frame []byte) (b []byte, units int) {
	units = max(1, (256<<10)/len(frame))
	return bytes.Repeat(frame, units), units
}

// floodFrames floods n WebSockets with a frame.
func floodFrames(n int, op ws.Opcode, payload string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(n, func(int) {
			conn, err := a.websocket(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			go a.drop(ctx, conn)
			b, units := pile(ws.AppendMaskedFrame(nil, op, []byte(payload)))
			a.flood(ctx, conn, b, units, volume)
		})
		return nil
	}
}

// floodPosts posts packets over and over.
func floodPosts(packet string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(1, func(int) {
			p := newPolling(a.target, from(attackerAddress))
			context.AfterFunc(ctx, p.close)
			if _, err := p.next(); err != nil {
				a.failed(ctx, err)
				return
			}
			n := int(defaults.MaxPayload) / (len(packet) + 1)
			body := strings.Repeat(packet+"\x1e", n-1) + packet
			for sent := int64(0); sent < volume && ctx.Err() == nil; sent += int64(len(body)) {
				if err := p.send(body); err != nil {
					a.failed(ctx, err)
					return
				}
				a.count("bytes", len(body))
				a.count("units", n)
			}
		})
		return nil
	}
}

// floodWebTransport floods a WebTransport session with a packet.
func floodWebTransport(packet string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(1, func(int) {
			w, err := openWebTransport(ctx, a.target, from(attackerAddress))
			if err != nil {
				a.failed(ctx, err)
				return
			}
			context.AfterFunc(ctx, w.close)
			go a.drop(ctx, w.stream)
			b, units := pile(append(eio.AppendStreamHeader(nil, false, len(packet)), packet...))
			a.flood(ctx, w.stream, b, units, volume)
		})
		return nil
	}
}

// withinFrames checks what connections could make the server take of frames of a size that are no
// messages.
func withinFrames(connections, size int) func(*result) {
	return func(r *result) {
		const perSecond, burst = 1000, 4000 // the defaults of parley.Options.FramesPerSecond
		r.most("bytes", r.count("bytes"), float64(connections)*(inFlight+float64(size)*(burst+perSecond*r.Seconds)))
	}
}

// slowed is the counter of clients that were read more slowly because of a kind.
func slowed(kind string) string { return `parley_slowed_total{kind="` + kind + `"}` }

// noRates switches the budgets of rate off.
var noRates = []string{"--events-per-second", "0", "--bytes-per-second", "0"}

var frames = []*attack{
	{
		name: "pongs", metric: slowed("frames"), what: "a WebSocket over TLS writes pongs as fast as it can",
		do: floodFrames(1, ws.OpPong, ""), check: withinFrames(1, 6), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "pongs-twice", metric: slowed("frames"), what: "two of them",
		do: floodFrames(2, ws.OpPong, ""), check: withinFrames(2, 6), memory: 32 << 20,
	},
	{
		name: "pongs-plain", metric: slowed("frames"), what: "one without TLS", plain: true,
		do: floodFrames(1, ws.OpPong, ""), check: withinFrames(1, 6), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "pings", what: "a WebSocket writes pings of 125 bytes",
		do: floodFrames(1, ws.OpPing, strings.Repeat("p", ws.MaxControlPayload)), check: withinFrames(1, 131), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "noops", metric: slowed("frames"), what: "a WebSocket over TLS writes Noop packets",
		do: floodFrames(1, ws.OpText, "6"), check: withinFrames(1, 7), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "noops-polling", metric: slowed("bytes"), what: "POSTs of 500,000 Noop packets, one after the other",
		do: floodPosts("6"), check: withinFrames(1, 2), memory: 64 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "noops-webtransport", metric: slowed("frames"), what: "a WebTransport session writes Noop packets",
		do: floodWebTransport("6"), check: withinFrames(1, 2), memory: 64 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "fragments", metric: slowed("frames"), what: "a WebSocket writes messages of 1,000 empty fragments",
		do: floodFragments, check: withinFrames(1, 6), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "bombs", metric: slowed("inflated"), what: "frames of 1 KB that inflate to 1 MB", flags: []string{"--compression"},
		do: bombs(1), check: withinInflated(1), memory: 96 << 20,
		without: noRates, broken: "inflated",
	},
	{
		name: "bombs-four", metric: slowed("inflated"), what: "four of them", flags: []string{"--compression"},
		do: bombs(4), check: withinInflated(4), memory: 128 << 20,
	},
	{
		name: "unfinished", metric: "parley_evicted_total", what: "900 WebSockets, each with a message of 1 MB that never ends", plain: true,
		do: unfinishedFrames, until: ended(900), memory: wholeMemory,
		without: append(noRates, "--max-memory", "1000GB"), broken: "memory",
	},
	{
		name: "unfinished-posts", metric: "parley_evicted_total", what: "900 POSTs of 1 MB that never end", plain: true,
		do: unfinishedPosts, until: ended(900), memory: wholeMemory,
		without: append(noRates, "--max-memory", "1000GB"), broken: "memory",
	},
	{
		name: "unfinished-webtransport", what: "50 WebTransport sessions, each with a packet of 1 MB that never ends",
		do: unfinishedWebTransport, until: ended(50), memory: 128 << 20,
	},
	{
		name: "posts-left", metric: slowed("bytes"), what: "300 clients post 500,000 Noop packets each and go", plain: true,
		do: leavePosts, memory: 128 << 20,
	},
}

// ended returns a condition: so many attempts have come to an end, whatever it was.
func ended(n int64) func(*result) bool {
	return func(r *result) bool { return r.Counts["units"]+r.Counts["cut"]+r.Counts["refused"] >= n }
}

// wholeMemory is what a server with its defaults may use for all clients: twice max-memory, because
// what is no longer needed is still there until it is collected, and what is not held for clients.
var wholeMemory = 2*defaults.MaxMemory + 64<<20

// leavePosts posts much that takes the server long, and closes the connections.
func leavePosts(ctx context.Context, a *attacker) error {
	body := strings.Repeat("6\x1e", int(defaults.MaxPayload)/2-1) + "6"
	places := make(chan struct{}, 20)
	a.each(300, func(int) {
		places <- struct{}{}
		defer func() { <-places }()
		p := newPolling(a.target, from(attackerAddress))
		defer p.close()
		if _, err := p.next(); err != nil {
			a.failed(ctx, err)
			return
		}
		if err := p.send("40"); err != nil {
			a.failed(ctx, err)
			return
		}
		conn, err := a.dial(ctx)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		defer conn.Close()
		a.flood(ctx, conn, append([]byte(a.postHeader(p.sid, len(body))), body...), 1, 1)
	})
	return nil
}

// postHeader returns the head of a POST.
func (a *attacker) postHeader(sid string, length int) string {
	return fmt.Sprintf("POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\nContent-Length: %d\r\n\r\n",
		sid, a.Host, attackerAddress, length)
}

// floodFragments floods a WebSocket with fragmented Noop packets.
func floodFragments(ctx context.Context, a *attacker) error {
	a.each(1, func(int) {
		conn, err := a.websocket(ctx)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		go a.drop(ctx, conn)
		const fragments = 1000
		b := masked(ws.AppendHeader(nil, ws.OpText, false, false, 1), "6")
		for range fragments {
			b = masked(ws.AppendHeader(b, ws.OpContinuation, false, false, 0), "")
		}
		b = masked(ws.AppendHeader(b, ws.OpContinuation, true, false, 0), "")
		many := bytes.Repeat(b, 40)
		a.flood(ctx, conn, many, 40*(fragments+2), volume)
	})
	return nil
}

// masked makes the header at the end of b that of a client, with a mask that changes nothing, and
// appends the payload.
func masked(b []byte, payload string) []byte {
	b[len(b)-1] |= 0x80 // the length is in one byte
	return append(append(b, 0, 0, 0, 0), payload...)
}

// bombs sends events that inflate to almost as much as a message may have, and counts the answers.
func bombs(n int) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		offer := &ws.Compression{NoClientContextTakeover: true, Level: 9}
		message := []byte(`420["typing",{"roomId":"x","padding":"` + strings.Repeat("0", bombSize) + `"}]`)
		a.each(n, func(int) {
			c, err := a.compressed(ctx, offer)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			go func() {
				var parser ws.Parser
				parser.Init(nil, ws.Client, c.Deflate)
				b := make([]byte, 4096)
				for {
					n, err := c.Conn.Read(b)
					if err != nil || parser.Feed(b[:n], answers{a}) != nil {
						a.ended(ctx)
						return
					}
				}
			}()
			if _, err := c.Conn.Write(ws.AppendMaskedFrame(nil, ws.OpText, []byte("40"))); err != nil {
				a.failed(ctx, err)
				return
			}
			frame, err := ws.NewDeflater(ws.Client, c.Deflate).AppendFrame(nil, ws.OpText, message)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			a.flood(ctx, c.Conn, bytes.Repeat(frame, 10), 10, 64<<20)
		})
		return nil
	}
}

const bombSize = 990_000

// answers counts acknowledgements.
type answers struct{ *attacker }

func (a answers) OnMessage(_ ws.Opcode, payload []byte) error {
	if bytes.HasPrefix(payload, []byte("43")) {
		a.count("answers", 1)
	}
	return nil
}

func (a answers) OnControl(ws.Opcode, []byte) error { return nil }

// withinInflated checks how many bombs of connections the server inflated.
func withinInflated(connections int) func(*result) {
	return func(r *result) {
		perSecond := 4 * float64(defaults.BytesPerSecond)
		r.most("inflated", bombSize*r.count("answers"), float64(connections)*(perSecond*(r.Seconds+2)+2*bombSize))
	}
}

// unfinished is nearly a whole message, whose end never comes.
var unfinished = bytes.Repeat([]byte("0"), int(defaults.MaxPayload)-10)

func unfinishedFrames(ctx context.Context, a *attacker) error {
	frame := ws.AppendMaskedFrame(nil, ws.OpText, append(unfinished, "0123456789"...))
	frame = frame[:len(frame)-10]
	a.each(900, func(int) {
		conn, err := a.websocket(ctx)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		a.flood(ctx, conn, frame, 1, 1)
		a.drop(ctx, conn)
	})
	return nil
}

func unfinishedPosts(ctx context.Context, a *attacker) error {
	a.each(900, func(int) {
		p := newPolling(a.target, from(attackerAddress))
		defer p.close()
		if _, err := p.next(); err != nil {
			a.failed(ctx, err)
			return
		}
		conn, err := a.dial(ctx)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		a.flood(ctx, conn, append([]byte(a.postHeader(p.sid, len(unfinished)+10)), unfinished...), 1, 1)
		a.drop(ctx, conn)
	})
	return nil
}

func unfinishedWebTransport(ctx context.Context, a *attacker) error {
	packet := append(eio.AppendStreamHeader(nil, false, len(unfinished)+10), unfinished...)
	a.each(50, func(int) {
		w, err := openWebTransport(ctx, a.target, from(attackerAddress))
		if err != nil {
			a.failed(ctx, err)
			return
		}
		defer w.close()
		context.AfterFunc(ctx, w.close)
		a.flood(ctx, w.stream, packet, 1, 1)
		a.drop(ctx, w.stream)
	})
	return nil
}
