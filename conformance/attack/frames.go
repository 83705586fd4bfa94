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
			for sent := 0; sent < volume && ctx.Err() == nil; sent += len(body) {
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

// withinBudget checks what connections could make the server take against the budgets.
func withinBudget(connections int) func(*result) {
	return func(r *result) {
		rate := float64(defaults.BytesPerSecond)
		r.most("bytes", r.count("bytes"), float64(connections)*(inFlight+rate*(r.Seconds+2)))
	}
}

// noRates switches the budgets of rate off.
var noRates = []string{"--events-per-second", "0", "--bytes-per-second", "0"}

var frames = []*attack{
	{
		name: "pongs", what: "a WebSocket over TLS writes pongs as fast as it can",
		do: floodFrames(1, ws.OpPong, ""), check: withinBudget(1), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "pongs-twice", what: "two of them",
		do: floodFrames(2, ws.OpPong, ""), check: withinBudget(2), memory: 32 << 20,
	},
	{
		name: "pongs-plain", what: "one without TLS", plain: true,
		do: floodFrames(1, ws.OpPong, ""), check: withinBudget(1), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "pings", what: "a WebSocket writes pings of 125 bytes",
		do: floodFrames(1, ws.OpPing, strings.Repeat("p", ws.MaxControlPayload)), check: withinBudget(1), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "noops", what: "a WebSocket over TLS writes Noop packets",
		do: floodFrames(1, ws.OpText, "6"), check: withinBudget(1), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "noops-polling", what: "POSTs of 500,000 Noop packets, one after the other",
		do: floodPosts("6"), check: withinBudget(1), memory: 64 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "noops-webtransport", what: "a WebTransport session writes Noop packets",
		do: floodWebTransport("6"), check: withinBudget(1), memory: 64 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "fragments", what: "a WebSocket writes messages of 1,000 empty fragments",
		do: floodFragments, check: withinBudget(1), memory: 32 << 20,
		without: noRates, broken: "bytes",
	},
	{
		name: "bombs", what: "frames of 1 KB that inflate to 1 MB", flags: []string{"--compression"},
		do: bombs(1), check: inflatedBudget(1), memory: 96 << 20,
		without: noRates, broken: "units",
	},
	{
		name: "bombs-four", what: "four of them", flags: []string{"--compression"},
		do: bombs(4), check: inflatedBudget(4), memory: 128 << 20,
	},
	{
		name: "unfinished", what: "300 WebSockets, each with a message of 1 MB that never ends",
		do: unfinishedFrames, memory: 128 << 20,
	},
	{
		name: "unfinished-posts", what: "300 POSTs of 1 MB that never end",
		do: unfinishedPosts, memory: 128 << 20,
	},
	{
		name: "unfinished-webtransport", what: "50 WebTransport sessions, each with a packet of 1 MB that never ends",
		do: unfinishedWebTransport, memory: 96 << 20,
	},
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

// bombs sends frames that inflate to almost as much as a message may have.
func bombs(n int) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		offer := &ws.Compression{NoClientContextTakeover: true, Level: 9}
		message := []byte("6" + strings.Repeat("0", int(defaults.MaxPayload)-1000))
		a.each(n, func(int) {
			c, err := a.compressed(ctx, offer)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			go a.drop(ctx, c.Conn)
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

// inflatedBudget checks how many bombs were taken. Without a budget of their own, inflated bytes
// count as received.
func inflatedBudget(connections int) func(*result) {
	return func(r *result) {
		rate := float64(defaults.BytesPerSecond)
		r.most("units", r.count("units"), float64(connections)*(inFlight/1000+rate*(r.Seconds+2)/1e6))
	}
}

// unfinished is nearly a whole message, whose end never comes.
var unfinished = bytes.Repeat([]byte("0"), int(defaults.MaxPayload)-10)

func unfinishedFrames(ctx context.Context, a *attacker) error {
	frame := ws.AppendMaskedFrame(nil, ws.OpText, append(unfinished, "0123456789"...))
	frame = frame[:len(frame)-10]
	a.each(300, func(int) {
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
	a.each(300, func(int) {
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
		head := fmt.Sprintf("POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: %s\r\nContent-Length: %d\r\n\r\n",
			p.sid, a.Host, attackerAddress, len(unfinished)+10)
		a.flood(ctx, conn, append([]byte(head), unfinished...), 1, 1)
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
