package adapter_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/adapter"
)

// three connects servers a, b and c, in a bubble.
func three(t *testing.T, f func(t *testing.T, a, b, c *adapter.Native, buses []*adapter.MemoryBus)) {
	synctest.Test(t, func(t *testing.T) {
		net := adapter.NewMemory()
		var all []*adapter.Native
		var buses []*adapter.MemoryBus
		for _, name := range []string{"a", "b", "c"} {
			buses = append(buses, net.Connect())
			all = append(all, connect(t, buses[len(buses)-1], name))
		}
		for _, n := range all {
			if err := join(t, n); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		f(t, all[0], all[1], all[2], buses)
	})
}

// What one server says is heard by the others that listen, in order, and by nobody else.
func TestExchangeSends(t *testing.T) {
	three(t, func(t *testing.T, a, b, c *adapter.Native, _ []*adapter.MemoryBus) {
		var heard []string
		hear := func(n *adapter.Native, subject string) adapter.Listening {
			l := n.Hear(subject, func(from adapter.Node, data []byte) {
				heard = append(heard, fmt.Sprint(n.Self().Name, from.Name, subject, string(data)))
			})
			<-l.Active()
			return l
		}
		hear(a, "x")
		first := hear(b, "x")
		hear(b, "x")
		hear(c, "y")
		for _, data := range []string{"1", "2"} {
			if err := a.Send("x", []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		first.Close()
		first.Close()
		if err := a.Send("x", []byte("3")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []string{"b a x 1", "b a x 1", "b a x 2", "b a x 2", "b a x 3"}; strings.Join(heard, ",") != strings.ReplaceAll(strings.Join(want, ","), " ", "") {
			t.Errorf("heard %q", heard)
		}
	})
}

// One server is asked, or all. Who does not serve the subject, leaves or dies ends the wait.
func TestExchangeAsks(t *testing.T) {
	three(t, func(t *testing.T, a, b, c *adapter.Native, buses []*adapter.MemoryBus) {
		echo := func(n *adapter.Native) {
			n.Serve("echo", func(from adapter.Node, q []byte, reply func([]byte)) {
				go func() {
					reply([]byte(from.Name + n.Self().Name + string(q)))
					reply([]byte("twice"))
				}()
			})
		}
		echo(b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if answer, err := a.Ask(ctx, b.Self().ID, "echo", []byte("?")); string(answer) != "ab?" || err != nil {
			t.Errorf("asked b: %q, %v", answer, err)
		}
		if answer, err := a.Ask(ctx, c.Self().ID, "echo", nil); err != adapter.ErrNoNode {
			t.Errorf("who does not serve it: %q, %v", answer, err)
		}
		if answer, err := a.Ask(ctx, adapter.NodeID{1}, "echo", nil); err != adapter.ErrNoNode {
			t.Errorf("nobody: %q, %v", answer, err)
		}
		all := func(want ...string) {
			t.Helper()
			var answers []string
			if err := a.AskAll(ctx, "echo", []byte("!"), func(from adapter.Node, answer []byte) {
				answers = append(answers, from.Name+":"+string(answer))
			}); err != nil {
				t.Error(err)
			}
			if slices.Sort(answers); !slices.Equal(answers, want) {
				t.Errorf("all said %q, want %q", answers, want)
			}
		}
		all("b:ab!")
		echo(c)
		all("b:ab!", "c:ac!")

		b.Serve("echo", func(adapter.Node, []byte, func([]byte)) {})
		soon, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		var partial *adapter.Partial
		if _, err := a.Ask(soon, b.Self().ID, "echo", nil); !errors.As(err, &partial) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who does not answer: %v", err)
		}
		buses[1].Cut(true)
		if _, err := a.Ask(ctx, b.Self().ID, "echo", nil); err != adapter.ErrNoNode {
			t.Errorf("who dies: %v", err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		all()
	})
}

// An observer learns of who is there, who comes and goes, and of gaps, in order.
func TestExchangeObserves(t *testing.T) {
	three(t, func(t *testing.T, a, b, c *adapter.Native, buses []*adapter.MemoryBus) {
		var seen []string
		stop := a.Observe(func(e adapter.Event) {
			seen = append(seen, fmt.Sprint(e.Kind, e.Node.Name, e.Node.Draining))
			a.Nodes() // may be called here
		})
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := strings.Join(seen, " "); got != want {
				t.Errorf("seen %q, want %q", got, want)
			}
			seen = nil
		}
		slices.Sort(seen) // who is there already comes in any order
		expect("1bfalse 1cfalse")
		if node, ok := a.Tagged(adapter.TagOf("b")); !ok || node.Name != "b" {
			t.Errorf("the tag of b names %v, %v", node, ok)
		}
		b.Drain()
		expect("2btrue")
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		expect("3btrue")
		if node, ok := a.Tagged(adapter.TagOf("b")); ok {
			t.Errorf("the tag of b still names %v", node)
		}
		buses[2].Cut(true)
		time.Sleep(10 * time.Second)
		expect("3cfalse")
		buses[2].Cut(false)
		time.Sleep(10 * time.Second)
		expect("1cfalse 4false")
		stop()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		expect("")
	})
}
