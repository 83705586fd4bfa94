package bench

import (
	"context"
	"fmt"
	"strconv"
)

// In the scenarios with rooms, each room is a flow.

func broadcast(ctx context.Context, t *trial) error {
	return t.send(ctx, t.connections, traffic{name: "sendMessage", event: "newMessage"}, "deliveries")
}

func rooms(ctx context.Context, t *trial) error {
	return t.send(ctx, t.options.members, traffic{name: "sendMessage", event: "newMessage"}, "deliveries")
}

// history measures durable sends, and then joins that return a page of the sent messages.
func history(ctx context.Context, t *trial) error {
	err := t.send(ctx, t.options.members, traffic{name: "sendMessage", event: "newMessage", ack: true, answer: mark}, "sends")
	if err != nil {
		return err
	}
	t.fleet.settle(ctx)
	t.meter.restart()
	return t.measure(ctx, t.newLoad(t.joins(pageOfHistory), t.flows()), "history: join", "joins")
}

// pageOfHistory is part of the answer to joinRoom if the server has a history.
const pageOfHistory = `"messages":[`

// send joins rooms with that many members and sends to them.
func (t *trial) send(ctx context.Context, members int, what traffic, unit string) error {
	if len(t.fleet.clients) == 0 {
		if err := t.connect(ctx); err != nil {
			return err
		}
	}
	name, answer := t.name, ""
	if what.ack {
		name, answer = t.name+": send", pageOfHistory
	}
	rooms := t.groups(members, what.ack)
	join := t.newLoad(t.joins(answer), t.flows())
	if err := join.probe(ctx); err != nil {
		return err
	}
	if err := join.once(ctx, join.flows[1:], t.options.timeout); err != nil {
		return err
	}
	t.fleet.settle(ctx)
	what.append = func(dst []byte, f *flow, _ *client, number int64) []byte {
		dst = append(append(dst, `{"roomId":"`...), f.room...)
		if what.ack {
			dst = append(append(dst, `","clientId":"`...), t.id...)
			dst = strconv.AppendInt(append(dst, '-'), number, 10)
		}
		dst = append(dst, `","message":`...)
		return append(t.appendBody(dst, number), '}')
	}
	l := t.newLoad(what, rooms)
	if err := l.probe(ctx); err != nil {
		return err
	}
	return t.measure(ctx, l, name, unit)
}

// groups divides the connections into rooms. The last room may be larger.
func (t *trial) groups(members int, ack bool) []*flow {
	clients := t.fleet.clients
	n := max(len(clients)/members, 1)
	rooms := make([]*flow, n)
	for i := range rooms {
		end := (i + 1) * members
		if i == n-1 {
			end = len(clients)
		}
		f := &flow{room: fmt.Sprintf("bench-%s-%d", t.id, i), members: clients[i*members : end]}
		f.arrives = len(f.members)
		if ack {
			f.arrives++
		}
		for _, c := range f.members {
			c.room = f.room
		}
		rooms[i] = f
	}
	return rooms
}

// joins is the traffic of connections that join their rooms.
func (t *trial) joins(answer string) traffic {
	return traffic{
		name: "joinRoom", ack: true, answer: answer,
		append: func(dst []byte, _ *flow, from *client, _ int64) []byte {
			dst = append(append(dst, `{"roomId":"`...), from.room...)
			dst = strconv.AppendInt(append(dst, `","userId":"user-`...), int64(from.index), 10)
			return append(dst, `"}`...)
		},
	}
}

// leaves is the traffic of connections that leave a room that they are not in. The server only answers.
func (t *trial) leaves() traffic {
	return traffic{
		name: "leaveRoom", ack: true, answer: `"roomId":`,
		append: func(dst []byte, _ *flow, _ *client, number int64) []byte {
			dst = append(append(append(dst, `{"roomId":"bench-`...), t.id...), `","message":`...)
			return append(t.appendBody(dst, number), '}')
		},
	}
}
