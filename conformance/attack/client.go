package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// client is a Socket.IO client that has joined a room. It is safe for concurrent use, except that
// one goroutine at a time may call events.
type client struct {
	wire wire
	over chan struct{} // closed at the end of the connection

	sending sync.Mutex // held while a packet is sent

	mu     sync.Mutex
	lastID int
	owed   map[int]func(answer string) // by id, what to do with the acknowledgement
	seq    int64                       // of the latest newMessage
	gaps   int                         // how often it was not one more than the one before
	err    error                       // why the connection has ended
}

// connect connects and joins the main namespace.
func connect(ctx context.Context, t target, transport string, header http.Header) (*client, error) {
	return connectWith(ctx, t, transport, header, "")
}

// connectWith is connect with auth data, which are JSON.
func connectWith(ctx context.Context, t target, transport string, header http.Header, auth string) (*client, error) {
	w, err := t.open(ctx, transport, header)
	if err != nil {
		return nil, err
	}
	return enter(ctx, w, auth)
}

// enter joins the main namespace.
func enter(ctx context.Context, w wire, auth string) (*client, error) {
	c := &client{wire: w, over: make(chan struct{}), owed: make(map[int]func(string))}
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	if err := c.enter(auth); err != nil {
		w.close()
		return nil, err
	}
	go c.receive()
	return c, nil
}

// enter receives OPEN and joins the main namespace.
func (c *client) enter(auth string) error {
	open, err := c.wire.next()
	if err != nil {
		return err
	}
	if _, err := sessionID(open); err != nil {
		return err
	}
	if err := c.wire.send("40" + auth); err != nil {
		return err
	}
	for {
		packet, err := c.wire.next()
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(packet, "40"):
			return nil
		case packet != "2" && packet != "6":
			return fmt.Errorf("want CONNECT, got %.200q", packet)
		}
	}
}

// join connects and joins a room.
func join(ctx context.Context, t target, transport string, header http.Header, request string) (*client, error) {
	c, err := connect(ctx, t, transport, header)
	if err != nil {
		return nil, err
	}
	if err := c.must(ctx, "joinRoom", request); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *client) receive() {
	defer close(c.over)
	for {
		packet, err := c.wire.next()
		if err == nil {
			err = c.handle(packet)
		}
		if err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.err = err
			return
		}
	}
}

const newMessage = `42["newMessage",`

func (c *client) handle(packet string) error {
	switch {
	case packet == "2":
		return c.send("3")
	case packet == "1" || packet == "41":
		return errors.New("disconnected by the server")
	case strings.HasPrefix(packet, "43"):
		id, args, _ := strings.Cut(packet[2:], "[")
		n, err := strconv.Atoi(id)
		if err != nil {
			return fmt.Errorf("acknowledgement %.100q: %w", packet, err)
		}
		c.mu.Lock()
		then := c.owed[n]
		delete(c.owed, n)
		c.mu.Unlock()
		if then != nil {
			then(strings.TrimSuffix(args, "]"))
		}
	case strings.HasPrefix(packet, newMessage):
		var m struct{ Seq int64 }
		if err := json.Unmarshal([]byte(strings.TrimSuffix(packet[len(newMessage):], "]")), &m); err != nil {
			return fmt.Errorf("newMessage: %w", err)
		}
		c.mu.Lock()
		if c.seq != 0 && m.Seq != c.seq+1 {
			c.gaps++
		}
		c.seq = m.Seq
		c.mu.Unlock()
	}
	return nil
}

// send sends a packet. Only one packet is on its way at a time.
func (c *client) send(packet string) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	return c.wire.send(packet)
}

// call sends an event, whose argument is JSON, and calls then with the acknowledgement.
func (c *client) call(event, argument string, then func(answer string)) error {
	c.mu.Lock()
	c.lastID++
	id := c.lastID
	c.owed[id] = then
	c.mu.Unlock()
	return c.send(fmt.Sprintf(`42%d[%q,%s]`, id, event, argument))
}

// ask calls an event and waits for its acknowledgement.
func (c *client) ask(ctx context.Context, event, argument string) (string, error) {
	answer := make(chan string, 1)
	if err := c.call(event, argument, func(a string) { answer <- a }); err != nil {
		return "", err
	}
	select {
	case a := <-answer:
		return a, nil
	case <-c.over:
		return "", c.end()
	case <-ctx.Done():
		return "", fmt.Errorf("%s: %w", event, ctx.Err())
	}
}

// must is ask for events that may not be refused.
func (c *client) must(ctx context.Context, event, argument string) error {
	answer, err := c.ask(ctx, event, argument)
	if err == nil && refusal(answer) {
		err = fmt.Errorf("%s: %.200s", event, answer)
	}
	return err
}

// refusal reports whether an acknowledgement says that the event was refused.
func refusal(answer string) bool { return strings.HasPrefix(answer, `{"error":`) }

// end returns why the connection has ended, or nil.
func (c *client) end() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *client) close() {
	c.wire.close()
	<-c.over
}
