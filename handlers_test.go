package parley_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley"
)

func TestRegistrationsAreRemoved(t *testing.T) {
	srv, url := serve(t, nil)
	var ran []string
	note := func(what string) parley.Handler {
		return func(*parley.Packet) error { ran = append(ran, what); return nil }
	}
	removed := []*parley.Registration{
		srv.On("go", note("removed")),
		srv.OnAny(note("removed any")),
		srv.UseEvent(func(*parley.Packet) error { t.Error("removed middleware ran"); return nil }),
		srv.Use(func(context.Context, *parley.Socket) error {
			t.Error("removed middleware of connections ran")
			return nil
		}),
		srv.OnConnection(func(*parley.Socket) { t.Error("removed OnConnection ran") }),
		srv.OnRoom(func(parley.RoomEvent) { t.Error("removed OnRoom ran") }),
		srv.OnDisconnect(func(*parley.Socket, parley.Reason) { t.Error("removed OnDisconnect ran") }),
		srv.OnUnhandled(note("removed unhandled")),
	}
	srv.On("go", note("kept"))
	srv.OnAny(note("kept any"))
	for _, r := range removed {
		r.Remove()
		r.Remove()
	}
	srv.Once("go", note("once"))
	srv.OnConnection(func(s *parley.Socket) {
		s.On("go", note("own removed")).Remove()
		s.Once("go", func(p *parley.Packet) error {
			ran = append(ran, "own once")
			s.On("go", note("own later"))
			return nil
		})
	})
	done := make(chan []string)
	srv.On("done", func(p *parley.Packet) error { done <- ran; return nil })
	c, _ := join(t, url, "")
	c.send(`42["go"]`)
	c.send(`42["go"]`)
	c.send(`42["nobody"]`)
	c.send(`42["done"]`)
	ran = await(t, "done", done)
	want := []string{"kept any", "kept", "once", "own once", "kept any", "kept", "own later", "kept any", "kept any"}
	if fmt.Sprint(ran) != fmt.Sprint(want) {
		t.Errorf("ran\n%q, want\n%q", ran, want)
	}
}

// OnAny sees all events, including those that middleware refuses, and does not affect OnUnhandled.
func TestOnAnySeesAll(t *testing.T) {
	srv, url := serve(t, nil)
	var seen []string
	srv.OnAny(func(p *parley.Packet) error { seen = append(seen, p.Name()); return nil })
	srv.UseEvent(func(p *parley.Packet) error {
		if p.Name() == "refused" {
			return &parley.Error{Code: "no", Message: "no"}
		}
		return nil
	})
	done := make(chan []string)
	srv.OnUnhandled(func(p *parley.Packet) error { done <- seen; return nil })
	c, _ := join(t, url, "")
	c.send(`42["refused"]`)
	c.send(`42["unknown"]`)
	if seen := await(t, "unhandled event", done); fmt.Sprint(seen) != "[refused unknown]" {
		t.Errorf("seen %q", seen)
	}
}

func TestHandlersThatCannotBe(t *testing.T) {
	srv, _ := serve(t, nil)
	h := func(*parley.Packet) error { return nil }
	for name, c := range map[string]struct {
		register func()
		says     string
	}{
		"connection": {func() { srv.On("connection", h) }, "OnConnection"},
		"connect":    {func() { srv.On("connect", h) }, "OnConnection"},
		"disconnect": {func() { srv.Of("/x").On("disconnect", h) }, "OnDisconnect"},
		"reserved":   {func() { srv.On("connect_error", h) }, "reserve"},
		"nil":        {func() { srv.On("x", nil) }, "nil"},
		"once, nil":  {func() { srv.Once("x", nil) }, "nil"},
		"any, nil":   {func() { srv.OnAny(nil) }, "nil"},
		"use, nil":   {func() { srv.Use(nil) }, "nil"},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v := fmt.Sprint(recover()); !strings.HasPrefix(v, "parley: ") || !strings.Contains(v, c.says) {
					t.Errorf("panic %q, which does not say %q", v, c.says)
				}
			}()
			c.register()
		})
	}
}

// Registering handlers on a socket, as programs ported from JavaScript do, costs the same for each
// event, no matter how many there are.
func TestRegisteringCopiesNothing(t *testing.T) {
	perEvent := func(events int) float64 {
		h := func(*parley.Packet) error { return nil }
		return testing.AllocsPerRun(10, func() {
			var l parley.HandlersForTest
			for i := range events {
				l.On(names[i], h)
			}
		}) / float64(events)
	}
	few, many := perEvent(10), perEvent(len(names))
	if many > few {
		t.Errorf("%.1f allocations an event with %d events, %.1f with 10", many, len(names), few)
	}
}

var names = func() (names [200]string) {
	for i := range names {
		names[i] = fmt.Sprint("event ", i)
	}
	return names
}()
