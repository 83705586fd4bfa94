package client_test

import (
	"context"
	"errors"
	"testing"

	"github.com/parley-go/parley"
	"github.com/parley-go/parley/client"
	"github.com/parley-go/parley/event"
)

// Handled waits for the handlers of what has arrived, and for no longer than it is told to.
func TestHandled(t *testing.T) {
	h := serve(t, nil)
	c, err := client.Dial(t.Context(), h.url, nil)
	must(t, err)
	defer c.Close()
	began, end, handled := make(chan bool), make(chan bool), 0
	client.On(c, tick, func(context.Context, int) error {
		began <- true
		<-end
		handled++
		return nil
	})
	must(t, tick.Emit(h, 1))
	<-began
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Handled(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("while the handler runs: %v", err)
	}
	close(end)
	must(t, c.Handled(t.Context()))
	if handled != 1 {
		t.Error("the handler has not run")
	}
}

// A refusal contains the error that the server's middleware has returned, if it is an *event.Error.
func TestRefusalUnwraps(t *testing.T) {
	for _, refuse := range []error{&event.Error{Code: "full", Message: "later", Data: 5}, errors.New("secret")} {
		h := serve(t, nil)
		h.Use(func(context.Context, *parley.Socket) error { return refuse })
		_, err := client.Dial(t.Context(), h.url, nil)
		var refused *client.ConnectError
		var known, got *event.Error
		if !errors.As(err, &refused) || errors.As(refuse, &known) && (!errors.As(err, &got) || got.Code != "full" || got.Data != 5.0) {
			t.Errorf("%v: %v", refuse, err)
		}
	}
	if errors.As(&client.ConnectError{Message: "Invalid namespace"}, new(*event.Error)) {
		t.Error("a refusal without data is an *event.Error")
	}
}
