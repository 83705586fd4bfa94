package app_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/parley-go/parley/internal/app"
)

// terminal is a terminal with somebody in front of it.
type terminal struct {
	t        *testing.T
	keyboard *os.File // what is typed, and shown
	file     *os.File // what programs have open
	mu       sync.Mutex
	shown    bytes.Buffer
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, keyboard: keyboard, file: file}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := keyboard.Read(b)
			term.mu.Lock()
			term.shown.Write(b[:n])
			term.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { file.Close(); <-read })
	return term
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.String()
}

// silent reports whether the terminal does not show what is typed.
func (t *terminal) silent() bool {
	state, err := unix.IoctlGetTermios(int(t.file.Fd()), unix.TCGETS)
	if err != nil {
		t.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO == 0
}

// answer types a line when a question is shown for the nth time, and the terminal is silent.
func (t *terminal) answer(question string, nth int, line string) {
	t.t.Helper()
	waitFor(t.t, question, func() bool { return strings.Count(t.text(), question) >= nth && t.silent() })
	if _, err := t.keyboard.WriteString(line + "\n"); err != nil {
		t.t.Fatal(err)
	}
}

// The password is asked for twice, and not shown.
func TestPasswordPrompt(t *testing.T) {
	s := filled(t)
	term := newTerminal(t)
	run := func(ctx context.Context, args ...string) <-chan int {
		done := make(chan int, 1)
		go func() { done <- app.Main(ctx, append(args, "--data", s.data), nil, term.file, term.file, term.file) }()
		return done
	}
	done := run(t.Context(), "operator", "add", "ann")
	term.answer("characters: ", 1, "correct horse battery")
	term.answer("Again: ", 1, "correct horse batteries")
	if code := <-done; code != 1 {
		t.Errorf("two different passwords: exit code %d, %q", code, term.text())
	}
	waitFor(t, "the refusal", func() bool { return strings.Contains(term.text(), "two different passwords") })
	done = run(t.Context(), "operator", "add", "ann")
	term.answer("characters: ", 2, "correct horse battery")
	term.answer("Again: ", 2, "correct horse battery")
	if code := <-done; code != 0 {
		t.Fatalf("exit code %d, %q", code, term.text())
	}
	if strings.Contains(term.text(), "correct horse") {
		t.Errorf("the terminal shows the password: %q", term.text())
	}
	ctx, cancel := context.WithCancel(t.Context())
	done = run(ctx, "operator", "passwd", "ann")
	waitFor(t, "the question", func() bool { return strings.Count(term.text(), "characters: ") == 3 && term.silent() })
	cancel()
	if code := <-done; code != 130 || term.silent() {
		t.Errorf("interrupted: exit code %d, silent %v", code, term.silent())
	}
	term.keyboard.WriteString("\n") // for the reader that still waits
	if list := s.must("", "operator", "list"); !strings.Contains(list, "ann") {
		t.Errorf("the operators: %s", list)
	}
}
