package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/parley-go/parley/internal/access"
)

// passwordFlag adds the flag --password-stdin.
func (c *call) passwordFlag() *bool {
	return c.flags.Bool("password-stdin", false, "read the password from standard input, one line")
}

// password reads a new password: twice from the terminal, or one line of standard input.
func (c *call) password(ctx context.Context, fromStdin bool) (access.Secret, error) {
	if fromStdin {
		line, err := c.readLine(ctx)
		if err == nil && line == "" {
			err = errors.New("there is no password on standard input")
		}
		return access.Secret(line), err
	}
	if !isTerminal(c.stdin) {
		return "", wrongUsage("standard input is no terminal to ask for a password: use --password-stdin")
	}
	first, err := c.prompt(ctx, fmt.Sprintf("Password, at least %d characters: ", access.MinPassword))
	if err != nil {
		return "", err
	}
	second, err := c.prompt(ctx, "Again: ")
	if err == nil && first != second {
		err = errors.New("these are two different passwords")
	}
	return first, err
}

// prompt asks for a secret on the terminal, and does not show what is typed.
func (c *call) prompt(ctx context.Context, question string) (access.Secret, error) {
	fd := int(c.stdin.(*os.File).Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprint(c.stderr, question)
	defer fmt.Fprintln(c.stderr)
	var typed []byte
	err = interruptible(ctx, func() (err error) {
		typed, err = term.ReadPassword(fd)
		return err
	})
	if ctx.Err() != nil {
		term.Restore(fd, state) // the reader still waits, and would leave the terminal silent
		return "", ctx.Err()
	}
	return access.Secret(typed), err
}

// readLine reads the first line of standard input, without its end.
func (c *call) readLine(ctx context.Context) (string, error) {
	var line string
	err := interruptible(ctx, func() (err error) {
		const most = 4 << 10
		line, err = bufio.NewReaderSize(io.LimitReader(c.stdin, most), most).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return err
	})
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return strings.TrimRight(line, "\r\n"), err
}

// interruptible waits for f, or until ctx ends. Then f goes on until the process ends.
func interruptible(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
