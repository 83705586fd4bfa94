package parleytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
)

// receive keeps an event of the server, or has it answered.
func (c *Client) receive(p *client.Packet) error {
	var a *answer
	c.set(func() {
		if a = c.answers[p.Name()]; a == nil {
			c.unread = append(c.unread, p)
		}
	})
	if a != nil {
		return a.to(p)
	}
	return nil
}

// answer answers one kind of event.
type answer struct {
	mu sync.Mutex // is held while f runs
	f  func(*client.Packet) any
}

func (a *answer) to(p *client.Packet) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	v := a.f(p)
	if !p.WantsAck() {
		return nil
	}
	if args, several := v.([]any); several {
		return p.Ack(args...)
	}
	return p.Ack(v)
}

// Handle answers each event of this name with what f returns, also those that have come before and that no
// Next has taken. An error refuses the event, as an *event.Error if it is one; a []any is several
// arguments. f may acknowledge the packet itself. Next does not return these events.
func (c *Client) Handle(event string, f func(p *client.Packet) any) {
	c.t.Helper()
	a := &answer{f: f}
	a.mu.Lock()
	var before []*client.Packet
	c.set(func() {
		c.answers[event] = a
		before = c.takeLocked(func(p *client.Packet) bool { return p.Name() == event })
	})
	a.mu.Unlock()
	for _, p := range before {
		if err := a.to(p); err != nil {
			c.t.Fatalf("parleytest: answer %q: %v", event, err)
		}
	}
}

// takeLocked takes the events of a kind that no Next has taken.
func (c *Client) takeLocked(is func(*client.Packet) bool) (taken []*client.Packet) {
	c.unread = slices.DeleteFunc(c.unread, func(p *client.Packet) bool {
		if is(p) {
			taken = append(taken, p)
			return true
		}
		return false
	})
	return taken
}

// Emit sends an event, and fails the test if that cannot be. [Send] does it with a descriptor.
func (c *Client) Emit(event string, args ...any) {
	c.t.Helper()
	if err := c.Client.Emit(event, args...); err != nil {
		c.t.Fatalf("parleytest: emit %q: %v", event, err)
	}
}

// Call sends an event and waits for its acknowledgement. The error is an *event.Error if the server refuses
// the event. Whatever else goes wrong fails the test. [Call] does it with a descriptor.
func (c *Client) Call(event string, args ...any) (event.Reply, error) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	reply, err := c.EmitWithAck(ctx, event, args...)
	if err != nil {
		c.t.Fatalf("parleytest: call %q: %s", event, c.failure(err))
	}
	return reply, reply.Err()
}

// failure says what is wrong with a call.
func (c *Client) failure(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("the server has not acknowledged it for %v%s", c.patience, c.came())
	}
	return err.Error() + c.why()
}

// Next returns the next event of this name, which it waits for, and decodes its first arguments into the
// given pointers. Events of other names stay for other calls of Next. If none comes, or the arguments do not
// fit, it fails the test.
func (c *Client) Next(event string, into ...any) *client.Packet {
	c.t.Helper()
	p := c.next(event)
	for i, v := range into {
		if err := p.DecodeArg(i, v); err != nil {
			c.t.Fatalf("parleytest: %v in %s", err, show(p))
		}
	}
	return p
}

// Until takes events of this name until one fits, and returns it. If none comes, it fails the test.
func (c *Client) Until(event string, fits func(p *client.Packet) bool) *client.Packet {
	c.t.Helper()
	return c.nextThat(event, fits)
}

func (c *Client) next(event string) *client.Packet {
	c.t.Helper()
	return c.nextThat(event, func(*client.Packet) bool { return true })
}

// nextThat takes events of a name until one fits.
func (c *Client) nextThat(event string, fits func(*client.Packet) bool) (found *client.Packet) {
	c.t.Helper()
	late := time.NewTimer(c.patience)
	defer late.Stop()
	var others []*client.Packet
	for {
		c.mu.Lock()
		news, gone := c.news, c.down && c.State().Status == client.Idle
		i := slices.IndexFunc(c.unread, func(p *client.Packet) bool { return p.Name() == event })
		if i >= 0 {
			found = c.unread[i]
			c.unread = slices.Delete(c.unread, i, i+1)
		}
		c.mu.Unlock()
		if i >= 0 {
			if fits(found) {
				return found
			}
			others = append(others, found)
			continue
		}
		if gone {
			c.t.Fatalf("parleytest: no %q%s will come: the client is disconnected%s%s", event, fitting(others), c.why(), c.came(others...))
		}
		select {
		case <-news:
		case <-late.C:
			c.t.Fatalf("parleytest: no %q%s came within %v%s", event, fitting(others), c.patience, c.came(others...))
		}
	}
}

// fitting says that events came which did not fit.
func fitting(others []*client.Packet) string {
	if len(others) == 0 {
		return ""
	}
	return " that fits"
}

// came says what has come instead of what was awaited.
func (c *Client) came(taken ...*client.Packet) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := append(taken, c.unread...)
	if len(all) == 0 {
		return "; nothing else came, either"
	}
	const most = 10
	var b strings.Builder
	b.WriteString("; instead came:")
	for i, p := range all {
		if i == most {
			fmt.Fprintf(&b, "\n\tand %d more", len(all)-most)
			break
		}
		b.WriteString("\n\t" + show(p))
	}
	return b.String()
}

// show shows an event as a test reads it.
func show(p *client.Packet) string {
	const most = 200
	args := make([]string, len(p.Args()))
	for i, a := range p.Args() {
		args[i] = string(a)
	}
	text := strings.Join(args, ", ")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return p.Name() + "(" + text + ")"
}

// None fails the test if there is an event of one of these names that no Next has taken; without names, any
// event. First it makes sure that everything has arrived that was under way:
//
//   - In a synctest bubble it waits until all goroutines of the bubble are blocked. So nothing comes before
//     time passes. To show that nothing comes for an hour, call time.Sleep(time.Hour) before None.
//   - Elsewhere it asks the server for something and waits for the answer. So what the server has sent before
//     has arrived. What it does later, in a goroutine or a handler that still runs, is not seen. So let
//     the server acknowledge what you test, and [Client.Call] it.
//
// It asks for the namespace /parleytest, with the same Auth. In a bubble, it asks for nothing.
func (c *Client) None(events ...string) {
	c.t.Helper()
	if unwanted := c.settled(func(p *client.Packet) bool { return len(events) == 0 || slices.Contains(events, p.Name()) }, false); len(unwanted) > 0 {
		c.t.Fatalf("parleytest: %s came, and was not expected", show(unwanted[0]))
	}
}

// Rest takes all events that no Next has taken, and returns them in their order. First it makes sure that
// everything has arrived that was under way, as None does.
func (c *Client) Rest() []*client.Packet {
	c.t.Helper()
	return c.settled(func(*client.Packet) bool { return true }, true)
}

// settled returns the unread events of a kind when everything has arrived.
func (c *Client) settled(is func(*client.Packet) bool, take bool) (found []*client.Packet) {
	c.t.Helper()
	c.settle()
	c.set(func() {
		if take {
			found = c.takeLocked(is)
			return
		}
		for _, p := range c.unread {
			if is(p) {
				found = append(found, p)
			}
		}
	})
	return found
}

// settling is how long events stay away that the server has sent while the client connected.
const settling = 10 * time.Millisecond

// settle waits until everything has arrived.
func (c *Client) settle() {
	c.t.Helper()
	state := c.State()
	if state.Status == client.Connected {
		time.Sleep(settling - time.Since(state.Since))
	}
	if waitInBubble() {
		return
	}
	ctx, cancel := c.context()
	defer cancel()
	if state.Status == client.Connected {
		probe := c.Client.Of("/parleytest", c.auth)
		err := probe.Connect(ctx) // a refusal is an answer, too
		probe.Close()
		if ctx.Err() != nil && c.isConnected() {
			c.t.Fatalf("parleytest: the server has not answered for %v: %v", c.patience, err)
		}
	}
	if c.Handled(ctx) != nil {
		c.t.Fatalf("parleytest: a handler of the client runs since %v", c.patience)
	}
}

// waitInBubble is synctest.Wait. Outside of a bubble it returns false.
func waitInBubble() (inBubble bool) {
	defer func() {
		if v := recover(); v != nil {
			if inBubble = fmt.Sprint(v) != "goroutine is not in a bubble"; inBubble {
				panic(v)
			}
		}
	}()
	synctest.Wait()
	return true
}
