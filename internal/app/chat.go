package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/parley-go/parley/conversation"
	"github.com/parley-go/parley/internal/remote"
)

func chatIn(c *call) func(context.Context) error {
	limit := c.flags.Int64("limit", 10, "begin with the newest `N` messages; 10 if left out")
	return func(ctx context.Context) error {
		if !isTerminal(c.stdin) || !isTerminal(c.stdout) {
			return wrongUsage("chat needs a terminal: use send and tail in scripts")
		}
		reader, err := c.connect(ctx, false)
		if err != nil {
			return err
		}
		defer reader.Close()
		writer, err := c.connect(ctx, false) // one goroutine at a time uses a session
		if err != nil {
			return err
		}
		defer writer.Close()
		in := c.stdin.(*os.File)
		before, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return err
		}
		defer term.Restore(int(in.Fd()), before)
		screen := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{in, c.stdout}, "> ")
		if width, height, err := term.GetSize(int(in.Fd())); err == nil && width > 0 {
			screen.SetSize(width, height)
		}
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		room := c.args[0]
		shown := make(chan struct{})
		go func() {
			defer close(shown)
			cancel(show(ctx, reader, room, *limit, screen))
		}()
		typed := make(chan error, 1)
		go func() { typed <- talk(ctx, writer, room, screen) }() // it waits for a line until the process ends
		select {
		case err = <-typed:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		cancel(nil)
		<-shown
		if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) { // Ctrl-D or Ctrl-C
			return nil
		}
		return err
	}
}

// show shows the messages of a room above the line that is typed.
func show(ctx context.Context, s *remote.Session, room string, newest int64, screen io.Writer) error {
	say := func(format string, args ...any) { fmt.Fprintf(screen, format+"\n", args...) }
	f := s.Follow(remote.FollowOptions{Rooms: []string{room}, Newest: newest, Say: say}, new(remote.State))
	defer f.Close()
	for {
		items, err := f.Next(ctx, 100)
		if err != nil {
			return err
		}
		var text bytes.Buffer
		for i := range items {
			if err := writeMessage(&text, &items[i].Message, items[i].Note, false); err != nil {
				return err
			}
		}
		if _, err := screen.Write(text.Bytes()); err != nil {
			return err
		}
	}
}

// talk sends each line that is typed.
func talk(ctx context.Context, s *remote.Session, room string, screen *term.Terminal) error {
	for {
		line, err := screen.ReadLine()
		if err != nil && !errors.Is(err, term.ErrPasteIndicator) {
			return err
		}
		if line == "" {
			continue
		}
		message, err := json.Marshal(line)
		if err != nil {
			return err
		}
		_, err = remote.In(ctx, s, room, conversation.SendMessage, conversation.SendRequest{RoomID: room, ClientID: rand.Text(), Message: message})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			fmt.Fprintf(screen, "! this was not sent: %s\n", escaped(err.Error()))
		}
	}
}
