package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-go/parley/history"
	"github.com/parley-go/parley/history/sqlite"
)

// fillRoom stores 200 messages of nearly 64 KiB in the room "archive".
func fillRoom(ctx context.Context, data string) error {
	store, err := sqlite.Open(filepath.Join(data, "parley.db"), nil)
	if err != nil {
		return err
	}
	defer store.Close()
	text, _ := json.Marshal(map[string]string{"text": strings.Repeat("a", int(defaults.MaxMessage)-100)})
	for range 20 {
		drafts := make([]history.Draft, 10)
		for i := range drafts {
			drafts[i] = history.Draft{RoomID: "archive", UserID: "u", Message: text}
		}
		if _, err := store.Append(ctx, drafts); err != nil {
			return err
		}
	}
	return nil
}

// readPages lets n clients ask for the largest pages, again and again, 20 at a time.
func readPages(n int, transport string, event, argument string) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(n, func(i int) {
			c, err := join(ctx, a.target, transport, from(attackerAddress), `{"roomId":"archive","limit":1}`)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			context.AfterFunc(ctx, c.wire.close)
			places := make(chan struct{}, 20)
			for ctx.Err() == nil {
				select {
				case places <- struct{}{}:
				case <-c.over:
					a.count("closed", 1)
					return
				case <-ctx.Done():
					return
				}
				a.count("asked", 1)
				err := c.call(event, argument, func(answer string) {
					<-places
					if refusal(answer) {
						a.count("refused", 1)
						return
					}
					a.count("pages", 1)
					a.count("page bytes", len(answer))
				})
				if err != nil {
					return
				}
			}
		})
		return nil
	}
}

// slowFeeds reads n feeds from the earliest message, each at 16 KB a second.
func slowFeeds(n int) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		a.each(n, func(i int) {
			conn, err := a.dial(ctx)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /rooms/archive/events?lastEventId=earliest HTTP/1.1\r\nHost: %s\r\nX-Forwarded-For: 203.0.113.%d\r\n\r\n", a.Host, i%250)
			b := make([]byte, 1600)
			for ctx.Err() == nil {
				n, err := io.ReadFull(conn, b)
				a.count("received", n)
				if err != nil {
					a.count("closed", 1)
					return
				}
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		})
		return nil
	}
}

// squeezedPolls makes the server compress the attacker's own large messages for many polls.
func squeezedPolls(ctx context.Context, a *attacker) error {
	a.each(10, func(i int) {
		header := from(attackerAddress)
		header.Set("Accept-Encoding", "gzip")
		c, err := join(ctx, a.target, "polling", header, `{"roomId":"archive","limit":1}`)
		if err != nil {
			a.failed(ctx, err)
			return
		}
		context.AfterFunc(ctx, c.wire.close)
		for ctx.Err() == nil {
			if err := c.must(ctx, "history", `{"roomId":"archive","limit":500}`); err != nil {
				a.failed(ctx, err)
				return
			}
			a.count("pages", 1)
		}
	})
	return nil
}

// feedMemory is what n feeds may take: see docs/reliability.md, the whole process. The heap may be twice
// as large as what is in use.
func feedMemory(n int64) int64 { return 2 * (defaults.MaxMemory/4 + n*(64<<10+40_000)) }

var reads = []*attack{
	{
		name: "history", what: "10 clients ask for 500 messages of 64 KB, 20 times at once",
		prefill: fillRoom, memory: 128 << 20,
		do: readPages(10, "websocket", "history", `{"roomId":"archive","limit":500}`),
	},
	{
		name: "history-many", what: "200 clients ask for them",
		prefill: fillRoom, memory: 256 << 20,
		do: readPages(200, "websocket", "history", `{"roomId":"archive","limit":500}`),
	},
	{
		name: "joins-from-zero", what: "10 clients join the room after message 0, again and again",
		prefill: fillRoom, memory: 128 << 20,
		do: readPages(10, "websocket", "joinRoom", `{"roomId":"archive","after":0}`),
	},
	{
		name: "history-webtransport", what: "10 clients ask over WebTransport",
		prefill: fillRoom, memory: 128 << 20,
		do: readPages(10, "webtransport", "history", `{"roomId":"archive","limit":500}`),
	},
	{
		name: "squeezed-polls", what: "10 clients poll for large pages, compressed",
		prefill: fillRoom, memory: 128 << 20, do: squeezedPolls,
	},
	{
		name: "slow-feeds", what: "200 feeds from the earliest message, each read at 16 KB a second",
		prefill: fillRoom, memory: feedMemory(200), do: slowFeeds(200),
	},
}
