package notice_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/notice"
)

// board returns a Board and a function that returns the lines logged since its last call.
func board() (*notice.Board, func() []string) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	return notice.New(log), func() []string {
		defer b.Reset()
		return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	}
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(want) == 0 {
		want = []string{""}
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("logged %q, want %q", got, want)
	}
}

func TestOnceAMinuteForEachCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, logged := board()
		post := func(why string) { b.Post(slog.LevelWarn, why, "refused", "why", why) }
		for range 5 {
			post("a")
			post("b")
		}
		want(t, logged(), "level=WARN msg=refused why=a", "level=WARN msg=refused why=b")
		time.Sleep(time.Minute - time.Nanosecond)
		post("a")
		want(t, logged())
		time.Sleep(time.Nanosecond)
		post("a")
		want(t, logged(), "level=WARN msg=refused why=a not_logged=5")
		post("a")
		want(t, logged())
		time.Sleep(time.Minute)
		post("b")
		want(t, logged(), "level=WARN msg=refused why=b not_logged=4")
	})
}

func TestCausesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, logged := board()
		for i := range 10_000 {
			b.Post(slog.LevelInfo, fmt.Sprint("origin\n", i), "refused")
		}
		if n := len(logged()); n != 101 { // a hundred, plus one for all others
			t.Errorf("%d lines, want 101", n)
		}
		b.Post(slog.LevelWarn, "descriptors", "none left") // no client chooses this cause
		want(t, logged(), "level=WARN msg=\"none left\"")
		time.Sleep(time.Minute)
		b.Post(slog.LevelInfo, "origin\nanother", "refused")
		want(t, logged(), "level=INFO msg=refused")
	})
}

func TestLevelThatIsNotLogged(t *testing.T) {
	b, logged := board()
	b.Post(slog.LevelDebug, "a", "refused")
	want(t, logged())
	b.Post(slog.LevelInfo, "a", "refused")
	want(t, logged(), "level=INFO msg=refused")
}
