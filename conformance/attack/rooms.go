package main

import (
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/ws"
)

// victims are members of the room "probe-0" on slow lines. Their ends and gaps are counted.
func (a *attacker) victims(ctx context.Context, n, bytesPerSecond int) error {
	for i := range n {
		conn, resp, err := ws.Dial(ctx, a.handshake("websocket"), &ws.DialOptions{
			Header: from(fmt.Sprint("198.51.100.", 100+i)), TLS: tlsConfig(),
			NetDial: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := new(net.Dialer).DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				conn.(*net.TCPConn).SetReadBuffer(16 << 10)
				return &slowLine{conn, bytesPerSecond}, nil
			},
		})
		if err != nil {
			return refused(err, resp)
		}
		c, err := enter(ctx, websocket{conn}, "")
		if err != nil {
			return err
		}
		if err := c.must(ctx, "joinRoom", fmt.Sprintf(`{"roomId":"probe-0","userId":"slow-%d","limit":1}`, i)); err != nil {
			return err
		}
		go func() {
			<-c.over
			if ctx.Err() == nil {
				a.count("victims", 1)
			}
		}()
		go func() {
			for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
				c.mu.Lock()
				gaps := c.gaps
				c.gaps = 0
				c.mu.Unlock()
				a.count("victims' gaps", gaps)
			}
		}()
	}
	return nil
}

// slowLine is a connection that delivers so many bytes a second.
type slowLine struct {
	net.Conn
	perSecond int
}

func (s *slowLine) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b[:min(len(b), s.perSecond/50)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.perSecond))
	return n, err
}

// floodRoom lets members call an event without waiting for answers, in the room of slow members.
func floodRoom(members int, transport, event string, argument func(i int) string, most int) func(context.Context, *attacker) error {
	return func(ctx context.Context, a *attacker) error {
		if err := a.victims(ctx, 20, 1e6); err != nil {
			return err
		}
		a.each(members, func(int) {
			c, err := join(ctx, a.target, transport, from(attackerAddress), `{"roomId":"probe-0","userId":"mallory","limit":1}`)
			if err != nil {
				a.failed(ctx, err)
				return
			}
			context.AfterFunc(ctx, c.wire.close)
			for i := 0; i < most && ctx.Err() == nil; i++ {
				argument := argument(i)
				err := c.call(event, argument, func(answer string) {
					if refusal(answer) {
						a.count("refused", 1)
					} else {
						a.count("answered", 1)
					}
				})
				if err != nil {
					break
				}
				a.count("units", 1)
				a.count("bytes", len(argument))
			}
			select {
			case <-c.over:
				a.count("closed", 1)
			case <-ctx.Done():
			}
		})
		<-ctx.Done()
		return nil
	}
}

// spareVictims checks that nobody else lost a connection or a message.
func spareVictims(r *result) {
	r.most("victims", r.count("victims"), 0)
	r.most("victims' gaps", r.count("victims' gaps"), 0)
}

// withinMessages checks how many messages of 60 KB members could send into the room: each at once what
// a member may, and all together what fits into the room's budget.
func withinMessages(members float64) func(*result) {
	return func(r *result) {
		spareVictims(r)
		perSecond := float64(defaults.BytesPerSecond)
		burst := min(members*perSecond, 2*perSecond)
		r.most("answered", r.count("answered"), members+(burst+perSecond*(r.Seconds+1))/60_000)
	}
}

// manyRooms makes rooms without end, with a message in each.
func manyRooms(ctx context.Context, a *attacker) error {
	a.each(4, func(i int) {
		c, err := connect(ctx, a.target, "websocket", from(attackerAddress))
		if err != nil {
			a.failed(ctx, err)
			return
		}
		context.AfterFunc(ctx, c.wire.close)
		for n := 0; n < 20_000 && ctx.Err() == nil; n++ {
			room := fmt.Sprintf("%d-%d", i, n)
			steps := [][2]string{
				{"joinRoom", fmt.Sprintf(`{"roomId":%q}`, room)},
				{"sendMessage", fmt.Sprintf(`{"roomId":%q,"message":{"text":%q}}`, room, strings.Repeat("m", 1000))},
				{"leaveRoom", fmt.Sprintf(`{"roomId":%q}`, room)},
			}
			for _, step := range steps {
				if err := c.must(ctx, step[0], step[1]); err != nil {
					a.failed(ctx, err)
					if c.end() != nil {
						a.ended(ctx)
						return
					}
					break
				}
				a.count(step[0], 1)
			}
		}
	})
	return nil
}

// fillStorage stores messages of 10 KB.
func fillStorage(ctx context.Context, a *attacker) error {
	a.each(4, func(i int) {
		c, err := join(ctx, a.target, "websocket", from(attackerAddress), fmt.Sprintf(`{"roomId":"dump-%d","limit":1}`, i))
		if err != nil {
			a.failed(ctx, err)
			return
		}
		context.AfterFunc(ctx, c.wire.close)
		message := fmt.Sprintf(`{"roomId":"dump-%d","message":{"text":%q}}`, i, strings.Repeat("m", 10_000))
		for ctx.Err() == nil {
			if err := c.must(ctx, "sendMessage", message); err != nil {
				a.failed(ctx, err)
				return
			}
			a.count("stored", 10_000)
		}
	})
	return nil
}

var roomAttacks = []*attack{
	{
		name: "large-messages", metric: slowed("message_bytes"), what: "a member sends messages of 60 KB as fast as it can, beside 20 members on lines of 8 Mbit/s",
		do: floodRoom(1, "websocket", "sendMessage", func(int) string {
			return `{"roomId":"probe-0","message":{"text":"` + strings.Repeat("m", 60_000) + `"}}`
		}, 5000),
		check: withinMessages(1), memory: 64 << 20,
		without: noRates, broken: "answered",
	},
	{
		name: "crowd", what: "50 members of one attacker do the same together",
		do: floodRoom(50, "websocket", "sendMessage", func(int) string {
			return `{"roomId":"probe-0","message":{"text":"` + strings.Repeat("m", 60_000) + `"}}`
		}, 100),
		check: withinMessages(50), memory: 128 << 20,
		without: noRates, broken: "answered",
	},
	{
		name: "typing", metric: slowed("events"), what: "a member begins and stops typing as fast as it can, beside 20 members on lines of 8 Mbit/s",
		do: floodRoom(1, "websocket", "typing", func(i int) string {
			return fmt.Sprintf(`{"roomId":"probe-0","typing":%v}`, i%2 == 0)
		}, 100_000),
		check: func(r *result) {
			spareVictims(r)
			const perSecond, burst = 50, 100 // events-per-second
			r.most("answered", r.count("answered"), burst+perSecond*(r.Seconds+1))
		},
		memory: 64 << 20, without: noRates, broken: "answered",
	},
	{
		name: "rooms", metric: `parley_over_budget_total{kind="rooms"}`, what: "4 clients make rooms without end, with a message in each",
		flags: []string{"--rooms-per-hour", "50"}, do: manyRooms, memory: 64 << 20,
		check:   func(r *result) { r.most("rooms", r.count("sendMessage"), 50+1) },
		without: []string{"--rooms-per-hour", "0"}, broken: "rooms",
	},
	{
		name: "storage", metric: `parley_over_budget_total{kind="stored"}`, what: "4 clients store messages without end", flags: []string{"--stored-per-hour", "1MiB"},
		do: fillStorage, check: func(r *result) { r.most("stored", r.count("stored"), 1<<20) }, memory: 64 << 20,
		without: []string{"--stored-per-hour", "0"}, broken: "stored",
	},
}
